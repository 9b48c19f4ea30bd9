"""One job in a process of its own, seen from the process that waits for it."""

from __future__ import annotations

from pathlib import Path

from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.jobs.client import WorkerClient
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.protocol import TERMINAL, Event
from DSAReconLib.progress import Progress


def run_in_child(job: ReconstructionJob, progress: Progress, label: str = "") -> Path:
    """Run a job in a child process: its peak memory is its own, and its end cannot be ours.

    Parameters
    ----------
    job
        What to do.
    progress
        Gets what the child reports; cancels it.
    label
        Goes before the child's messages.

    Returns
    -------
    The result folder.

    Raises
    ------
    DSAReconError
        What the child reported, with its code; ``worker.died`` if it could not report anything.
    JobCancelled
        Here or there; with the checkpoint if there is one.
    """
    with WorkerClient(job) as client:
        asked = False
        for event in client.events():
            _forward(event, progress, label)
            if event["event"] in TERMINAL:
                return _outcome(event)
            try:
                progress.check_cancelled()
            except JobCancelled:
                if not asked:
                    client.cancel()
                asked = True
    raise AssertionError("events end with a terminal one")


def _forward(event: Event, progress: Progress, label: str) -> None:
    if event["event"] == "progress":
        message = ": ".join(part for part in (label, event.get("message")) if part)
        progress.report(event["stage"], event["fraction"], message, event.get("metrics"))
    elif event["event"] == "warning":
        progress.warn(event["code"], ": ".join(part for part in (label, event["message"]) if part))


def _outcome(event: Event) -> Path:
    if event["event"] == "finished":
        return Path(event["result"])
    if event["event"] == "cancelled":
        raise JobCancelled(checkpoint=event.get("checkpoint"))
    raise DSAReconError(event["message"], hint=event.get("hint") or "", code=event.get("code"))
