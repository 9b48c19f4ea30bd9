"""Which widget shows which type of parameter, in both directions."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from helpers.slicer_desktop.parameter_types import ParameterType


@dataclass
class Binding:
    """A parameter and the widget that shows it."""

    node: Any
    kind: ParameterType
    widget: Any
    signal: str
    read: Any
    write: Any

    def open(self) -> Binding:
        """Start listening to the widget."""
        self.widget.connect(self.signal, self.to_parameter)
        return self

    def close(self) -> None:
        """Stop listening."""
        self.widget.disconnect(self.signal, self.to_parameter)

    def to_parameter(self, *_: Any) -> None:
        """Store what the widget shows, unless it is just being told."""
        if not self.node.showing:
            self.node.setValue(self.kind.name, self.read())

    def to_widget(self) -> None:
        """Show what is stored."""
        value = self.node.getValue(self.kind.name)
        if self.read() != value or isinstance(value, Path):  # no path is shown as ".", as Slicer does
            self.write(value)


def bind(node: Any, kind: ParameterType, widget: Any) -> Binding:
    """Binding of a parameter to a widget; ValueError if the pair does not go together (exact types, as in Slicer)."""
    maker = _MAKERS.get((_family(kind), type(widget).__name__))
    if maker is None:
        raise ValueError(f"Slicer binds no parameter of type {kind.base} to a {type(widget).__name__}")
    return maker(node, kind, widget).open()


def _family(kind: ParameterType) -> str:
    if kind.is_node:
        return "node"
    if kind.choices() is not None:
        return "choice"
    if isinstance(kind.base, type) and issubclass(kind.base, PurePath):
        return "path"
    return getattr(kind.base, "__name__", "")


def _simple(signal: str, attribute: str, convert: Any = lambda value: value) -> Any:
    def make(node: Any, kind: ParameterType, widget: Any) -> Binding:
        return Binding(
            node, kind, widget, signal,
            lambda: convert(getattr(widget, attribute)),
            lambda value: setattr(widget, attribute, value),
        )  # fmt: skip

    return make


def _number(signal: str) -> Any:
    def make(node: Any, kind: ParameterType, widget: Any) -> Binding:
        low, high = kind.limits()
        if low is not None:
            widget.minimum = low
        if high is not None:
            widget.maximum = high
        if type(widget).__name__ in ("QSlider", "ctkSliderWidget") and None in (low, high):
            raise ValueError(f"{kind.name}: a slider needs a parameter with a range")
        return _simple(signal, "value", kind.base)(node, kind, widget)

    return make


def _choice(node: Any, kind: ParameterType, widget: Any) -> Binding:
    choices = kind.choices() or []
    if not widget.count:
        for choice in choices:
            widget.addItem(_label(choice))
    if widget.count != len(choices):
        raise ValueError(f"{kind.name}: the list has {widget.count} entries for {len(choices)} choices")
    return Binding(
        node, kind, widget, "currentIndexChanged(int)",
        lambda: choices[widget.currentIndex] if widget.currentIndex >= 0 else None,
        lambda value: setattr(widget, "currentIndex", choices.index(value)),
    )  # fmt: skip


def _label(choice: Any) -> str:
    if isinstance(choice, enum.Enum):
        return choice.label() if hasattr(choice, "label") else choice.name
    return str(choice)


def _path(node: Any, kind: ParameterType, widget: Any) -> Binding:
    return Binding(
        node, kind, widget, "currentPathChanged(QString)",
        lambda: Path(widget.currentPath),
        lambda value: setattr(widget, "currentPath", str(value)),
    )  # fmt: skip


def _node(node: Any, kind: ParameterType, widget: Any) -> Binding:
    return Binding(node, kind, widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)


_TOGGLES = ("QCheckBox", "QPushButton")
_MAKERS: dict[tuple[str, str], Any] = {
    **{("bool", name): _simple("toggled(bool)", "checked") for name in _TOGGLES},
    ("int", "QSpinBox"): _number("valueChanged(int)"),
    ("int", "QSlider"): _number("valueChanged(int)"),
    ("float", "QDoubleSpinBox"): _number("valueChanged(double)"),
    ("float", "ctkSliderWidget"): _number("valueChanged(double)"),
    ("str", "QLineEdit"): _simple("textChanged(QString)", "text"),
    ("choice", "QComboBox"): _choice,
    ("path", "ctkPathLineEdit"): _path,
    ("node", "qMRMLNodeComboBox"): _node,
}
