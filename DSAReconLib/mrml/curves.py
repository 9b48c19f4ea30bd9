"""Time-attenuation curves of points and segments, from the exact model, and their plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml.context import SceneContext


@dataclass(frozen=True)
class Curve:
    """A time-attenuation curve.

    Parameters
    ----------
    name
        What the legend says.
    times_s
        (T,), s.
    attenuation
        Mean contrast attenuation of the voxels (T,), 1/mm.
    position_ras
        Center of the voxels, RAS mm.
    voxels
        How many voxels were averaged.
    arrival_s, peak_s, peak
        Half-rise time (s), time of the maximum (s) and maximum (1/mm) of the curve.
    """

    name: str
    times_s: NDArray[np.float64]
    attenuation: NDArray[np.float32]
    position_ras: tuple[float, float, float]
    voxels: int
    arrival_s: float
    peak_s: float
    peak: float


class CurveModel:
    """The attenuation model of a result, ready for curves (0.1 s to open, then < 10 ms each).

    Parameters
    ----------
    result
        The result folder; its ``model.npz`` and vessel probability are read.

    Raises
    ------
    ResultError
        A file is missing or damaged.
    """

    def __init__(self, result: ResultFolder) -> None:
        raise NotImplementedError

    def at_point(
        self,
        point_ras: ArrayLike,
        *,
        radius_mm: float = 0.0,
        reach_mm: float = 5.0,
        times_s: ArrayLike | None = None,
        name: str = "",
    ) -> Curve | None:
        """Curve of the vessel voxel nearest to a point, or of the vessel voxels around it.

        Parameters
        ----------
        point_ras
            (3,), RAS mm.
        radius_mm
            Vessel voxels within this distance of the nearest one are averaged; 0 = that one alone.
        reach_mm
            ``None`` is returned if no vessel voxel lies within this distance of the point.
        times_s
            Where the curve is wanted; default the frame times of the run.
        """
        raise NotImplementedError

    def in_segment(
        self, segmentation: Any, segment_id: str, *, times_s: ArrayLike | None = None, name: str = ""
    ) -> Curve | None:
        """Mean curve of all voxels in a segment of a vtkMRMLSegmentationNode; ``None`` if it covers none."""
        raise NotImplementedError

    def in_labelmap(self, labelmap: Any, *, times_s: ArrayLike | None = None, name: str = "") -> Curve | None:
        """Mean curve of all voxels where a volume node is not 0; ``None`` if there are none."""
        raise NotImplementedError


class CurvePlot:
    """A plot chart of curves with a cursor at the time that is shown.

    Nodes: one vtkMRMLTableNode (``time`` in s, attenuation in 1/mm) and one
    vtkMRMLPlotSeriesNode per curve, one vtkMRMLPlotChartNode. They are saved with the scene.

    Parameters
    ----------
    title
        Title of the chart.
    """

    def __init__(self, context: SceneContext, title: str = "Time-attenuation curves") -> None:
        raise NotImplementedError

    @property
    def chart(self) -> Any:
        """vtkMRMLPlotChartNode, to be shown in a plot view; ``None`` once it was deleted."""
        raise NotImplementedError

    def show(self, key: str, curve: Curve, *, color: tuple[float, float, float] | None = None) -> None:
        """Draw a curve; one with the same ``key`` is replaced."""
        raise NotImplementedError

    def drop(self, key: str) -> None:
        """Take a curve away; unknown keys are ignored."""
        raise NotImplementedError

    def set_time(self, time_s: float) -> None:
        """Move the cursor."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete all nodes of the plot; may be called twice."""
        raise NotImplementedError
