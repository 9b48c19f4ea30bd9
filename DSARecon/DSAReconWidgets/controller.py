"""What the panel's buttons do: a state machine without a single widget or dialog."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from DSAReconLib.errors import DSAReconError
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconWidgets.diagnosis import Diagnosis
from DSAReconWidgets.install import Installer
from DSAReconWidgets.outcome import JobState, Outcome, QueuedJob
from DSAReconWidgets.preparation import Preparation
from DSAReconWidgets.requirements import Needs, basicNeeds, hasNvidiaGpu, needsOf, notInstalled
from DSAReconWidgets.signal import Signal

logger = logging.getLogger(__name__)

_SCENE_BUSY_MS = 100


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
    livePreview : bool
        Whether intermediate volumes are shown in the scene.
    """

    def __init__(self, logic: Any, notifier: Notifier, *, installer: Installer | None = None) -> None:
        self.logic, self.notifier = logic, notifier
        self.stateChanged = Signal("state")
        self.jobChanged = Signal("job")
        self.jobEnded = Signal("job")
        self.previewShown = Signal("job", "node")
        self.resultLoaded = Signal("job", "result")
        self.installChanged = Signal("line")
        self.livePreview = True
        self._installer = installer or Installer()
        self._installer.line.connect(self.installChanged)
        self._installer.idle.connect(self._goOn)
        self._postponed: list[Callable[[], None]] = []
        self._diagnosis = Diagnosis()
        self._state = State.IDLE
        self._previewNumber = 0
        self._toShow: list[QueuedJob] = []
        self._sceneTimer = qt.QTimer()
        self._sceneTimer.setSingleShot(True)
        self._sceneTimer.setInterval(_SCENE_BUSY_MS)
        self._sceneTimer.timeout.connect(self._showResults)
        logic.contrast.waits = False
        self._queue = logic.queue
        self._queue.prepare = self._prepare
        self._queue.changed.connect(self._onChanged)
        self._queue.logged.connect(self._onLogged)
        self._queue.ended.connect(self._onEnded)

    @property
    def state(self) -> State:
        """What goes on."""
        if self._installer.isBusy:
            return State.INSTALLING
        if self.current is None:
            return State.IDLE
        return State.CANCELLING if self.current.state is JobState.CANCELLING else State.RUNNING

    @property
    def jobs(self) -> Sequence[QueuedJob]:
        """Every job of this session, oldest first."""
        return tuple(self._queue.jobs)

    @property
    def current(self) -> QueuedJob | None:
        """The job that is prepared, runs or is being cancelled."""
        return self._queue.current

    def reconstruct(self, job: ReconstructionJob, *, label: str = "") -> QueuedJob:
        """Queue a job and return at once; a job that waits or runs already is returned instead of queued again.

        Packages that its method needs are checked first and, if the user agrees, installed.
        """
        return self._queue.submit(job, label)

    def cancel(self, queued: QueuedJob | None = None) -> None:
        """Cancel a job (default: the current one, or an installation that goes on); within 2 s."""
        queued = queued or self.current
        if queued is not None:
            self._queue.cancel(queued)
        if queued is None or (self._installer.isBusy and self.current is None):
            self._installer.cancel()
        self._tellState()

    def cancelAll(self) -> None:
        """Cancel everything that waits or runs."""
        self._queue.cancelAll()
        self._installer.cancel()
        self._tellState()

    # Packages

    def missing(self) -> list[str]:
        """What has to be installed before anything can be reconstructed, by its metadata alone (quick)."""
        return notInstalled(basicNeeds())

    def install(self, *, torch: bool | None = None, whenDone: Callable[[bool], None] | None = None) -> None:
        """Check what is missing and offer to install it; does nothing while something runs.

        ``torch`` says whether PyTorch is wanted, too; default where there is a GPU for it.
        """
        tell = whenDone or (lambda good: None)
        if self.state is not State.IDLE:
            tell(False)
            return
        needs = basicNeeds(torch=hasNvidiaGpu() if torch is None else torch)
        self._ensure(needs, lambda outcome: self._onInstalled(outcome, tell))

    def _onInstalled(self, outcome: Outcome | None, tell: Callable[[bool], None]) -> None:
        if outcome is None:
            self.notifier.inform(_("Everything that a reconstruction needs is installed."))
        elif outcome.state is JobState.FAILED:
            self.notifier.problem(outcome.message, outcome.hint, "\n".join(self._installer.log))
        tell(outcome is None)

    def _prepare(self, queued: QueuedJob, proceed: Callable[[Outcome | None], None]) -> None:
        self._ensure(needsOf(queued.job), proceed, queued)

    def _ensure(self, needs: Needs, proceed: Callable[[Outcome | None], None], queued: QueuedJob | None = None) -> None:
        """Go on with ``None`` once everything is there, else with the reason why not."""
        if self._installer.isBusy:
            self._postponed.append(lambda: self._ensure(needs, proceed, queued))
            return
        isWanted: Callable[[], bool] = lambda: queued is None or not queued.state.isFinal  # noqa: E731
        Preparation(self._installer, self.notifier, needs, proceed, isWanted).start()
        self._tellState()

    def _goOn(self) -> None:
        """The installer is free for who waited."""
        postponed, self._postponed = self._postponed, []
        for attempt in postponed:
            attempt()
        self._tellState()

    # Diagnosis

    def diagnose(self, whenDone: Callable[[str], None]) -> None:
        """Make the self-diagnosis page (text without patient data) and hand it over; takes some seconds."""
        self._diagnosis.run(whenDone)

    # Jobs and their results

    def loadResult(self, folder: Path | str) -> Any:
        """Load a result folder into the scene; a problem is shown and gives ``None``."""
        try:
            return self.logic.loadResult(folder)
        except DSAReconError as error:
            self.notifier.problem(error.message, error.hint)
        except Exception as error:
            logger.exception("the result %s could not be shown", folder)
            self.notifier.problem(
                _("The result could not be shown ({reason}).").format(reason=str(error) or type(error).__name__),
                _("It is kept in {folder}; open it again from there.").format(folder=folder),
            )
        return None

    def close(self) -> None:
        """End every child now; nothing is reported any more. Slicer is closing or the module is reloaded."""
        self._sceneTimer.stop()
        self._toShow.clear()
        self._postponed.clear()
        self._queue.close()
        self._installer.close()
        self._diagnosis.close()
        for sent in (self.stateChanged, self.jobChanged, self.jobEnded, self.previewShown, self.resultLoaded):
            sent.disconnectAll()

    def _onChanged(self, queued: QueuedJob) -> None:
        if self.livePreview and queued.preview is not None and queued.previewNumber != self._previewNumber:
            self._previewNumber = queued.previewNumber
            self._showPreview(queued, queued.preview)
        self.jobChanged(queued)
        self._tellState()

    def _onLogged(self, queued: QueuedJob, _line: str) -> None:
        self.jobChanged(queued)

    def _showPreview(self, queued: QueuedJob, path: Path) -> None:
        if self.logic.sceneIsBusy():
            return
        node = self.logic.showPreview(path)
        if node is not None:
            self.previewShown(queued, node)

    def _onEnded(self, queued: QueuedJob) -> None:
        outcome = queued.outcome
        assert outcome is not None
        self._previewNumber = 0
        if outcome.state is JobState.CANCELLED and self._installer.isBusy:
            self._installer.cancel()
        if not self.logic.sceneIsBusy():
            self.logic.removePreview()
        if outcome.state is JobState.FINISHED:
            self._toShow.append(queued)
        self.jobEnded(queued)
        self._tellState()
        if outcome.state is JobState.FAILED:
            if outcome.code.startswith(("dependency.", "worker.died")):
                self._installer.forget()
            self.notifier.problem(outcome.message, outcome.hint, queued.logText or "\n".join(self._installer.log))
        elif outcome.state is JobState.CANCELLED:
            self.notifier.inform(_("Cancelled: {name}.").format(name=queued.label or queued.job.out))
        self._showResults()

    def _showResults(self) -> None:
        """Load what has finished; a scene that is being read or closed is waited for."""
        while self._toShow:
            if self.logic.sceneIsBusy():
                self._sceneTimer.start()
                return
            queued = self._toShow.pop(0)
            assert queued.outcome is not None
            if queued.outcome.result is None:
                continue
            loaded = self.loadResult(queued.outcome.result)
            if loaded is not None:
                self.resultLoaded(queued, loaded)

    def _tellState(self) -> None:
        state = self.state
        if state is not self._state:
            self._state = state
            self.stateChanged(state)
