"""The inlet curve fitted anew, together with the arrival of the vessels that fill first.

From few views the data leave a choice: views D seconds apart see the same if arrival times are
bent by a function of period D and the inlet curve with them. Arrival that changes evenly from one
piece of a vessel to the next decides; a curve fitted to arrivals of single voxels keeps their
errors instead and rises too slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from DSAReconLib.kernels.sparse.neighborhoods import neighborhood_sums
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.kernels.sparse.voxels import pixel_shares
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.support import Support
from DSAReconLib.methods.transit.transit_model import InletCurve, transit_basis
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import TemporalBasis

_EARLY_THICK_PERCENTILE = 80
_LONG_INTERVAL_S = 0.6
"""Views further apart see too little of the curve in the earliest third: all that fills within one is fitted."""
_REGION_MM = 6.0
_NEIGHBOR_REGIONS = 1.6
_REGIONS_MAX = 200
_ROUNDS = 15
_KNOTS = 61
_SMOOTHNESS = 0.04
_VARIATION, _VARIATION_STEP = 0.02, 0.02
"""Weight of the curve's total variation, and the step, in largest values, below which it counts in squares."""
_LONG_INTERVAL_WEIGHT = 3.0
"""Factor of both weights for views further apart: parts of the curve that few pieces of vessel show would ripple."""
_PRIOR = 1e-4
_MISFIT_NOISE = 10.0
"""What voxels of the first solutions miss, in noise: several times it, and the same over whole regions."""
_ARRIVAL_CHANGE_S = 0.05
"""Expected difference in arrival of regions 6 mm apart."""
_FILLING_CHANGE = 0.3
_DAMPING = 0.04
_ARRIVAL_STEP_S, _FILLING_STEP, _FILLING_MIN = 0.1, 0.3, 0.1

Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Regions:
    """What the data tell about R pieces of vessel of known shape: enough for least squares of their curves.

    Parameters
    ----------
    gram
        Weighted inner products of the regions' images per view (V, R, R).
    right
        The same with the data (V, R).
    delays_s
        Mean delays (R,).
    stiffness
        (R, R): delays @ stiffness @ delays is the sum of squared differences between neighbors.
    """

    gram: Values
    right: Values
    delays_s: Values
    stiffness: Values


def updated_inlet(
    inlet: InletCurve,
    evidence: Evidence,
    support: Support,
    coefficients: NDArray[np.float32],
    delays_s: Values,
    progress: Progress,
) -> InletCurve:
    """The curve that the thick vessels which fill first follow, each piece of them at a delay of its own.

    Their transit densities shrink to a single delay per piece, everything else stays as the model
    says: were the densities kept, they would defend the old curve, whose errors they have
    adopted; were both free, the curve would collapse to a narrow one, which can imitate every other.

    Parameters
    ----------
    inlet
        The curve so far; its plateau is kept.
    evidence
        V views.
    support, coefficients, delays_s
        N voxels and their transit densities (K, N) at the delays (K,).
    progress
        May cancel.
    """
    interval = evidence.duration_s / len(evidence)
    far_apart = interval > _LONG_INTERVAL_S
    label = _region_labels(support, coefficients, delays_s, interval if far_apart else 0.0)
    if label.max(initial=-1) < 0:
        return inlet
    regions = _regions(inlet, evidence, support, coefficients, delays_s, label, progress)
    knots = np.linspace(0, inlet.times_s[-1], _KNOTS)
    basis = _blurred_hats(inlet.times_s, knots, delays_s)
    values = np.interp(knots, inlet.times_s, inlet.values)
    delays, filling = regions.delays_s, np.ones(len(regions.delays_s))
    evenness = _LONG_INTERVAL_WEIGHT if far_apart else 1.0
    for done in range(_ROUNDS):
        progress.check_cancelled()
        if done:
            delays, filling = _moved_regions(regions, basis, values, evidence, delays, filling)
        values = _fitted_values(regions, basis, evidence.times_s, (delays, filling), values, evenness)
    if values.max() <= 0:
        return inlet
    return InletCurve(inlet.times_s, np.interp(inlet.times_s, knots, values)).scaled(inlet.plateau)


