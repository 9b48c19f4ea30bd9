"""Several jobs: one after the other, each with exactly one end, whatever is pressed."""

# ruff: noqa: E402 - qt and slicer.app exist once the stand-in for the desktop was made

import functools
import os
import signal
import typing
from pathlib import Path

import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.method_doubles import double_job, install
from helpers.slicer_desktop import desktop

DESKTOP = desktop()

from DSAReconWidgets.outcome import JobState, Outcome
from DSAReconWidgets.process import WorkerProcess
from DSAReconWidgets.queue import JobQueue
from DSAReconWidgets.signal import Signal

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.registry import METHODS

pytestmark = pytest.mark.gui
TESTS = str(Path(__file__).parents[1])


class FakeProcess:
    """A process that does what a test says."""

    made: typing.ClassVar[list] = []

    def __init__(self, job):
        self.job, self.event, self.line, self.ended = job, Signal("event"), Signal("line"), Signal("outcome")
        self.calls = []
        FakeProcess.made.append(self)

    def start(self):
        self.calls.append("start")

    def cancel(self):
        self.calls.append("cancel")

    def close(self):
        self.calls.append("close")

    def finish(self, state=JobState.FINISHED):
        """End."""
        self.ended(Outcome(state, result=Path(self.job.out)))


class Recorded:
    """A queue with what it sent."""

    def __init__(self, make=FakeProcess):
        FakeProcess.made = []
        self.queue, self.ended, self.states = JobQueue(make), [], []
        self.queue.ended.connect(self.ended.append)
        self.queue.changed.connect(lambda job: self.states.append((job.number, job.state)))


def _job(name):
    return ReconstructionJob(out=f"/nowhere/{name}", paths=(name,))


def test_jobs_run_one_after_the_other_in_their_order():
    recorded = Recorded()
    jobs = [recorded.queue.submit(_job(name)) for name in "abc"]
    assert [job.state for job in jobs] == [JobState.RUNNING, JobState.WAITING, JobState.WAITING]
    for number in range(3):
        assert len(FakeProcess.made) == number + 1
        FakeProcess.made[number].finish()
    assert recorded.ended == jobs
    assert all(job.state is JobState.FINISHED for job in jobs)
    assert recorded.queue.current is None


def test_same_job_is_not_queued_twice_while_it_waits_or_runs_but_again_afterwards():
    recorded = Recorded()
    first = recorded.queue.submit(ReconstructionJob(out="/nowhere/1", paths=("a",)))
    assert recorded.queue.submit(ReconstructionJob(out="/nowhere/2", paths=("a",))) is first
    FakeProcess.made[0].finish()
    assert recorded.queue.submit(ReconstructionJob(out="/nowhere/3", paths=("a",))) is not first


def test_cancelling_twice_asks_once_and_the_next_job_starts_when_the_first_has_gone():
    recorded = Recorded()
    first, second = recorded.queue.submit(_job("a")), recorded.queue.submit(_job("b"))
    recorded.queue.cancel(first)
    recorded.queue.cancel(first)
    assert FakeProcess.made[0].calls == ["start", "cancel"]
    assert (first.state, second.state) == (JobState.CANCELLING, JobState.WAITING)
    FakeProcess.made[0].finish(JobState.CANCELLED)
    assert (first.state, second.state) == (JobState.CANCELLED, JobState.RUNNING)
    recorded.queue.cancel(first)
    assert recorded.ended == [first]


def test_job_that_finished_although_it_was_cancelled_keeps_its_result():
    recorded = Recorded()
    job = recorded.queue.submit(_job("a"))
    recorded.queue.cancel(job)
    FakeProcess.made[0].finish()
    assert (job.state, job.outcome.result) == (JobState.FINISHED, Path("/nowhere/a"))


def test_waiting_job_can_be_cancelled_without_being_started():
    recorded = Recorded()
    recorded.queue.submit(_job("a"))
    waiting = recorded.queue.submit(_job("b"))
    recorded.queue.cancel(waiting)
    FakeProcess.made[0].finish()
    assert waiting.state is JobState.CANCELLED
    assert len(FakeProcess.made) == 1


def test_cancel_all_ends_everything_and_starts_nothing():
    recorded = Recorded()
    jobs = [recorded.queue.submit(_job(name)) for name in "abc"]
    recorded.queue.cancelAll()
    FakeProcess.made[0].finish(JobState.CANCELLED)
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 3
    assert len(FakeProcess.made) == 1


