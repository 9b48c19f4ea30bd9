"""Volumes on a common evaluation grid: resampling, overlap and 3D PSNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

Volume = NDArray[np.float32]


# ------------------------------------------------------------------ grids and resampling
def box_grid(low_mm: ArrayLike, high_mm: ArrayLike, spacing_mm: float) -> VolumeGrid:
    """Cubic-voxel grid whose outer faces start at ``low_mm`` and reach at least ``high_mm`` (x, y, z)."""
    low = np.asarray(low_mm, float)
    counts = np.maximum(1, np.ceil((np.asarray(high_mm, float) - low) / spacing_mm - 1e-9)).astype(int)
    return VolumeGrid(tuple(counts[::-1]), (spacing_mm,) * 3, tuple(low + spacing_mm / 2))


def index_box(grid: VolumeGrid, low_mm: ArrayLike, high_mm: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels (start, stop), each (x, y, z), whose trilinear interpolation covers a box in mm.

    The range is widened to whole voxels, limited to the grid and never empty.
    """
    counts = np.array(grid.shape_zyx[::-1])
    start = np.clip(np.floor(grid.index_of(low_mm)).astype(int), 0, counts - 1)
    stop = np.clip(np.ceil(grid.index_of(high_mm)).astype(int) + 1, start + 1, counts)
    return start, stop


def cropped(volume: DynamicVolume, low_mm: ArrayLike, high_mm: ArrayLike) -> DynamicVolume:
    """The part of a dynamic volume that :func:`resampled` needs inside a box (x, y, z), mm."""
    start, stop = index_box(volume.grid, low_mm, high_mm)
    grid = volume.grid.cropped(start, stop)
    if volume.support is None:
        block = tuple(slice(a, b) for a, b in zip(start[::-1], stop[::-1], strict=True))
        coefficients = volume.coefficients.reshape(-1, *volume.grid.shape_zyx)[(slice(None), *block)]
        return DynamicVolume(grid, np.ascontiguousarray(coefficients).reshape(len(volume.basis), -1), volume.basis)
    index_zyx = np.stack(np.unravel_index(volume.support, volume.grid.shape_zyx))
    inside = np.all((index_zyx >= start[::-1, None]) & (index_zyx < stop[::-1, None]), axis=0)
    support = np.ravel_multi_index(tuple(index_zyx[:, inside] - start[::-1, None]), grid.shape_zyx)
    return DynamicVolume(grid, volume.coefficients[:, inside], volume.basis, support.astype(np.int64))


def resampled(volume: Volume, source: VolumeGrid, target: VolumeGrid) -> Volume:
    """Trilinear interpolation at the voxel centers of another grid; 0 beyond the outermost centers.

    Both grids are axis aligned, so three one-dimensional interpolations do it exactly.
    """
    for axis, positions in enumerate(_target_positions(source, target)):
        volume = _interpolated(volume, axis, positions)
    return volume


def averaged(volume: DynamicVolume, target: VolumeGrid) -> DynamicVolume:
    """Mean of a sparse dynamic volume over the voxels of another grid (sparse again).

    Overlap weighted, so that integrals are kept: with an occupancy, a 0.6 mm voxel gets
    the vessel fraction of the eight 0.3 mm voxels in it. Contents beyond ``target`` are
    dropped.
    """
    from scipy.sparse import csr_matrix

    source = volume.grid
    support = np.arange(source.num_voxels) if volume.support is None else volume.support
    index_zyx = np.unravel_index(support, source.shape_zyx)
    flat, weight = np.zeros((len(support), 1), np.int64), np.ones((len(support), 1))
    for axis in range(3):
        voxels, shares = _overlaps(source, target, 2 - axis)
        flat = (flat[:, :, None] * target.shape_zyx[axis] + voxels[index_zyx[axis]][:, None]).reshape(len(support), -1)
        weight = (weight[:, :, None] * shares[index_zyx[axis]][:, None]).reshape(len(support), -1)
    touched = weight > 0
    used, row = np.unique(flat[touched], return_inverse=True)
    column = np.broadcast_to(np.arange(len(support))[:, None], flat.shape)[touched]
    matrix = csr_matrix((weight[touched], (row, column)), shape=(len(used), len(support)))
    coefficients = (matrix @ np.ascontiguousarray(volume.coefficients.T)).T
    return DynamicVolume(target, np.ascontiguousarray(coefficients, np.float32), volume.basis, used)


def _target_positions(source: VolumeGrid, target: VolumeGrid) -> list[NDArray[np.float64]]:
    """Continuous source index of the target's centers along z, y and x."""
    axes = zip(target.axes_mm(), source.origin_mm, source.spacing_mm, strict=True)
    return [(axis - origin) / spacing for axis, origin, spacing in axes][::-1]


