"""Rotational runs that the user can choose: those in the scene, and those in a folder, found without a freeze."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qt
from numpy.typing import NDArray

from DSAReconLib.acquisition.summary import RunSummary
from DSAReconLib.errors import ConfigError

_WORK_S = 0.04  # per turn of the event loop: the window stays alive
_NOT_WORTH_A_LINE = {"dicom.not_dicom", "dicom.index", "dicom.empty"}


@dataclass(frozen=True)
class FoundRun:
    """A run that can be chosen.

    Parameters
    ----------
    summary
        What its header says.
    node
        Its sequence node, if it is in the scene.
    """

    summary: RunSummary
    node: Any = None

    @property
    def key(self) -> tuple[str, int]:
        """Same object, same key."""
        return self.summary.sop_instance_uid or str(self.summary.path), self.summary.part


class RunSearch:
    """Goes through a folder a little at a time and hands over what it finds.

    Parameters
    ----------
    onFound
        Called after every step in which a run was found, and at the end.
    """

    def __init__(self, onFound: Callable[[], None]) -> None:
        self._onFound = onFound
        self._files: Iterator[Path] = iter(())
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._step)
        self.folder = Path()
        self.header: Mapping[str, str] = {}
        self.problem = ""
        self.runs: list[FoundRun] = []
        self.refused: list[RunSummary] = []
        self.files = 0

    @property
    def active(self) -> bool:
        """Whether it is still searching."""
        return bool(self._timer.active)

    def start(self, folder: Path, header: Mapping[str, str]) -> None:
        """Search a folder and its subfolders; an earlier search ends. ``header`` holds what the files lack."""
        self.stop()
        self.folder, self.runs, self.refused, self.files = folder, [], [], 0
        self.header, self.problem = header, ""
        if folder != Path() and folder.is_dir():
            self._files = _filesIn(folder)
            self._timer.start()

    def stop(self) -> None:
        """End the search; may be called twice."""
        self._timer.stop()
        self._files = iter(())

    def _step(self) -> None:
        end, before = time.monotonic() + _WORK_S, len(self.runs)
        while time.monotonic() < end:
            path = next(self._files, None)
            if path is None:
                self.stop()
                self._onFound()
                return
            self.files += 1
            self._summarize(path)
        if len(self.runs) > before:
            self._onFound()

    def _summarize(self, path: Path) -> None:
        from DSAReconLib.dicom.find import summarize_file

        try:
            summaries = summarize_file(path, self.header)
        except ConfigError as error:  # what was given as header makes no sense
            self.problem, self._files = error.message, iter(())
            return
        for summary in summaries:
            self._take(summary)

    def _take(self, summary: RunSummary) -> None:
        found = FoundRun(summary)
        if not summary.is_run:
            if summary.refusal_code not in _NOT_WORTH_A_LINE:
                self.refused.append(summary)
        elif found.key not in [run.key for run in self.runs]:
            self.runs.append(found)


def runsInScene(logic: Any, header: Mapping[str, str]) -> tuple[list[FoundRun], list[RunSummary]]:
    """Runs that were loaded into the scene, as far as their files still are there, and those that lack something."""
    from DSAReconLib.dicom.find import summarize_file

    found, refused = [], []
    for node in logic.runNodes():
        path = logic.runFile(node)
        try:
            summaries = summarize_file(path, header) if path else []
        except ConfigError:  # what was given as header makes no sense
            summaries = summarize_file(path)
        refused += [summary for summary in summaries if not summary.is_run]
        summaries = [summary for summary in summaries if summary.is_run]
        role = (node.GetAttribute("DSARecon.Role") or "").lower()
        matching = [summary for summary in summaries if summary.role == role] or summaries
        if matching:
            found.append(FoundRun(matching[0], node))
    return found, refused


def middleFrame(run: FoundRun) -> NDArray[np.float32] | None:
    """The middle frame (R, C) as stored; ``None`` if it cannot be decoded here."""
    if run.node is not None:
        volume = run.node.GetNthDataNode(run.node.GetNumberOfDataNodes() // 2)
        return _pixels(volume)
    try:
        from pydicom import dcmread
        from pydicom.pixels import pixel_array

        frames = int(
            dcmread(run.summary.path, specific_tags=["NumberOfFrames"], stop_before_pixels=True).NumberOfFrames
        )
        frame: NDArray[np.float32] = pixel_array(run.summary.path, index=frames // 2, raw=True).astype(np.float32)
    except Exception:  # a missing picture must not keep a run from being listed, whatever the decoder throws
        return None
    return frame if frame.ndim == 2 else None


def _pixels(volume: Any) -> NDArray[np.float32] | None:
    from vtk.util.numpy_support import vtk_to_numpy

    image = volume.GetImageData() if volume is not None else None
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    columns, rows, _ = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    pixels: NDArray[np.float32] = values.reshape(-1, rows, columns)[0].astype(np.float32)
    return pixels


def _filesIn(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(base, name)
            if path.is_file():
                yield path
