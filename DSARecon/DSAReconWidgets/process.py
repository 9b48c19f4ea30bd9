"""Child processes through QProcess: Slicer stays live, and nothing of ours outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import qt
import slicer

from DSAReconLib.io.event_lines import decode_event
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.protocol import CANCEL_LIMIT_S, CANCEL_LINE, TERMINAL
from DSAReconWidgets.children import childEnvironment, childPython
from DSAReconWidgets.outcome import JobState, Outcome, reportedOutcome
from DSAReconWidgets.signal import Signal

__all__ = ["ChildProcess", "Ending", "WorkerProcess", "childPython", "closeAllProcesses"]

WORKER = "DSAReconLib.jobs.worker"
TERMINATE_AFTER_MS = int(500 * CANCEL_LIMIT_S)
KILL_AFTER_MS = int(950 * CANCEL_LIMIT_S)
"""The worker answers a cancel within 80 % of its limit; after that it is gone whatever it does."""

_WAIT_FOR_KILLED_MS = 2000
_LINGER_MS = 2000  # a child that has said its last word may take this long to leave


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Parameters
    ----------
    code
        Exit code, or the number of the signal if it crashed.
    crashed
        Whether it was killed or broke down.
    notStarted
        Why it could not be started; empty if it could.
    """

    code: int = 0
    crashed: bool = False
    notStarted: str = ""

    @property
    def isGood(self) -> bool:
        """Whether it ran and ended by itself without an error."""
        return not self.crashed and not self.notStarted and self.code == 0


