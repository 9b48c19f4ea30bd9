"""``python -u -m DSAReconLib.jobs.worker CONFIG.json``: one job in a process of its own.

Events go to stdout (see ``jobs.protocol``), log lines to stderr. Cancelled by a line on
stdin, by SIGTERM, or by the end of the parent (stdin closes).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TextIO

from DSAReconLib import __version__
from DSAReconLib.errors import ConfigError, DSAReconError, JobCancelled
from DSAReconLib.io.atomic import partial_path
from DSAReconLib.jobs.events import EventProgress, beating
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.log import internal_error
from DSAReconLib.jobs.protocol import CANCEL_LIMIT_S, PROTOCOL_VERSION, Event, encode_event, is_cancel
from DSAReconLib.jobs.resources import resolve_device
from DSAReconLib.jobs.resume import discard_checkpoint, has_state

FINISHED, FAILED, CANCELLED = 0, 1, 130

_ANSWER_WITHIN_S = 0.8 * CANCEL_LIMIT_S  # then the process ends even if the computation does not listen


def main(argv: list[str] | None = None) -> int:
    """Run the job in the file named by the only argument; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    progress = EventProgress(_line_writer(sys.stdout))
    _log_to_stderr()
    try:
        job = _read_job(arguments)
        device = resolve_device(job.device)
        progress.send("started", protocol=PROTOCOL_VERSION, version=__version__, pid=os.getpid(), device=device)
        _listen_for_cancel(progress, job)
        with beating(progress):
            return _run(job, progress)
    except DSAReconError as error:
        return _report(error, progress)
    except Exception as error:
        return _report(internal_error(error), progress)


def _run(job: ReconstructionJob, progress: EventProgress) -> int:
    from DSAReconLib.jobs.pipeline import run_job

    folder = run_job(job, progress)
    progress.send("finished", result=str(folder))
    return FINISHED


def _read_job(arguments: list[str]) -> ReconstructionJob:
    if len(arguments) != 1:
        raise ConfigError("The worker takes exactly one argument, the job as a JSON file.")
    try:
        text = Path(arguments[0]).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The job {arguments[0]} cannot be read: {error.strerror}.") from error
    return ReconstructionJob.from_json(text)


def _report(error: DSAReconError, progress: EventProgress) -> int:
    if isinstance(error, JobCancelled):
        progress.send("cancelled", checkpoint=error.checkpoint)
        return CANCELLED
    progress.send("failed", code=error.code, message=error.message, hint=error.hint)
    return FAILED


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)


def _line_writer(stream: TextIO) -> Callable[[Event], None]:
    def write(event: Event) -> None:
        with contextlib.suppress(OSError, ValueError):  # the parent has gone; its end cancels the job
            stream.write(encode_event(event))
            stream.flush()

    return write


def _listen_for_cancel(progress: EventProgress, job: ReconstructionJob) -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        progress.cancel()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    threading.Thread(target=_watch_stdin, args=(progress, sys.stdin), name="stdin", daemon=True).start()
    threading.Thread(target=_end_in_time, args=(progress, job), name="end in time", daemon=True).start()


def _watch_stdin(progress: EventProgress, stream: TextIO) -> None:
    for line in stream:
        if is_cancel(line):
            break
    progress.cancel()


def _end_in_time(progress: EventProgress, job: ReconstructionJob) -> None:
    """After a cancel, end the process even if the computation is in a long call."""
    progress.cancelled.wait()
    time.sleep(_ANSWER_WITHIN_S)
    resumable = has_state(job.checkpoint_folder)
    if progress.send("cancelled", checkpoint=str(job.checkpoint_folder) if resumable else None):
        shutil.rmtree(partial_path(job.out_folder), ignore_errors=True)
        if not resumable:
            discard_checkpoint(job.checkpoint_folder)
        os._exit(CANCELLED)


def main_and_exit() -> None:
    """Run and leave without taking libraries and threads apart, which can take longer than a cancel may."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main_and_exit()
