"""Everything that the panel does, as methods for scripts; also without a main window and on slicer-core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.pairing import RunPair
from DSAReconLib.acquisition.summary import RunSummary
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconWidgets.outcome import QueuedJob

try:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
except ImportError:  # slicer-core without the desktop application

    class ScriptedLoadableModuleLogic:
        """Nothing to inherit."""

        def __init__(self, parent: Any = None) -> None: ...


if TYPE_CHECKING:
    from DSAReconWidgets.parameters import DSAReconParameterNode


@dataclass(frozen=True)
class RunViews:
    """The frames of a fill run, and which of them a reconstruction would use.

    Parameters
    ----------
    primaryDeg, secondaryDeg
        Angles of every frame (F,), degrees; LAO and CRA positive.
    timesS
        Times of every frame (F,), s.
    selected
        Frame numbers (N,), increasing.
    """

    primaryDeg: NDArray[np.float64]
    secondaryDeg: NDArray[np.float64]
    timesS: NDArray[np.float64]
    selected: NDArray[np.int64]

    @property
    def doseFraction(self) -> float:
        """Share of the run's frames, hence of its dose, that is used."""
        return len(self.selected) / len(self.timesS)


class DSAReconLogic(ScriptedLoadableModuleLogic):
    """Load, select views, reconstruct, show, measure, export.

    Parameters
    ----------
    parent
        As Slicer gives it.
    context
        :class:`DSAReconLib.mrml.context.SceneContext`; default that of the desktop application.

    Attributes
    ----------
    queue : JobQueue
        Jobs of :meth:`reconstruct` (made on first use; needs Qt).
    """

    def __init__(self, parent: Any = None, *, context: Any = None) -> None:
        super().__init__(parent)

    # Input

    def findRuns(self, paths: Iterable[Path | str]) -> list[RunSummary]:
        """Rotational runs in files and folders, and why other DICOM files are none (headers only)."""

    def pairRuns(self, runs: Sequence[RunSummary]) -> list[RunPair]:
        """Mask and fill runs that belong together; PairingError says why there are none."""

    def loadRun(self, path: Path | str, *, part: int = 0) -> Any:
        """A run as a sequence of frames in the scene, with angles and times; the sequence node."""

    def runNodes(self) -> list[Any]:
        """Sequence nodes of the runs in the scene."""

    def runFile(self, node: Any) -> Path | None:
        """DICOM file that a run node came from, if it still is there."""

    def inputOf(self, parameterNode: DSAReconParameterNode) -> dict[str, Any]:
        """``paths``, or ``mask`` and ``fill``, of the job: from the chosen run nodes, else from the folder.

        ConfigError with a sentence for the panel if that is not enough.
        """

    # Views

    def selectViews(
        self, fill: Path | str | Any, *, views: int = 0, selection: str = "uniform", viewIndices: str = ""
    ) -> RunViews:
        """Angles and times of a run (path or node), and the frames that would be used (0 = all).

        The strategy ``bolus`` follows the total contrast, for which the pixels are read once.
        """

    # Reconstruction

    def newResultFolder(self, parent: Path | str | None = None, *, name: str = "") -> Path:
        """A folder that does not exist yet, by date and time; default parent ``Documents/DSARecon``."""

    def job(self, parameterNode: DSAReconParameterNode) -> ReconstructionJob:
        """The job that the panel's state asks for, with a new result folder; ConfigError says what is missing."""

    def reconstruct(
        self,
        job: ReconstructionJob,
        *,
        label: str = "",
        onProgress: Callable[[QueuedJob], None] | None = None,
        onEnded: Callable[[QueuedJob], None] | None = None,
    ) -> QueuedJob:
        """Queue a job and return at once; ``onEnded`` is called exactly once. Needs a Qt event loop."""

    def reconstructAndWait(
        self, job: ReconstructionJob, *, onProgress: Callable[[QueuedJob], None] | None = None
    ) -> Path:
        """Run a job in a child process and wait, while Slicer's events are handled; the result folder.

        Raises
        ------
        DSAReconError
            What the child reported; JobCancelled if it was cancelled.
        """

    def showPreview(self, path: Path) -> Any:
        """Show a running job's intermediate volume; its node, ``None`` if the file is gone already."""

    def removePreview(self) -> None:
        """Take the intermediate volume out of the scene."""

    # Display

    def loadResult(self, folder: Path | str, *, name: str | None = None) -> Any:
        """A result folder as nodes: ``DSAReconLib.mrml.result.ResultNodes``."""

    def results(self) -> list[Any]:
        """Results in the scene, oldest first, also those that came with a scene file."""

    def showResult(self, result: Any, *, preset: str = "", arrivalColors: bool = False, surface: bool = False) -> None:
        """Volume rendering and surface of a result."""

    def setTime(self, result: Any, timeS: float) -> None:
        """Show the volume of a time, s."""

    def curve(self, result: Any, where: Any) -> Any:
        """Time-attenuation curve at a point (RAS) or in a segment; table and plot nodes."""

    def export(self, result: Any, **targets: Any) -> list[Path]:
        """Copies of a result: ``nrrd=folder``, ``stl=file``, ``ply=file``, ``movie=file``; the files written."""

    # Novel views

    def startNovelView(self, result: Any, **options: Any) -> Any:
        """Start the render server of a result; :class:`DSAReconLib.jobs.render_client.RenderClient`."""

    def stopNovelView(self) -> None:
        """End it."""

    def close(self) -> None:
        """End every child process of this logic; harmless when called twice."""
