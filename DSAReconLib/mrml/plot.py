"""A plot chart of time-attenuation curves with a cursor at the time that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from DSAReconLib.mrml.context import SceneContext

if TYPE_CHECKING:
    from DSAReconLib.mrml.curves import Curve

PALETTE = (
    (0.83, 0.18, 0.18),
    (0.10, 0.45, 0.80),
    (0.15, 0.60, 0.32),
    (0.90, 0.52, 0.05),
    (0.50, 0.28, 0.70),
    (0.05, 0.60, 0.62),
)
"""Line colors in the order of drawing, readable on white and on dark."""

TIME_COLUMN, ATTENUATION_COLUMN = "time", "attenuation"
_CURSOR_COLOR = (0.45, 0.45, 0.50)
_HEADROOM = 1.05


class CurvePlot:
    """A plot chart of curves with a cursor at the time that is shown.

    Nodes: one vtkMRMLTableNode (``time`` in s, ``attenuation`` in 1/mm) and one
    vtkMRMLPlotSeriesNode per curve, one vtkMRMLPlotChartNode. They are saved with the scene.

    Parameters
    ----------
    title
        Title of the chart.
    """

    def __init__(self, context: SceneContext, title: str = "Time-attenuation curves") -> None:
        self._scene = context.scene
        self._pairs: dict[str, tuple[Any, Any]] = {}
        self._chart = self._scene.AddNewNodeByClass("vtkMRMLPlotChartNode", title)
        self._chart.SetTitle(title)
        self._chart.SetXAxisTitle("Time (s)")
        self._chart.SetYAxisTitle("Attenuation (1/mm)")
        self._top = 0.0
        self._time_s: float | None = None
        self._cursor: tuple[Any, Any] | None = None

    @property
    def chart(self) -> Any | None:
        """The vtkMRMLPlotChartNode, to be shown in a plot view; ``None`` once it was deleted."""
        return self._chart if self._chart.GetScene() is self._scene else None

    @property
    def tables(self) -> dict[str, Any]:
        """Table node of every curve by its key."""
        return {key: table for key, (table, _) in self._pairs.items() if table.GetScene() is self._scene}

    def show(self, key: str, curve: Curve, *, color: tuple[float, float, float] | None = None) -> None:
        """Draw a curve; one with the same ``key`` is replaced."""
        if self.chart is None:
            return
        pair = self._pairs.get(key)
        if pair is None or any(node.GetScene() is not self._scene for node in pair):
            self.drop(key)
            pair = self._pairs[key] = self._new_pair(curve.name, color or self._free_color())
        table, series = pair
        if series.GetName() != curve.name:
            series.SetName(curve.name)
            table.SetName(f"{curve.name} table")
        if color is not None:
            series.SetColor(*color)
        _fill(table, curve.times_s, curve.attenuation)
        self._fit_cursor()

    def drop(self, key: str) -> None:
        """Take a curve away; unknown keys are ignored."""
        for node in self._pairs.pop(key, ()):
            if node.GetScene() is self._scene:
                self._scene.RemoveNode(node)
        self._fit_cursor()

    @property
    def drawn(self) -> tuple[str, ...]:
        """Keys of the curves, in the order of drawing."""
        return tuple(self._pairs)

    def set_time(self, time_s: float) -> None:
        """Move the cursor."""
        self._time_s = time_s
        self._fit_cursor(moved=True)

    def remove(self) -> None:
        """Delete all nodes of the plot; may be called twice."""
        for key in tuple(self._pairs):
            self.drop(key)
        for node in (*(self._cursor or ()), self._chart):
            if node.GetScene() is self._scene:
                self._scene.RemoveNode(node)
        self._cursor = None

    def _new_pair(self, name: str, color: tuple[float, float, float]) -> tuple[Any, Any]:
        table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} table")
        series = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(TIME_COLUMN)
        series.SetYColumnName(ATTENUATION_COLUMN)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetLineWidth(2.5)
        series.SetColor(*color)
        _fill(table, [0.0, 0.0], [0.0, 0.0])
        self._chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return table, series

    def _free_color(self) -> tuple[float, float, float]:
        used = {tuple(np.round(series.GetColor(), 2)) for _, series in self._pairs.values()}
        free = [color for color in PALETTE if tuple(np.round(color, 2)) not in used]
        return free[0] if free else PALETTE[len(self._pairs) % len(PALETTE)]

    def _fit_cursor(self, *, moved: bool = False) -> None:
        """A vertical line at the time, as high as the curves; nothing without curves."""
        if self._time_s is None or self.chart is None:
            return
        peaks = [table.GetTable().GetColumnByName(ATTENUATION_COLUMN).GetRange()[1] for table in self.tables.values()]
        top = _HEADROOM * max(peaks, default=0.0)
        if top <= 0 or (top == self._top and not moved):
            return
        self._top = top
        if self._cursor is None or any(node.GetScene() is not self._scene for node in self._cursor):
            self._cursor = self._new_pair("Shown time", _CURSOR_COLOR)
            self._cursor[1].SetLineStyle(self._cursor[1].LineStyleDash)
            self._cursor[1].SetLineWidth(1.5)
        _fill(self._cursor[0], [self._time_s, self._time_s], [0.0, top])


def _fill(table: Any, times_s: ArrayLike, values: ArrayLike) -> None:
    """Write two columns into a table node, in one step."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    content = vtk.vtkTable()
    for name, column in ((TIME_COLUMN, times_s), (ATTENUATION_COLUMN, values)):
        array = numpy_to_vtk(np.ascontiguousarray(column, np.float64), deep=True)
        array.SetName(name)
        content.AddColumn(array)
    was_modifying = table.StartModify()
    table.SetAndObserveTable(content)
    table.SetColumnUnitLabel(TIME_COLUMN, "s")
    table.SetColumnUnitLabel(ATTENUATION_COLUMN, "1/mm")
    table.EndModify(was_modifying)
