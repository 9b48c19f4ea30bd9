"""Playing time: as fast as it happened, or slower, in a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SPEEDS = (0.25, 0.5, 1.0, 2.0)
_STEP_S = 1 / 25


class Playback:
    """Advances a time by the clock while it is on.

    Parameters
    ----------
    time_range_s
        Gives first and last time, s.
    get_time, set_time
        The time that is played, s.
    """

    def __init__(
        self,
        time_range_s: Callable[[], tuple[float, float]],
        get_time: Callable[[], float],
        set_time: Callable[[float], None],
    ) -> None:
        self._range, self._get, self._set = time_range_s, get_time, set_time
        self.playing = False
        self.speed = 1.0
        self._wake = asyncio.Event()

    def play(self, playing: bool) -> None:
        """Start or stop."""
        self.playing = playing
        self._wake.set()

    async def run(self) -> None:
        """Advance the time until cancelled."""
        before = time.monotonic()
        while True:
            if not self.playing:
                self._wake.clear()
                await self._wake.wait()
                before = time.monotonic()
            await asyncio.sleep(_STEP_S)
            now = time.monotonic()
            self._set(advanced(self._get(), self.speed * (now - before), self._range()))
            before = now


def advanced(time_s: float, by_s: float, time_range_s: tuple[float, float]) -> float:
    """A time in a loop over a range, ``by_s`` later."""
    start, end = time_range_s
    return start + (time_s - start + by_s) % (end - start)
