"""What the panel's buttons do: a state machine without a single widget or dialog."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconWidgets.outcome import QueuedJob
from DSAReconWidgets.signal import Signal


class State(str, enum.Enum):
    """What goes on. Everything may be pressed in every state; what makes no sense then does nothing."""

    IDLE = "idle"
    INSTALLING = "installing"
    RUNNING = "running"
    CANCELLING = "cancelling"


class Notifier(Protocol):
    """How the controller talks to the user: dialogs in the panel, a recorder in tests, the console in scripts."""

    def confirm(self, title: str, text: str) -> bool:
        """Ask a yes/no question."""

    def inform(self, text: str) -> None:
        """Say something that needs no answer (status bar)."""

    def problem(self, message: str, hint: str = "", log: str = "") -> None:
        """Show one sentence what happened and one what to do; ``log`` behind a button if there is one."""


class Controller:
    """Runs jobs one after the other, installs what they need before, brings their results into the scene.

    Parameters
    ----------
    logic
        :class:`~DSAReconWidgets.logic.DSAReconLogic`, whose queue it drives.
    notifier
        Who talks to the user.
    installer
        :class:`~DSAReconWidgets.install.Installer`; default one for this application.

    Attributes
    ----------
    stateChanged : Signal(State)
    jobChanged : Signal(QueuedJob)
        Progress, log, preview or state of a job is new.
    jobEnded : Signal(QueuedJob)
        It has an outcome; once per job.
    previewShown : Signal(QueuedJob, node)
        The live preview is in the scene (a scalar volume node).
    resultLoaded : Signal(QueuedJob, ResultNodes)
        The result of a finished job is in the scene.
    installChanged : Signal(str)
        Newest line of the check or installation.
    """

    def __init__(self, logic: Any, notifier: Notifier, *, installer: Any = None) -> None: ...

    @property
    def state(self) -> State:
        """What goes on."""

    @property
    def jobs(self) -> Sequence[QueuedJob]:
        """Every job of this session, oldest first."""

    @property
    def current(self) -> QueuedJob | None:
        """The job that runs or is being cancelled."""

    def reconstruct(self, job: ReconstructionJob, *, label: str = "") -> QueuedJob:
        """Queue a job and return at once; a job that waits or runs already is returned instead of queued again.

        Packages that its method needs are checked first and, if the user agrees, installed.
        """

    def cancel(self, queued: QueuedJob | None = None) -> None:
        """Cancel a job (default: the current one, or an installation that goes on); within 2 s."""

    def cancelAll(self) -> None:
        """Cancel everything that waits or runs."""

    def install(self, *, torch: bool = False, whenDone: Callable[[bool], None] | None = None) -> None:
        """Check what is missing and offer to install it; also from a menu or button."""

    def diagnose(self, whenDone: Callable[[str], None]) -> None:
        """Make the self-diagnosis page (text without patient data) and hand it over; takes some seconds."""

    def loadResult(self, folder: Path | str) -> Any:
        """Load a result folder into the scene; a problem is shown and gives ``None``."""

    def close(self) -> None:
        """End every child now; nothing is reported any more. Slicer is closing or the module is reloaded."""
