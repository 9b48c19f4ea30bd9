"""Gaussians averaged over voxels: the volume that a Gaussian fit hands on (4DRGS eq. 4.8 for all times at once)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.splat import VOXEL_CUTOFF_SIGMA
from DSAReconLib.reconstruction import DynamicVolume, RadiativeGaussians

_MARGIN_SIGMA = 3.0


def dynamic_volume(gaussians: RadiativeGaussians, grid: VolumeGrid, *, floor: float) -> DynamicVolume:
    """Mean of the attenuation over each voxel, on the part of ``grid`` that the Gaussians reach.

    The mean over a voxel is taken as that over a Gaussian of the same variance, which
    keeps every Gaussian's mass however narrow it is.

    Parameters
    ----------
    gaussians
        The model.
    grid
        Voxels.
    floor
        Voxels whose attenuation averages less over the basis functions are left out, 1/mm.
    """
    from DSAReconLib.kernels.splat import cpu

    grid = _reached(gaussians, grid)
    place = (np.array(grid.origin_mm), np.array(grid.spacing_mm))
    variance = np.float32(np.mean(place[1] ** 2) / 12)
    scales = np.sqrt(gaussians.scales_mm**2 + variance)
    share = (gaussians.scales_mm / scales).prod(1)
    shapes = (gaussians.means_mm, scales, gaussians.quats_wxyz)
    coefficients = np.ascontiguousarray(gaussians.coefficients.T * share[:, None])
    mean = np.ascontiguousarray(coefficients.mean(1)[None])
    total = cpu.voxelize(*shapes, mean, *place, grid.shape_zyx, cutoff_sigma=VOXEL_CUTOFF_SIGMA)
    support = np.flatnonzero(total[0] > floor)
    index = np.full(grid.num_voxels, -1, np.int32)
    index[support] = np.arange(len(support), dtype=np.int32)
    values = cpu.voxelize_supported(
        *shapes, coefficients, *place, index.reshape(grid.shape_zyx), cutoff_sigma=VOXEL_CUTOFF_SIGMA
    )
    return DynamicVolume(grid, np.ascontiguousarray(values.T), gaussians.basis, support)


def _reached(gaussians: RadiativeGaussians, grid: VolumeGrid) -> VolumeGrid:
    """Smallest sub-grid that holds all centers and three standard deviations around them."""
    shape = np.array(grid.shape_zyx[::-1])
    if not len(gaussians):
        return grid.cropped(shape // 2, shape // 2 + 1)
    reach: NDArray[np.float32] = _MARGIN_SIGMA * gaussians.scales_mm.max(1, keepdims=True)
    low = grid.index_of((gaussians.means_mm - reach).min(0))
    high = grid.index_of((gaussians.means_mm + reach).max(0))
    start = np.clip(np.floor(low), 0, shape - 1).astype(int)
    return grid.cropped(start, np.clip(np.ceil(high) + 1, start + 1, shape).astype(int))
