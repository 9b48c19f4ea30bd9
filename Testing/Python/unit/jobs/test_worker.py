"""The worker as a process: events, cancelling, the end of its parent, being killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.method_doubles import double_job, install

from DSAReconLib.io.result_folder import open_result
from DSAReconLib.jobs.client import WorkerClient
from DSAReconLib.jobs.protocol import PROTOCOL_VERSION, TERMINAL, decode_event
from DSAReconLib.methods.registry import METHODS

PATHS = (str(Path(__file__).parents[4]), str(Path(__file__).parents[2]))
LIMIT_S = 60.0
END_S = 2.5  # 2 s promised, plus what a busy machine needs to start and end a process


@pytest.fixture(autouse=True)
def _doubles(monkeypatch):
    monkeypatch.setattr("DSAReconLib.methods.registry.METHODS", METHODS)
    install()
    yield
    METHODS.pop("double")


def _client(case, out, **changes):
    return WorkerClient(double_job(case, out, **changes), on_path=PATHS, module="helpers.worker_with_doubles")


def _until_fitting(client, reports=1):
    for event in client.events(LIMIT_S):
        if event["event"] == "progress" and event["stage"] == "fit":
            reports -= 1
            if reports <= 0:
                return
        assert event["event"] not in TERMINAL, event


def test_finished_job_tells_start_progress_and_result(tiny_case, tmp_path):
    with _client(tiny_case, tmp_path / "out", steps=8, step_s=0.3) as client:
        seen = [(time.monotonic(), event) for event in client.events(LIMIT_S)]
    kinds = [event["event"] for _, event in seen]
    assert kinds[0] == "started"
    assert seen[0][1]["protocol"] == PROTOCOL_VERSION
    assert seen[0][1]["pid"] == client.pid
    assert [kind for kind in kinds if kind in TERMINAL] == ["finished"]
    assert {"progress", "warning", "preview"} <= set(kinds)
    gaps = np.diff([at for at, event in seen if event["event"] == "progress"])
    assert gaps.max() < 1.5
    assert open_result(Path(seen[-1][1]["result"])).record["method"] == "double"
    assert client.end() == 0


@pytest.mark.parametrize("behavior", ["listen", "deaf"])
@pytest.mark.parametrize("how", ["stdin", "sigterm"])
def test_cancelled_worker_ends_in_time_with_a_checkpoint(tiny_case, tmp_path, behavior, how):
    step_s = 0.1 if behavior == "listen" else 3.0
    with _client(tiny_case, tmp_path / "out", steps=200, step_s=step_s, behavior=behavior) as client:
        _until_fitting(client)
        time.sleep(0.5)
        start = time.monotonic()
        if how == "stdin":
            client.cancel()
        else:
            os.kill(client.pid, signal.SIGTERM)
        event = client.wait(LIMIT_S)
        assert client.end() == 130
        assert time.monotonic() - start < END_S
    assert event == {"event": "cancelled", "checkpoint": str(tmp_path / "out.checkpoint")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.checkpoint"]


def test_worker_whose_parent_dies_cancels_itself(tiny_case, tmp_path):
    (tmp_path / "job.json").write_text(double_job(tiny_case, tmp_path / "out", steps=500, step_s=0.1).to_json())
    command = [sys.executable, "-u", "-m", "helpers.worker_with_doubles", str(tmp_path / "job.json")]
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess, time; subprocess.Popen({command!r}, stdin=subprocess.PIPE); time.sleep(99)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
    )
    events = filter(None, map(decode_event, parent.stdout))
    assert next(event for event in events if event.get("stage") == "fit")
    start = time.monotonic()
    parent.kill()
    last = list(events)[-1]  # the pipe closes when the worker has ended
    parent.wait()
    assert time.monotonic() - start < END_S
    assert last["event"] == "cancelled"


def test_killed_worker_resumes_to_the_same_result(tiny_case, tmp_path):
    with _client(tiny_case, tmp_path / "whole", steps=12) as client:
        assert client.wait(LIMIT_S)["event"] == "finished"
    with _client(tiny_case, tmp_path / "out", steps=12, step_s=0.2) as client:
        _until_fitting(client, reports=4)
        os.kill(client.pid, signal.SIGKILL)
        assert client.wait(LIMIT_S)["code"] == "worker.died"
    assert not (tmp_path / "out").exists()
    with _client(tiny_case, tmp_path / "out", steps=12, step_s=0.2, resume=True) as client:
        assert client.wait(LIMIT_S)["event"] == "finished"
    whole, resumed = (open_result(tmp_path / name) for name in ("whole", "out"))
    assert resumed.record["facts"]["start_step"] >= 3
    np.testing.assert_array_equal(
        whole.load_reconstruction().volume.coefficients, resumed.load_reconstruction().volume.coefficients
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


@pytest.mark.parametrize(("behavior", "code"), [("crash", "internal.error"), ("memory", "resource.memory")])
def test_failure_is_one_event_without_a_traceback(tiny_case, tmp_path, behavior, code):
    with _client(tiny_case, tmp_path / "out", behavior=behavior) as client:
        events = list(client.events(LIMIT_S))
        assert client.end() == 1
    assert [event["event"] for event in events if event["event"] in TERMINAL] == ["failed"]
    assert events[-1]["code"] == code
    assert events[-1]["message"]
    assert events[-1]["hint"]
    assert "Traceback" not in "\n".join(client.log_lines)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{", '{"out": "o", "paths": ["p"], "method": "magic"}', None])
def test_unusable_job_file_is_one_failed_event(tmp_path, content):
    if content is not None:
        (tmp_path / "job.json").write_text(content)
    command = [sys.executable, "-u", "-m", "DSAReconLib.jobs.worker", str(tmp_path / "job.json")]
    environment = {**os.environ, "PYTHONPATH": PATHS[0]}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    events = [decode_event(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["failed"]
    assert events[0]["code"].startswith("config.")
    assert done.returncode == 1
