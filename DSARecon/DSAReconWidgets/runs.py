"""Runs in files and in the scene: their poses, their files, what of them a job gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.run import load_run, run_of_sequence
from DSAReconWidgets.translation import tr as _

FILE_ATTRIBUTE = "DSARecon.SourceFile"
ROLE_ATTRIBUTE = "DSARecon.Role"


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


@dataclass(frozen=True)
class RunPoses:
    """Angles and times of every frame (F,), degrees and s; geometry where the file is there."""

    primaryDeg: NDArray[np.float64]
    secondaryDeg: NDArray[np.float64]
    timesS: NDArray[np.float64]
    geometry: ConeBeamGeometry | None = None


def loadRun(context: SceneContext, path: Path, part: int, given: Mapping[str, Any] | None = None) -> Any:
    """A run of a file (the ``part``-th, from 1, where it holds several) in the scene; its sequence node.

    ``given`` attributes replace those of the file.
    """
    from DSAReconLib.dicom.reader import read_runs

    run = read_runs(path, overrides=given, accept_display_values=True)[max(part - 1, 0)]
    nodes = load_run(context, run, name=run.attributes.get("series_description", ""))
    nodes.sequence.SetAttribute(FILE_ATTRIBUTE, str(path.absolute()))
    role = run.attributes.get("role", "")
    if role in ("mask", "fill"):
        nodes.sequence.SetAttribute(ROLE_ATTRIBUTE, role)
    return nodes.sequence


def runNodes(context: SceneContext) -> list[Any]:
    """Sequence nodes of the runs in the scene."""
    found = context.scene.GetNodesByClass("vtkMRMLSequenceNode")
    nodes = [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
    return [node for node in nodes if run_of_sequence(context, node) is not None]


def runFile(node: Any) -> Path | None:
    """DICOM file that a run node came from, if it still is there; Slicer's DICOM database is asked, too."""
    candidates = [node.GetAttribute(FILE_ATTRIBUTE)]
    database = getattr(slicer, "dicomDatabase", None)
    if database is not None:
        candidates += [database.fileForInstance(uid) for uid in (node.GetAttribute("DICOM.instanceUIDs") or "").split()]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def inputOf(maskRun: Any, fillRun: Any, folder: Path) -> dict[str, Any]:
    """Input of a job: files of the chosen run nodes, else the folder; ConfigError says what is missing."""
    chosen = {"mask": maskRun, "fill": fillRun}
    if maskRun is None and fillRun is None:
        if folder == Path():
            raise ConfigError(_("Choose the mask and the fill run, or a folder that holds them."))
        if not folder.exists():
            raise ConfigError(_("The folder {folder} is not there.").format(folder=folder))
        if not folder.is_dir():
            raise ConfigError(_("{folder} is a file. Choose the folder that holds both runs.").format(folder=folder))
        return {"paths": (str(folder),)}
    files = {}
    for role, node in chosen.items():
        if node is None:
            raise ConfigError(_("Choose the mask run, too.") if role == "mask" else _("Choose the fill run, too."))
        path = runFile(node)
        if path is None:
            message = _("The DICOM file of {name} is not there any more.").format(name=node.GetName())
            raise ConfigError(message, hint=_("Load the run again from where it lies now."))
        files[role] = str(path)
    return files


def posesOfFile(path: Path, given: Mapping[str, Any] | None = None) -> RunPoses:
    """Poses of the run in a file, with ``given`` attributes; of the fill run where it holds both."""
    from DSAReconLib.dicom.header import read_run_header

    header = read_run_header(path, given)
    part = next((part for part in header.parts if part.role == "fill"), header.parts[-1])
    times, geometry = header.times_s[part.frames], header.geometry[part.frames]
    return RunPoses(geometry.primary_angle_deg, geometry.secondary_angle_deg, times - times[0], geometry)


def posesOfNode(context: SceneContext, node: Any) -> RunPoses:
    """Poses of a run in the scene whose file has gone."""
    nodes = run_of_sequence(context, node)
    if nodes is None:
        raise ConfigError(_("{name} is no rotational run.").format(name=node.GetName()))
    return RunPoses(nodes.primary_angle_deg, nodes.secondary_angle_deg, nodes.times_s)
