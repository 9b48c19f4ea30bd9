"""The child process of a job, through QProcess: every way to end, and nothing left behind."""

# ruff: noqa: E402 - qt and slicer.app exist once the stand-in for the desktop was made

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.method_doubles import double_job, install
from helpers.slicer_desktop import desktop

DESKTOP = desktop()

from DSAReconWidgets.outcome import JobState
from DSAReconWidgets.process import WorkerProcess, closeAllProcesses

from DSAReconLib.io.result_folder import open_result
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.registry import METHODS

pytestmark = pytest.mark.gui
TESTS = str(Path(__file__).parents[1])
CANCEL_S = 2.0
BUSY_S = 0.5  # what a busy machine needs to notice that a process has gone


class Watched:
    """A worker process whose signals are kept."""

    def __init__(self, job, module="helpers.worker_with_doubles", **options):
        self.events, self.lines, self.outcomes = [], [], []
        self.process = WorkerProcess(job, module=module, onPath=(TESTS,), **options)
        self.process.event.connect(self.events.append)
        self.process.line.connect(self.lines.append)
        self.process.ended.connect(self.outcomes.append)
        self.process.start()

    def until(self, event, stage=None):
        """Wait for an event."""
        DESKTOP.wait_for(
            lambda: any(e["event"] == event and (stage is None or e.get("stage") == stage) for e in self.events), 60
        )

    def end(self):
        """The one outcome."""
        DESKTOP.wait_for(lambda: self.outcomes, 60, "the end of the process")
        DESKTOP.spin(0.1)
        assert len(self.outcomes) == 1
        assert not self.process.isRunning
        return self.outcomes[0]


def _odd(tmp_path, behavior):
    return Watched(ReconstructionJob(out=str(tmp_path / f"out.{behavior}"), paths=("x",)), "helpers.odd_workers")


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch):
    monkeypatch.setattr("DSAReconLib.methods.registry.METHODS", METHODS)
    install()
    before = set(psutil.Process().children(recursive=True))
    yield
    METHODS.pop("double")
    left = set(psutil.Process().children(recursive=True)) - before
    closeAllProcesses()
    assert not left
    assert DESKTOP.take_errors() == []


def test_finished_job_tells_its_result_while_the_window_lives(tiny_case, tmp_path):
    watched = Watched(double_job(tiny_case, tmp_path / "out", steps=4, step_s=0.2))
    ticks, last = [], time.monotonic()
    while not watched.outcomes:
        DESKTOP.app.processEvents()
        ticks.append(time.monotonic() - last)
        last = time.monotonic()
        time.sleep(0.002)
    assert max(ticks) < 0.5 * sum(ticks)  # a busy machine makes long ticks, waiting for the child makes a single one
    outcome = watched.end()
    assert (outcome.state, outcome.result) == (JobState.FINISHED, tmp_path / "out")
    assert open_result(outcome.result).record["method"] == "double"
    kinds = [event["event"] for event in watched.events]
    assert kinds[0] == "started"
    assert {"progress", "preview", "warning"} <= set(kinds)
    assert any("took" in line for line in watched.lines)


@pytest.mark.parametrize("behavior", ["listen", "deaf"])
def test_cancelled_job_is_gone_within_two_seconds_and_keeps_its_state(tiny_case, tmp_path, behavior):
    step_s = 0.1 if behavior == "listen" else 3.0
    watched = Watched(double_job(tiny_case, tmp_path / "out", steps=200, step_s=step_s, behavior=behavior))
    watched.until("progress", "fit")
    start = time.monotonic()
    watched.process.cancel()
    watched.process.cancel()
    outcome = watched.end()
    assert time.monotonic() - start < CANCEL_S + BUSY_S
    assert outcome.state is JobState.CANCELLED
    assert outcome.checkpoint == tmp_path / "out.checkpoint"


def test_child_that_ignores_cancelling_is_killed_in_time(tmp_path):
    watched = _odd(tmp_path, "stubborn")
    watched.until("started")
    start = time.monotonic()
    watched.process.cancel()
    assert watched.end().state is JobState.CANCELLED
    assert CANCEL_S / 2 < time.monotonic() - start < CANCEL_S + BUSY_S