def _early_vessels(
    support: Support, coefficients: NDArray[np.float32], delays_s: Values, span_s: float
) -> NDArray[np.bool_]:
    """Voxels (N,) that fill no later than the earliest third of the thick vessels, their rims included."""
    index, shape, around = support.index_zyx, support.grid.shape_zyx, np.ones(5, np.float32)
    filling = neighborhood_sums(coefficients.sum(0), index, shape, around)
    moment = neighborhood_sums(np.ascontiguousarray(delays_s.astype(np.float32) @ coefficients), index, shape, around)
    filled = filling > 0
    if not filled.any():
        return filled
    mean_delay = moment / np.maximum(filling, np.float32(1e-6))
    thick = filling >= np.percentile(filling[filled], _EARLY_THICK_PERCENTILE)
    first, third = np.percentile(mean_delay[thick], [5, 100 / 3])
    return filled & (mean_delay <= max(third, first + span_s))


def _region_labels(
    support: Support, coefficients: NDArray[np.float32], delays_s: Values, span_s: float
) -> NDArray[np.int64]:
    """Number of the region, a cube that holds much of the early vessels, per voxel (N,); -1 = in none."""
    label = np.full(len(support), -1)
    early = np.flatnonzero(_early_vessels(support, coefficients, delays_s, span_s))
    if not len(early):
        return label
    cube = np.floor(support.points_mm[early] / _REGION_MM).astype(np.int64)
    cube -= cube.min(0)
    _, piece = np.unique(np.ravel_multi_index(tuple(cube.T), tuple(cube.max(0) + 1)), return_inverse=True)
    mass = np.bincount(piece, coefficients[:, early].sum(0))
    heaviest = np.argsort(-mass, kind="stable")[:_REGIONS_MAX]
    heaviest = heaviest[mass[heaviest] > 0]
    number = np.full(len(mass), -1)
    number[heaviest] = np.arange(len(heaviest))
    label[early] = number[piece]
    return label


def _regions(
    inlet: InletCurve,
    evidence: Evidence,
    support: Support,
    coefficients: NDArray[np.float32],
    delays_s: Values,
    label: NDArray[np.int64],
    progress: Progress,
) -> _Regions:
    """Inner products of the regions' images with each other and with what no other voxel explains."""
    inside = label >= 0
    projector = SparseProjector(support.points_mm[~inside], support.spacing_mm, evidence.geometry, evidence.kernels)
    basis = transit_basis(inlet, delays_s).at(evidence.times_s)
    rest = evidence.line_integrals - projector.project(basis, np.compress(~inside, coefficients, axis=1))
    order = np.flatnonzero(inside)[np.argsort(label[inside], kind="stable")]
    number, filling = label[order], coefficients[:, order].sum(0)
    points = support.points_mm[order]
    voxels, shape = np.ascontiguousarray(points.T), evidence.geometry.detector_shape
    gram, right = [], []
    for view, record in enumerate(view_records(evidence.geometry)):
        progress.check_cancelled()
        footprints = pixel_shares(voxels, support.spacing_mm**3, record, shape)
        images, seen = _region_images(footprints, filling, number, math.prod(shape))
        weights = evidence.weights[view].ravel()[seen]
        gram.append((images * weights) @ images.T)
        right.append(images @ (weights * rest[view].ravel()[seen]))
    mass = np.bincount(number, filling)
    delays = np.bincount(number, delays_s @ coefficients[:, order]) / mass
    center = np.stack([np.bincount(number, filling * axis) for axis in points.T], 1) / mass[:, None]
    return _Regions(np.array(gram, float), np.array(right, float), delays, _stiffness(center))


