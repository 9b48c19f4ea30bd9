"""What a result folder shows beside the attenuation: vessel probability, arrival, Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from DSAReconLib.reconstruction import DynamicVolume, RadiativeGaussians, TemporalBasis

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MAX_CONVERTED_GAUSSIANS = 100_000
"""More voxels than this are merged in 2 x 2 x 2 blocks first: viewers stay fluid."""

_SIGMA_PER_VOXEL = 0.5  # neighbors overlap enough that a filled region is flat to 2 %


def is_static(volume: DynamicVolume) -> bool:
    """Whether the attenuation cannot change over time."""
    return volume.basis.values.shape[1] == 1 or bool(np.all(volume.basis.values == volume.basis.values[:, :1]))


def soft_threshold(top_mean: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """``top_mean`` (any shape, 1/mm) as vessel probability, for methods that estimate none.

    It rises linearly from 0 at half the threshold to 1 at one and a half times, so that
    the surface lies at probability 0.5.
    """
    return np.clip(top_mean / np.float32(max(threshold, 1e-12)) - np.float32(0.5), 0, 1)


def vessel_arrival_time(volume: DynamicVolume, inside: NDArray[np.bool_], times_s: ArrayLike) -> NDArray[np.float32]:
    """Bolus arrival time (z, y, x), s, where ``inside`` (z, y, x); NaN elsewhere and for static volumes."""
    if is_static(volume):
        return np.full(volume.grid.shape_zyx, np.nan, np.float32)
    arrival = volume.arrival_time(times_s, 0.0)
    return np.where(inside, arrival, np.float32(np.nan))


def gaussians_from_volume(volume: DynamicVolume, minimum: float, times_s: ArrayLike) -> RadiativeGaussians:
    """One isotropic Gaussian per voxel that ever reaches ``minimum`` (1/mm).

    The standard deviation is half a voxel and the integral of the attenuation is kept:
    a (2 pi)^(3/2) sigma^3 = mu dx dy dz. Blocks of voxels are merged until at most
    :data:`MAX_CONVERTED_GAUSSIANS` are left.
    """
    peak = volume.peak(times_s).ravel()
    if volume.support is not None:
        peak = peak[volume.support]
    position = np.flatnonzero(peak >= minimum)
    basis, coefficients = _compact(volume, position, times_s)
    flat = position if volume.support is None else volume.support[position]
    index = np.stack(np.unravel_index(flat, volume.grid.shape_zyx), -1)
    block = 1
    while len(index) > MAX_CONVERTED_GAUSSIANS:
        block *= 2
        index, coefficients = _merge_blocks(index // 2, coefficients)
    spacing = block * np.array(volume.grid.spacing_mm)
    center = np.array(volume.grid.origin_mm) + (block - 1) / 2 * np.array(volume.grid.spacing_mm)
    sigma = _SIGMA_PER_VOXEL * spacing
    scale = np.prod(spacing) / ((2 * np.pi) ** 1.5 * np.prod(sigma)) / block**3
    count = len(index)
    return RadiativeGaussians(
        means_mm=(index[:, ::-1] * spacing + center).astype(np.float32),
        scales_mm=np.tile(sigma.astype(np.float32), (count, 1)),
        quats_wxyz=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        coefficients=(scale * coefficients).astype(np.float32),
        basis=basis,
    )


def _compact(
    volume: DynamicVolume, position: NDArray[np.int64], times_s: ArrayLike
) -> tuple[TemporalBasis, NDArray[np.float32]]:
    """Basis and coefficients (K, N) of voxels (by position in the support); hats at ``times_s`` if those are fewer."""
    times = np.atleast_1d(np.asarray(times_s, float))
    if len(volume.basis) <= len(times):
        return volume.basis, volume.coefficients[:, position]
    return TemporalBasis.hats(times), np.ascontiguousarray(volume.curves(times, position).T)


def _merge_blocks(
    index: NDArray[np.int64], coefficients: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sum of the coefficients (K, N) of equal indices (N, 3)."""
    unique, inverse = np.unique(index, axis=0, return_inverse=True)
    merged = np.stack([np.bincount(inverse.ravel(), row, len(unique)) for row in coefficients])
    return unique, merged.astype(np.float32)
