"""Everything that the panel does, as methods for scripts; also without a main window and on slicer-core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from DSAReconLib.acquisition.pairing import RunPair, pair_runs
from DSAReconLib.acquisition.selection import parse_view_indices, select_views
from DSAReconLib.acquisition.summary import RunSummary
from DSAReconLib.errors import ConfigError, DSAReconError, JobCancelled, ResultError
from DSAReconLib.jobs.client import WorkerClient
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.mrml.context import SceneContext
from DSAReconWidgets import runs
from DSAReconWidgets.children import childPython, handleEvents
from DSAReconWidgets.folders import libraryFolder
from DSAReconWidgets.frame_contrast import FrameContrast
from DSAReconWidgets.outcome import JobState, QueuedJob
from DSAReconWidgets.runs import RunViews
from DSAReconWidgets.translation import tr as _

try:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
except ImportError:  # slicer-core without the desktop application

    class ScriptedLoadableModuleLogic:
        """Nothing to inherit."""

        def __init__(self, parent: Any = None) -> None: ...


if TYPE_CHECKING:
    from DSAReconWidgets.parameters import DSAReconParameterNode

_EVENT_WAIT_S = 0.05


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
    contrast : FrameContrast
        Total contrast of the frames of runs, for the view selection ``bolus``.
    """

    def __init__(self, parent: Any = None, *, context: SceneContext | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._queue: Any = None
        self._renderClient: Any = None
        self._plot: Any = None
        self._curveModels: dict[Path, Any] = {}
        self.contrast = FrameContrast()
        self._previewId = ""

    @property
    def context(self) -> SceneContext:
        """Scene and logics that nodes are made with."""
        if self._context is None:
            self._context = SceneContext.of_desktop()
        return self._context

    @property
    def queue(self) -> Any:
        """:class:`~DSAReconWidgets.queue.JobQueue` of :meth:`reconstruct`, made on first use; needs Qt."""
        if self._queue is None:
            from DSAReconWidgets.queue import JobQueue

            self._queue = JobQueue()
        return self._queue

    def getParameterNode(self) -> DSAReconParameterNode:
        """State of the panel in the scene."""
        from DSAReconWidgets.parameters import DSAReconParameterNode

        return DSAReconParameterNode(super().getParameterNode())

    def sceneIsBusy(self) -> bool:
        """Whether the scene is being read, closed or restored, so that nothing may be added now."""
        scene = self.context.scene
        return bool(scene.IsClosing() or scene.IsImporting() or scene.IsRestoring() or scene.IsBatchProcessing())

    # Input

    def findRuns(self, paths: Iterable[Path | str]) -> list[RunSummary]:
        """Rotational runs in files and folders, and why other DICOM files are none (headers only)."""
        from DSAReconLib.dicom.find import find_runs

        return find_runs(paths)

    def pairRuns(self, runs: Sequence[RunSummary]) -> list[RunPair]:
        """Mask and fill runs that belong together; PairingError says why there are none."""
        return pair_runs(runs)

    def loadRun(self, path: Path | str, *, part: int = 0, header: Mapping[str, Any] | None = None) -> Any:
        """A run as a sequence of frames in the scene, with angles and times; the sequence node.

        ``part`` counts from 1 in objects that hold several runs; ``header`` holds attributes by
        keyword that the file lacks.
        """
        return runs.loadRun(self.context, Path(path), part, header)

    def runNodes(self) -> list[Any]:
        """Sequence nodes of the runs in the scene."""
        return runs.runNodes(self.context)

    def runFile(self, node: Any) -> Path | None:
        """DICOM file that a run node came from, if it still is there."""
        return runs.runFile(node)

    def inputOf(self, parameterNode: DSAReconParameterNode) -> dict[str, Any]:
        """``paths``, or ``mask`` and ``fill``, of the job: from the chosen run nodes, else from the folder.

        ConfigError with a sentence for the panel if that is not enough.
        """
        return runs.inputOf(parameterNode.maskRun, parameterNode.fillRun, Path(parameterNode.inputFolder))

    # Views

    def selectViews(
        self,
        fill: Path | str | Any,
        *,
        views: int = 0,
        selection: str = "uniform",
        viewIndices: str = "",
        mask: Path | str | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> RunViews:
        """Angles and times of a run (path or node), and the frames that would be used (0 = all).

        The strategy ``bolus`` follows the total contrast of the frames, which a child process
        measures once (without ``mask``, the mask run is looked for beside ``fill``). A panel
        does not wait for it: ContrastPending until ``contrast.known`` is sent. ``header`` holds
        attributes by keyword that the file lacks.
        """
        path = Path(fill) if isinstance(fill, str | Path) else self.runFile(fill)
        poses = runs.posesOfFile(path, header) if path is not None else runs.posesOfNode(self.context, fill)
        frames = len(poses.timesS)
        if viewIndices:
            chosen = parse_view_indices(viewIndices, frames)
        elif selection == "bolus" and 0 < views < frames:
            if path is None:
                raise ConfigError(_("The DICOM file of the fill run is needed to follow the contrast."))
            contrast = self.contrast.of(path, mask, header)
            chosen = select_views(poses.timesS, poses.geometry, views, "bolus", contrast)
        else:
            chosen = select_views(poses.timesS, poses.timesS, views or frames)
        return RunViews(poses.primaryDeg, poses.secondaryDeg, poses.timesS, chosen)

    # Reconstruction

    def newResultFolder(self, parent: Path | str | None = None, *, name: str = "") -> Path:
        """A folder that does not exist yet, by date and time; default parent ``Documents/DSARecon``."""
        parent = Path(parent) if parent and Path(parent) != Path() else Path.home() / "Documents" / "DSARecon"
        stem = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), name)))
        taken = {Path(queued.job.out) for queued in self._queue.jobs} if self._queue is not None else set()
        folder, number = parent / stem, 2
        while folder.exists() or folder in taken:
            folder, number = parent / f"{stem}-{number}", number + 1
        return folder

    def job(self, parameterNode: DSAReconParameterNode) -> ReconstructionJob:
        """The job that the panel's state asks for, with a new result folder; ConfigError says what is missing."""
        from DSAReconWidgets.parameters import jobFromParameters

        out = self.newResultFolder(parameterNode.outputFolder, name=parameterNode.method)
        return jobFromParameters(parameterNode, out, **self.inputOf(parameterNode))

    def reconstruct(
        self,
        job: ReconstructionJob,
        *,
        label: str = "",
        onProgress: Callable[[QueuedJob], None] | None = None,
        onEnded: Callable[[QueuedJob], None] | None = None,
    ) -> QueuedJob:
        """Queue a job and return at once; ``onEnded`` is called exactly once. Needs a Qt event loop."""
        following: list[QueuedJob] = []

        def changed(queued: QueuedJob) -> None:
            if onProgress is not None and queued in following:
                onProgress(queued)

        def ended(queued: QueuedJob) -> None:
            if queued not in following:
                return
            self.queue.changed.disconnect(changed)
            self.queue.ended.disconnect(ended)
            if onEnded is not None:
                onEnded(queued)

        queued = self.queue.submit(job, label)
        following.append(queued)
        self.queue.changed.connect(changed)
        self.queue.ended.connect(ended)
        if queued.state.isFinal:
            ended(queued)
        return queued

    def reconstructAndWait(
        self, job: ReconstructionJob, *, onProgress: Callable[[QueuedJob], None] | None = None
    ) -> Path:
        """Run a job in a child process and wait, while Slicer's events are handled; the result folder.

        Raises
        ------
        DSAReconError
            What the child reported; JobCancelled if it was cancelled.
        """
        tell = onProgress or (lambda queued: None)
        queued = QueuedJob(1, job, state=JobState.RUNNING)
        with WorkerClient(job, python=childPython(), on_path=(str(libraryFolder()),)) as client:
            while not queued.state.isFinal:
                for event in client.events(_EVENT_WAIT_S):
                    handleEvents()
                    if event.get("code") == "worker.silent":
                        break
                    queued.take(event)
                    tell(queued)
            queued.log.extend(client.log_lines)
        outcome = queued.outcome
        assert outcome is not None
        if outcome.state is JobState.CANCELLED:
            raise JobCancelled(checkpoint=str(outcome.checkpoint) if outcome.checkpoint else None)
        if outcome.result is None:
            raise DSAReconError(outcome.message, hint=outcome.hint, code=outcome.code)
        return outcome.result

    def showPreview(self, path: Path) -> Any:
        """Show a running job's intermediate volume; its node, ``None`` if the file is gone already."""
        from DSAReconLib.io.nrrd import read_volume
        from DSAReconLib.mrml.coordinates import ijk_to_ras, vtk_matrix
        from DSAReconLib.mrml.volumes import image_data

        try:
            values, grid = read_volume(path)
        except (ResultError, OSError):  # the job has gone on or ended in the meantime
            return None
        scene = self.context.scene
        node = scene.GetNodeByID(self._previewId) if self._previewId else None
        if node is None:
            node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", _("Preview"))
            node.SetSaveWithScene(False)
            node.CreateDefaultDisplayNodes()
            self._previewId = node.GetID()
        node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(grid)))
        node.SetAndObserveImageData(image_data(values))
        return node

    def removePreview(self) -> None:
        """Take the intermediate volume out of the scene."""
        node = self.context.scene.GetNodeByID(self._previewId) if self._previewId else None
        self._previewId = ""
        if node is not None:
            self.context.scene.RemoveNode(node)

    # Display

    def loadResult(self, folder: Path | str, *, name: str | None = None) -> Any:
        """A result folder as nodes: ``DSAReconLib.mrml.result.ResultNodes``."""
        from DSAReconLib.mrml.result import load_result

        return load_result(self.context, Path(folder), name=name)

    def results(self) -> list[Any]:
        """Results in the scene, oldest first, also those that came with a scene file."""
        from DSAReconLib.mrml.result import results_in_scene

        return results_in_scene(self.context)

    def showResult(
        self, result: Any, *, preset: str = "", volume: bool = True, surface: bool = False, arrivalColors: bool = False
    ) -> None:
        """Volume rendering (a name of ``DSAReconLib.mrml.presets``) and surface of a result."""
        from DSAReconLib.mrml import display

        if preset:
            display.apply_preset(self.context, result, preset)
        display.show_volume(result, volume)
        display.show_surface(result, surface)
        display.color_surface(result, "arrival_time" if arrivalColors else "plain")

    def setTime(self, result: Any, timeS: float) -> None:
        """Show the volume of the time that is nearest, s."""
        index = int(np.abs(result.times_s - timeS).argmin())
        result.browser.SetSelectedItemNumber(index)

    def curve(self, result: Any, where: Any, *, segment: str = "", radiusMm: float = 0.0) -> Any:
        """Time-attenuation curve (``DSAReconLib.mrml.curves.Curve``), also drawn in a plot.

        Parameters
        ----------
        where
            Point (3,) in RAS, or a segmentation node with the ID of a ``segment``.
        radiusMm
            Vessel voxels within this distance of the nearest one are averaged.

        Raises
        ------
        ResultError
            No vessel is there, or the result folder has gone.
        """
        from DSAReconLib.mrml.curves import CurveModel
        from DSAReconLib.mrml.plot import CurvePlot

        if result.result is None:
            raise ResultError(_("The result folder {folder} is not there any more.").format(folder=result.folder))
        model = self._curveModels.setdefault(result.folder, None) or CurveModel(result.result)
        self._curveModels[result.folder] = model
        curve = model.in_segment(where, segment) if segment else model.at_point(where, radius_mm=radiusMm)
        if curve is None:
            raise ResultError(_("No vessel of {name} lies there.").format(name=result.name))
        if self._plot is None or self._plot.chart is None:
            self._plot = CurvePlot(self.context)
        self._plot.show(f"{result.name} {segment or tuple(round(float(value), 1) for value in where)}", curve)
        return curve

    def export(
        self,
        result: Any,
        *,
        nrrd: Path | str | None = None,
        stl: Path | str | None = None,
        ply: Path | str | None = None,
    ) -> list[Path]:
        """Copies of a result: all volumes into the folder ``nrrd``, files ``stl`` and ``ply``; the files written.

        ResultError or ResourceError say what was not possible.
        """
        from DSAReconLib.mrml.export import export_result

        if result.result is None:
            raise ResultError(_("The result folder {folder} is not there any more.").format(folder=result.folder))
        written: list[Path] = []
        for key, target in (("all_nrrd", nrrd), ("surface_stl", stl), ("gaussians_ply", ply)):
            if target is not None:
                written += export_result(result.result, key, Path(target))
        return written

    # Novel views

    def startNovelView(self, result: Any, **options: Any) -> Any:
        """Start the render server of a result: :class:`DSAReconLib.jobs.render_client.RenderClient`.

        ``options`` are those of the client. An earlier one ends.
        """
        from DSAReconLib.jobs.render_client import RenderClient

        self.stopNovelView()
        options = {"python": childPython(), "on_path": (str(libraryFolder()),), **options}
        self._renderClient = RenderClient(result.folder, **options)
        return self._renderClient

    def stopNovelView(self) -> None:
        """End it."""
        client, self._renderClient = self._renderClient, None
        if client is not None:
            client.close()

    def close(self) -> None:
        """End every child process of this logic; harmless when called twice."""
        self.stopNovelView()
        self.contrast.close()
        if self._queue is not None:
            self._queue.close()
            self._queue = None
