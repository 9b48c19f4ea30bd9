"""The layout of 4DRGS and VPAL: ``transforms.json`` beside the frames as NIfTI.

Files: ``mask_run.nii.gz`` and ``fill_run.nii.gz`` (intensities), or ``proj.nii.gz`` (line
integrals, as VPAL reads them); ``mesh_ref.obj`` (optional) in *voxel indices* of the layout's
axes. Poses, axes and mirroring: :mod:`DSAReconLib.geometry.interop.transforms_json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DatasetError, DSAReconError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.geometry.interop.transforms_json import geometry_from_transforms, geometry_to_transforms
from DSAReconLib.io.datasets.case import (
    OWN_KEY,
    DatasetCase,
    frame_entries,
    frame_times,
    numbers,
    own_entry,
    read_entries,
    runs_of,
)
from DSAReconLib.io.datasets.images import read_stack, write_stack
from DSAReconLib.io.datasets.obj import read_obj, write_obj
from DSAReconLib.io.json_text import write_json
from DSAReconLib.io.mesh import Surface

POSES, MASK, FILL, SUBTRACTED, MESH = (
    "transforms.json",
    "mask_run.nii.gz",
    "fill_run.nii.gz",
    "proj.nii.gz",
    "mesh_ref.obj",
)
_TRIPLES, _PAIRS = ("volume_resolution", "volume_spacing"), ("proj_resolution", "proj_spacing")


def is_fourdrgs(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / POSES).is_file()


def read_fourdrgs(folder: Path) -> DatasetCase:
    """Read a case.

    Raises
    ------
    DatasetError
        Names the file and the key that is missing or wrong.
    """
    path = folder / POSES
    data = read_entries(path)
    geometry, grid = _poses(data, path)
    times, warnings = frame_times(own_entry(data, path), len(geometry), path)
    mask, fill = _frames(folder, geometry)
    mask_run, fill_run = runs_of(mask, fill, geometry, times, path=folder, warnings=warnings)
    return DatasetCase(mask_run, fill_run, grid, read_reference(folder))


def read_reference(folder: Path) -> Surface | None:
    """The reference surface in LPS, mm, of a case, without reading its frames; ``None`` if there is none."""
    if not (folder / MESH).is_file():
        return None
    _, grid = _poses(read_entries(folder / POSES), folder / POSES)
    return _surface(folder / MESH, grid)


def write_fourdrgs(
    folder: Path,
    fill: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    times_s: NDArray[np.float64],
    grid: VolumeGrid,
    *,
    mask: NDArray[np.float32] | None = None,
    reference: Surface | None = None,
) -> None:
    """Write a case.

    Parameters
    ----------
    fill
        Intensities (F, R, C), or line integrals if there is no ``mask`` (clipped at 0, as
        the published code does).
    geometry, times_s
        Of the frames.
    grid
        Volume to reconstruct, centered at the isocenter.
    reference
        Surface in LPS, mm.

    Raises
    ------
    GeometryError
        The layout cannot hold poses or grid.
    """
    content = geometry_to_transforms(geometry, grid)
    folder.mkdir(parents=True, exist_ok=True)
    if mask is None:
        write_stack(folder / SUBTRACTED, np.maximum(fill, 0))
    else:
        write_stack(folder / MASK, mask)
        write_stack(folder / FILL, fill)
    if reference is not None:
        write_obj(folder / MESH, _to_layout(reference.vertices_mm, grid), reference.triangles[:, ::-1])
    write_json(folder / POSES, {**content, OWN_KEY: {"times_s": np.asarray(times_s).tolist()}})


def _poses(data: Mapping[str, Any], path: Path) -> tuple[ConeBeamGeometry, VolumeGrid]:
    for names, shape in ((("sad", "sid", "N_views"), ()), (_PAIRS, (2,)), (_TRIPLES, (3,))):
        for name in names:
            if (numbers(data, name, shape, path) <= 0).any():
                raise DatasetError(f"{path}: {name!r} must be positive; found {data[name]}.")
    frames, count = frame_entries(data, path), int(data["N_views"])
    if len(frames) < count:
        raise DatasetError(f"{path}: 'frames' holds {len(frames)} entries, 'N_views' is {count}.")
    for frame in frames[:count]:
        numbers(frame, "PrimaryAngle", (), path)
        if "SecondaryAngle" in frame:
            numbers(frame, "SecondaryAngle", (), path)
    try:
        return geometry_from_transforms(data)
    except DSAReconError as error:
        raise DatasetError(f"{path}: {error.message}", hint=error.hint) from None


def _frames(folder: Path, geometry: ConeBeamGeometry) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    both = (folder / MASK).is_file() and (folder / FILL).is_file()
    if not both and not (folder / SUBTRACTED).is_file():
        raise DatasetError(
            f"{folder} has neither {MASK} and {FILL} nor {SUBTRACTED}.", hint="Copy the whole folder of the case."
        )
    expected = (len(geometry), *geometry.detector_shape)
    stacks = []
    for name in (MASK, FILL) if both else (SUBTRACTED,):
        stack = read_stack(folder / name)
        if stack.shape[0] < expected[0] or stack.shape[1:] != expected[1:]:
            raise DatasetError(
                f"{folder / name} has frames of shape {stack.shape}; 'N_views' and 'proj_resolution' of {POSES} "
                f"say {expected}."
            )
        stacks.append(stack[: expected[0]])
    return (stacks[0], stacks[1]) if both else (None, stacks[0])


def _surface(path: Path, grid: VolumeGrid) -> Surface:
    indices, triangles = read_obj(path)
    vertices = indices[:, [1, 0, 2]] * grid.spacing_mm + np.array(grid.origin_mm)
    # the layout's world is mirrored: corners turn the other way round
    return Surface(vertices.astype(np.float32), triangles[:, ::-1], {})


def _to_layout(vertices_mm: NDArray[np.floating], grid: VolumeGrid) -> NDArray[np.float64]:
    """Voxel indices (P, 3) along the layout's axes; the center of the first voxel is 0."""
    return ((np.asarray(vertices_mm, float) - grid.origin_mm) / grid.spacing_mm)[:, [1, 0, 2]]
