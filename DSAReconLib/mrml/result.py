"""A result folder as nodes of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml.context import SceneContext


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
    rendering
        vtkMRMLVolumeRenderingDisplayNode of the proxy.
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
    rendering: Any
    peak: Any
    arrival: Any | None
    probability: Any
    surface: Any | None
    maps: dict[str, Any]

    @property
    def name(self) -> str:
        """What the user sees, e.g. ``"Transit 133 views"``."""
        raise NotImplementedError

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Times of the frames of the sequence (T,), s."""
        raise NotImplementedError

    @property
    def attenuation_scale(self) -> float:
        """1/mm per stored integer of the sequence and the proxy."""
        raise NotImplementedError

    @property
    def is_static(self) -> bool:
        """Whether the result has one frame only."""
        raise NotImplementedError

    def in_scene(self) -> bool:
        """Whether the result's browser, sequence and proxy are still in their scene."""
        raise NotImplementedError


def load_result(
    context: SceneContext,
    folder: Path,
    *,
    name: str | None = None,
    preset: str | None = None,
    mapper: str | None = None,
) -> ResultNodes:
    """Load a result folder into the scene: 4D sequence, maps, surface, colors, rendering.

    Everything goes into one folder of the subject hierarchy, under the study of the fill
    run if that is loaded. A result that is already in the scene (same folder) is replaced:
    it may have been computed again, and its old nodes would show something else.

    Parameters
    ----------
    name
        What the user sees; default made of the method and the number of views.
    preset
        Name of :data:`DSAReconLib.mrml.presets.PRESETS`; default the first.
    mapper
        ``"gpu"`` or ``"cpu"``; default that of the context.

    Raises
    ------
    ResultError
        Not a result folder, or damaged; the scene is as before.
    """
    raise NotImplementedError


def results_in_scene(context: SceneContext) -> list[ResultNodes]:
    """The results that the scene holds, in the order of loading (also after reading a saved scene)."""
    raise NotImplementedError


def remove_result(context: SceneContext, nodes: ResultNodes) -> None:
    """Take a result out of the scene, with its folder and colors; pressing twice does nothing more."""
    raise NotImplementedError


def same_run(first: ResultNodes, second: ResultNodes) -> bool:
    """Whether two results were made of the same acquisition."""
    raise NotImplementedError
