"""Sequences: frames by time, playback in real time, several browsers at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.mrml.context import SceneContext

_SHORTEST_STEP_S = 1e-3


def add_sequence(
    context: SceneContext, name: str, volumes: Iterable[Any], times_s: ArrayLike, *, unit: str = "s"
) -> tuple[Any, Any, Any]:
    """Sequence, browser and proxy node of volume nodes, one per time; plays in real time, looped.

    ``volumes`` are nodes outside of the scene; their images are taken over, not copied.
    Changes of the proxy never reach the sequence.
    """
    scene = context.scene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} sequence")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit(unit)
    sequence.SetIndexTypeFromString("numeric")
    for volume, time in zip(volumes, np.atleast_1d(np.asarray(times_s, float)), strict=True):
        _append(sequence, volume, float(time))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetOverwriteProxyName(sequence, False)
    browser.SetSaveChanges(sequence, False)
    browser.SetIndexDisplayFormat("%.2f")
    browser.SetPlaybackLooped(True)
    browser.SetPlaybackItemSkippingEnabled(True)
    browser.SetPlaybackRateFps(_real_time_rate(sequence_times(sequence)))
    context.sequences_logic.UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    proxy.SetName(name)
    proxy.CreateDefaultDisplayNodes()
    return sequence, browser, proxy


def sequence_times(sequence: Any) -> NDArray[np.float64]:
    """Index values (T,), s, of a vtkMRMLSequenceNode whose index is the time."""
    return np.array([float(sequence.GetNthIndexValue(number)) for number in range(sequence.GetNumberOfDataNodes())])


def select_time(browser: Any, time_s: float) -> float:
    """Show the frame nearest to ``time_s``; returns that frame's time, s."""
    times = _browser_times(browser)
    if not len(times):
        return float("nan")
    number = int(np.abs(times - time_s).argmin())
    if browser.GetSelectedItemNumber() != number:
        browser.SetSelectedItemNumber(number)
    return float(times[number])


def current_time(browser: Any) -> float:
    """Time of the frame that is shown, s; NaN if the browser has none."""
    times, number = _browser_times(browser), browser.GetSelectedItemNumber()
    return float(times[number]) if 0 <= number < len(times) else float("nan")


def set_playback(browser: Any, active: bool, *, speed: float = 1.0) -> None:
    """Start or stop looped playback; ``speed`` 1 is real time.

    On the desktop Slicer's timer advances it; elsewhere call
    ``context.sequences_logic.UpdateAllProxyNodes()`` regularly, e.g. 30 times a second.
    """
    times = _browser_times(browser)
    browser.SetPlaybackRateFps(speed * _real_time_rate(times))
    browser.SetPlaybackActive(bool(active) and len(times) > 1)


class TimeLink:
    """Keeps several browsers at the same time (nearest frame of each) while one of them moves.

    They start at the time of the first. Works with any way of moving: :func:`select_time`,
    playback, Slicer's own toolbar. Browsers that are deleted drop out silently.

    Parameters
    ----------
    on_time
        Called with the new time (s) after all browsers were moved.
    """

    def __init__(
        self, context: SceneContext, browsers: Iterable[Any], on_time: Callable[[float], None] | None = None
    ) -> None:
        self._scene = context.scene
        self._on_time = on_time
        self._browsers = list(browsers)
        self._moving = False
        self._shown: list[int] = []
        if self._browsers:
            self._move(current_time(self._browsers[0]))
        self._tags = [browser.AddObserver("ModifiedEvent", self._on_modified) for browser in self._browsers]

    @property
    def browsers(self) -> list[Any]:
        """Linked browsers that are still in the scene."""
        return [browser for browser in self._browsers if browser.GetScene() is self._scene]

    def select_time(self, time_s: float) -> None:
        """Move all browsers."""
        if self._moving:
            return
        self._move(time_s)
        if self._on_time is not None:
            self._on_time(time_s)

    def close(self) -> None:
        """Stop observing; may be called twice."""
        for browser, tag in zip(self._browsers, self._tags):
            browser.RemoveObserver(tag)
        self._browsers, self._tags, self._shown = [], [], []

    def _move(self, time_s: float) -> None:
        self._moving = True
        try:
            for browser in self.browsers:
                select_time(browser, time_s)
            self._shown = [browser.GetSelectedItemNumber() for browser in self._browsers]
        finally:
            self._moving = False

    def _on_modified(self, browser: Any, _event: str) -> None:
        if self._moving or browser not in self._browsers or browser.GetScene() is not self._scene:
            return
        place, number = self._browsers.index(browser), browser.GetSelectedItemNumber()
        if number == self._shown[place] or number < 0:
            return
        self._shown[place] = number
        self.select_time(current_time(browser))


def _append(sequence: Any, volume: Any, time_s: float) -> None:
    """Add a volume without the deep copy of its image that the sequence would make."""
    image = volume.GetImageData()
    volume.SetAndObserveImageData(None)
    sequence.SetDataNodeAtValue(volume, repr(time_s)).SetAndObserveImageData(image)


def _browser_times(browser: Any) -> NDArray[np.float64]:
    sequence = browser.GetMasterSequenceNode()
    return np.zeros(0) if sequence is None else sequence_times(sequence)


def _real_time_rate(times_s: NDArray[np.float64]) -> float:
    """Frames per second at which a sequence of these times plays as fast as it happened."""
    if len(times_s) < 2:
        return 1.0
    return float(1 / max((times_s[-1] - times_s[0]) / (len(times_s) - 1), _SHORTEST_STEP_S))