class ChildProcess:
    """A program whose lines are read as they come (UTF-8, stdout and stderr together).

    On Windows no console window appears: QProcess starts console programs of a GUI
    application without one.

    Attributes
    ----------
    line : Signal(str)
        A line of output, without its end.
    ended : Signal(Ending)
        Once, after the last line.
    """

    def __init__(self) -> None:
        self.line = Signal("line")
        self.ended = Signal("ending")
        self.childPid = 0
        self._rest = b""
        self._over = False
        self._process = qt.QProcess()
        self._process.setProcessChannelMode(qt.QProcess.MergedChannels)
        self._process.readyReadStandardOutput.connect(self._onOutput)
        self._process.finished.connect(self._onFinished)
        self._process.errorOccurred.connect(self._onError)
        self._terminateTimer = _singleShot(self._terminate)
        self._killTimer = _singleShot(self.kill)
        _running.add(self)
        _endWithApplication()

    @property
    def isRunning(self) -> bool:
        """Whether it has been started and not ended."""
        return not self._over and self._process.state() != qt.QProcess.NotRunning

    def start(self, program: str, arguments: Sequence[str], *, onPath: Sequence[str] = ()) -> None:
        """Start a Python child; ``onPath`` are folders that it finds modules in before all others."""
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in childEnvironment(onPath).items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        self._process.start(program, [str(argument) for argument in arguments])

    def write(self, text: str) -> None:
        """Send a line to its stdin."""
        if self.isRunning:
            self._process.write(text.encode("utf-8"))

    def stop(self, terminateAfterMs: int = 0, killAfterMs: int = KILL_AFTER_MS) -> None:
        """Let it end by itself, ask it (SIGTERM; Windows programs do not hear it), then kill it."""
        if self.isRunning:
            self._terminateTimer.start(terminateAfterMs)
            self._killTimer.start(killAfterMs)

    def kill(self) -> None:
        """End it at once."""
        if self.isRunning:
            self._killChild()
            self._process.kill()

    def close(self) -> None:
        """End it now and report nothing more. Slicer is closing."""
        self.line.disconnectAll()
        self.ended.disconnectAll()
        if self.isRunning:
            self.kill()
            self._process.waitForFinished(_WAIT_FOR_KILLED_MS)
        self._finish()

    def _killChild(self) -> None:
        """PythonSlicer is a launcher: the interpreter that it started has a process number of its own."""
        if self.childPid and self.childPid != self._process.processId():
            with contextlib.suppress(OSError):  # it has ended already
                os.kill(self.childPid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def _terminate(self) -> None:
        if self.isRunning:
            self._process.terminate()

    def _onOutput(self) -> None:
        self._rest += bytes(self._process.readAllStandardOutput().data())
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self.line(_decoded(line))

    def _onError(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:
            self._end(Ending(notStarted=str(self._process.errorString())))

    def _onFinished(self, code: int, *_: Any) -> None:
        if self._over:
            return
        self._onOutput()
        if self._rest:
            self.line(_decoded(self._rest))
            self._rest = b""
        self._end(Ending(code=int(code), crashed=self._process.exitStatus() == qt.QProcess.CrashExit))

    def _end(self, ending: Ending) -> None:
        if not self._over:
            self._finish()
            _endings.append((self, ending))
            _deliveryTimer().start(0)

    def _finish(self) -> None:
        self._over = True
        self._terminateTimer.stop()
        self._killTimer.stop()
        _running.discard(self)


class WorkerProcess:
    """One reconstruction job in a child process (see ``DSAReconLib.jobs.protocol``).

    Parameters
    ----------
    job
        What it does.
    python
        Interpreter; default :func:`childPython`.
    module
        The worker.
    onPath
        Folders that the child finds modules in before all others.

    Attributes
    ----------
    event : Signal(dict)
        An event that is not the last.
    line : Signal(str)
        A log line; the first is the command.
    ended : Signal(Outcome)
        Once, when the process has gone.
    """

    def __init__(
        self, job: ReconstructionJob, *, python: str | None = None, module: str = WORKER, onPath: Sequence[str] = ()
    ) -> None:
        self.event = Signal("event")
        self.line = Signal("line")
        self.ended = Signal("outcome")
        self.job = job
        self._python = python or childPython()
        self._module, self._onPath = module, onPath
        self._config: Path | None = None
        self._terminal: dict[str, Any] | None = None
        self._cancelAsked = False
        self._lastLine = ""
        self._child = ChildProcess()
        self._child.line.connect(self._onLine)
        self._child.ended.connect(self._onEnded)

    @property
    def pid(self) -> int:
        """Process number of the worker; 0 before it has said it."""
        return self._child.childPid

    @property
    def isRunning(self) -> bool:
        """Whether the process is there."""
        return self._child.isRunning

    def start(self) -> None:
        """Start the job; everything else comes as signals."""
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as file:
                file.write(self.job.to_json())
        except OSError as error:
            self._onEnded(Ending(notStarted=str(error)))
            return
        self._config = Path(file.name)
        arguments = ["-u", "-m", self._module, str(self._config)]
        self.line(" ".join([self._python, *arguments]))
        self._child.start(self._python, arguments, onPath=self._onPath)

    def cancel(self) -> None:
        """Ask the worker to stop; it is gone within 2 s."""
        if not self._cancelAsked and self._terminal is None:
            self._cancelAsked = True
            self._child.write(CANCEL_LINE)
            self._child.stop(TERMINATE_AFTER_MS, KILL_AFTER_MS)

    def close(self) -> None:
        """End the child now and report nothing more."""
        for sent in (self.event, self.line, self.ended):
            sent.disconnectAll()
        self._child.close()
        self._forgetConfig()

    def _onLine(self, text: str) -> None:
        event = decode_event(text)
        if event is None:
            self._lastLine = text.strip() or self._lastLine
            self.line(text)
        elif self._terminal is None:
            self._onEvent(event)

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["event"] in TERMINAL:
            self._terminal = event
            self._child.stop(_LINGER_MS, _LINGER_MS)
            return
        if event["event"] == "started":
            self._child.childPid = int(event.get("pid") or 0)
            self._forgetConfig()  # read by now; it names folders of patients
        self.event(event)

    def _onEnded(self, ending: Ending) -> None:
        self._forgetConfig()
        if self._terminal is not None:
            self.ended(reportedOutcome(self._terminal))
        elif self._cancelAsked and not ending.notStarted:
            self.ended(Outcome(JobState.CANCELLED, checkpoint=_leftCheckpoint(self.job)))
        else:
            self.ended(self._died(ending))

    def _died(self, ending: Ending) -> Outcome:
        """Why a worker left without a word."""
        if ending.notStarted:
            return Outcome(
                JobState.FAILED,
                code="worker.start",
                message=f"The reconstruction process {self._python} could not be started ({ending.notStarted}).",
                hint="Run the self-diagnosis; reinstalling Slicer or the extension may help.",
            )
        checkpoint = _leftCheckpoint(self.job)
        if ending.crashed:
            goOn = "Resume goes on from there." if checkpoint else ""
            hint = "Memory may have run out: choose preset 'fast' or larger voxels. The log shows how far it came."
            return Outcome(
                JobState.FAILED,
                code="worker.crashed",
                message="The reconstruction process stopped unexpectedly; it was killed or it crashed.",
                hint=f"{hint} {goOn}".strip(),
                checkpoint=checkpoint,
            )
        reason = f" ({self._lastLine})" if "Error" in self._lastLine else f" (exit code {ending.code})"
        return Outcome(
            JobState.FAILED,
            code="worker.died",
            message=f"The reconstruction process ended without a result{reason}.",
            hint="See the log, and run the self-diagnosis.",
            checkpoint=checkpoint,
        )

    def _forgetConfig(self) -> None:
        if self._config is not None:
            with contextlib.suppress(OSError):  # a virus scanner may hold it; the system cleans up
                self._config.unlink(missing_ok=True)
            self._config = None


_running: set[ChildProcess] = set()
_endings: list[tuple[ChildProcess, Ending]] = []


def closeAllProcesses() -> None:
    """End every child that still runs; called when Slicer closes."""
    for child in list(_running):
        child.close()


@cache
def _deliveryTimer() -> Any:
    return _singleShot(_deliverEndings)


def _deliverEndings() -> None:
    """Tell from a timer that children have ended.

    Who hears it may drop the child or open a dialog, and a QProcess must not be deleted while it emits.
    """
    delivered = list(_endings)
    _endings.clear()
    for child, ending in delivered:
        child.ended(ending)


@cache
def _endWithApplication() -> None:
    slicer.app.connect("aboutToQuit()", closeAllProcesses)


def _leftCheckpoint(job: ReconstructionJob) -> Path | None:
    """The checkpoint that a killed worker left; one that holds nothing to go on from is removed."""
    from DSAReconLib.jobs.resume import discard_checkpoint, has_state

    if has_state(job.checkpoint_folder):
        return job.checkpoint_folder
    discard_checkpoint(job.checkpoint_folder)
    return None


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


def _singleShot(receiver: Any) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(receiver)
    return timer
