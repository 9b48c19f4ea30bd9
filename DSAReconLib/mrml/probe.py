"""Markups points that the user places on vessels, each with its time-attenuation curve."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from DSAReconLib.errors import ResultError
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.curves import REACH_MM, CurveModel
from DSAReconLib.mrml.nodes import ResultNodes
from DSAReconLib.mrml.plot import CurvePlot

_EVENTS = ("PointPositionDefinedEvent", "PointModifiedEvent", "PointRemovedEvent")


class CurveProbe:
    """Points of a vtkMRMLMarkupsFiducialNode whose curves follow them in a plot.

    Parameters
    ----------
    results
        Every point gets one curve per result, from the nearest vessel voxel. Results whose
        folder is gone give none.
    radius_mm
        See :meth:`DSAReconLib.mrml.curves.CurveModel.at_point`.
    points
        Existing points node, e.g. of a scene that was read; default a new one.
    """

    def __init__(
        self,
        context: SceneContext,
        results: Sequence[ResultNodes],
        plot: CurvePlot,
        *,
        radius_mm: float = 0.0,
        points: Any | None = None,
    ) -> None:
        self._scene, self._plot, self._radius_mm = context.scene, plot, radius_mm
        self._models: dict[Path, CurveModel] = {}
        self._results: list[ResultNodes] = []
        self._updating = False
        self._points = points or self._scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Curve")
        events = [getattr(self._points, name) for name in _EVENTS]
        self._tags = [self._points.AddObserver(event, self._on_changed) for event in events]
        self.set_results(results)

    @property
    def points(self) -> Any:
        """The vtkMRMLMarkupsFiducialNode to place points in."""
        return self._points

    def set_results(self, results: Sequence[ResultNodes]) -> None:
        """Show the curves of other results at the same points."""
        self._results = list(results)
        self._models = {folder: self._models[folder] for folder in self._models if folder in self._folders()}
        for nodes in self._results:
            if nodes.result is not None and nodes.folder not in self._models:
                with suppress(ResultError):
                    self._models[nodes.folder] = CurveModel(nodes.result)
        self.update()

    def add(self, point_ras: tuple[float, float, float]) -> int:
        """Add a point, as a click does; its number."""
        import vtk

        return int(self._points.AddControlPointWorld(vtk.vtkVector3d(*point_ras)))

    def update(self) -> None:
        """Compute all curves again."""
        if self._updating or self._points.GetScene() is not self._scene:
            return
        self._updating = True
        try:
            drawn = set()
            for number in range(self._points.GetNumberOfControlPoints()):
                drawn |= self._draw(number)
            for key in self._plot.drawn:
                if key.startswith(self._points.GetID() + "/") and key not in drawn:
                    self._plot.drop(key)
        finally:
            self._updating = False

    def close(self) -> None:
        """Stop following the points; nodes stay in the scene. May be called twice."""
        for tag in self._tags:
            self._points.RemoveObserver(tag)
        self._tags = []

    def _folders(self) -> set[Path]:
        return {nodes.folder for nodes in self._results}

    def _draw(self, number: int) -> set[str]:
        """Draw the curves of one point; their keys. The point's description says if there are none."""
        points = self._points
        if points.GetNthControlPointPositionStatus(number) != points.PositionDefined:
            return set()
        position, label = [0.0, 0.0, 0.0], points.GetNthControlPointLabel(number)
        points.GetNthControlPointPositionWorld(number, position)
        drawn = set()
        for nodes in self._results:
            model = self._models.get(nodes.folder)
            curve = None if model is None else model.at_point(position, radius_mm=self._radius_mm)
            if curve is None:
                continue
            key = f"{points.GetID()}/{points.GetNthControlPointID(number)}/{nodes.folder}"
            name = label if len(self._results) == 1 else f"{label} {nodes.name}"
            self._plot.show(key, replace(curve, name=name))
            drawn.add(key)
        description = "" if drawn else f"no vessel within {REACH_MM:g} mm"
        if points.GetNthControlPointDescription(number) != description:
            points.SetNthControlPointDescription(number, description)
        return drawn

    def _on_changed(self, *_: Any) -> None:
        self.update()
