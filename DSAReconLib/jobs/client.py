"""Starts a worker as a child process and listens to it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.protocol import CANCEL_LIMIT_S, CANCEL_LINE, TERMINAL, Event, decode_event

_GRACE_S = 1.0  # beyond the worker's own limit, before it is killed
_LOG_LINES = 1000


class WorkerClient:
    """A running worker.

    Parameters
    ----------
    job
        What it does.
    python
        Interpreter that has DSAReconLib; default this one.
    on_path
        Folders that the child shall find modules in, before its own.
    module
        The worker.

    Notes
    -----
    Use it as a context manager: leaving the block ends the child.
    """

    def __init__(
        self,
        job: ReconstructionJob,
        *,
        python: str = sys.executable,
        on_path: tuple[str, ...] = (),
        module: str = "DSAReconLib.jobs.worker",
    ) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as file:
            file.write(job.to_json())
        self._config = Path(file.name)
        environment = dict(os.environ)
        paths = [*on_path, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self._process = subprocess.Popen(
            [python, "-u", "-m", module, str(self._config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console beside a GUI
        )
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        threading.Thread(target=self._listen, name="worker output", daemon=True).start()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Process number of the child."""
        return self._process.pid

    @property
    def log_lines(self) -> list[str]:
        """The newest lines of the worker that are not events."""
        return list(self._log)

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Events as they come; ends after the terminal one.

        A worker that dies without a terminal event, or says nothing for ``timeout_s``,
        gives ``failed`` with code ``worker.died`` or ``worker.silent``.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout_s)
            except queue.Empty:
                yield _failure("worker.silent", f"The worker said nothing for {timeout_s:g} s.")
                return
            if event is None:
                code = self._process.wait()
                yield _failure("worker.died", f"The worker ended without a result (exit code {code}).")
                return
            yield event
            if event["event"] in TERMINAL:
                return

    def wait(self, timeout_s: float | None = None) -> Event:
        """The terminal event."""
        event: Event = {}
        for event in self.events(timeout_s):  # noqa: B007 - the last one counts
            pass
        return event

    def cancel(self) -> None:
        """Ask the worker to stop; it answers ``cancelled`` within 2 s, or is killed a little later."""
        self._send(CANCEL_LINE)
        threading.Thread(target=self._kill_after, args=(CANCEL_LIMIT_S + _GRACE_S,), daemon=True).start()

    def end(self) -> int:
        """Close the worker's stdin (which cancels it), wait, kill it if need be; its exit code."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):  # it has ended already
                self._process.stdin.close()
        self._kill_after(CANCEL_LIMIT_S + _GRACE_S)
        self._config.unlink(missing_ok=True)
        return self._process.wait()

    def _send(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended already
                self._process.stdin.write(line)
                self._process.stdin.flush()

    def _kill_after(self, limit_s: float) -> None:
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = decode_event(line)
            if event is None:
                self._log.append(line.rstrip())
            else:
                self._events.put(event)
        self._events.put(None)


def _failure(code: str, message: str) -> Event:
    return {
        "event": "failed",
        "code": code,
        "message": message,
        "hint": "Look at the worker's log lines; memory may have run out (choose a smaller --size).",
    }
