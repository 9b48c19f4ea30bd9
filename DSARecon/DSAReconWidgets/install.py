"""Checks and installs what child processes need, while Slicer goes on."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from DSAReconLib.io.event_lines import decode_event
from DSAReconWidgets.folders import moduleFolder
from DSAReconWidgets.process import ChildProcess, Ending, childPython
from DSAReconWidgets.requirements import TORCH, Needs, constraintsText
from DSAReconWidgets.signal import Signal

_CHILD = "DSAReconWidgets.package_child"
_STOP_AFTER_MS = 1900


@dataclass(frozen=True)
class Missing:
    """What a check found.

    Parameters
    ----------
    packages
        Requirements to install with pip.
    torch
        Whether PyTorch is among what is missing.
    broken
        Installed packages that cannot be imported, with the reason; they are in ``packages`` or ``torch``, too.
    problem
        Why the check itself failed; empty if it did not.
    """

    packages: tuple[str, ...] = ()
    torch: bool = False
    broken: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    @property
    def isNothing(self) -> bool:
        """Whether everything is there."""
        return not self.packages and not self.torch and not self.problem

    @property
    def names(self) -> str:
        """What to show to the user."""
        return ", ".join([*self.packages, *(["PyTorch"] if self.torch else [])])


@dataclass(frozen=True)
class InstallResult:
    """How an installation ended: ``message`` and ``hint`` are empty if it went well."""

    message: str = ""
    hint: str = ""
    cancelled: bool = False

    @property
    def isGood(self) -> bool:
        """Whether everything is there now."""
        return not self.message and not self.cancelled


class Installer:
    """One check or installation at a time.

    Parameters
    ----------
    python
        Interpreter to install for; default that of the child processes.
    installTorch
        Installs PyTorch in this application, blocking; returns an :class:`InstallResult`.

    Attributes
    ----------
    line : Signal(str)
        What pip says.
    idle : Signal()
        A check or installation is over, and no other has begun.
    """

    def __init__(self, *, python: str | None = None, installTorch: Callable[[], InstallResult] | None = None) -> None:
        self.line = Signal("line")
        self.idle = Signal()
        self.log: list[str] = []
        self._python = python or childPython()
        self._installTorch = installTorch or installTorchByExtension
        self._child: ChildProcess | None = None
        self._good: set[str] = set()
        self._cancelled = False
        self._whenDone: Callable[[Any], None] | None = None

    @property
    def isBusy(self) -> bool:
        """Whether a check or installation goes on."""
        return self._whenDone is not None

    def isKnownGood(self, needs: Needs) -> bool:
        """Whether an earlier check found all of this."""
        return self._good.issuperset(needs.all)

    def forget(self) -> None:
        """Check everything again next time."""
        self._good.clear()

    def check(self, needs: Needs, whenDone: Callable[[Missing], None]) -> None:
        """Look in a child process what is missing or broken; RuntimeError if busy."""
        found: dict[str, Any] = {}

        def onLine(text: str) -> None:
            event = decode_event(text)
            if event is not None and event["event"] == "checked":
                found.update(event)

        def onEnded(ending: Ending) -> None:
            missing = _missing(needs, found, ending, self._python)
            if missing.isNothing:
                self._good.update(needs.all)
            self._done(missing)

        self._begin(whenDone)
        self._run(["check", *needs.all], onLine, onEnded)

    def install(self, missing: Missing, whenDone: Callable[[InstallResult], None]) -> None:
        """Install what a check found missing; RuntimeError if busy."""
        self._begin(whenDone)
        packaging = getattr(slicer, "packaging", None)
        if packaging is not None and packaging.isPipInstallInProgress():
            self._done(InstallResult(_("Another module is installing packages."), _("Wait until it is done.")))
            return
        if not missing.packages:
            self._finishWithTorch(missing)
            return
        constraints = _constraintsFile()

        def onEnded(ending: Ending) -> None:
            with contextlib.suppress(OSError):
                constraints.unlink(missing_ok=True)
            if ending.isGood and not self._cancelled:
                self._finishWithTorch(missing)
            else:
                self._done(self._failure(ending))

        arguments = ["--force-reinstall", *missing.packages] if missing.broken else list(missing.packages)
        self._run(["install", str(constraints), *arguments], self._onPipLine, onEnded)

    def cancel(self) -> None:
        """Stop; pip undoes what it was about, and is gone within 2 s."""
        if self._child is not None and not self._cancelled:
            self._cancelled = True
            self._child.write("cancel\n")
            self._child.stop(_STOP_AFTER_MS, _STOP_AFTER_MS)

    def close(self) -> None:
        """Stop at once and report nothing."""
        self._whenDone = None
        self.line.disconnectAll()
        self.idle.disconnectAll()
        if self._child is not None:
            self._child.close()
            self._child = None

    def _begin(self, whenDone: Callable[[Any], None]) -> None:
        if self.isBusy:
            raise RuntimeError("a check or an installation goes on already")
        self._whenDone, self._cancelled = whenDone, False
        self.log.clear()

    def _run(self, arguments: list[str], onLine: Callable[[str], None], onEnded: Callable[[Ending], None]) -> None:
        child = self._child = ChildProcess()
        child.line.connect(onLine)
        child.line.connect(self._onStarted)
        child.ended.connect(onEnded)
        child.start(self._python, ["-u", "-m", _CHILD, *arguments], onPath=[str(moduleFolder())])

    def _onStarted(self, text: str) -> None:
        event = decode_event(text)
        if event is not None and event["event"] == "started" and self._child is not None:
            self._child.childPid = int(event.get("pid") or 0)

    def _onPipLine(self, text: str) -> None:
        if decode_event(text) is None:
            self.log.append(text)
            self.line(text)

    def _finishWithTorch(self, missing: Missing) -> None:
        self._done(self._installTorch() if missing.torch else InstallResult())

    def _failure(self, ending: Ending) -> InstallResult:
        if self._cancelled:
            return InstallResult(cancelled=True)
        reasons = [line.strip() for line in self.log if line.strip().lower().startswith("error:")]
        reason = reasons[-1].partition(":")[2].strip() if reasons else ending.notStarted
        return InstallResult(
            _("The packages could not be installed ({reason}).").format(reason=reason or f"exit code {ending.code}"),
            _("Check the network connection and the free disk space, then try again; the log has the details."),
        )

    def _done(self, result: Any) -> None:
        whenDone, self._whenDone, self._child = self._whenDone, None, None
        if whenDone is not None:
            whenDone(result)
            if not self.isBusy:
                self.idle()


def installTorchByExtension() -> InstallResult:
    """Let Slicer's PyTorch extension install PyTorch: it knows which build fits the GPU."""
    try:
        utilities = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    except ImportError:
        return InstallResult(
            _("The PyTorch extension is not installed."),
            _("Install 'PyTorch' in the Extensions Manager, restart Slicer, then try again."),
        )
    try:
        utilities.installTorch(askConfirmation=False, torchVersionRequirement=TORCH)
    except Exception as error:  # pip, the network or the extension
        return InstallResult(
            _("PyTorch could not be installed ({reason}).").format(reason=(str(error) or repr(error)).splitlines()[0]),
            _("Open the module 'PyTorch Util', install it there, then try again."),
        )
    return InstallResult()


def _missing(needs: Needs, found: dict[str, Any], ending: Ending, python: str) -> Missing:
    if "missing" not in found:
        reason = ending.notStarted or f"exit code {ending.code}"
        return Missing(problem=_("{python} does not run ({reason}).").format(python=python, reason=reason))
    wanted = [*found["missing"], *found["broken"]]
    return Missing(
        packages=tuple(requirement for requirement in wanted if requirement in needs.packages),
        torch=any(requirement not in needs.packages for requirement in wanted),
        broken=tuple(found["broken"].items()),
    )


def _constraintsFile() -> Path:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(constraintsText())
    return Path(file.name)
