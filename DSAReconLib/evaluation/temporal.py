"""Whether contrast comes and goes at the right time: curves in small boxes at vessel points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.reconstruction import DynamicVolume, arrival_times

BOX_MM = 1.8
"""Side of the boxes in which curves are averaged (flagship.md section 3)."""
COVERAGE = 0.1
"""A point is covered when its curve reaches this share of the true peak."""

Curves = NDArray[np.float64]


def box_curves(
    volume: DynamicVolume, points_mm: NDArray[np.float64], times_s: ArrayLike, box_mm: float = BOX_MM
) -> Curves:
    """Mean attenuation curves (P, T), 1/mm, of cubes of side ``box_mm`` centered at points (P, 3).

    Exact mean of the voxel-wise constant volume: voxels count by their share of the cube,
    so that grids of any spacing are compared on the same footing.
    """
    from scipy.sparse import csr_matrix

    points, flat, weight = _box_voxels(volume, np.asarray(points_mm, float), box_mm)
    columns, position = _support_positions(volume, flat)
    used, column = np.unique(position, return_inverse=True)
    weights = csr_matrix((weight[columns], (points[columns], column)), shape=(len(points_mm), len(used)))
    coefficients = weights @ np.ascontiguousarray(volume.coefficients[:, used].T, np.float64)
    return coefficients @ volume.basis.at(times_s).T.astype(np.float64)


def curve_metrics(curves: Curves, truth: Curves, times_s: ArrayLike) -> dict[str, float]:
    """Errors of time-attenuation curves (P, T), 1/mm, against the true ones.

    Returns
    -------
    ``tac_rmse_per_mm``
        Root of the mean squared error over points and times, 1/mm.
    ``tac_nrmse``
        The same divided by the root mean square of the true curves.
    ``tac_shape_nrmse``
        nRMSE after normalizing every curve to unit area: timing without scale.
    ``tac_coverage``
        Share of points whose curve reaches 10 % of the true peak. The others take the
        mean curve of all points in the shape, arrival and centroid errors.
    ``arrival_mae_s``
        Mean |error| of the bolus arrival, the half-rise time of
        :func:`~DSAReconLib.reconstruction.arrival_times`, s.
    ``centroid_mae_s``
        Mean |error| of the curve's center of mass in time, s.

    Source: flagship.md section 3.
    """
    times = np.asarray(times_s, float)
    covered = curves.max(1) > COVERAGE * truth.max(1)
    filled = np.where(covered[:, None], curves, curves.mean(0))
    shape, true_shape = _unit_area(filled), _unit_area(truth)
    arrival_error = _arrivals(filled, times) - _arrivals(truth, times)
    return {
        "tac_rmse_per_mm": _rms(curves - truth),
        "tac_nrmse": _rms(curves - truth) / _rms(truth),
        "tac_shape_nrmse": _rms(shape - true_shape) / _rms(true_shape),
        "tac_coverage": float(covered.mean()),
        "arrival_mae_s": float(np.abs(arrival_error).mean()),
        "centroid_mae_s": float(np.abs((shape - true_shape) @ times).mean()),
    }


def _rms(values: Curves) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _unit_area(curves: Curves) -> Curves:
    return curves / np.maximum(curves.sum(1, keepdims=True), 1e-9)


def _arrivals(curves: Curves, times_s: Curves) -> Curves:
    return arrival_times(np.asarray(curves, np.float32), times_s).astype(float)


def _box_voxels(
    volume: DynamicVolume, points: Curves, box_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Curves]:
    """(point, flat voxel, share of the box volume), one entry per voxel that a box touches."""
    spacing, counts = np.array(volume.grid.spacing_mm), np.array(volume.grid.shape_zyx[::-1])
    center = volume.grid.index_of(points)
    half = box_mm / 2 / spacing
    first = np.floor(center - half + 0.5).astype(int)
    steps = [np.arange(int(np.ceil(2 * h)) + 1) for h in half]
    shares, indices = [], []
    for axis in range(3):
        index = first[:, axis, None] + steps[axis]
        low = np.maximum(index - 0.5, (center - half)[:, axis, None])
        high = np.minimum(index + 0.5, (center + half)[:, axis, None])
        inside = (index >= 0) & (index < counts[axis])
        shares.append(np.clip(high - low, 0, None) / (2 * half[axis]) * inside)
        indices.append(np.clip(index, 0, counts[axis] - 1))
    weight = shares[2][:, :, None, None] * shares[1][:, None, :, None] * shares[0][:, None, None, :]
    flat = indices[2][:, :, None, None] * counts[1] + indices[1][:, None, :, None]
    flat = flat * counts[0] + indices[0][:, None, None, :]
    points_of = np.broadcast_to(np.arange(len(points))[:, None, None, None], weight.shape)
    touched = weight > 0
    return points_of[touched], flat[touched], weight[touched]


def _support_positions(volume: DynamicVolume, flat: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the flat voxels are supported, and their position in the support."""
    if volume.support is None:
        return np.arange(len(flat)), flat
    order = np.argsort(volume.support)
    ordered = volume.support[order]
    place = np.minimum(np.searchsorted(ordered, flat), max(len(ordered) - 1, 0))
    known = np.flatnonzero(ordered[place] == flat) if len(ordered) else np.empty(0, np.int64)
    return known, order[place[known]] if len(ordered) else known
