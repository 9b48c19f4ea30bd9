"""The CTK widgets that the panel uses, each with the properties and signals that it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.slicer_desktop.pythonqt import dressed
from PySide6 import QtCore, QtGui, QtWidgets

_HEADER_PX = 24
_TITLE_PX = 18


class ctkCollapsibleButton(QtWidgets.QWidget):
    """Section with a header that opens and closes it."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self._hidden_before: set[QtWidgets.QWidget] = set()
        self.setContentsMargins(0, _HEADER_PX, 0, 0)

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _set_collapsed(self, collapsed: bool) -> None:
        if bool(collapsed) != self._collapsed:
            self._collapsed = bool(collapsed)
            self._apply()
            self.contentsCollapsed.emit(self._collapsed)

    def _apply(self) -> None:
        children = self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly)
        if self._collapsed:
            self._hidden_before = {child for child in children if child.isHidden()}
        for child in children:
            child.setVisible(not self._collapsed and child not in self._hidden_before)
        self.setMaximumHeight(_HEADER_PX if self._collapsed else 16777215)
        self.updateGeometry()

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() <= _HEADER_PX:
            self._set_collapsed(not self._collapsed)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        width = QtWidgets.QWidget.width(self)
        painter.fillRect(0, 0, width, _HEADER_PX - 2, QtGui.QColor("#dcdcdc"))
        _draw_arrow(painter, 6, 7, self._collapsed)
        painter.setPen(QtGui.QColor("#101010"))
        painter.drawText(QtCore.QRect(20, 0, width - 24, _HEADER_PX - 2), QtCore.Qt.AlignVCenter, self._text)
        painter.end()

    text = QtCore.Property(str, lambda self: self._text, _set_text)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _set_collapsed)


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """Group box that opens and closes by its title."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self.setContentsMargins(0, _TITLE_PX, 0, 0)

    def _set_collapsed(self, collapsed: bool) -> None:
        self._collapsed = bool(collapsed)
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(not self._collapsed)
        self.setMaximumHeight(_TITLE_PX if self._collapsed else 16777215)
        self.updateGeometry()

    def showEvent(self, event: Any) -> None:
        self._set_collapsed(self._collapsed)

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() <= _TITLE_PX:
            self._set_collapsed(not self._collapsed)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        width, height = QtWidgets.QWidget.width(self), QtWidgets.QWidget.height(self)
        if not self._collapsed:
            painter.setPen(QtGui.QColor("#c0c0c0"))
            painter.drawRect(0, _TITLE_PX // 2, width - 1, height - _TITLE_PX // 2 - 1)
        title = QtWidgets.QGroupBox.title(self)  # dressed, self.title is a text
        title_px = painter.fontMetrics().horizontalAdvance(title)
        painter.fillRect(8, 0, title_px + 24, _TITLE_PX, QtWidgets.QWidget.palette(self).window())
        painter.setPen(QtGui.QColor("#101010"))
        painter.drawText(QtCore.QRect(26, 0, width, _TITLE_PX), QtCore.Qt.AlignVCenter, title)
        _draw_arrow(painter, 10, 5, self._collapsed)
        painter.end()

    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _set_collapsed)


def _draw_arrow(painter: QtGui.QPainter, x: float, y: float, collapsed: bool) -> None:
    painter.setPen(QtCore.Qt.NoPen)
    painter.setBrush(QtGui.QColor("#505050"))
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    corners = ((1, 0), (1, 8), (7, 4)) if collapsed else ((0, 1), (8, 1), (4, 7))
    painter.drawPolygon(QtGui.QPolygonF([QtCore.QPointF(x + dx, y + dy) for dx, dy in corners]))


class ctkSliderWidget(QtWidgets.QWidget):
    """Slider with a number beside it."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider, self._box = QtWidgets.QSlider(QtCore.Qt.Horizontal), QtWidgets.QDoubleSpinBox()
        self._step, self._tracking = 1.0, True
        self._slider.setRange(0, 1000)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._box_changed)
        self._slider.valueChanged.connect(self._slider_changed)

    def _box_changed(self, value: float) -> None:
        self._show()
        self.valueChanged.emit(value)

    def _slider_changed(self, position: int) -> None:
        low, high = self._box.minimum(), self._box.maximum()
        self._box.setValue(low + position / 1000 * (high - low))

    def _show(self) -> None:
        low, high = self._box.minimum(), self._box.maximum()
        self._slider.blockSignals(True)
        self._slider.setValue(round(1000 * (self._box.value() - low) / max(1e-9, high - low)))
        self._slider.blockSignals(False)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setMinimum(self, value: float) -> None:
        self._box.setMinimum(value)
        self._show()

    def setMaximum(self, value: float) -> None:
        self._box.setMaximum(value)
        self._show()

    def setRange(self, low: float, high: float) -> None:
        self._box.setRange(low, high)
        self._show()

    def setSuffix(self, suffix: str) -> None:
        self._box.setSuffix(suffix)

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)

    value = QtCore.Property(float, lambda self: self._box.value(), setValue)
    minimum = QtCore.Property(float, lambda self: self._box.minimum(), setMinimum)
    maximum = QtCore.Property(float, lambda self: self._box.maximum(), setMaximum)
    suffix = QtCore.Property(str, lambda self: self._box.suffix(), setSuffix)
    decimals = QtCore.Property(int, lambda self: self._box.decimals(), setDecimals)
    singleStep = QtCore.Property(
        float, lambda self: self._box.singleStep(), lambda self, step: self._box.setSingleStep(step)
    )
    pageStep = QtCore.Property(
        float, lambda self: self._step, lambda self, step: self.__dict__.__setitem__("_step", step)
    )
    tracking = QtCore.Property(
        bool, lambda self: self._slider.hasTracking(), lambda self, on: self._slider.setTracking(on)
    )


class ctkPathLineEdit(QtWidgets.QWidget):
    """Line with a path and a button that opens a file dialog."""

    currentPathChanged = QtCore.Signal(str)

    Files, Readable, Dirs = 0x002, 0x010, 0x001
    Drives, NoDotAndDotDot, Writable, Executable = 0x004, 0x1000, 0x020, 0x040

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self._line, self._button = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        self._button.setText("…")
        self._filters = ""
        layout.addWidget(self._line, 1)
        layout.addWidget(self._button)
        self._line.textChanged.connect(self.currentPathChanged)

    def setCurrentPath(self, path: str | Path) -> None:
        self._line.setText(str(path))

    def setToolTip(self, text: str) -> None:
        super().setToolTip(text)
        self._line.setToolTip(text)

    currentPath = QtCore.Property(str, lambda self: self._line.text(), setCurrentPath)
    filters = QtCore.Property(
        str, lambda self: self._filters, lambda self, text: self.__dict__.__setitem__("_filters", text)
    )
    settingKey = QtCore.Property(str, lambda self: "", lambda self, key: None)
    showHistoryButton = QtCore.Property(bool, lambda self: False, lambda self, on: None)


CTK_WIDGETS = {
    cls.__name__: dressed(cls)
    for cls in (ctkCollapsibleButton, ctkCollapsibleGroupBox, ctkSliderWidget, ctkPathLineEdit)
}
