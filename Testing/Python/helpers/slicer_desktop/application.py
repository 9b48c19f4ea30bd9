"""Puts the stand-ins in place and makes panels as the application does."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import slicer
from helpers.slicer_desktop import parameter_nodes, pythonqt, scripted_module
from helpers.slicer_desktop.core import boot
from helpers.slicer_desktop.ctk_widgets import CTK_WIDGETS
from helpers.slicer_desktop.qmrml_widgets import QMRML_WIDGETS, qMRMLUtils
from helpers.slicer_desktop.views import LayoutManager

_TURNS = 10

MODULE_FOLDER = Path(__file__).parents[4] / "DSARecon"


class SlicerApplication:
    """``slicer.app``."""

    applicationName = "Slicer"
    applicationVersion = "5.12.3-2026-07-22"
    revision = "34000"
    majorVersion, minorVersion = 5, 12
    platform = "linux-amd64"
    os = "Linux"

    def __init__(self, qt_application: Any, application_logic: Any, folder: Path) -> None:
        self._qt, self._logic, self._layout = qt_application, application_logic, LayoutManager()
        self._receivers: dict[str, list[Callable[..., Any]]] = {}
        self.temporaryPath = str(folder)
        self.slicerHome = str(folder)
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")

    def connect(self, signature: str, receiver: Callable[..., Any]) -> bool:
        """``startupCompleted()``, ``aboutToQuit()`` and others; a test sends them with :meth:`send`."""
        self._receivers.setdefault(signature, []).append(receiver)
        return True

    def disconnect(self, signature: str, receiver: Callable[..., Any]) -> bool:
        if receiver in self._receivers.get(signature, []):
            self._receivers[signature].remove(receiver)
        return True

    def send(self, signature: str) -> None:
        """Call whoever is connected."""
        for receiver in list(self._receivers.get(signature, [])):
            receiver()

    def testingEnabled(self) -> bool:
        return True

    def layoutManager(self) -> LayoutManager:
        return self._layout

    def applicationLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def processEvents(self, *_: Any) -> None:
        self._qt.processEvents()

    def clipboard(self) -> Any:
        return self._qt.clipboard()

    def topLevelWidgets(self) -> list[Any]:
        return []

    def setOverrideCursor(self, cursor: Any) -> None:
        """Nobody looks."""

    def restoreOverrideCursor(self) -> None:
        """Nobody looks."""

    def pauseRender(self) -> None:
        """Nobody looks."""

    def resumeRender(self) -> None:
        """Nobody looks."""

    def userSettings(self) -> Any:
        import qt

        return qt.QSettings()

    settings = userSettings


class Desktop:
    """The application and what tests do with it."""

    def __init__(self, app: SlicerApplication, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.app, self.folder, self._kept = app, Path(folder.name), folder

    def take_errors(self) -> list[BaseException]:
        """What receivers of signals raised since the last call; tests assert that it is empty."""
        found = list(pythonqt.errors)
        pythonqt.errors.clear()
        return found

    @property
    def scene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    def open_module(self, name: str = "DSARecon") -> Any:
        """A module's widget as the application makes it: set up, with the scene, entered, shown."""
        import qt

        module = importlib.import_module(name)
        parent = qt.QWidget()
        parent.setLayout(qt.QVBoxLayout())
        widget = getattr(module, f"{name}Widget")(parent)
        widget.setup()
        parent.show()
        if hasattr(widget, "enter"):
            widget.enter()
        self.spin()
        return widget

    def close_module(self, widget: Any) -> None:
        """End a module's widget as the application does."""
        if hasattr(widget, "exit"):
            widget.exit()
        widget.cleanup()
        for child in widget.parent.findChildren(slicer.qMRMLNodeComboBox):
            child.setMRMLScene(None)
        widget.parent.close()
        widget.parent.deleteLater()
        self.spin()

    def spin(self, seconds: float = 0.0) -> None:
        """Let the application work for a while, on a busy machine until short timers have come twice."""
        end = time.monotonic() + seconds
        self.app.processEvents()
        turns = 0
        while time.monotonic() < end or 0 < turns < _TURNS:
            self.app.processEvents()
            time.sleep(0.005)
            turns += 1

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
        """Let the application work until something is true; its value."""
        end = time.monotonic() + timeout_s
        while True:
            self.app.processEvents()
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout_s:g} s in vain{' for ' + what if what else ''}")
            time.sleep(0.01)

    def close_scene(self) -> None:
        """File > Close scene."""
        slicer.mrmlScene.Clear(0)
        self.spin()

    def forget_settings(self) -> None:
        """As on first use."""
        import qt

        qt.QSettings().clear()


@cache
def desktop() -> Desktop:
    """The one application of this process."""
    temporary = tempfile.TemporaryDirectory(prefix="slicer_desktop_", ignore_cleanup_errors=True)
    folder = Path(temporary.name)
    qt_application = pythonqt.application()
    _isolate_settings(folder)
    qt, ctk = pythonqt.make_qt(), pythonqt.make_ctk(CTK_WIDGETS)
    pythonqt.UiLoader.custom = {**CTK_WIDGETS, **QMRML_WIDGETS}
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    application_logic = boot()
    slicer.app = SlicerApplication(qt_application, application_logic, folder)
    slicer.util.modulePath = lambda name: str(MODULE_FOLDER / f"{name}.py")
    for name, widget in QMRML_WIDGETS.items():
        setattr(slicer, name, widget)
    slicer.qMRMLUtils = qMRMLUtils
    _add_submodules()
    for path in (str(MODULE_FOLDER), str(MODULE_FOLDER.parent)):
        if path not in sys.path:
            sys.path.insert(0, path)
    return Desktop(slicer.app, temporary)


def _isolate_settings(folder: Path) -> None:
    from PySide6.QtCore import QCoreApplication, QSettings

    QSettings.setDefaultFormat(QSettings.IniFormat)
    QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, str(folder))
    QCoreApplication.setOrganizationName("DSAReconTests")
    QCoreApplication.setApplicationName(f"Slicer{os.getpid()}")


def _add_submodules() -> None:
    internationalization = types.ModuleType("slicer.i18n")
    internationalization.tr = lambda text, context="": text
    internationalization.translate = lambda context, text: text
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for name in ("", "Widget", "Logic", "Test"):
        cls = getattr(scripted_module, f"ScriptedLoadableModule{name}")
        setattr(base, cls.__name__, cls)
    base.__all__ = [name for name in vars(base) if name.startswith("Scripted")]
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    for name in parameter_nodes.__all__:
        setattr(wrapper, name, getattr(parameter_nodes, name))
    wrapper.__all__ = list(parameter_nodes.__all__)
    for module in (internationalization, base, wrapper):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.rpartition(".")[2], module)
