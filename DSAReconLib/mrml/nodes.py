"""The nodes of one result, and how they find each other again in a saved scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml.sequence import sequence_times
from DSAReconLib.mrml.volumes import scale_of

NAME_ATTRIBUTE = "DSARecon.ResultName"
FOLDER_ATTRIBUTE = "DSARecon.ResultFolder"
SOURCES_ATTRIBUTE = "DSARecon.SourceUIDs"
THRESHOLD_ATTRIBUTE = "DSARecon.SurfaceThreshold"
BRIGHT_ATTRIBUTE = "DSARecon.BrightAttenuation"
MAP_ATTRIBUTE = "DSARecon.Map"
PEAK, ARRIVAL, PROBABILITY, SURFACE, MAP = (
    f"DSARecon.{role}" for role in ("peak", "arrival", "probability", "surface", "map")
)
"""Node references of the browser."""


@dataclass(frozen=True)
class ResultNodes:
    """The nodes of one result.

    Parameters
    ----------
    folder
        Where the result lies on disk (it may have gone since the scene was saved).
    result
        The opened folder; ``None`` if it is not there any more.
    browser
        vtkMRMLSequenceBrowserNode, the owner of all other nodes: it references them and
        carries the result's name. Playback rate = real time, looped.
    sequence
        vtkMRMLSequenceNode of the 4D attenuation: 16-bit frames, index ``time`` in ``s``.
        Stored integers times :attr:`attenuation_scale` are 1/mm.
    proxy
        vtkMRMLScalarVolumeNode that shows the selected frame.
    peak
        Largest attenuation over time, float32, 1/mm.
    arrival
        Bolus arrival time in s; ``None`` for static results. Voxels without a vessel hold
        -1 and are not displayed (``NaN`` in the file).
    probability
        Vessel probability in [0, 1].
    surface
        vtkMRMLModelNode in RAS with point array ``arrival_time`` (s); ``None`` if no vessel
        reaches the threshold.
    maps
        Further volumes by their file name stem, e.g. ``blood_flow``.
    """

    folder: Path
    result: ResultFolder | None
    browser: Any
    sequence: Any
    proxy: Any
    peak: Any | None
    arrival: Any | None
    probability: Any | None
    surface: Any | None
    maps: dict[str, Any]

    @property
    def name(self) -> str:
        """What the user sees, e.g. ``"Transit 133 views"``."""
        return self.browser.GetAttribute(NAME_ATTRIBUTE) or ""

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Times of the frames of the sequence (T,), s."""
        return sequence_times(self.sequence)

    @property
    def attenuation_scale(self) -> float:
        """1/mm per stored integer of the sequence and the proxy."""
        return scale_of(self.sequence)

    @property
    def surface_threshold(self) -> float:
        """Attenuation from which a voxel counts as vessel, as the method found it, 1/mm."""
        return float(self.browser.GetAttribute(THRESHOLD_ATTRIBUTE) or "nan")

    @property
    def bright_attenuation(self) -> float:
        """Attenuation of the brightest vessels (99.5th percentile of their peaks), 1/mm."""
        return float(self.browser.GetAttribute(BRIGHT_ATTRIBUTE) or "nan")

    @property
    def source_uids(self) -> frozenset[str]:
        """SOP Instance UIDs of the runs behind the result."""
        return frozenset((self.browser.GetAttribute(SOURCES_ATTRIBUTE) or "").split())

    @property
    def is_static(self) -> bool:
        """Whether the result has one frame only."""
        return bool(self.sequence.GetNumberOfDataNodes() == 1)

    @property
    def rendering(self) -> Any | None:
        """The vtkMRMLVolumeRenderingDisplayNode of the proxy; ``None`` once it was deleted."""
        for number in range(self.proxy.GetNumberOfDisplayNodes()):
            display = self.proxy.GetNthDisplayNode(number)
            if display is not None and display.IsA("vtkMRMLVolumeRenderingDisplayNode"):
                return display
        return None

    def in_scene(self) -> bool:
        """Whether the result's browser, sequence and proxy are still in their scene."""
        return all(node.GetScene() is not None for node in (self.browser, self.sequence, self.proxy))

    def all_nodes(self) -> Iterator[Any]:
        """Proxy, surface, maps, sequence and browser: what the user sees first comes first."""
        yield self.proxy
        for node in (self.surface, self.peak, self.arrival, self.probability, *self.maps.values()):
            if node is not None:
                yield node
        yield self.sequence
        yield self.browser


def nodes_of_browser(browser: Any, result: ResultFolder | None) -> ResultNodes | None:
    """The result that a sequence browser owns; ``None`` if it owns none, or not all of it is left."""
    folder, sequence = browser.GetAttribute(FOLDER_ATTRIBUTE), browser.GetMasterSequenceNode()
    proxy = None if sequence is None else browser.GetProxyNode(sequence)
    if not folder or proxy is None:
        return None
    maps = (browser.GetNthNodeReference(MAP, number) for number in range(browser.GetNumberOfNodeReferences(MAP)))
    return ResultNodes(
        folder=Path(folder),
        result=result,
        browser=browser,
        sequence=sequence,
        proxy=proxy,
        peak=browser.GetNodeReference(PEAK),
        arrival=browser.GetNodeReference(ARRIVAL),
        probability=browser.GetNodeReference(PROBABILITY),
        surface=browser.GetNodeReference(SURFACE),
        maps={node.GetAttribute(MAP_ATTRIBUTE): node for node in maps if node is not None},
    )
