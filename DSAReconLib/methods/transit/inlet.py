"""Blind estimate of the inlet curve from the thickest vessels that fill first."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.descent import extrapolate, proximal_step
from DSAReconLib.kernels.sparse.neighborhoods import neighborhood_sums
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.sparse_solver import LinearProblem
from DSAReconLib.methods.transit.support import Support, coarse_scores
from DSAReconLib.methods.transit.transit_model import InletCurve, curve_times, hat_basis
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import TemporalBasis, arrival_times

_COARSE_MM = 1.2
_WINDOW_SHARE = 1 / 3
"""Window of the first, rough support in units of the run's length (1.7 s of 5 s)."""
_THICK_SHARE = 0.35
"""Thick vessels: voxels whose window confirms this share of the largest line integrals."""
_VOXELS_MIN, _VOXELS_MAX = 400, 20_000
_STEPS = 30
_SMOOTHNESS = 0.002
_KNOTS_MAX = 20


def estimate_inlet(evidence: Evidence, box: VolumeGrid, *, noise_level: float, progress: Progress) -> InletCurve:
    """Median of the earliest of the thickest vessels' free curves, aligned at half-rise.

    Parameters
    ----------
    evidence
        Line integrals; binned to pixels of about the voxel size here.
    box
        Field of view.
    noise_level
        Smallest line integral that counts as contrast.
    """
    coarse = evidence.binned(max(1, math.floor(_COARSE_MM / evidence.pixel_mm + 0.5)))
    support = _thick_support(coarse, box, noise_level, progress)
    times = curve_times(evidence.duration_s)
    if len(support) == 0:
        return _fallback(times, noise_level)
    knots = np.linspace(0, evidence.duration_s, max(3, min(len(evidence), _KNOTS_MAX)))
    coefficients = _free_curves(coarse, support, knots, progress)
    return _aligned_median(support, coefficients, TemporalBasis.hats(knots), times, noise_level)


def _fallback(times_s: NDArray[np.float64], noise_level: float) -> InletCurve:
    """A bolus over half of the run, for data without any visible vessel."""
    phase = np.clip(times_s / (0.6 * times_s[-1]), 0, 1)
    return InletCurve(times_s, noise_level * np.sin(np.pi * phase) ** 2 + 1e-9)


def _thick_support(evidence: Evidence, box: VolumeGrid, noise_level: float, progress: Progress) -> Support:
    """Coarse voxels that the largest line integrals confirm."""
    support, scores = coarse_scores(
        evidence,
        box.resampled(_COARSE_MM),
        window_s=_WINDOW_SHARE * evidence.duration_s,
        threshold=noise_level,
        progress=progress,
    )
    if len(support) <= _VOXELS_MIN:
        return support.cropped()
    ranked = np.sort(scores)[::-1]
    level = _THICK_SHARE * float(ranked[: min(50, len(ranked))].mean())
    level = min(level, float(ranked[_VOXELS_MIN - 1]))
    level = max(level, float(ranked[min(_VOXELS_MAX, len(ranked)) - 1]))
    return support.subset(scores >= level).cropped()


def _free_curves(
    evidence: Evidence, support: Support, knots_s: NDArray[np.float64], progress: Progress
) -> NDArray[np.float32]:
    """Non-negative hat coefficients (K, N), 1/mm, smooth in space and time.

    Full gradients only: hats are seen by one or two views each, ordered subsets diverge.
    """
    projector = SparseProjector(support.points_mm, support.spacing_mm, evidence.geometry, evidence.kernels)
    basis = hat_basis(evidence.times_s, knots_s)
    problem = LinearProblem(projector, basis, evidence.line_integrals, evidence.weights)
    curvature = problem.curvature()
    weight = np.float32(_SMOOTHNESS * float(curvature.mean()))
    curvature += 28 * weight
    bending = np.diff(np.eye(len(knots_s)), 2, axis=0).astype(np.float32)
    bending = weight * (bending.T @ bending)
    penalty = np.zeros(problem.shape, np.float32)
    current, point, momentum = penalty.copy(), penalty.copy(), 1.0
    for step in range(_STEPS):
        progress.check_cancelled()
        progress.report("inlet", step / _STEPS)
        gradient = problem.gradient(point)
        gradient += bending @ point
        gradient += weight * _laplacian(support, point)
        uphill = proximal_step(point, current, gradient, curvature, penalty)
        momentum = 1.0 if uphill > 0 else momentum
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        extrapolate(point, current, (momentum - 1) / following)
        momentum = following
    return current


def _laplacian(support: Support, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over listed neighbors of (own value - neighbor's), (K, N)."""
    shape = tuple(n + 2 for n in support.grid.shape_zyx)
    position = np.full(shape, -1, np.int32)
    position[tuple((support.index_zyx + 1).T)] = np.arange(len(support))
    result = np.zeros_like(values)
    for axis in range(3):
        for step in (-1, 1):
            shifted = support.index_zyx + 1
            shifted[:, axis] += step
            neighbor = position[tuple(shifted.T)]
            listed = neighbor >= 0
            result[:, listed] += values[:, listed] - values[:, neighbor[listed]]
    return result


def _aligned_median(
    support: Support,
    coefficients: NDArray[np.float32],
    basis: TemporalBasis,
    times_s: NDArray[np.float64],
    noise_level: float,
) -> InletCurve:
    """Median of the box-summed curves of the thickest voxels' earliest third, aligned in time."""
    sampled = basis.at(times_s)
    ones = np.ones(3, np.float32)
    mass = np.ascontiguousarray(sampled.sum(0) @ coefficients)
    boxed = neighborhood_sums(mass, support.index_zyx, support.grid.shape_zyx, ones)
    thick = np.argsort(-boxed, kind="stable")[: max(60, int(0.004 * len(boxed)))]
    summed = np.stack(
        [
            neighborhood_sums(np.ascontiguousarray(row), support.index_zyx, support.grid.shape_zyx, ones)[thick]
            for row in coefficients
        ]
    )
    curves = summed.T @ sampled.T
    curves = curves[curves.max(1) > 0]
    if not len(curves):
        return _fallback(times_s, noise_level)
    rises = arrival_times(curves, times_s)
    earliest = np.argsort(rises, kind="stable")[: max(20, len(rises) // 3)]
    reference = float(np.median(rises[earliest]))
    aligned = [np.interp(times_s + rises[n] - reference, times_s, curves[n] / curves[n].max()) for n in earliest]
    shape = np.median(aligned, axis=0)
    # as if the thickest vessels filled 3.6 mm boxes; the first solve corrects the scale
    plateau = float(np.percentile(curves[earliest].max(1), 75)) / 27
    return InletCurve(times_s, shape / max(shape.max(), 1e-9)).scaled(plateau)
