"""Types that a parameter node can hold: how a value becomes text in a MRML node and is found again."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import slicer


@dataclass(frozen=True)
class Default:
    """Annotation: value of a new parameter node."""

    value: Any


@dataclass(frozen=True)
class WithinRange:
    """Annotation: smallest and largest value."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if value is None or not self.minimum <= value <= self.maximum:
            raise ValueError(f"must be within [{self.minimum}, {self.maximum}]; got {value}")


@dataclass(frozen=True)
class Minimum:
    """Annotation: smallest value."""

    minimum: float

    def validate(self, value: Any) -> None:
        if value is None or value < self.minimum:
            raise ValueError(f"must be at least {self.minimum}; got {value}")


@dataclass(frozen=True)
class Maximum:
    """Annotation: largest value."""

    maximum: float

    def validate(self, value: Any) -> None:
        if value is None or value > self.maximum:
            raise ValueError(f"must be at most {self.maximum}; got {value}")


@dataclass(frozen=True)
class Choice:
    """Annotation: the possible values."""

    choices: Any

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"must be one of {list(self.choices)}; got {value!r}")


VALIDATORS = (WithinRange, Minimum, Maximum, Choice)
_PLAIN: dict[type, tuple[Callable[[Any], str], Callable[[str], Any], Any]] = {
    int: (str, int, 0),
    float: (repr, float, 0.0),
    str: (str, str, ""),
    bool: (str, lambda text: text == "True", False),
}


@dataclass(frozen=True)
class ParameterType:
    """One parameter's type with what its annotation adds."""

    name: str
    base: Any
    optional: bool
    annotations: tuple[Any, ...]
    default: Any

    @classmethod
    def of(cls, name: str, hint: Any, has_default: bool, default: Any) -> ParameterType:
        """From a class annotation; TypeError for what a parameter node cannot hold."""
        annotations: tuple[Any, ...] = ()
        if typing.get_origin(hint) is Annotated:
            hint, *rest = typing.get_args(hint)
            annotations = tuple(rest)
        optional = False
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            parts = [part for part in typing.get_args(hint) if part is not type(None)]
            if len(parts) != 1:
                raise TypeError(f"{name}: a parameter node holds no {hint}")
            hint, optional = parts[0], True
        _check_known(name, hint)
        given = [entry.value for entry in annotations if isinstance(entry, Default)]
        if given:
            default = given[0]
        elif not has_default:
            default = None if optional else _own_default(hint)
        return cls(name, hint, optional, annotations, default)

    @property
    def is_node(self) -> bool:
        """Whether it refers to a node of the scene."""
        return is_node_class(self.base)

    def limits(self) -> tuple[float | None, float | None]:
        """(smallest, largest) value, ``None`` where there is none."""
        low = [entry.minimum for entry in self.annotations if isinstance(entry, WithinRange | Minimum)]
        high = [entry.maximum for entry in self.annotations if isinstance(entry, WithinRange | Maximum)]
        return (low[0] if low else None), (high[0] if high else None)

    def choices(self) -> list[Any] | None:
        """Possible values of an enumeration or a choice."""
        if isinstance(self.base, type) and issubclass(self.base, enum.Enum):
            return list(self.base)
        for entry in self.annotations:
            if isinstance(entry, Choice):
                return list(entry.choices)
        return None

    def validate(self, value: Any) -> None:
        """ValueError if the annotation forbids the value, TypeError if it is of another type."""
        if value is None and (self.optional or self.is_node):
            return
        expected = (int, float) if self.base is float else typing.get_origin(self.base) or self.base
        if issubclass(expected, pathlib.PurePath) if isinstance(expected, type) else False:
            expected = (str, pathlib.PurePath)
        if not isinstance(value, expected) or (isinstance(value, bool) and self.base is not bool):
            raise TypeError(f"{self.name} must be of type {self.base}; got {value!r}")
        for entry in self.annotations:
            if isinstance(entry, VALIDATORS):
                try:
                    entry.validate(value)
                except ValueError as error:
                    raise ValueError(f"{self.name} {error}") from None


def is_node_class(kind: Any) -> bool:
    """Whether ``kind`` is a class of MRML nodes."""
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def write_value(node: Any, name: str, kind: Any, value: Any) -> None:
    """Store a value in a scripted module node."""
    if is_node_class(kind):
        node.SetNodeReferenceID(name, value.GetID() if value else None)
    elif typing.get_origin(kind) is list:
        old = int(node.GetParameter(f"{name}.len") or 0)
        for index in range(len(value), old):
            node.UnsetParameter(f"{name}.{index}")
        node.SetParameter(f"{name}.len", str(len(value)))
        for index, item in enumerate(value):
            write_value(node, f"{name}.{index}", typing.get_args(kind)[0], item)
    elif value is None:
        node.SetParameter(name, "None")
    elif issubclass(kind, enum.Enum):
        node.SetParameter(name, value.name)
    else:
        node.SetParameter(name, _PLAIN[kind][0](kind(value)) if kind in _PLAIN else str(value))


def read_value(node: Any, name: str, kind: Any, optional: bool = False) -> Any:
    """Value out of a scripted module node."""
    if is_node_class(kind):
        return node.GetNodeReference(name)
    if typing.get_origin(kind) is list:
        item = typing.get_args(kind)[0]
        return [
            read_value(node, f"{name}.{index}", item) for index in range(int(node.GetParameter(f"{name}.len") or 0))
        ]
    text = node.GetParameter(name)
    if optional and text == "None":
        return None
    if issubclass(kind, enum.Enum):
        return kind[text]
    return _PLAIN[kind][1](text) if kind in _PLAIN else kind(text)


def is_stored(node: Any, name: str, kind: Any) -> bool:
    """Whether the node holds a value under this name."""
    if is_node_class(kind):
        return node.GetNodeReferenceID(name) is not None
    key = f"{name}.len" if typing.get_origin(kind) is list else name
    return key in node.GetParameterNames()


def _check_known(name: str, kind: Any) -> None:
    if typing.get_origin(kind) is list:
        _check_known(name, typing.get_args(kind)[0])
        return
    known = isinstance(kind, type) and (
        kind in _PLAIN or issubclass(kind, enum.Enum | pathlib.PurePath) or is_node_class(kind)
    )
    if not known:
        raise TypeError(f"{name}: a parameter node holds no {kind}")


def _own_default(kind: Any) -> Any:
    if is_node_class(kind):
        return None
    if typing.get_origin(kind) is list:
        return []
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    return _PLAIN[kind][2] if kind in _PLAIN else kind(".")
