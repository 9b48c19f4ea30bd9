"""Sparse voxel solution: transit densities on the candidate support, pruned and reweighted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.sparse.neighborhoods import (
    gaussian_weights,
    line_means,
    neighborhood_maxima,
    neighborhood_sums,
)
from DSAReconLib.methods.transit.config import Config
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.inlet_update import updated_inlet
from DSAReconLib.methods.transit.sparse_solver import LinearProblem, solve
from DSAReconLib.methods.transit.support import Support
from DSAReconLib.methods.transit.transit_model import InletCurve, transit_basis
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.progress import Progress

PRUNE_FILLING = 0.02
"""Voxels filled less than this (1 = fully opacified) are given up ..."""
_PRUNE_BOX = 0.15
"""... as are those whose 27-neighborhood holds less than this many full voxels."""
_REWEIGHT_BLUR_VOXELS = 1.0
_LINE_VOXELS = 4
"""Half the length of the lines that vessels are told from ghosts by."""
_REWEIGHT_FILLING = 0.02
_REWEIGHT_FLOOR = 0.1
_COHERENCE_BLUR_VOXELS = 2.0
_COHERENCE_PER_WIDTH = 0.16
_COHERENCE_MAX = 25.0
_NOISE_FACTOR = 3.0
_VIEWS_PER_SUBSET = 5
_SUBSETS_MAX = 5
_FULL_FILLING_MASS = 0.1
"""A voxel counts as full if only this share of the total mass lies in fuller ones."""


_LATE_DELAYS, _LATE_SHARE = 2, 0.01
"""Contrast arrives late if the last two delays hold more than this share of the filling."""


@dataclass(frozen=True)
class TransitSolution:
    """Transit densities on listed voxels.

    Parameters
    ----------
    support
        N voxels.
    inlet
        Inlet curve; its plateau is the attenuation of a fully opacified voxel.
    delays_s
        Transit delays (K,), s.
    coefficients
        (K, N): share of the voxel that fills with each delay; the sum is the filling.
    """

    support: Support
    inlet: InletCurve
    delays_s: NDArray[np.float64]
    coefficients: NDArray[np.float32]

    @property
    def filling(self) -> NDArray[np.float32]:
        """Opacified share of each voxel (N,)."""
        return self.coefficients.sum(0)


def data_problem(solution: TransitSolution, evidence: Evidence) -> LinearProblem:
    """Data term for a solution's support and inlet curve."""
    projector = SparseProjector(
        solution.support.points_mm, solution.support.spacing_mm, evidence.geometry, evidence.kernels
    )
    basis = transit_basis(solution.inlet, solution.delays_s).at(evidence.times_s)
    return LinearProblem(projector, basis, evidence.line_integrals, evidence.weights)


def uniform_penalty(support: Support, plateau: float, evidence: Evidence, sparsity_mm: float) -> NDArray[np.float32]:
    """L1 weight per unit of filling (N,).

    The gradient that a missing vessel of thickness ``sparsity_mm`` would cause in all views, or,
    where it is larger, that noise causes; both at the voxel's own mean data weight.
    """
    projector = SparseProjector(support.points_mm, support.spacing_mm, evidence.geometry, evidence.kernels)
    ones = np.ones((len(evidence), 1), np.float32)
    trust = projector.backproject(ones, evidence.weights)[0]
    trust /= np.maximum(projector.backproject(ones, np.ones_like(evidence.weights))[0], np.float32(1e-9))
    mass_mm = support.spacing_mm**3 / evidence.pixel_mm**2
    signal = sparsity_mm * plateau * len(evidence)
    noise = _NOISE_FACTOR * evidence.noise * math.sqrt(0.5 * len(evidence))
    penalty = mass_mm * plateau * np.maximum(signal * trust, noise * np.sqrt(trust))
    return np.maximum(penalty, penalty.max(initial=0.0) * 1e-3).astype(np.float32)


def uniform_solution(
    support: Support,
    inlet: InletCurve,
    delays_s: NDArray[np.float64],
    evidence: Evidence,
    config: Config,
    progress: Progress,
) -> TransitSolution:
    """Solve from nothing with a uniform penalty."""
    empty = np.zeros((len(delays_s), len(support)), np.float32)
    start = TransitSolution(support, inlet, delays_s, empty)
    penalty = uniform_penalty(support, inlet.plateau, evidence, config.sparsity_mm)
    return _solved(start, evidence, np.broadcast_to(penalty, empty.shape), 0, config, progress)


def rescaled(solution: TransitSolution) -> TransitSolution:
    """The same attenuation with an inlet plateau for which the fullest voxels have filling 1."""
    filling = np.sort(solution.filling)[::-1].astype(float)
    mass = np.cumsum(filling)
    if not len(mass) or mass[-1] <= 0:
        return solution
    full = float(filling[np.searchsorted(mass, _FULL_FILLING_MASS * mass[-1])])
    inlet = solution.inlet.scaled(solution.inlet.plateau * full)
    return TransitSolution(solution.support, inlet, solution.delays_s, solution.coefficients / np.float32(full))


