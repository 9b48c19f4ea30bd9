"""How a job went, and what it does right now."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.protocol import TERMINAL

LOG_LINES = 5000


class JobState(str, enum.Enum):
    """Where a job stands. The last three are final; every job reaches exactly one of them."""

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def isFinal(self) -> bool:
        """Whether nothing will change any more."""
        return self in (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    state
        ``FINISHED``, ``FAILED`` or ``CANCELLED``.
    result
        Result folder of a finished job.
    code, message, hint
        Why it failed: one sentence what happened, one what to do.
    checkpoint
        Folder from which a cancelled job can go on, if there is one.
    """

    state: JobState
    result: Path | None = None
    code: str = ""
    message: str = ""
    hint: str = ""
    checkpoint: Path | None = None


def reportedOutcome(event: dict[str, Any]) -> Outcome:
    """The outcome in a terminal event of the worker."""
    if event["event"] == "finished":
        return Outcome(JobState.FINISHED, result=Path(event["result"]))
    if event["event"] == "cancelled":
        checkpoint = event.get("checkpoint")
        return Outcome(JobState.CANCELLED, checkpoint=Path(checkpoint) if checkpoint else None)
    message, hint, code = (str(event.get(name) or "") for name in ("message", "hint", "code"))
    return Outcome(JobState.FAILED, message=message, hint=hint, code=code)


@dataclass
class QueuedJob:
    """A job in the queue, with everything that a watcher may show.

    Parameters
    ----------
    number
        Counts from 1.
    job
        What to do.
    label
        Name to show.
    state
        Where it stands.
    stage, fraction, etaS, message, metrics
        Newest progress: name of the stage, its share done (0 to 1), seconds left in it (``None`` = unknown).
    device
        Where it runs, once it has started.
    preview
        Newest intermediate volume (NRRD); it disappears when the job ends.
    previewNumber
        Counts the intermediate volumes.
    warnings
        (code, message) pairs.
    log
        Lines that the child wrote.
    outcome
        How it ended; ``None`` before.
    """

    number: int
    job: ReconstructionJob
    label: str = ""
    state: JobState = JobState.WAITING
    stage: str = ""
    fraction: float = 0.0
    etaS: float | None = None
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    device: str = ""
    preview: Path | None = None
    previewNumber: int = 0
    warnings: list[tuple[str, str]] = field(default_factory=list)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    outcome: Outcome | None = None

    @property
    def logText(self) -> str:
        """The log as text."""
        return "\n".join(self.log)

    def take(self, event: dict[str, Any]) -> None:
        """Take over what an event of the worker says (see ``DSAReconLib.jobs.protocol``)."""
        kind = event.get("event")
        if kind == "progress":
            self.stage = str(event.get("stage") or "")
            self.fraction = float(event.get("fraction") or 0.0)
            self.etaS = event.get("eta_s")
            self.message = str(event.get("message") or "")
            self.metrics = dict(event.get("metrics") or self.metrics)
        elif kind == "started":
            self.device = str(event.get("device") or "")
        elif kind == "preview":
            self.preview = Path(event["path"])
            self.previewNumber += 1
        elif kind == "warning":
            self.warnings.append((str(event.get("code")), str(event.get("message"))))
        elif kind in TERMINAL:
            self.end(reportedOutcome(event))

    def end(self, outcome: Outcome) -> None:
        """Set the outcome, once."""
        if not self.state.isFinal:
            self.state, self.outcome, self.preview = outcome.state, outcome, None
