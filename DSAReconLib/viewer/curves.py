"""Time-attenuation curves of clicked vessel points, as the page's plot takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.mrml.curves import Curve
from DSAReconLib.viewer.picking import Point
from DSAReconLib.viewer.scene import ViewerScene

COLORS = ("#4fc3f7", "#ffb74d", "#81c784", "#f06292", "#ba68c8", "#fff176")
_SAMPLES = 160
_TICKS = 4
_MARKER_MM = 3.0


class CurvePoints:
    """Vessel points that the user clicked: a marker in the scene and a curve in the plot each."""

    def __init__(self, scene: ViewerScene) -> None:
        self._scene = scene
        self._points: list[tuple[Point, Any]] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: Point) -> bool:
        """Add a point (RAS mm); the oldest goes when all colors are used. False if no vessel is near."""
        curve = self._scene.current.curves.at_point(point)
        if curve is None:
            return False
        if len(self._points) == len(COLORS):
            self._remove(0)
        color = COLORS[self._next % len(COLORS)]
        self._next += 1
        self._points.append((curve.position_ras, self._marker(curve.position_ras, color)))
        return True

    def clear(self) -> None:
        """Remove all points."""
        while self._points:
            self._remove(0)
        self._next = 0

    def plot(self) -> dict[str, Any]:
        """What the page draws: curves of the selected result, and of the other loaded ones dashed.

        Coordinates are percent of the plot's width and height; ``values`` label its axes.
        """
        start, end = self._scene.time_range_s
        times = np.linspace(start, end, _SAMPLES)
        drawn: list[tuple[Curve, str, str, bool]] = []
        selected = self._scene.current
        for number, (point, marker) in enumerate(self._points):
            color = marker.GetAttribute("DSARecon.Color")
            for name, entry in self._scene.loaded:
                curve = entry.curves.at_point(point, times_s=times, name=name)
                if curve is not None:
                    drawn.append((curve, f"Point {number + 1}", color, entry is not selected))
        top = _round_up(max((curve.peak for curve, *_ in drawn), default=0.0))
        return {
            "curves": [_entry(curve, label, color, dashed, (start, end), top) for curve, label, color, dashed in drawn],
            "time_ticks": _ticks(start, end, "{:.4g}"),
            "value_ticks": _ticks(0.0, top, "{:.3g}"),
        }

    def _marker(self, point: Point, color: str) -> Any:
        node = self._scene.context.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Curve point")
        node.SetAttribute("DSARecon.Color", color)
        node.AddControlPointWorld(*point)
        node.SetLocked(True)
        node.CreateDefaultDisplayNodes()
        shown = node.GetDisplayNode()
        rgb = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        shown.SetSelectedColor(*rgb)
        shown.SetColor(*rgb)
        shown.SetPointLabelsVisibility(False)
        shown.SetPropertiesLabelVisibility(False)
        shown.SetUseGlyphScale(False)
        shown.SetGlyphSize(_MARKER_MM)
        shown.SetOccludedVisibility(True)
        return node

    def _remove(self, number: int) -> None:
        _, marker = self._points.pop(number)
        self._scene.context.scene.RemoveNode(marker)


def _entry(
    curve: Curve, label: str, color: str, dashed: bool, time_range_s: tuple[float, float], top: float
) -> dict[str, Any]:
    x = 100 * (curve.times_s - time_range_s[0]) / (time_range_s[1] - time_range_s[0])
    y = 100 * (1 - np.clip(curve.attenuation, 0, None) / top)
    position = ", ".join(f"{value:.1f}" for value in curve.position_ras)
    return {
        "points": _polyline(x, y),
        "color": color,
        "dash": "4 3" if dashed else "none",
        "label": label,
        "name": curve.name,
        "facts": f"arrival {curve.arrival_s:.2f} s · peak {curve.peak:.4f} /mm at {curve.peak_s:.2f} s",
        "position": f"RAS {position} mm",
        "main": not dashed,
    }


def _polyline(x: NDArray[np.floating], y: NDArray[np.floating]) -> str:
    return " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(x, y, strict=True))


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten, with some room above ``value``."""
    if not value > 0:
        return 1.0
    wanted = 1.05 * value
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= wanted))


def _ticks(low: float, high: float, form: str) -> list[dict[str, Any]]:
    return [
        {"at": 100 * number / _TICKS, "text": form.format(low + (high - low) * number / _TICKS)}
        for number in range(_TICKS + 1)
    ]
