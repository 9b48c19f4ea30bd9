"""Small drawings of the panel: the C-arm's positions and a time-attenuation curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import qt
from numpy.typing import ArrayLike

_EARLY_TO_LATE = ((215, 48, 39), (244, 150, 60), (240, 205, 80), (120, 190, 160), (49, 100, 200))
_UNUSED = "#c8c8c8"
_INK = "#404040"
_GRID = "#d0d0d0"


def timeColor(share: float) -> Any:
    """QColor of a time between the first (0, red) and the last frame (1, blue)."""
    position = min(max(share, 0.0), 1.0) * (len(_EARLY_TO_LATE) - 1)
    index = min(int(position), len(_EARLY_TO_LATE) - 2)
    rest = position - index
    first, second = _EARLY_TO_LATE[index], _EARLY_TO_LATE[index + 1]
    return qt.QColor(*(round(a + rest * (b - a)) for a, b in zip(first, second)))


class Canvas:
    """A pixmap of a label's size that is drawn on and then shown in it."""

    def __init__(self, label: Any, width: int, height: int) -> None:
        self._label = label
        self.width, self.height = width, height
        ratio = float(getattr(label, "devicePixelRatioF", lambda: 1.0)())
        self._pixmap = qt.QPixmap(round(width * ratio), round(height * ratio))
        self._pixmap.setDevicePixelRatio(ratio)
        self._pixmap.fill(qt.QColor(0, 0, 0, 0))
        self._painter = qt.QPainter()
        self._painter.begin(self._pixmap)
        self._painter.setRenderHint(qt.QPainter.Antialiasing)
        font = qt.QFont(label.font)
        font.setPointSizeF(max(6.5, 0.8 * font.pointSizeF()))
        self._painter.setFont(font)

    def pen(self, color: Any, width: float = 1.0, *, dashed: bool = False) -> None:
        """Color and width (px) of what is drawn next."""
        pen = qt.QPen(qt.QColor(color))
        pen.setWidthF(width)
        if dashed:
            pen.setStyle(qt.Qt.DashLine)
        self._painter.setPen(pen)

    def polyline(self, points: ArrayLike) -> None:
        """Line through points (N, 2), px from the top left."""
        values = np.asarray(points, float)
        path = qt.QPainterPath()
        path.moveTo(float(values[0, 0]), float(values[0, 1]))
        for x, y in values[1:]:
            path.lineTo(float(x), float(y))
        self._painter.drawPath(path)

    def dot(self, x: float, y: float, radius: float, color: Any) -> None:
        """Filled circle."""
        self._painter.setBrush(qt.QBrush(qt.QColor(color)))
        self._painter.drawEllipse(qt.QRectF(x - radius, y - radius, 2 * radius, 2 * radius))
        self._painter.setBrush(qt.QBrush(qt.Qt.NoBrush))

    def text(self, x: float, y: float, text: str, *, width: float = 80, alignment: Any = None) -> None:
        """Text in a box of ``width`` px around x (or beginning or ending there), its middle at y."""
        alignment = qt.Qt.AlignHCenter if alignment is None else alignment
        left = x - width / 2
        if alignment == qt.Qt.AlignLeft:
            left = x
        elif alignment == qt.Qt.AlignRight:
            left = x - width
        self._painter.drawText(qt.QRectF(left, y - 8, width, 16), int(alignment | qt.Qt.AlignVCenter), text)

    def show(self) -> None:
        """Put the drawing into the label."""
        self._painter.end()
        self._label.setPixmap(self._pixmap)


def drawViews(label: Any, primaryDeg: ArrayLike, timesS: ArrayLike, selected: ArrayLike) -> None:
    """Positions of the C-arm seen from the feet: 0° (frontal) at the top, LAO to the right as the patient's left is."""
    width, height = label.minimumWidth, label.minimumHeight
    canvas = Canvas(label, width, height)
    middle, outer = (width / 2, height / 2), height / 2 - 17
    inner = outer - 15
    chosen = set(np.asarray(selected).tolist())
    times = np.asarray(timesS, float)
    span = max(float(np.ptp(times)), 1e-9)
    canvas.pen(_GRID)
    canvas.polyline([_onCircle(middle, inner, degrees) for degrees in range(0, 361, 5)])
    canvas.pen(_INK)
    for degrees, text in ((0, "0°"), (90, "LAO"), (-90, "RAO"), (180, "180°")):
        x, y = _onCircle(middle, outer + (8 if degrees in (0, 180) else 16), degrees)
        canvas.text(x, y, text, width=40)
    for used in (False, True):
        for frame, degrees in enumerate(np.asarray(primaryDeg, float)):
            if (frame in chosen) == used:
                color = timeColor((times[frame] - times[0]) / span) if used else _UNUSED
                canvas.pen(color, 2.0 if used else 1.0)
                end = outer if used else (inner + outer) / 2
                canvas.polyline([_onCircle(middle, inner, degrees), _onCircle(middle, end, degrees)])
    canvas.show()


def drawCurve(
    label: Any, timesS: ArrayLike, attenuation: ArrayLike, *, nowS: float | None, arrivalS: float | None, width: int
) -> None:
    """Attenuation (1/mm) over time (s) with the time that is shown and the arrival of the contrast medium."""
    height = label.minimumHeight
    canvas = Canvas(label, width, height)
    times, values = np.asarray(timesS, float), np.asarray(attenuation, float)
    left, right, top, bottom = 46.0, width - 8.0, 16.0, height - 20.0
    last = max(float(times[-1]), 1e-9)
    highest = _roundUp(max(float(values.max()), 1e-6))
    at_x = lambda time: left + (right - left) * np.asarray(time, float) / last  # noqa: E731
    at_y = lambda value: bottom - (bottom - top) * np.asarray(value, float) / highest  # noqa: E731
    for value in (0.0, highest / 2, highest):
        canvas.pen(_GRID)
        canvas.polyline([(left, at_y(value)), (right, at_y(value))])
        canvas.pen(_INK)
        canvas.text(left - 4, float(at_y(value)), f"{value:g}", alignment=qt.Qt.AlignRight, width=44)
    canvas.text(2, 6, "1/mm", alignment=qt.Qt.AlignLeft, width=60)
    step = _roundUp(last / 5)
    for tick in np.arange(0, last + 1e-6, step):
        canvas.text(min(float(at_x(tick)), right - 6), bottom + 11, f"{tick:g}" + (" s" if tick == 0 else ""), width=40)
    if arrivalS is not None and math.isfinite(arrivalS):
        canvas.pen("#d73027", 1.0, dashed=True)
        canvas.polyline([(at_x(arrivalS), top), (at_x(arrivalS), bottom)])
    canvas.pen("#2060b0", 1.8)
    canvas.polyline(np.stack([at_x(times), at_y(np.clip(values, 0, None))], -1))
    if nowS is not None:
        canvas.pen(_INK, 1.0)
        canvas.polyline([(at_x(nowS), top), (at_x(nowS), bottom)])
        canvas.dot(float(at_x(nowS)), float(at_y(max(0.0, np.interp(nowS, times, values)))), 3.0, _INK)
    canvas.show()


def _onCircle(middle: tuple[float, float], radius: float, degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return middle[0] + radius * math.sin(angle), middle[1] - radius * math.cos(angle)


def _roundUp(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999)
