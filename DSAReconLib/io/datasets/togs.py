"""The layout of TOGS, which is that of D-NeRF: PNG frames and cameras in two JSON files.

``transforms_train.json`` and ``transforms_test.json`` hold ``camera_angle_x`` and ``frames``
with ``file_path`` (without ``.png``), ``transform_matrix`` and ``time`` in [0, 1). Contrast is
dark on white: white is the smallest and black the largest value of all frames. Axes and units:
:mod:`DSAReconLib.geometry.interop.blender`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DatasetError, GeometryError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.geometry.interop.blender import cameras_from_geometry, geometry_from_cameras
from DSAReconLib.io.datasets.case import (
    OWN_KEY,
    DatasetCase,
    Warnings,
    frame_entries,
    frame_times,
    numbers,
    own_entry,
    read_entries,
    runs_of,
)
from DSAReconLib.io.datasets.images import read_picture, write_picture
from DSAReconLib.io.json_text import write_json
from DSAReconLib.reconstruction import PictureScale

SETS = {"train": "transforms_train.json", "test": "transforms_test.json"}
ASSUMED_LARGEST = 1.0
"""Line integral taken for black where a case does not tell it."""


def is_togs(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / SETS["train"]).is_file()


def read_togs(folder: Path) -> DatasetCase:
    """Read a case: the frames of both sets in the order of their times.

    Raises
    ------
    DatasetError
        Names the file and the key that is missing or wrong.
    """
    train = folder / SETS["train"]
    data = read_entries(train)
    frames = _listed(folder, data)
    order = np.argsort([float(frame["time"]) for frame, _, _ in frames], kind="stable")
    frames = [frames[place] for place in order]
    pictures = _pictures(folder, [(frame, path) for frame, path, _ in frames])
    matrices = np.stack([numbers(frame, "transform_matrix", (4, 4), path) for frame, path, _ in frames])
    own = own_entry(data, train)
    sdd = float(numbers(own, "sdd_mm", (), train)) if "sdd_mm" in own else None
    angle = float(numbers(data, "camera_angle_x", (), train))
    try:
        geometry = geometry_from_cameras(angle, matrices, (pictures.shape[1], pictures.shape[2]), sdd_mm=sdd)
    except GeometryError as error:
        raise DatasetError(f"{train}: {error.message}") from None
    times, warnings = frame_times(own, len(frames), train)
    largest, about_scale = _largest(own, train)
    line_integrals = PictureScale("linear", largest).line_integrals(pictures)
    mask_run, fill_run = runs_of(None, line_integrals, geometry, times, path=folder, warnings=warnings + about_scale)
    training = np.flatnonzero([name == "train" for _, _, name in frames])
    return DatasetCase(mask_run, fill_run, training=training)


def write_togs(
    folder: Path,
    line_integrals: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    times_s: NDArray[np.float64],
    training: NDArray[np.int64],
) -> None:
    """Write a case.

    Parameters
    ----------
    line_integrals
        (F, R, C); negative values become white.
    geometry, times_s
        Of the frames.
    training
        Frames (N,) of the training set; the others are the test set.

    Raises
    ------
    GeometryError
        The layout cannot hold the poses.
    """
    angle, matrices = cameras_from_geometry(geometry)
    largest = max(float(line_integrals.max()), float(np.finfo(np.float32).tiny))
    scale, count = PictureScale("linear", largest), len(geometry)
    own = {"times_s": np.asarray(times_s).tolist(), "sdd_mm": geometry.sdd_mm.mean(), "black_line_integral": largest}
    names = np.where(np.isin(np.arange(count), training), "train", "test")
    for name, file in SETS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        frames = []
        for frame in np.flatnonzero(names == name):
            place = f"{name}/r_{frame:03d}"
            write_picture(folder / f"{place}.png", scale.pictures(line_integrals[frame]))
            frames.append({"file_path": f"./{place}", "time": frame / count, "transform_matrix": matrices[frame]})
        write_json(folder / file, {"camera_angle_x": angle, "frames": frames, OWN_KEY: own})


def _listed(folder: Path, train: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Path, str]]:
    """All frames with the file and the set that they are listed in."""
    listed = []
    for name, file in SETS.items():
        path = folder / file
        if name != "train" and not path.is_file():
            continue
        data = train if name == "train" else read_entries(path)
        if name != "train" and not data.get("frames"):
            continue
        for frame in frame_entries(data, path):
            numbers(frame, "time", (), path)
            listed.append((frame, path, name))
    return listed


def _pictures(folder: Path, frames: list[tuple[Mapping[str, Any], Path]]) -> NDArray[np.float32]:
    pictures: list[NDArray[np.float32]] = []
    for frame, listed in frames:
        if not isinstance(frame.get("file_path"), str):
            raise DatasetError(f"{listed}: a frame lacks the key 'file_path'.")
        name = frame["file_path"]
        path = folder / (name if name.endswith(".png") else name + ".png")
        pictures.append(read_picture(path))
        if pictures[-1].shape != pictures[0].shape:
            raise DatasetError(f"{path} has {pictures[-1].shape} pixels, other frames {pictures[0].shape}.")
    return np.stack(pictures)


def _largest(own: Mapping[str, Any], path: Path) -> tuple[float, Warnings]:
    """The line integral that is black."""
    if "black_line_integral" in own:
        largest = float(numbers(own, "black_line_integral", (), path))
        if largest <= 0:
            raise DatasetError(f"{path}: 'black_line_integral' must be positive; found {largest:g}.")
        return largest, ()
    note = (
        f"{path.name} does not tell which line integral is black; {ASSUMED_LARGEST:g} is assumed: attenuations "
        "are right up to a factor only."
    )
    return ASSUMED_LARGEST, (("dataset.scale", note),)
