"""A small made-up result with its source runs, and what a DICOM validator says about objects."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.xa_objects import FRAMES, offsets, write_xa

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.result_folder import write_result
from DSAReconLib.progress import SilentProgress
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

GRID = VolumeGrid((9, 11, 13), (0.7, 0.8, 0.9), (-4.25, 7.5, -30.125))
TIMES_S = np.linspace(0.0, 2.2, FRAMES)
SEQUENCE_TIMES_S = np.array([0.0, 0.55, 2.2])
MASK_UID, FILL_UID = "1.2.3.4.101", "1.2.3.4.102"
STUDY_UID = "1.2.3.4.100"
PATIENT_NAME = "Doe^Jane"


def dynamic_volume() -> DynamicVolume:
    """An oblique vessel, off the middle of the grid, through which contrast passes; some values below zero."""
    points = GRID.points_mm()
    axis = points - np.array(GRID.origin_mm) - np.array((3.0, 2.5, 0.0))
    distance = np.linalg.norm(axis[:, :2] - 0.35 * axis[:, 2:], axis=1)
    support = np.flatnonzero(distance < 2.2)
    level = np.where(distance[support] < 1.5, 0.05, -0.004)
    late = (points[support, 2] - points[support, 2].min()) / 10
    coefficients = np.stack([0.3 * level * (1 - late), level, level * late]).astype(np.float32)
    return DynamicVolume(GRID, coefficients, TemporalBasis.hats([0.0, 1.0, 2.2]), support)


def static_volume() -> DynamicVolume:
    """The same at one time, as filtered backprojection gives it."""
    moving = dynamic_volume()
    return DynamicVolume(GRID, moving.coefficients[1:2], TemporalBasis.constant(), moving.support)


def write_small_result(
    folder: Path, *, volume: DynamicVolume | None = None, uids: tuple[str, ...] = (MASK_UID, FILL_UID), **record: object
) -> Path:
    """A result folder of that volume; ``uids`` are the input objects."""
    volume = dynamic_volume() if volume is None else volume
    geometry = ConeBeamGeometry.from_angles(
        -90.0 + np.array(offsets()),
        sod_mm=750.0,
        sdd_mm=1200.0,
        detector_shape=(24, 32),
        detector_spacing_mm=(6.0, 4.5),
    )
    facts = {
        "method": "double",
        "title": "Double",
        "registration": "rigid",
        "finished_at": "2026-03-01T10:00:00+00:00",
        "input_sop_instance_uids": list(uids),
        "selected_views": list(range(0, FRAMES, 2)),
        "heldout_views": list(range(1, FRAMES, 2)),
    }
    times = SEQUENCE_TIMES_S if len(volume.basis) > 1 else np.zeros(1)
    return write_result(
        folder,
        Reconstruction(volume, 0.02),
        record=facts | record,
        geometry=geometry,
        times_s=TIMES_S,
        sequence_times_s=times,
    )


def write_sources(folder: Path, **attributes: object) -> Path:
    """Classic mask and fill run of one study in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {
        "StudyInstanceUID": STUDY_UID,
        "StudyDate": "20260101",
        "StudyTime": "113000",
        "AcquisitionDate": "20260101",
        "PatientName": PATIENT_NAME,
        "BodyPartExamined": "HEAD",
        "AccessionNumber": "A-17",
        **attributes,
    }
    runs = (("mask", MASK_UID, 3, "120000"), ("fill", FILL_UID, 4, "120030.25"))
    for name, uid, number, time in runs:
        run = {"SOPInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SeriesNumber": number, "AcquisitionTime": time}
        write_xa(folder / f"{name}.dcm", **{"SeriesDescription": f"spin {name}", **run, **common})
    return folder


def complaints(path: Path) -> list[str]:
    """Errors that dciodvfy finds in one object; skips the test where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line and " " not in line for line in lines), f"{path.name} was not recognized: {lines[:3]}"
    return [line for line in lines if line.startswith("Error")]


class CancelledAfter(SilentProgress):
    """Progress that cancels after some reports."""

    def __init__(self, reports: int) -> None:
        super().__init__()
        self.left = reports

    def report(self, *args: object, **kwargs: object) -> None:
        self.left -= 1

    def check_cancelled(self) -> None:
        from DSAReconLib.errors import JobCancelled

        if self.left <= 0:
            raise JobCancelled()