def reweighted_solution(
    solution: TransitSolution, evidence: Evidence, round_index: int, config: Config, progress: Progress
) -> TransitSolution:
    """Prune, update the inlet curve, solve with reweighted penalties."""
    solution = with_late_delays(pruned(solution), evidence.duration_s)
    if not len(solution.support):
        return solution
    inlet = updated_inlet(
        solution.inlet, evidence, solution.support, solution.coefficients, solution.delays_s, progress
    )
    solution = TransitSolution(solution.support, inlet, solution.delays_s, solution.coefficients)
    penalty = _reweighting(solution)
    penalty *= uniform_penalty(solution.support, solution.inlet.plateau, evidence, config.sparsity_mm)
    return _solved(solution, evidence, penalty, config.full_steps, config, progress)


def pruned(solution: TransitSolution) -> TransitSolution:
    """Only the voxels within one voxel of a seed: filled, and not alone."""
    support, filling = solution.support, solution.filling
    shape = support.grid.shape_zyx
    mass = neighborhood_sums(filling, support.index_zyx, shape, np.ones(3, np.float32))
    seeds = np.where((filling > PRUNE_FILLING) & (mass > _PRUNE_BOX), filling, np.float32(0))
    keep = neighborhood_maxima(seeds, support.index_zyx, shape) > PRUNE_FILLING
    return TransitSolution(
        support.subset(keep).cropped(),
        solution.inlet,
        solution.delays_s,
        np.compress(keep, solution.coefficients, axis=1),
    )


def with_late_delays(solution: TransitSolution, duration_s: float) -> TransitSolution:
    """Room for delays up to the end of the run, if the last ones are in use.

    Veins and capillaries fill until the run ends, later than the windows of the support suggest;
    without them the problem stays as small as it was.
    """
    delays, total = solution.delays_s, float(solution.coefficients.sum())
    late = float(solution.coefficients[-_LATE_DELAYS:].sum())
    if len(delays) < 2 or late <= _LATE_SHARE * total:
        return solution
    step = float(delays[1] - delays[0])
    more = np.arange(delays[-1] + step, duration_s - solution.inlet.onset_s - 0.5 * step, step)
    coefficients = np.pad(solution.coefficients, ((0, len(more)), (0, 0)))
    return TransitSolution(solution.support, solution.inlet, np.concatenate([delays, more]), coefficients)


def _reweighting(solution: TransitSolution) -> NDArray[np.float32]:
    """Penalty factors (K, N): small where a line through the voxel is filled and its surroundings arrive together."""
    support, filling = solution.support, solution.filling
    shape, index = support.grid.shape_zyx, support.index_zyx
    local = neighborhood_sums(filling, index, shape, gaussian_weights(_REWEIGHT_BLUR_VOXELS))
    line = line_means(local, index, shape, _LINE_VOXELS)
    factor = 1 / (line / np.float32(_REWEIGHT_FILLING) + np.float32(_REWEIGHT_FLOOR))
    delays = solution.delays_s.astype(np.float32)
    wide = gaussian_weights(_COHERENCE_BLUR_VOXELS)
    moment = neighborhood_sums(np.ascontiguousarray(delays @ solution.coefficients), index, shape, wide)
    mean_delay = moment / np.maximum(neighborhood_sums(filling, index, shape, wide), np.float32(1e-6))
    tolerance = _COHERENCE_PER_WIDTH * solution.inlet.width_s
    factors = np.empty_like(solution.coefficients)
    for row, delay in zip(factors, delays):  # each of which stays cached
        np.subtract(delay, mean_delay, out=row)
        row /= np.float32(tolerance)
        np.minimum(np.square(row, out=row), np.float32(_COHERENCE_MAX), out=row)
        row += 1
        row *= factor
    return factors


def _solved(
    solution: TransitSolution,
    evidence: Evidence,
    penalty: NDArray[np.float32],
    full_steps: int,
    config: Config,
    progress: Progress,
) -> TransitSolution:
    """Solution of the penalized problem, warm-started."""
    subsets = max(1, min(_SUBSETS_MAX, len(evidence) // _VIEWS_PER_SUBSET))
    # few views give few subsets: more passes, so that the reweighted problems get as many updates;
    # they start from the solution before and take half of them
    epochs = config.epochs * _SUBSETS_MAX // (2 * subsets) if full_steps else config.epochs
    passes = epochs + full_steps

    def after_pass(done: int) -> None:
        progress.check_cancelled()
        progress.report("solve", min(done / passes, 1.0))

    coefficients = solve(
        data_problem(solution, evidence),
        penalty,
        start=solution.coefficients,
        epochs=epochs,
        subsets=subsets,
        full_steps=full_steps,
        after_pass=after_pass,
    )
    return TransitSolution(solution.support, solution.inlet, solution.delays_s, coefficients)
