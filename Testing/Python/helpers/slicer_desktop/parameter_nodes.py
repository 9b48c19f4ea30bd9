"""``slicer.parameterNodeWrapper`` for tests: typed attributes over a scripted module node, bound to widgets."""

from __future__ import annotations

import typing
from typing import Any

import vtk
from helpers.slicer_desktop.parameter_types import (
    Choice,
    Default,
    Maximum,
    Minimum,
    ParameterType,
    WithinRange,
    is_stored,
    read_value,
    write_value,
)
from helpers.slicer_desktop.widget_bindings import bind

__all__ = ["Choice", "Default", "Maximum", "Minimum", "WithinRange", "parameterNodeWrapper"]


def parameterNodeWrapper(cls: type) -> type:
    """Make a class with annotations a typed view of a ``vtkMRMLScriptedModuleNode``."""
    hints = typing.get_type_hints(cls, include_extras=True)
    types = {
        name: ParameterType.of(name, hint, hasattr(cls, name), getattr(cls, name, None)) for name, hint in hints.items()
    }
    own = {
        name: value
        for name, value in vars(cls).items()
        if name not in types and name not in ("__dict__", "__weakref__", "__annotations__")
    }
    content: dict[str, Any] = {name: _attribute(kind) for name, kind in types.items()}
    wrapper = type(cls.__name__, (_ParameterNode,), {**own, **content, "allParameters": types})
    wrapper.__module__, wrapper.__doc__ = cls.__module__, cls.__doc__
    return wrapper


def _attribute(kind: ParameterType) -> property:
    return property(lambda self: self.getValue(kind.name), lambda self, value: self.setValue(kind.name, value))


class _ParameterNode:
    """What every wrapped class can do."""

    allParameters: typing.ClassVar[dict[str, ParameterType]] = {}

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        object.__setattr__(self, "parameterNode", parameterNode)
        object.__setattr__(self, "_prefix", f"{prefix}." if prefix else "")
        object.__setattr__(self, "_bindings", {})
        object.__setattr__(self, "_observer", None)
        object.__setattr__(self, "showing", False)
        for name, kind in self.allParameters.items():
            if not is_stored(parameterNode, self._prefix + name, kind.base) and kind.default is not None:
                write_value(parameterNode, self._prefix + name, kind.base, kind.default)
            elif kind.optional and not is_stored(parameterNode, self._prefix + name, kind.base):
                write_value(parameterNode, self._prefix + name, kind.base, None)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.allParameters:
            raise AttributeError(f"{type(self).__name__} has no parameter {name}")
        self.setValue(name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.parameterNode is self.parameterNode

    def __hash__(self) -> int:
        return hash(self.parameterNode)

    def getValue(self, name: str) -> Any:
        """Value of a parameter."""
        kind = self.allParameters[name]
        return read_value(self.parameterNode, self._prefix + name, kind.base, kind.optional)

    def setValue(self, name: str, value: Any) -> None:
        """Set a parameter; ValueError or TypeError if it cannot hold the value."""
        kind = self.allParameters[name]
        kind.validate(value)
        if is_stored(self.parameterNode, self._prefix + name, kind.base) and self.getValue(name) == value:
            return
        was_modifying = self.parameterNode.StartModify()
        write_value(self.parameterNode, self._prefix + name, kind.base, value)
        self.parameterNode.Modified()
        self.parameterNode.EndModify(was_modifying)

    def default(self, name: str) -> Default:
        """Value of a new node."""
        return Default(self.allParameters[name].default)

    def dataType(self, name: str) -> Any:
        """Type of a parameter."""
        return self.allParameters[name].base

    def connectGui(self, gui: Any) -> int:
        """Bind every widget whose dynamic property ``SlicerParameterName`` names a parameter."""
        widgets = vars(gui).values() if not hasattr(gui, "findChildren") else gui.findChildren(type(gui).__mro__[-2])
        mapping = {}
        for widget in widgets:
            name = widget.property("SlicerParameterName") if hasattr(widget, "property") else None
            if name:
                mapping[name] = widget
        return self.connectParametersToGui(mapping)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Bind widgets by parameter name; a tag for :meth:`disconnectGui`."""
        unknown = sorted(set(mapping) - set(self.allParameters))
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {', '.join(unknown)}")
        tag = 1 + max(self._bindings, default=-1)
        self._bindings[tag] = [bind(self, self.allParameters[name], widget) for name, widget in mapping.items()]
        if self._observer is None:
            observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_widgets)
            object.__setattr__(self, "_observer", observer)
        self._to_widgets()
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo a connection."""
        for binding in self._bindings.pop(tag):
            binding.close()
        if not self._bindings and self._observer is not None:
            self.parameterNode.RemoveObserver(self._observer)
            object.__setattr__(self, "_observer", None)

    def _to_widgets(self, *_: Any) -> None:
        if self.showing:
            return
        object.__setattr__(self, "showing", True)
        try:
            for bindings in list(self._bindings.values()):
                for binding in bindings:
                    binding.to_widget()
        finally:
            object.__setattr__(self, "showing", False)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """Observe the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """Stop observing the node."""
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        """Hold events back."""
        return self.parameterNode.StartModify()

    def EndModify(self, was_modifying: int) -> int:
        """Send the events held back."""
        return self.parameterNode.EndModify(was_modifying)
