"""Advanced options of a method, made from its configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DSAReconWidgets.parameters import OptionSpec

_LARGEST = 2**31 - 1
_ABBREVIATIONS = {"tv": "TV", "mm": "", "s": "", "gb": "", "deg": "", "px": "", "max": "most", "min": "least"}


class OptionEditor:
    """One option: a labeled control.

    Parameters
    ----------
    spec
        The option.
    value
        What it is now.
    onChanged
        Called with (name, value) when the user has changed it.
    """

    def __init__(self, spec: OptionSpec, value: Any, onChanged: Callable[[str, Any], None]) -> None:
        self.spec = spec
        self._onChanged = onChanged
        self.widget = self._make(value)
        self.widget.objectName = f"option_{spec.name}"
        self.widget.toolTip = tooltip(spec)
        self.label = qt.QLabel(title(spec.name))
        self.label.toolTip = tooltip(spec)

    def _make(self, value: Any) -> Any:
        if self.spec.choices:
            return self._choice(value)
        if self.spec.kind == "bool":
            widget = qt.QCheckBox()
            widget.checked = bool(value)
            widget.connect("toggled(bool)", self._changed)
            return widget
        if self.spec.kind == "int":
            return self._whole(value)
        widget = qt.QLineEdit()
        number = (
            f"{value:g} {self.spec.unit}".strip() if self.spec.kind == "float" and value is not None else str(value)
        )
        widget.text = _("automatic") if value is None else number
        widget.connect("editingFinished()", lambda: self._changed(self._typed()))
        return widget

    def _choice(self, value: Any) -> Any:
        widget = qt.QComboBox()
        for choice in self.spec.choices:
            widget.addItem(choice, choice)
        widget.currentIndex = max(0, list(self.spec.choices).index(value) if value in self.spec.choices else 0)
        widget.connect("currentIndexChanged(int)", lambda index: self._changed(widget.itemData(index)))
        return widget

    def _whole(self, value: Any) -> Any:
        widget = qt.QSpinBox()
        low = int(self.spec.minimum if self.spec.minimum is not None else -_LARGEST)
        widget.minimum = low - 1 if self.spec.optional else low
        widget.maximum = int(self.spec.maximum if self.spec.maximum is not None else _LARGEST)
        if self.spec.optional:
            widget.specialValueText = _("automatic")
        if self.spec.unit:
            widget.suffix = f" {self.spec.unit}"
        widget.keyboardTracking = False
        widget.value = widget.minimum if value is None else int(value)
        widget.connect(
            "valueChanged(int)", lambda new: self._changed(None if self.spec.optional and new < low else new)
        )
        return widget

    def _typed(self) -> Any:
        """What was typed, as number where one is expected (a text is refused by the configuration)."""
        text = str(self.widget.text).strip().removesuffix(self.spec.unit).strip()
        if self.spec.optional and text.lower() in ("", "none", _("automatic")):
            return None
        if self.spec.kind != "float":
            return text
        try:
            return float(text.replace(",", "."))
        except ValueError:
            return text

    def _changed(self, value: Any) -> None:
        self._onChanged(self.spec.name, value)


def title(name: str) -> str:
    """A field's name as words: ``tv_space_mm`` is "TV space"."""
    words = [_ABBREVIATIONS.get(word, word) for word in re.split("_+", name)]
    text = " ".join(word for word in words if word)
    return text[:1].upper() + text[1:]


def tooltip(spec: OptionSpec) -> str:
    """What the option does, its unit, range and default, and where the default comes from."""
    default = _("automatic") if spec.default is None else spec.default
    default = (_("on") if default else _("off")) if isinstance(default, bool) else default
    lines = [spec.help]
    if spec.unit:
        lines.append(_("Unit: {unit}").format(unit=spec.unit))
    if spec.minimum is not None or spec.maximum is not None:
        low = "-∞" if spec.minimum is None else f"{spec.minimum:g}"
        high = "∞" if spec.maximum is None else f"{spec.maximum:g}"
        lines.append(_("Range: {low} to {high}").format(low=low, high=high))
    lines.append(_("Preset: {default}").format(default=default))
    if spec.source:
        lines.append(_("Source: {source}").format(source=spec.source))
    return "\n".join(lines)
