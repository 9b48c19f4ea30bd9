"""PySide6 dressed as PythonQt: what modules of desktop Slicer see as ``qt``.

Qt properties are attributes (``button.text``, not ``button.text()``), signals are also
connected by their C++ signature (``button.connect("clicked()", f)``).
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

errors: list[BaseException] = []
"""Exceptions that receivers of signals raised: Qt prints them and goes on, a test must fail."""

_VIRTUAL = {"sizeHint", "minimumSizeHint"}  # C++ would call the Python attribute
_NOT_IN_PYTHONQT = {"Signal", "Slot", "Property", "ClassInfo", "QtMsgType"}
_WITH_PROPERTIES = (
    QtCore.QCoreApplication, QtCore.QIODevice, QtCore.QTimer, QtCore.QAbstractItemModel, QtCore.QItemSelectionModel,
    QtGui.QAction, QtWidgets.QWidget, QtWidgets.QLayout, QtWidgets.QButtonGroup, QtCore.QPropertyAnimation,
)  # fmt: skip


class PythonQtObject:
    """What PythonQt adds to every QObject."""

    def __getattribute__(self, name: str) -> Any:
        # PySide6 looks 'connect' up on the instance: a method of the class would be ignored.
        original = super().__getattribute__(name)
        if name not in ("connect", "disconnect"):
            return original
        by_signature = _connect if name == "connect" else _disconnect

        def dispatch(*arguments: Any) -> Any:
            if len(arguments) == 2 and isinstance(arguments[0], str) and callable(arguments[1]):
                return by_signature(self, *arguments)
            return original(*arguments)

        return dispatch

    @property
    def name(self) -> str:
        """Object name."""
        return QtCore.QObject.objectName(self)

    @name.setter
    def name(self, value: str) -> None:
        QtCore.QObject.setObjectName(self, value)

    def delete(self) -> None:
        """Delete the C++ object."""
        self.deleteLater()


def _connect(sender: Any, signature: str, receiver: Callable[..., Any]) -> bool:
    """Connect by C++ signature; the receiver gets as many arguments as the signature names."""
    name, _, arguments = signature.rstrip(")").partition("(")
    signal = getattr(sender, name, None)
    if not hasattr(signal, "connect"):
        raise ValueError(f"{type(sender).__name__} has no signal {signature}")
    count = len(arguments.split(",")) if arguments else 0

    def slot(*values: Any) -> None:
        receiver(*values[:count])

    sender.__dict__.setdefault("_connections", []).append((signature, receiver, slot))
    signal.connect(slot)
    return True


def _disconnect(sender: Any, signature: str, receiver: Callable[..., Any]) -> bool:
    kept = sender.__dict__.get("_connections", [])
    for entry in [entry for entry in kept if entry[0] == signature and entry[1] == receiver]:
        getattr(sender, signature.partition("(")[0]).disconnect(entry[2])
        kept.remove(entry)
    return True


def _property(name: str) -> property:
    def set_value(self: Any, value: Any) -> None:
        QtCore.QObject.setProperty(self, name, value)

    return property(lambda self: QtCore.QObject.property(self, name), set_value)


@cache
def dressed(cls: type) -> type:
    """The class with its Qt properties as attributes; works for own widgets with ``QtCore.Property``, too."""
    content: dict[str, Any] = {}
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        name = meta.property(index).name()
        own = any(isinstance(base.__dict__.get(name), QtCore.Property) for base in cls.__mro__)
        # A name that an own widget defines as a method (currentData) stays one.
        method = any(
            callable(base.__dict__.get(name)) for base in cls.__mro__ if not base.__module__.startswith("PySide6")
        )
        if name not in _VIRTUAL and not own and not method:
            content[name] = _property(name)
    content["__module__"] = cls.__module__
    return type(cls.__name__, (PythonQtObject, cls), content)


class _Module(types.ModuleType):
    """Module that says plainly what it lacks."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the {self.__name__} stand-in of the tests has no {name}")


def make_qt() -> types.ModuleType:
    """The module ``qt``."""
    module = _Module("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("_") or name in _NOT_IN_PYTHONQT:
                continue
            value = getattr(source, name)
            if isinstance(value, type) and issubclass(value, _WITH_PROPERTIES):
                value = dressed(value)
            setattr(module, name, value)
    module.QUiLoader = UiLoader
    return module


def make_ctk(widgets: dict[str, type]) -> types.ModuleType:
    """The module ``ctk`` with these widgets."""
    module = _Module("ctk")
    for name, widget in widgets.items():
        setattr(module, name, widget)
    return module


class UiLoader(QtUiTools.QUiLoader):
    """Loads .ui files with dressed widgets; keeps those of unknown classes in :attr:`unknown`."""

    custom: ClassVar[dict[str, type]] = {}
    unknown: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []  # else the Python half of a widget is lost

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        cls = self.custom.get(class_name)
        if cls is None and hasattr(QtWidgets, class_name):
            cls = dressed(getattr(QtWidgets, class_name))
        if cls is None:
            self.unknown.add(class_name)
            cls = dressed(QtWidgets.QWidget)
        widget = cls(parent)
        QtCore.QObject.setObjectName(widget, name)
        self.kept.append(widget)
        return widget

    def createLayout(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        layout = dressed(getattr(QtWidgets, class_name))()
        if isinstance(parent, QtWidgets.QWidget):
            parent.setLayout(layout)
        QtCore.QObject.setObjectName(layout, name)
        self.kept.append(layout)
        return layout


def application() -> Any:
    """The one QApplication, without a display; keeps what receivers raise in :data:`errors`."""
    shown = sys.excepthook

    def keep(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        errors.append(error)
        shown(kind, error, trace)

    sys.excepthook = keep
    return QtWidgets.QApplication.instance() or dressed(QtWidgets.QApplication)([])