def _region_images(
    footprints: tuple[NDArray[np.int32], NDArray[np.float32]],
    filling: NDArray[np.float32],
    number: NDArray[np.int64],
    pixels: int,
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Images (R, P) of every region at the pixels (P,) that see any, out of so many, from the voxels' footprints."""
    seen_by, shares = footprints
    known = np.zeros(pixels, bool)
    known[seen_by[shares.any(1)]] = True
    seen = np.flatnonzero(known)
    place = np.zeros(pixels, np.intp)
    place[seen] = np.arange(len(seen))
    shape = int(number[-1]) + 1, len(seen)
    entry = number[:, None] * len(seen) + place[seen_by]
    images = np.bincount(entry.ravel(), (shares * filling[:, None]).ravel(), math.prod(shape))
    return images[: math.prod(shape)].reshape(shape).astype(np.float32), seen


def _stiffness(center_mm: Values) -> Values:
    """Graph Laplacian (R, R) of the regions around centers (R, 3), weighted by nearness."""
    distance = np.linalg.norm(center_mm[:, None] - center_mm[None], axis=2)
    weight = np.where(distance < _NEIGHBOR_REGIONS * _REGION_MM, _REGION_MM / np.maximum(distance, _REGION_MM / 3), 0)
    np.fill_diagonal(weight, 0)
    return np.diag(weight.sum(1)) - weight


def _blurred_hats(times_s: Values, knots_s: Values, delays_s: Values) -> TemporalBasis:
    """What the transit model makes of hats at knots (M,) for the delay 0."""
    around = np.array([0.0, delays_s[1] - delays_s[0]]) if len(delays_s) > 1 else np.zeros(1)
    hats = TemporalBasis.hats(knots_s).at(times_s).T
    return TemporalBasis(times_s, np.stack([transit_basis(InletCurve(times_s, row), around).values[0] for row in hats]))


def _fitted_values(
    regions: _Regions,
    basis: TemporalBasis,
    times_s: Values,
    state: tuple[Values, Values],
    before: Values,
    evenness: float,
) -> Values:
    """Inlet curve at the knots (M,) >= 0 for regions of known delay and filling (R,), as even as asked for."""
    delays_s, filling = state
    local = times_s[:, None] - delays_s
    responses = basis.at(local.ravel()).reshape(*local.shape, -1) * ((local >= 0) * filling)[..., None]
    matrix = np.zeros((len(before),) * 2)
    right = np.zeros(len(before))
    for response, gram, products in zip(responses.astype(float), regions.gram, regions.right):
        matrix += response.T @ gram @ response
        right += response.T @ products
    scale = float(np.trace(matrix)) / len(before)
    bending = np.diff(np.eye(len(before)), 2, axis=0)
    steps = np.diff(np.eye(len(before)), axis=0)
    # the sum of absolute steps, as squares weighted by those of the curve before
    even = _VARIATION / np.maximum(np.abs(np.diff(before)) / max(before.max(), 1e-12), _VARIATION_STEP)
    roughness = _SMOOTHNESS * bending.T @ bending + (steps.T * even) @ steps
    matrix += scale * (evenness * roughness + _PRIOR * np.eye(len(before)))
    factor = np.linalg.cholesky(matrix)
    fitted, _ = nnls(factor.T, np.linalg.solve(factor, right + _PRIOR * scale * before))
    return np.asarray(fitted)


def _moved_regions(
    regions: _Regions, basis: TemporalBasis, values: Values, evidence: Evidence, delays_s: Values, filling: Values
) -> tuple[Values, Values]:
    """Delay and filling (R,) of the regions after a damped Gauss-Newton step, for a known inlet curve."""
    local, count = evidence.times_s[:, None] - delays_s, len(delays_s)
    curve = values @ basis.values
    height = np.interp(local, basis.times_s, curve, left=0)
    slope = -filling * np.interp(local, basis.times_s, np.gradient(curve, basis.times_s), left=0, right=0)
    variance = (_MISFIT_NOISE * evidence.noise) ** 2
    residual = (regions.right - np.einsum("vrs,vs->vr", regions.gram, filling * height)) / variance
    gram = regions.gram / variance
    hessian = np.empty((2 * count, 2 * count))
    for i, first in enumerate((slope, height)):
        for j, second in enumerate((slope, height)):
            block = np.einsum("vr,vrs,vs->rs", first, gram, second)
            hessian[i * count : (i + 1) * count, j * count : (j + 1) * count] = block
    stiffness = regions.stiffness / _ARRIVAL_CHANGE_S**2
    hessian[:count, :count] += stiffness + _DAMPING * np.eye(count)
    hessian[count:, count:] += np.eye(count) / _FILLING_CHANGE**2
    arrival_slope = (slope * residual).sum(0) - stiffness @ delays_s
    filling_slope = (height * residual).sum(0) - (filling - 1) / _FILLING_CHANGE**2
    step = np.linalg.solve(hessian, np.concatenate([arrival_slope, filling_slope]))
    moved = delays_s + np.clip(step[:count], -_ARRIVAL_STEP_S, _ARRIVAL_STEP_S)
    return moved, np.maximum(filling + np.clip(step[count:], -_FILLING_STEP, _FILLING_STEP), _FILLING_MIN)
