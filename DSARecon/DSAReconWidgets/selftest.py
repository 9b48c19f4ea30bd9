"""The whole round on simulated data, for people who have Slicer; its steps also run on slicer-core."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from DSAReconLib.errors import DSAReconError
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconWidgets.children import NO_WINDOW, childEnvironment, childPython
from DSAReconWidgets.logic import DSAReconLogic

try:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest
except ImportError:  # slicer-core without the desktop application
    from unittest import TestCase as ScriptedLoadableModuleTest

_SIMULATION = ("--preset", "tiny", "--views", "20", "--detector", "32", "--quiet")


class Round:
    """Simulate, find, load, choose views, reconstruct, show, measure, export; each step checks what it got.

    Parameters
    ----------
    logic
        What is tested.
    folder
        Empty folder to work in.
    """

    def __init__(self, logic: DSAReconLogic, folder: Path) -> None:
        self.logic, self.folder = logic, folder
        self.case = folder / "case"
        self.pair: Any = None
        self.result: Any = None

    def simulate(self) -> None:
        """Mask and fill run of a small vessel tree."""
        command = [childPython(), "-m", "DSAReconLib", "simulate", *_SIMULATION, "--out", str(self.case)]
        environment = {**os.environ, **childEnvironment()}
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            creationflags=NO_WINDOW,
            check=False,
        )
        if done.returncode != 0:
            raise DSAReconError(f"The simulation failed: {done.stderr.strip()[-500:]}")

    def findRuns(self) -> None:
        """Both runs are found and belong together."""
        pairs = self.logic.pairRuns([run for run in self.logic.findRuns([self.case]) if run.is_run])
        _check(len(pairs) == 1, f"one pair of runs is expected; found {len(pairs)}")
        self.pair = pairs[0]

    def loadRuns(self) -> None:
        """Both runs as sequences that know their files."""
        for run in (self.pair.mask, self.pair.fill):
            node = self.logic.loadRun(run.path)
            _check(node.GetNumberOfDataNodes() == run.frames, "every frame is in the sequence")
            _check(self.logic.runFile(node) == run.path.absolute(), "the sequence knows its file")

    def selectViews(self) -> None:
        """Half of the frames, at half of the dose."""
        chosen = self.logic.selectViews(self.pair.fill.path, views=self.pair.fill.frames // 2)
        _check(abs(chosen.doseFraction - 0.5) < 0.03, "half of the frames are chosen")
        _check(bool(np.all(np.diff(chosen.timesS) > 0)), "times increase")

    def reconstruct(self) -> None:
        """A small, quick reconstruction in a child process."""
        job = ReconstructionJob(
            out=str(self.folder / "result"),
            mask=str(self.pair.mask.path),
            fill=str(self.pair.fill.path),
            method="transit",
            preset="fast",
            size=32,
            device="cpu",
            report=False,
        )
        folder = self.logic.reconstructAndWait(job)
        self.result = self.logic.loadResult(folder)

    def show(self) -> None:
        """4D vessels, frame by frame."""
        self.logic.showResult(self.result, surface=True, arrivalColors=True)
        times = self.result.times_s
        self.logic.setTime(self.result, times[-1])
        _check(self.result.browser.GetSelectedItemNumber() == len(times) - 1, "the last frame is shown")
        _check(len(self.logic.results()) == 1, "the result is in the scene")

    def measure(self) -> None:
        """The curve of the brightest voxel rises and is plotted."""
        peak = _array(self.result.peak)
        k, j, i = np.unravel_index(int(np.argmax(peak)), peak.shape)
        matrix = _ijkToRas(self.result.peak)
        point = matrix @ [i, j, k, 1.0]
        curve = self.logic.curve(self.result, point[:3])
        _check(curve.peak > 0, "contrast passes the brightest voxel")
        _check(0 <= curve.arrival_s <= curve.peak_s, "contrast arrives before its peak")

    def export(self) -> None:
        """Volumes, surface and Gaussians in files."""
        target = self.folder / "export"
        target.mkdir()
        files = self.logic.export(
            self.result, nrrd=target / "volumes", stl=target / "vessels.stl", ply=target / "gaussians.ply"
        )
        _check(len(files) >= 5 and all(path.stat().st_size > 0 for path in files), "all files are written")

    STEPS = (simulate, findRuns, loadRuns, selectViews, reconstruct, show, measure, export)


class DSAReconTest(ScriptedLoadableModuleTest):
    """Run it with the button "Reload and Test" of developer mode, or with ctest."""

    def setUp(self) -> None:
        """Start with an empty scene."""
        import slicer

        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All steps, one after the other."""
        self.setUp()
        self.test_whole_round()

    def test_whole_round(self) -> None:
        """From simulated DICOM files to exported vessels."""
        logic = DSAReconLogic()
        with tempfile.TemporaryDirectory(prefix="DSAReconTest") as folder:
            test = Round(logic, Path(folder))
            try:
                for step in Round.STEPS:
                    self.delayDisplay(step.__doc__.strip())
                    step(test)
            finally:
                logic.close()
        self.delayDisplay("Test passed")


def _check(good: bool, expectation: str) -> None:
    if not good:
        raise AssertionError(f"not true: {expectation}")


def _array(node: Any) -> Any:
    from vtk.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def _ijkToRas(node: Any) -> Any:
    import vtk

    from DSAReconLib.mrml.coordinates import matrix_array

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix_array(matrix)
