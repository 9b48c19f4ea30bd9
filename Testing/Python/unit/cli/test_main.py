"""The command itself: exit codes, streams, help, signals."""

import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

import DSAReconLib
from DSAReconLib.cli import main as command
from DSAReconLib.cli.console import Console, _Lines
from DSAReconLib.cli.main import COMMANDS, main
from DSAReconLib.errors import ConfigError, DicomRunError, JobCancelled
from DSAReconLib.jobs.protocol import PREFIX, decode_event


def _fake(monkeypatch, run):
    """Let ``dsarecon info`` do ``run(args, console)``."""
    module = types.SimpleNamespace(HELP="help", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(command, "_command", lambda name: module)


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (lambda args, console: 0, 0),
        (lambda args, console: 1, 1),
        (lambda args, console: _raise(DicomRunError("bad file", hint="take another")), 1),
        (lambda args, console: _raise(ConfigError("bad option")), 2),
        (lambda args, console: _raise(JobCancelled()), 130),
        (lambda args, console: _raise(KeyboardInterrupt()), 130),
        (lambda args, console: _raise(MemoryError()), 1),
        (lambda args, console: _raise(ZeroDivisionError("defect")), 1),
    ],
)
def test_exit_code_tells_the_outcome(monkeypatch, capsys, outcome, code):
    _fake(monkeypatch, outcome)
    assert main(["info"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_error_is_one_message_and_one_hint_on_stderr(monkeypatch, capsys):
    _fake(monkeypatch, lambda args, console: _raise(DicomRunError("bad file", hint="take another")))
    main(["info"])
    assert capsys.readouterr().err == "error: bad file\nhint: take another\n"


def test_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, capsys):
    _fake(monkeypatch, lambda args, console: importlib.import_module("nobody_has_this.part"))
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: This command needs the package nobody_has_this,")
    assert "pip install nobody_has_this" in said


@pytest.mark.parametrize("arguments", [[], ["dance"], ["info", "--no-such-option"], ["reconstruct", "x"], ["--verbos"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_version_goes_to_stdout(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"dsarecon {DSAReconLib.__version__}"


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^\s+{name}\s+\w", out, re.MULTILINE), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    assert "--quiet" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from DSAReconLib.cli.main import main; main(['--help']);"
        "heavy = {'torch', 'numba', 'skimage', 'matplotlib', 'SimpleITK', 'pydicom', 'scipy', 'trimesh', 'vtk'};"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "DSAReconLib", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("dsarecon ")


def test_json_progress_is_the_protocol_on_stdout(monkeypatch, capsys):
    def run(args, console):
        console.progress.report("fit", 0.5, metrics={"loss": 1.0})
        console.progress.warn("code", "careful")
        console.result = "folder"
        return 0

    _fake(monkeypatch, run)
    assert main(["info", "--json-progress"]) == 0
    captured = capsys.readouterr()
    events = [decode_event(line) for line in captured.out.splitlines()]
    assert [event["event"] for event in events] == ["started", "progress", "warning", "finished"]
    assert events[-1]["result"] == "folder"
    assert captured.err == ""


def test_quiet_leaves_data_and_errors_only(monkeypatch, capsys):
    def run(args, console):
        console.progress.report("fit", 0.5)
        console.progress.warn("code", "careful")
        console.note("remark")
        console.out("data")
        raise DicomRunError("bad file")

    _fake(monkeypatch, run)
    main(["info", "--quiet"])
    captured = capsys.readouterr()
    assert captured.out == "data\n"
    assert captured.err == "error: bad file\n"


def test_log_file_holds_details(monkeypatch, tmp_path):
    import logging

    _fake(monkeypatch, lambda args, console: logging.getLogger("DSAReconLib.x").debug("a detail") or 0)
    assert main(["info", "--log", str(tmp_path / "a.log")]) == 0
    assert "a detail" in (tmp_path / "a.log").read_text()


def test_log_file_that_cannot_be_written_is_said(capsys, tmp_path):
    assert main(["info", "--log", str(tmp_path / "missing" / "a.log")]) == 1
    assert "could not be written" in capsys.readouterr().err


def test_plain_progress_prints_a_line_per_stage_and_now_and_then():
    stream, now = io.StringIO(), [0.0]
    lines = _Lines(stream, clock=lambda: now[0])
    for step in range(100):
        now[0] = 0.1 * step
        stage = "read" if step < 50 else "fit"
        lines(
            {"event": "progress", "stage": stage, "fraction": step / 100, "eta_s": None, "message": "", "metrics": {}}
        )
    printed = stream.getvalue().splitlines()
    assert printed[0] == "read: 0%"
    assert 5 <= len(printed) <= 8
    assert all(line.startswith(("read:", "fit:")) for line in printed)


def test_bars_are_drawn_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    console = Console(stderr=stream, stdout=io.StringIO())
    console.progress.report("fit", 0.0)
    console.progress.report("fit", 1.0, "done", {"loss": 0.5})
    console.progress.warn("code", "careful")
    console.close()
    assert "100 %" in stream.getvalue()
    assert "loss 0.5" in stream.getvalue()
    assert "warning: careful\n" in stream.getvalue()


def test_first_signal_cancels_and_the_second_stops_at_once(monkeypatch, capsys):
    signals = []

    def run(args, console):
        os.kill(os.getpid(), signal.SIGINT)
        signals.append(console.progress.cancelled.is_set())
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        signals.append("not stopped")
        return 0

    _fake(monkeypatch, run)
    former = signal.getsignal(signal.SIGINT)
    assert main(["info"]) == 130
    assert signals == [True]
    assert signal.getsignal(signal.SIGINT) is former


def test_command_runs_outside_the_main_thread(monkeypatch):
    _fake(monkeypatch, lambda args, console: 0)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["info"])))
    thread.start()
    thread.join()
    assert codes == [0]


def test_info_reports_versions_and_devices_as_json(capsys):
    assert main(["info", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["versions"]["dsarecon"] == DSAReconLib.__version__
    assert "numba" in content["devices"]["cpu"]
    assert content["machine"]["cores"] >= 1


def test_info_lists_the_parameters_of_a_method(capsys):
    assert main(["info", "--method", "tiavox"]) == 0
    out = capsys.readouterr().out
    assert "preset fast" in out
    assert main(["info", "--method", "tiavox", "--json"]) == 0
    assert {"name", "default", "help", "unit", "source"} <= set(json.loads(capsys.readouterr().out)["parameters"][0])


def test_event_prefix_is_the_documented_one():
    assert PREFIX == "@dsarecon "


def test_ctrl_c_while_modules_are_loaded_is_a_cancel(monkeypatch, capsys):
    monkeypatch.setattr(command, "_command", lambda name: _raise(KeyboardInterrupt()))
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "Cancelled.\n"
