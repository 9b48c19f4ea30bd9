"""Sequences: 16-bit 4D attenuation, frames by time, playback, several browsers at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.mrml.context import SceneContext


def sequence_times(sequence: Any) -> NDArray[np.float64]:
    """Index values (T,), s, of a vtkMRMLSequenceNode whose index is the time."""
    raise NotImplementedError


def select_time(browser: Any, time_s: float) -> float:
    """Show the frame nearest to ``time_s``; returns that frame's time, s."""
    raise NotImplementedError


def current_time(browser: Any) -> float:
    """Time of the frame that is shown, s."""
    raise NotImplementedError


def set_playback(browser: Any, active: bool, *, speed: float = 1.0) -> None:
    """Start or stop looped playback; ``speed`` 1 is real time.

    On the desktop Slicer's timer advances it; elsewhere call
    ``context.sequences_logic.UpdateAllProxyNodes()`` regularly, e.g. 30 times a second.
    """
    raise NotImplementedError


class TimeLink:
    """Keeps several browsers at the same time (nearest frame of each) while one of them moves.

    Works with any way of moving: :func:`select_time`, playback, Slicer's own toolbar.
    Browsers that are deleted drop out silently.

    Parameters
    ----------
    on_time
        Called with the new time (s) after all browsers were moved.
    """

    def __init__(
        self, context: SceneContext, browsers: Iterable[Any], on_time: Callable[[float], None] | None = None
    ) -> None:
        raise NotImplementedError

    def select_time(self, time_s: float) -> None:
        """Move all browsers."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop observing; may be called twice."""
        raise NotImplementedError
