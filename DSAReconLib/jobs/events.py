"""Progress of a job as a stream of events, for a pipe or for a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.errors import JobCancelled
from DSAReconLib.jobs.protocol import HEARTBEAT_S, TERMINAL, Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHORTEST_INTERVAL_S = 0.1  # more than 10 reports a second help nobody


class EventProgress:
    """A :class:`~DSAReconLib.progress.Progress` that turns calls into events (see ``jobs.protocol``).

    Parameters
    ----------
    emit
        Receives every event, never from two threads at once.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._last: Event = {"event": "progress", "stage": "start", "fraction": 0.0, "eta_s": None, "message": ""}
        self._last_emitted_s = 0.0
        self._stage_started_s = time.monotonic()
        self._over = False

    def send(self, event: str, **content: object) -> bool:
        """Emit an event unless a terminal one went out before; whether it was emitted."""
        with self._lock:
            if self._over:
                return False
            self._over = event in TERMINAL
            self._emit({"event": event, **content})
            return True

    def report(
        self, stage: str, fraction: float, message: str = "", metrics: Mapping[str, float] | None = None
    ) -> None:
        """Emit progress; reports that follow each other closely are left out."""
        now = time.monotonic()
        with self._lock:
            new_stage = stage != self._last["stage"]
            if new_stage:
                self._stage_started_s = now
            fraction = min(max(float(fraction), 0.0), 1.0)
            elapsed = now - self._stage_started_s
            eta = elapsed * (1 - fraction) / fraction if fraction > 0.01 else None
            self._last = {
                "event": "progress",
                "stage": stage,
                "fraction": fraction,
                "eta_s": eta,
                "message": message,
                "metrics": dict(metrics or {}),
            }
            if new_stage or fraction >= 1 or now - self._last_emitted_s >= _SHORTEST_INTERVAL_S:
                self._emit_last(now)

    def heartbeat(self) -> None:
        """Repeat the newest progress if nothing was emitted for a while."""
        now = time.monotonic()
        with self._lock:
            if now - self._last_emitted_s >= 0.8 * HEARTBEAT_S:
                self._emit_last(now)

    def warn(self, code: str, message: str) -> None:
        """Emit a warning."""
        self.send("warning", code=code, message=message)

    def preview(self, volume: NDArray[np.float32]) -> None:
        """Ignore the volume: who knows its grid writes it and calls :meth:`announce_preview`."""

    def announce_preview(self, path: Path) -> None:
        """Emit where an intermediate volume lies."""
        self.send("preview", path=str(path))

    def cancel(self) -> None:
        """Make the next :meth:`check_cancelled` raise. Safe in threads and signal handlers."""
        self._cancelled.set()

    @property
    def cancelled(self) -> threading.Event:
        """Set once the job shall stop."""
        return self._cancelled

    def check_cancelled(self) -> None:
        """Raise :class:`~DSAReconLib.errors.JobCancelled` after :meth:`cancel`."""
        if self._cancelled.is_set():
            raise JobCancelled

    def _emit_last(self, now: float) -> None:
        if not self._over:
            self._last_emitted_s = now
            self._emit(self._last)


@contextmanager
def beating(progress: EventProgress) -> Iterator[None]:
    """Repeat the newest progress from a thread, so that a watcher sees that the job is alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.2 * HEARTBEAT_S):
            progress.heartbeat()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
