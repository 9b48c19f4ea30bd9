"""A head CT of the user as background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.raycast import project
from DSAReconLib.progress import Progress
from DSAReconLib.simulation.background import TissuePaths

_AIR_HU, _SOFT_HU, _BONE_HU = -850.0, 120.0, 1500.0
"""Below: air. Up to the second: soft tissue of proportional density. Third: cortical bone."""
_HEAD_HU = -300.0


def ct_paths(
    path: Path, middle_mm: NDArray[np.float64], geometry: ConeBeamGeometry, *, progress: Progress
) -> TissuePaths:
    """Path lengths through a CT whose head is centered at ``middle_mm`` (3,).

    Raises
    ------
    ConfigError
        The file cannot be read or is not a volume in HU.
    """
    bone, soft, grid = _tissue(path, middle_mm)
    paths = []
    for name, fraction in (("bone", bone), ("soft tissue", soft)):
        images = np.empty((len(geometry), *geometry.detector_shape), np.float32)
        for first in range(0, len(geometry), 4):
            progress.check_cancelled()
            progress.report(f"project {name} of the head CT", first / len(geometry))
            images[first : first + 4] = project(fraction, grid, geometry[first : first + 4])
        paths.append(np.maximum(images, 0))
    return TissuePaths(paths[0], paths[1])


def _tissue(path: Path, middle_mm: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32], VolumeGrid]:
    """Bone and soft-tissue fraction (Z, Y, X) and the grid."""
    hounsfield, spacing = _read(path)
    head = hounsfield > _HEAD_HU
    if not head.any() or hounsfield.min() > -500:
        raise ConfigError(
            f"{path.name} does not look like a CT in HU: values from {hounsfield.min():g} to {hounsfield.max():g}.",
            hint="Give a head CT with air at -1000 HU.",
        )
    shape = hounsfield.shape
    first = np.array([np.flatnonzero(head.any(axis=axes))[[0, -1]].mean() for axes in ((1, 2), (0, 2), (0, 1))])
    origin = middle_mm - first[::-1] * np.array(spacing)
    share = np.clip((hounsfield - _SOFT_HU) / (_BONE_HU - _SOFT_HU), 0, 2).astype(np.float32)
    soft = np.clip((np.minimum(hounsfield, _SOFT_HU) + 1000) / 1040, 0, None).astype(np.float32)
    soft[hounsfield < _AIR_HU] = 0
    soft *= np.maximum(1 - share, 0)
    return share, soft, VolumeGrid(shape, spacing, tuple(origin))


def _read(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """HU (Z, Y, X) with axes along patient L, P, S and the voxel size (x, y, z), mm."""
    import SimpleITK

    try:
        image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32), "LPS")
    except RuntimeError as error:
        raise ConfigError(
            f"{path} cannot be read as a volume.", hint="Give a head CT as NIfTI, NRRD or MetaImage."
        ) from error
    return SimpleITK.GetArrayFromImage(image), image.GetSpacing()
