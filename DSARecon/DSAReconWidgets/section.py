"""What the sections of the panel share: their base, and how a control says why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import qt

_HEADER_PX = 24
_OWN_TOOLTIP = "DSARecon.ToolTip"


class Section:
    """One section of the panel. It holds no state: that is in the parameter node and the scene.

    Parameters
    ----------
    panel
        The :class:`~DSAReconWidgets.widget.DSAReconWidget`, which offers ``ui``, ``logic``,
        ``controller``, ``parameterNode``, ``result``, ``results`` and ``refresh``.
    """

    def __init__(self, panel: Any) -> None:
        self.panel = panel
        self.ui = panel.ui

    def setup(self) -> None:
        """Connect the widgets; once."""

    def update(self) -> None:
        """Show what is true now; called after every change, with a parameter node."""

    def leave(self) -> None:
        """The user goes to another module, or the scene is about to close."""

    def close(self) -> None:
        """End for good; may be called twice."""
        self.leave()


def allow(widget: Any, reason: str = "") -> None:
    """Enable a control, or disable it with the reason as its tooltip."""
    own = widget.property(_OWN_TOOLTIP)
    if own is None:
        own = widget.toolTip
        widget.setProperty(_OWN_TOOLTIP, own)
    widget.enabled = not reason
    widget.toolTip = reason or own


def describe(widget: Any, text: str) -> None:
    """Give a control another tooltip, also for when it is enabled again."""
    widget.setProperty(_OWN_TOOLTIP, text)
    if widget.enabled:
        widget.toolTip = text


def showText(label: Any, text: str, *, warning: bool = False) -> None:
    """Show a sentence; an empty one takes no space."""
    label.text = text
    label.visible = bool(text)
    label.styleSheet = "color: #a33c00" if warning else ""


def fitRows(tree: Any, rowPx: int, most: int) -> None:
    """Make a list just as high as its rows, at most ``most`` of them."""
    rows = min(max(int(tree.topLevelItemCount), 1), most)
    tree.setFixedHeight(_HEADER_PX + rows * rowPx + 2 * int(tree.frameWidth))


def bindPath(panel: Any, edit: Any, name: str) -> None:
    """Store what is typed or chosen as a parameter (Slicer's own binding would show no folder as ".")."""
    edit.connect("currentPathChanged(QString)", lambda text: panel.setParameter(name, Path(str(text).strip())))


def showPath(edit: Any, path: Path) -> None:
    """Show a path without telling anybody; no folder is empty."""
    text = "" if path == Path() else str(path)
    if edit.currentPath != text and not (text and Path(str(edit.currentPath)) == path):
        blocked = edit.blockSignals(True)
        edit.currentPath = text
        edit.blockSignals(blocked)


def fillCombo(combo: Any, entries: Iterable[tuple[str, Any, str]]) -> None:
    """Set the (text, value, tooltip) entries of a list without telling anybody, unless they are the same."""
    entries = list(entries)
    if [(combo.itemText(i), combo.itemData(i)) for i in range(combo.count)] == [entry[:2] for entry in entries]:
        return
    blocked = combo.blockSignals(True)
    combo.clear()
    for index, (text, value, tooltip) in enumerate(entries):
        combo.addItem(text, value)
        combo.setItemData(index, tooltip, qt.Qt.ToolTipRole)
    combo.blockSignals(blocked)


def selectValue(combo: Any, value: Any) -> None:
    """Select the entry with this value without telling anybody."""
    index = combo.findData(value)
    if combo.currentIndex != index:
        blocked = combo.blockSignals(True)
        combo.setCurrentIndex(index)
        combo.blockSignals(blocked)


def showValue(slider: Any, value: float) -> None:
    """Set a slider without telling anybody."""
    blocked = slider.blockSignals(True)
    slider.value = value
    slider.blockSignals(blocked)


def setLimits(slider: Any, low: float, high: float) -> None:
    """Set the range of a slider without telling anybody."""
    blocked = slider.blockSignals(True)
    slider.minimum = low
    slider.maximum = high
    slider.blockSignals(blocked)