def _interpolated(volume: Volume, axis: int, positions: NDArray[np.float64]) -> Volume:
    count = volume.shape[axis]
    # a center that misses the grid only by rounding is still inside
    inside = (positions >= -1e-6) & (positions <= count - 1 + 1e-6)
    lower = np.clip(np.floor(positions).astype(int), 0, max(count - 2, 0))
    upper = np.minimum(lower + 1, count - 1)
    share = np.clip(positions - lower, 0, 1)
    shape = [1] * volume.ndim
    shape[axis] = -1
    result = np.take(volume, lower, axis) * ((1 - share) * inside).astype(np.float32).reshape(shape)
    result += np.take(volume, upper, axis) * (share * inside).astype(np.float32).reshape(shape)
    return result


def _overlaps(source: VolumeGrid, target: VolumeGrid, axis_xyz: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Target voxels (n, m) that each of n source voxels overlaps along an axis, and the share of their length."""
    own, other = source.spacing_mm[axis_xyz], target.spacing_mm[axis_xyz]
    low = source.axes_mm()[axis_xyz] - own / 2
    count = target.shape_zyx[2 - axis_xyz]
    start = target.origin_mm[axis_xyz] - other / 2
    voxels = np.floor((low - start) / other).astype(int)[:, None] + np.arange(int(np.ceil(own / other)) + 1)
    target_low = start + voxels * other
    length = np.minimum(low[:, None] + own, target_low + other) - np.maximum(low[:, None], target_low)
    shares = np.clip(length, 0, None) / other * ((voxels >= 0) & (voxels < count))
    return np.clip(voxels, 0, count - 1), shares


# ------------------------------------------------------------------ statistics over time
def curve_bound(volume: DynamicVolume) -> Volume:
    """Upper bound (N,) of every voxel's curve, 1/mm, without computing the curves."""
    basis = volume.basis.values
    if (basis >= 0).all():
        return np.maximum(volume.coefficients.max(0), 0) * basis.sum(0).max()
    return np.abs(basis).max(1) @ np.abs(volume.coefficients)


def top_mean_above(volume: DynamicVolume, times_s: ArrayLike, floor: float) -> DynamicVolume:
    """:meth:`DynamicVolume.top_mean` of the voxels that can exceed ``floor`` (1/mm), static and sparse.

    Most voxels of a vessel volume never do, and their curves need not be computed.
    """
    can_exceed = np.flatnonzero(curve_bound(volume) > floor)
    support = can_exceed if volume.support is None else volume.support[can_exceed]
    bright = DynamicVolume(volume.grid, volume.coefficients[:, can_exceed], volume.basis, support.astype(np.int64))
    values = bright.top_mean(times_s).reshape(-1)[support]
    return DynamicVolume(volume.grid, values[None], TemporalBasis.constant(), bright.support)


# ------------------------------------------------------------------ metrics
def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Dice overlap 2 |A and B| / (|A| + |B|); 1 when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def best_dice(volume: Volume, truth: NDArray[np.bool_], thresholds: ArrayLike) -> tuple[float, float]:
    """Largest Dice of ``volume > threshold`` with ``truth`` over ``thresholds``, and that threshold."""
    levels = np.asarray(thresholds, float)
    bright = np.sort(volume[volume > levels.min()])
    inside = np.sort(volume[truth & (volume > levels.min())])
    marked = len(bright) - np.searchsorted(bright, levels, "right")
    hits = len(inside) - np.searchsorted(inside, levels, "right")
    scores = 2 * hits / np.maximum(marked + int(truth.sum()), 1)
    best = int(scores.argmax())
    return float(scores[best]), float(levels[best])


def volume_psnr(
    result: DynamicVolume, truth: DynamicVolume, grid: VolumeGrid, times_s: NDArray[np.float64], *, instants: int = 9
) -> dict[str, float]:
    """PSNR of attenuation volumes, 10 log10(range^2 / mean squared error) over the voxels of ``grid``, dB.

    Parameters
    ----------
    result, truth
        Contrast attenuation, 1/mm; ``truth`` on ``grid``, ``result`` is resampled to it.
    times_s
        Frame times (T,).
    instants
        Number of frame times, spread evenly over the run, for the 4D value.

    Returns
    -------
    ``psnr_3d_db``
        Of the time-averaged volumes; range = maximum of the true one.
    ``psnr_4d_db``
        Squared error averaged over the instants as well; range = maximum of the truth
        over space and time.
    """

    def squared_error(volume: Volume, true_volume: Volume) -> float:
        return float(np.mean(np.square(resampled(volume, result.grid, grid) - true_volume), dtype=np.float64))

    true_mean = truth.mean(times_s)
    chosen = np.unique(np.linspace(0, len(times_s) - 1, instants).round().astype(int))
    error_3d = squared_error(result.mean(times_s), true_mean)
    error_4d = float(np.mean([squared_error(result.at(time), truth.at(time)) for time in times_s[chosen]]))
    with np.errstate(divide="ignore"):
        return {
            "psnr_3d_db": float(10 * np.log10(float(true_mean.max()) ** 2 / error_3d)),
            "psnr_4d_db": float(10 * np.log10(float(truth.coefficients.max()) ** 2 / error_4d)),
        }
