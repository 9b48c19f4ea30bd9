"""Markups points that the user places on vessels, each with its time-attenuation curve."""

from __future__ import annotations

from typing import Any

from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.curves import CurvePlot
from DSAReconLib.mrml.result import ResultNodes


class CurveProbe:
    """Points of a vtkMRMLMarkupsFiducialNode whose curves follow them in a plot.

    Parameters
    ----------
    results
        Every point gets one curve per result, from the nearest vessel voxel.
    radius_mm
        See :meth:`DSAReconLib.mrml.curves.CurveModel.at_point`.
    """

    def __init__(
        self, context: SceneContext, results: list[ResultNodes], plot: CurvePlot, *, radius_mm: float = 0.0
    ) -> None:
        raise NotImplementedError

    @property
    def points(self) -> Any:
        """The vtkMRMLMarkupsFiducialNode to place points in."""
        raise NotImplementedError

    def add(self, point_ras: tuple[float, float, float]) -> int:
        """Add a point, as a click does; its number."""
        raise NotImplementedError

    def update(self) -> None:
        """Compute all curves again."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop following the points; nodes stay in the scene."""
        raise NotImplementedError
