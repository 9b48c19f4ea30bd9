"""Sample data: a rotational DSA that is simulated on this computer; nothing is downloaded."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from DSAReconLib import __version__
from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.io.event_lines import decode_event
from DSAReconWidgets.folders import resource
from DSAReconWidgets.process import ChildProcess, Ending, childPython
from DSAReconWidgets.requirements import Needs, notInstalled

CATEGORY = "DSARecon"
RUNS = ("mask.dcm", "fill.dcm")
_PRESET = "carotid"
_NEEDS = Needs(("numba",))
_THUMBNAIL = "Icons/SimulatedCarotid.png"
_POLL_S = 0.02
_STOP_AFTER_MS = 1500

OnProgress = Callable[[str, float], bool]
"""Told the stage and its share done (0 to 1); whether to go on."""


def registerSampleData() -> None:
    """Offer the simulated run in Slicer's Sample Data module; called once when Slicer has started."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("Simulated rotational DSA (carotid)"),
        uris=["simulated on this computer"],
        fileNames=["fill.dcm"],
        nodeNames=["SimulatedCarotid"],
        thumbnailFileName=str(resource(_THUMBNAIL)),
        customDownloader=loadSimulatedRuns,
    )


def loadSimulatedRuns(source: Any = None) -> list[Any]:
    """Mask and fill run of the simulated case as nodes; simulated first if that was not done before.

    The custom downloader of the Sample Data module. A problem is shown and gives no nodes.
    """
    from DSAReconWidgets.logic import DSAReconLogic

    folder = sampleFolder()
    try:
        if not isComplete(folder):
            if notInstalled(_NEEDS):
                _sendToInstallation()
                return []
            _simulateWithDialog(folder)
        logic = DSAReconLogic()
        return [logic.loadRun(folder / name) for name in RUNS]
    except JobCancelled:
        return []
    except DSAReconError as error:
        slicer.util.errorDisplay("\n\n".join(filter(None, (error.message, error.hint))))
        return []


def sampleFolder() -> Path:
    """Where the simulated case of this version lies in Slicer's cache, which the user can empty in the settings."""
    cache = slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory() or slicer.app.temporaryPath
    return Path(cache) / f"DSARecon-{__version__}-{_PRESET}"


def isComplete(folder: Path) -> bool:
    """Whether a simulated case lies in a folder."""
    return all((folder / name).is_file() for name in (*RUNS, "truth/truth.json"))


def simulate(
    folder: Path, onProgress: OnProgress, *, options: Sequence[str] = ("--preset", _PRESET), python: str = ""
) -> Path:
    """Simulate a case into a folder with ``dsarecon simulate`` in a child process, while Slicer's events are handled.

    The folder appears complete or not at all.

    Raises
    ------
    JobCancelled
        ``onProgress`` returned false.
    DSAReconError
        What the child reported, or ``simulate.died``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        _Simulation(python or childPython(), [*options, "--out", str(partial)]).wait(onProgress)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


class _Simulation:
    """One child process and what it said; every report of progress is passed on, however fast they come."""

    def __init__(self, python: str, arguments: Sequence[str]) -> None:
        self._reports: list[tuple[str, float]] = [("", 0.0)]
        self._lastLine = ""
        self._failure: dict[str, Any] | None = None
        self._ending: Ending | None = None
        self._child = ChildProcess()
        self._child.line.connect(self._onLine)
        self._child.ended.connect(self._onEnded)
        self._child.start(python, ["-u", "-m", "DSAReconLib", "simulate", *arguments, "--json-progress"])

    def wait(self, onProgress: OnProgress) -> None:
        """Until it has ended; the errors are those of :func:`simulate`."""
        cancelled = False
        while not (self._ending and len(self._reports) == 1):
            slicer.app.processEvents()
            if len(self._reports) > 1:
                del self._reports[0]  # the last one stays and is repeated: whether to go on is asked at every turn
            if not onProgress(*self._reports[0]) and not cancelled:
                cancelled = True
                self._child.stop(0, _STOP_AFTER_MS)
            time.sleep(_POLL_S)
        if cancelled:
            raise JobCancelled
        if self._failure is not None:
            raise DSAReconError(
                str(self._failure.get("message")), code=self._failure.get("code"), hint=self._failure.get("hint") or ""
            )
        if not self._ending.isGood:
            raise DSAReconError(
                f"The simulation ended without a result ({self._ending.notStarted or self._lastLine or 'it crashed'}).",
                code="simulate.died",
                hint="Free memory by closing other programs, or run the self-diagnosis in the DSARecon module.",
            )

    def _onLine(self, text: str) -> None:
        event = decode_event(text)
        if event is None:
            self._lastLine = text.strip() or self._lastLine
        elif event["event"] == "progress":
            self._reports.append((str(event["stage"]), float(event["fraction"])))
        elif event["event"] == "failed":
            self._failure = event

    def _onEnded(self, ending: Ending) -> None:
        self._ending = ending


def _sendToInstallation() -> None:
    """The module's panel offers to install what is missing."""
    slicer.util.infoDisplay(
        _(
            "Some packages have to be installed before a run can be simulated. The DSA Reconstruction module, which "
            "opens now, offers to install them; then load the sample again."
        )
    )
    slicer.util.selectModule("DSARecon")


def _simulateWithDialog(folder: Path) -> None:
    """Simulate behind a progress dialog that can be cancelled."""
    text = _("Simulating a rotational DSA (about a minute, only the first time)")
    dialog = slicer.util.createProgressDialog(labelText=text, maximum=100, windowTitle="DSARecon")

    def onProgress(stage: str, fraction: float) -> bool:
        dialog.labelText = f"{text}\n{stage}"
        dialog.value = min(99, round(100 * fraction))  # at 100 it would close by itself
        return not dialog.wasCanceled

    try:
        simulate(folder, onProgress)
    finally:
        dialog.close()
