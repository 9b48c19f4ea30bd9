"""A quick check, after installing, that the kernels compute what they should."""

from __future__ import annotations

import numpy as np

from DSAReconLib.errors import DependencyError, DSAReconError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels import raycast
from DSAReconLib.kernels.backend import resolve_device

_TOLERANCE = 0.02
"""Bilinear interpolation blurs the blob by up to 1 %; broken kernels are wrong by far more."""


def self_test(device: str = "cpu") -> None:
    """Project a Gaussian blob on ``device`` and compare with its exact line integral through the center.

    A first call also compiles the kernels, so that the first reconstruction need not.

    Raises
    ------
    DependencyError
        The device is not usable, or the result is wrong.
    """
    device = resolve_device(device)
    grid = VolumeGrid.centered(33, 1.0)
    radius = np.sqrt(((grid.points_mm()) ** 2).sum(-1)).reshape(grid.shape_zyx)
    volume = np.exp(-0.5 * (radius / 4) ** 2).astype(np.float32)
    geometry = ConeBeamGeometry.from_angles(
        [-60.0, 0.0, 20.0], [0.0, 0.0, 80.0], sod_mm=750, sdd_mm=1200, detector_shape=(9, 9), detector_spacing_mm=(4, 4)
    )
    expected = 4 * np.sqrt(2 * np.pi)
    central = _project(volume, grid, geometry, device)[:, 4, 4]
    if not np.allclose(central, expected, rtol=_TOLERANCE):
        raise DependencyError(
            f"The kernels on {device} are wrong: line integrals {central.tolist()}, expected {expected:.4f}",
            hint="Please report this with the output of 'dsarecon info'.",
            code="dependency.selftest",
        )


def self_test_report(device: str = "cpu") -> str:
    """``"ok"``, or what went wrong, in one line."""
    try:
        self_test(device)
    except DSAReconError as error:
        return error.message
    return "ok"


def _project(volume: np.ndarray, grid: VolumeGrid, geometry: ConeBeamGeometry, device: str) -> np.ndarray:
    if device == "cpu":
        return raycast.project(volume, grid, geometry)
    import torch

    from DSAReconLib.kernels.cuda import raycast as cuda_raycast

    setup = raycast.RaySetup.of(grid, geometry)
    return cuda_raycast.project(torch.from_numpy(volume).to(device), setup).cpu().numpy()
