"""Jobs one after the other, each in a process of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconWidgets.outcome import JobState, Outcome, QueuedJob
from DSAReconWidgets.process import WorkerProcess
from DSAReconWidgets.signal import Signal

Prepare = Callable[[QueuedJob, Callable[[Outcome | None], None]], None]
"""Called with a job and what to call when it may start (``None``) or cannot (its outcome)."""


class JobQueue:
    """Runs the oldest waiting job; every job ends in exactly one of finished, failed, cancelled.

    Parameters
    ----------
    makeProcess
        Makes the process of a job.

    Attributes
    ----------
    jobs : list[QueuedJob]
        All jobs, oldest first.
    changed : Signal(QueuedJob)
        Its state, progress or preview is new.
    logged : Signal(QueuedJob, str)
        It has a new log line.
    ended : Signal(QueuedJob)
        It has its outcome; the next one starts afterwards.
    prepare : Prepare or None
        What has to happen before a job starts (packages to install).
    """

    def __init__(self, makeProcess: Callable[[ReconstructionJob], Any] = WorkerProcess) -> None:
        self.jobs: list[QueuedJob] = []
        self.changed = Signal("job")
        self.logged = Signal("job", "line")
        self.ended = Signal("job")
        self.prepare: Prepare | None = None
        self._makeProcess = makeProcess
        self._current: QueuedJob | None = None
        self._process: Any = None
        self._closed = False

    @property
    def current(self) -> QueuedJob | None:
        """The job that is prepared, runs or is being cancelled."""
        return self._current

    @property
    def waiting(self) -> list[QueuedJob]:
        """Jobs that will start later, next one first."""
        return [job for job in self.jobs if job.state is JobState.WAITING and job is not self._current]

    def submit(self, job: ReconstructionJob, label: str = "") -> QueuedJob:
        """Queue a job.

        One that waits or runs already (equal in everything but the result folder) is
        returned instead: the button was pressed twice.
        """
        for known in self.jobs:
            if not known.state.isFinal and _same(known.job, job) and known.state is not JobState.CANCELLING:
                return known
        queued = QueuedJob(len(self.jobs) + 1, job, label)
        self.jobs.append(queued)
        self.changed(queued)
        self._startNext()
        return queued

    def cancel(self, queued: QueuedJob) -> None:
        """Cancel a job; one that has ended stays as it is."""
        if queued.state.isFinal or queued.state is JobState.CANCELLING:
            return
        if queued is self._current and self._process is not None:
            queued.state = JobState.CANCELLING
            self._process.cancel()
            self.changed(queued)
        else:
            self._end(queued, Outcome(JobState.CANCELLED))

    def cancelAll(self) -> None:
        """Cancel everything that waits or runs."""
        for queued in [*self.waiting, self._current]:
            if queued is not None:
                self.cancel(queued)

    def close(self) -> None:
        """End the running child and start nothing more; nothing is reported."""
        self._closed = True
        if self._process is not None:
            self._process.close()
        for sent in (self.changed, self.logged, self.ended):
            sent.disconnectAll()
        for queued in self.jobs:
            queued.end(Outcome(JobState.CANCELLED))
        self._current = self._process = None

    def _startNext(self) -> None:
        if self._closed or self._current is not None or not self.waiting:
            return
        queued = self._current = self.waiting[0]
        if self.prepare is None:
            self._run(queued)
        else:
            self.prepare(queued, lambda outcome: self._onPrepared(queued, outcome))

    def _onPrepared(self, queued: QueuedJob, outcome: Outcome | None) -> None:
        if self._closed or queued.state.isFinal or self._process is not None:
            return
        if outcome is None:
            self._run(queued)
        else:
            self._end(queued, outcome)

    def _run(self, queued: QueuedJob) -> None:
        process = self._process = self._makeProcess(queued.job)
        process.event.connect(lambda event: self._onEvent(queued, event))
        process.line.connect(lambda line: self._onLine(queued, line))
        process.ended.connect(lambda outcome: self._end(queued, outcome))
        queued.state = JobState.RUNNING
        self.changed(queued)
        process.start()

    def _onEvent(self, queued: QueuedJob, event: dict[str, Any]) -> None:
        queued.take(event)
        self.changed(queued)

    def _onLine(self, queued: QueuedJob, line: str) -> None:
        queued.log.append(line)
        self.logged(queued, line)

    def _end(self, queued: QueuedJob, outcome: Outcome) -> None:
        if queued.state.isFinal:
            return
        queued.end(outcome)
        if queued is self._current:
            self._current = self._process = None
        self.changed(queued)
        self.ended(queued)
        self._startNext()


def _same(first: ReconstructionJob, second: ReconstructionJob) -> bool:
    return dataclasses.replace(first, out="same") == dataclasses.replace(second, out="same")