def test_second_word_of_a_process_is_not_heard():
    recorded = Recorded()
    job = recorded.queue.submit(_job("a"))
    FakeProcess.made[0].finish(JobState.FAILED)
    FakeProcess.made[0].finish()
    assert job.state is JobState.FAILED
    assert recorded.ended == [job]


def test_job_waits_for_its_preparation_and_may_be_cancelled_in_it():
    recorded = Recorded()
    asked = []
    recorded.queue.prepare = lambda job, proceed: asked.append((job, proceed))
    first, second = recorded.queue.submit(_job("a")), recorded.queue.submit(_job("b"))
    assert not FakeProcess.made
    recorded.queue.cancel(first)
    assert first.state is JobState.CANCELLED
    asked[0][1](None)
    assert not FakeProcess.made
    asked[1][1](None)
    assert second.state is JobState.RUNNING
    asked[1][1](None)
    assert len(FakeProcess.made) == 1


def test_job_whose_preparation_fails_ends_and_the_next_one_gets_its_turn():
    recorded = Recorded()
    recorded.queue.prepare = lambda job, proceed: proceed(
        Outcome(JobState.FAILED, message="No.") if job.number == 1 else None
    )
    first, second = recorded.queue.submit(_job("a")), recorded.queue.submit(_job("b"))
    assert (first.state, first.outcome.message, second.state) == (JobState.FAILED, "No.", JobState.RUNNING)


def test_progress_previews_warnings_and_log_are_kept():
    recorded = Recorded()
    job = recorded.queue.submit(_job("a"))
    process = FakeProcess.made[0]
    process.event({"event": "started", "device": "cuda:0"})
    process.event({"event": "progress", "stage": "fit", "fraction": 0.5, "eta_s": 3.0, "metrics": {"loss": 1.0}})
    process.event({"event": "preview", "path": "/nowhere/preview.nrrd"})
    process.event({"event": "warning", "code": "a.b", "message": "Mind."})
    process.event({"event": "of a later version"})
    process.line("one")
    process.line("two")
    assert (job.device, job.stage, job.fraction, job.etaS, job.metrics) == ("cuda:0", "fit", 0.5, 3.0, {"loss": 1.0})
    assert (job.preview, job.previewNumber) == (Path("/nowhere/preview.nrrd"), 1)
    assert job.warnings == [("a.b", "Mind.")]
    assert job.logText == "one\ntwo"
    process.finish()
    assert job.preview is None


def test_receiver_that_fails_does_not_stop_the_queue():
    recorded = Recorded()
    recorded.queue.changed.connect(lambda job: 1 / 0)
    job = recorded.queue.submit(_job("a"))
    FakeProcess.made[0].finish()
    assert job.state is JobState.FINISHED


def test_closing_ends_the_child_and_reports_nothing():
    recorded = Recorded()
    jobs = [recorded.queue.submit(_job(name)) for name in "ab"]
    recorded.queue.close()
    recorded.queue.close()
    assert FakeProcess.made[0].calls == ["start", "close"]
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2
    FakeProcess.made[0].finish()
    assert recorded.ended == []
    assert len(FakeProcess.made) == 1


def test_three_real_jobs_finish_die_and_are_cancelled_without_touching_each_other(tiny_case, tmp_path, monkeypatch):
    monkeypatch.setattr("DSAReconLib.methods.registry.METHODS", METHODS)
    install()
    make = functools.partial(WorkerProcess, module="helpers.worker_with_doubles", onPath=(TESTS,))
    recorded = Recorded(make)
    killed, good, cancelled = (
        recorded.queue.submit(double_job(tiny_case, tmp_path / name, steps=steps, step_s=step_s, seed=seed))
        for seed, (name, steps, step_s) in enumerate((("a", 200, 0.1), ("b", 3, 0.01), ("c", 200, 0.1)))
    )
    DESKTOP.wait_for(lambda: killed.stage == "fit", 60)
    os.kill(recorded.queue._process.pid, signal.SIGKILL)
    DESKTOP.wait_for(lambda: cancelled.stage == "fit", 60)
    recorded.queue.cancel(cancelled)
    DESKTOP.wait_for(lambda: cancelled.state.isFinal, 10)
    METHODS.pop("double")
    assert [job.state for job in recorded.ended] == [JobState.FAILED, JobState.FINISHED, JobState.CANCELLED]
    assert good.outcome.result == tmp_path / "b"
    assert (tmp_path / "b" / "run.json").is_file()
    assert not psutil.Process().children(recursive=True)
    assert DESKTOP.take_errors() == []
