"""Checks and installs packages in a process of its own. Standard library only; never imported by Slicer's process.

``python -m DSAReconWidgets.package_child check REQUIREMENT...`` imports each package and tells
in one event (see ``DSAReconLib.io.event_lines``) what is missing or broken.
``... install CONSTRAINTS REQUIREMENT...`` runs pip, and stops when its stdin closes or says cancel.
"""

from __future__ import annotations

import _thread
import importlib
import importlib.metadata
import json
import os
import re
import runpy
import sys
import threading
import time

PREFIX = "@dsarecon "
IMPORT_NAMES = {"scikit-image": "skimage"}
_GRACE_S = 1.0


def main(arguments: list[str]) -> int:
    """Check or install."""
    _say(event="started", pid=os.getpid())
    command, *rest = arguments
    if command == "check":
        _check(rest)
        return 0
    return _install(rest[0], rest[1:])


def package_name(requirement: str) -> str:
    """``numba`` of ``numba>=0.60``."""
    return re.split(r"[\s<>=!~;\[]", requirement.strip(), maxsplit=1)[0]


def _check(requirements: list[str]) -> None:
    missing, broken, versions = [], {}, {}
    for requirement in requirements:
        name = package_name(requirement)
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement)
            continue
        if not _fits(versions[name], requirement):
            missing.append(requirement)
            continue
        try:
            importlib.import_module(IMPORT_NAMES.get(name, name))
        except Exception as error:  # whatever a half-installed package raises
            broken[requirement] = f"{type(error).__name__}: {error}".splitlines()[0]
    _say(event="checked", missing=missing, broken=broken, versions=versions)


def _fits(version: str, requirement: str) -> bool:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # part of every pip
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _install(constraints: str, requirements: list[str]) -> int:
    threading.Thread(target=_watch_stdin, daemon=True).start()
    sys.argv = ["pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    sys.argv += ["--prefer-binary", "--constraint", constraints, *requirements]
    try:
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def _watch_stdin() -> None:
    """Interrupt pip, which then undoes what it was about; it must be gone shortly afterwards."""
    sys.stdin.readline()
    _thread.interrupt_main()
    time.sleep(_GRACE_S)
    os._exit(130)


def _say(**event: object) -> None:
    sys.stdout.write(PREFIX + json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
