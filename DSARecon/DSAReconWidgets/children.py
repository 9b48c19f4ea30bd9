"""What every child process needs, with Qt and without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import slicer

from DSAReconWidgets.folders import libraryFolder

NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""For ``creationflags``: Windows opens no console beside Slicer."""


def childPython() -> str:
    """Python for child processes: Slicer's interpreter as a program of its own, else the running one."""
    return shutil.which("PythonSlicer") or sys.executable


def childEnvironment(onPath: Sequence[str] = ()) -> dict[str, str]:
    """What a Python child gets besides our own environment; it finds modules in ``onPath`` before all others."""
    paths = [*onPath, str(libraryFolder()), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONIOENCODING": "utf-8"}


def handleEvents() -> None:
    """Let the application draw and answer while a script waits; nothing without an application."""
    app = getattr(slicer, "app", None)
    if app is not None:
        app.processEvents()