def test_job_that_is_cancelled_before_it_runs_ends_cancelled(tiny_case, tmp_path):
    watched = Watched(double_job(tiny_case, tmp_path / "out", steps=200, step_s=0.1))
    watched.process.cancel()
    assert watched.end().state is JobState.CANCELLED
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("moment", ["at once", "started", "read", "fit"])
def test_killed_child_is_one_failure_in_one_sentence(tiny_case, tmp_path, moment):
    watched = Watched(double_job(tiny_case, tmp_path / "out", steps=200, step_s=0.1))
    if moment == "at once":
        pid = watched.process._child._process.processId()
    else:
        watched.until(*(("started",) if moment == "started" else ("progress", moment)))
        pid = watched.process.pid
    os.kill(pid, signal.SIGKILL)
    outcome = watched.end()
    assert (outcome.state, outcome.code) == (JobState.FAILED, "worker.crashed")
    assert outcome.message.endswith(".")
    assert outcome.hint
    assert "\n" not in outcome.message
    assert not (tmp_path / "out").exists()
    kept = tmp_path / "out.checkpoint"
    assert kept.exists() == (outcome.checkpoint == kept)  # a folder without anything to go on from is removed


def test_program_that_is_not_there_fails_with_its_name(tmp_path):
    job = ReconstructionJob(out=str(tmp_path / "out"), paths=("x",))
    outcome = Watched(job, python="/nowhere/PythonSlicer").end()
    assert (outcome.state, outcome.code) == (JobState.FAILED, "worker.start")
    assert "/nowhere/PythonSlicer" in outcome.message


@pytest.mark.parametrize(
    ("behavior", "code", "part"),
    [("silent", "worker.died", "exit code 0"), ("module", "worker.died", "a_package_that_is_not_there")],
)
def test_child_that_leaves_without_a_result_failed(tmp_path, behavior, code, part):
    outcome = _odd(tmp_path, behavior).end()
    assert (outcome.state, outcome.code) == (JobState.FAILED, code)
    assert part in outcome.message


def test_failure_of_the_job_keeps_its_code_sentence_and_hint(tmp_path):
    outcome = Watched(ReconstructionJob(out=str(tmp_path / "out"), paths=(str(tmp_path),))).end()
    assert outcome.state is JobState.FAILED
    assert outcome.code == "dicom.none_found"
    assert outcome.message
    assert outcome.hint


def test_split_lines_and_letters_are_put_together(tmp_path):
    watched = _odd(tmp_path, "split")
    outcome = watched.end()
    assert outcome.result == tmp_path / "out.split"
    assert [event["message"] for event in watched.events if event["event"] == "progress"] == ["half"]
    assert watched.lines[0].endswith(".json")
    assert watched.lines[1] == "Gefäß"


def test_finished_job_that_does_not_leave_is_finished_all_the_same(tmp_path):
    watched = _odd(tmp_path, "lingering")
    assert watched.end().state is JobState.FINISHED


def test_nonsense_in_events_does_no_harm_and_the_first_last_word_counts(tmp_path):
    outcome = _odd(tmp_path, "broken").end()
    assert (outcome.state, outcome.code, outcome.message) == (JobState.FAILED, "x.y", "It failed.")


def test_end_of_the_application_kills_the_child(tmp_path):
    watched = _odd(tmp_path, "stubborn")
    watched.until("started")
    child = psutil.Process(watched.process.pid)
    DESKTOP.app.send("aboutToQuit()")
    assert not child.is_running()
    DESKTOP.spin(0.2)
    assert watched.outcomes == []


def test_job_file_is_removed_as_soon_as_the_worker_has_read_it(tmp_path):
    watched = _odd(tmp_path, "stubborn")
    config = watched.process._config
    watched.until("started")
    assert not config.exists()
    DESKTOP.app.send("aboutToQuit()")


def test_job_file_of_a_worker_that_says_nothing_is_removed(tmp_path):
    watched = _odd(tmp_path, "silent")
    config = watched.process._config
    assert config.is_file()
    watched.end()
    assert not config.exists()


def test_child_finds_this_library_and_not_another(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "DSAReconLib").mkdir()
    (tmp_path / "DSAReconLib" / "__init__.py").write_text("raise ImportError('the wrong one')")
    assert sys.executable
    assert _odd(tmp_path, "split").end().state is JobState.FINISHED
