"""Refinement as free isotropic Gaussians with the same temporal basis.

Centers, widths and non-negative coefficients follow Adam on a Huber loss; every batch of
views spans the whole run. The random order depends on seed and step only, so that a resumed
run continues exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.backend import Array, SparseKernels
from DSAReconLib.kernels.sparse.descent import GaussianStep
from DSAReconLib.methods.transit.confidence import confidence_values
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.unsteady import Modulated, UnsteadyFlow, modulated, update_flow
from DSAReconLib.methods.transit.voxel_stage import PRUNE_FILLING, TransitSolution
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

APERTURE_PX2 = 1 / 12
"""Variance of a full square pixel."""
_SIGMA_VOXELS = 0.4
"""Starting width: the data hardly widen or narrow it, and narrow kernels keep thin vessels bright."""
_SIGMA_MIN_VOXELS, _SIGMA_MAX_VOXELS = 0.15, 5.0
_HUBER_NOISE = 3.0
"""Residuals count in squares up to here: what Gaussians still miss exceeds the noise, and its size tells how much."""
_BETAS = (0.9, 0.99)
_RATE_CENTER_VOXELS = 0.05
_RATE_LOG_SIGMA = 0.01
_RATE_COEFFICIENT = 0.06
_COEFFICIENT_FLOOR = 0.02
_RATE_DECAY = 0.1
_SPARSITY = 0.009
_PRUNE_VOXELS = 0.0185
_PRUNE_EVERY = 50
"""Steps between two reviews of the Gaussians; half of all steps, if they are fewer than 100."""
_PRUNE_PAUSE = 20
_SETTLE_STEPS = 100
"""Steps that new and gathered Gaussians need to fit the views; half of all steps, if they are fewer than 200."""
_STEPS_VIEWS = 20
"""With fewer views the steps grow in proportion, up to twice as many: ghosts give way slowly."""
_CONFIDENCE_MIN = 0.5
"""Gaussians whose surroundings are vessel with a lower probability are ghosts more often than not."""
_GAUSSIAN_VOLUME = (2 * math.pi) ** 1.5


@dataclass
class GaussianState:
    """Parameters of N Gaussians and the moments of Adam; changes in place.

    Arrays are numpy's, but of the kernels' device between the steps of the refinement
    (:meth:`moved`); properties and :meth:`subset` are for the former.

    Parameters
    ----------
    shapes
        Center (mm) and log standard deviation (N, 4).
    coefficients
        (N, K), in units of the basis.
    moments
        First and second moments of the gradients of both.
    step
        Number of steps done.
    """

    shapes: Array
    coefficients: Array
    moments: tuple[Array, Array, Array, Array]
    step: int = 0

    @property
    def means_mm(self) -> NDArray[np.float32]:
        """Centers (N, 3), mm."""
        return np.ascontiguousarray(self.shapes[:, :3])

    @property
    def sigmas_mm(self) -> NDArray[np.float32]:
        """Standard deviations (N,), mm."""
        return np.exp(self.shapes[:, 3])

    @property
    def volumes_mm3(self) -> NDArray[np.float32]:
        """Fully opacified volume that each Gaussian stands for (N,), mm^3."""
        return np.float32(_GAUSSIAN_VOLUME) * self.sigmas_mm**3 * self.coefficients.sum(1)

    def moved(self, move: Callable[[Array], Array]) -> GaussianState:
        """The same state with ``move`` applied to every array."""
        moments = tuple(move(moment) for moment in self.moments)
        return GaussianState(move(self.shapes), move(self.coefficients), moments, self.step)  # type: ignore[arg-type]

    def subset(self, keep: NDArray[np.bool_]) -> GaussianState:
        """Only the Gaussians for which ``keep`` (N,) is true."""
        return GaussianState(
            np.ascontiguousarray(self.shapes[keep]),
            np.ascontiguousarray(self.coefficients[keep]),
            tuple(np.ascontiguousarray(moment[keep]) for moment in self.moments),  # type: ignore[arg-type]
            self.step,
        )


@dataclass(frozen=True)
class RefinementPlan:
    """What the steps need besides the state.

    Parameters
    ----------
    evidence
        Line integrals.
    basis
        Temporal functions.
    spacing_mm
        Voxel size of the stage before: the unit of lengths.
    steps, batch, seed
        Number of steps, views per step, seed of the order.
    flow
        Fields of unsteady flow, which the steps fit as well; none while the flow is steady.
    """

    evidence: Evidence
    basis: TemporalBasis
    spacing_mm: float
    steps: int
    batch: int
    seed: int
    flow: UnsteadyFlow | None = None

    def views(self, step: int) -> NDArray[np.int64]:
        """Views of one step: every n-th, with an offset that runs through all of them at random."""
        batches = math.ceil(len(self.evidence) / self.batch)
        order = np.random.default_rng([self.seed, step // batches]).permutation(batches)
        return np.arange(order[step % batches], len(self.evidence), batches)

    def review(self, step: int) -> bool:
        """Whether ghosts are to be dropped after so many steps."""
        return step == self.steps or step % max(min(_PRUNE_EVERY, self.steps // 2), 1) == 0

    def second_look(self, step: int) -> bool:
        """Whether, after so many steps, ghosts have just been dropped and enough steps remain to fit new Gaussians."""
        return self.review(step) and step <= self.steps - min(_SETTLE_STEPS, self.steps // 2)


def refinement_steps(steps: int, views: int) -> int:
    """Number of Adam steps from the number asked for and the number of views."""
    return round(steps * min(max(_STEPS_VIEWS / views, 1.0), 2.0))


def initial_gaussians(solution: TransitSolution) -> GaussianState:
    """One Gaussian per filled voxel, with the voxel's mass."""
    keep = solution.filling > PRUNE_FILLING
    spacing = solution.support.spacing_mm
    sigma = _SIGMA_VOXELS * spacing
    shapes = np.empty((int(keep.sum()), 4), np.float32)
    shapes[:, :3] = solution.support.points_mm[keep]
    shapes[:, 3] = math.log(sigma)
    scale = np.float32(spacing**3 / (_GAUSSIAN_VOLUME * sigma**3))
    coefficients = np.ascontiguousarray(solution.coefficients[:, keep].T) * scale
    moments = tuple(np.zeros_like(array) for array in (shapes, shapes, coefficients, coefficients))
    return GaussianState(shapes, coefficients, moments)  # type: ignore[arg-type]


def refine_step(state: GaussianState, plan: RefinementPlan) -> tuple[GaussianState, float]:
    """One Adam step (and pruning when due).

    Returns
    -------
    state : GaussianState
        A new object if Gaussians were pruned.
    residual : float
        Weighted root mean square residual of the step's views in units of the noise.
    """
    evidence, views = plan.evidence, plan.views(state.step)
    kernels, times, records = evidence.kernels, evidence.times_s[views], evidence.records[views]
    swung = None if plan.flow is None else _swung(kernels, times, state, plan.basis, plan.flow)
    curves = None if swung else kernels.array(plan.basis.at(times))
    amplitudes = swung.amplitudes if swung else curves @ state.coefficients.T
    shape = evidence.geometry.detector_shape
    slope = kernels.render_gaussians(state.shapes, amplitudes, records, shape, APERTURE_PX2)
    data, weights = kernels.array(evidence.line_integrals[views]), kernels.array(evidence.weights[views])
    square = kernels.huber_slopes(slope, data, weights, _HUBER_NOISE * evidence.noise)
    by_shape, by_amplitude = kernels.gaussian_gradients(state.shapes, amplitudes, records, slope, APERTURE_PX2)
    by_coefficient = _follow_flow(state, plan, swung, by_amplitude) if swung else by_amplitude.T @ curves
    _update(state, plan, (by_shape, by_coefficient), len(views))
    state.step += 1
    if plan.review(state.step):
        state = _pruned(state.moved(kernels.host), plan).moved(kernels.array)
    return state, math.sqrt(square) / evidence.noise


def _pruned(state: GaussianState, plan: RefinementPlan) -> GaussianState:
    """Without small Gaussians (not shortly before the end) and without ghosts."""
    if state.step <= plan.steps - _PRUNE_PAUSE:
        state = state.subset(state.volumes_mm3 > _PRUNE_VOXELS * plan.spacing_mm**3)
    return without_ghosts(state, plan)


def without_ghosts(state: GaussianState, plan: RefinementPlan) -> GaussianState:
    """Only the Gaussians that the data support: confidence of their surroundings at least 1/2.

    What a Gaussian adds to the fit together with its neighbors, in units of the noise, tells
    thin vessels from ghosts far better than the size of the cluster that it belongs to does:
    from few views, thin vessels come out in pieces.
    """
    if not len(state.shapes):
        return state
    volume, cell = cell_volume(state, plan)
    model = render(state, plan.evidence, plan.basis, plan.flow)
    residual = model - plan.evidence.line_integrals
    residual *= residual
    residual *= plan.evidence.weights
    # what the model misses beyond the noise can imitate a vessel as noise can
    noise = max(plan.evidence.noise, math.sqrt(float(residual.mean())))
    confidence = confidence_values(volume, replace(plan.evidence, noise=noise), model)
    return state.subset(confidence[cell] >= _CONFIDENCE_MIN)


def cell_volume(state: GaussianState, plan: RefinementPlan) -> tuple[DynamicVolume, NDArray[np.intp]]:
    """The Gaussians' mass in cells of edge ``plan.spacing_mm``, and the supported cell (N,) of each."""
    spacing = plan.spacing_mm
    low = state.means_mm.min(0)
    index = np.floor((state.means_mm - low) / np.float32(spacing)).astype(np.intp)[:, ::-1]
    shape = tuple(int(n) for n in index.max(0) + 1)
    support, cell = np.unique(np.ravel_multi_index(tuple(index.T), shape), return_inverse=True)
    mass = state.coefficients * (np.float32(_GAUSSIAN_VOLUME / spacing**3) * state.sigmas_mm**3)[:, None]
    sums = np.stack([np.bincount(cell, row, len(support)) for row in mass.T]).astype(np.float32)
    x, y, z = (float(edge) + spacing / 2 for edge in low)
    grid = VolumeGrid(shape, (spacing,) * 3, (x, y, z))  # type: ignore[arg-type]
    return DynamicVolume(grid, sums, plan.basis, support), cell


def amplitudes_at(evidence: Evidence, state: GaussianState, basis: TemporalBasis, flow: UnsteadyFlow | None) -> Array:
    """Central attenuation (V, N) of the Gaussians at the times of the views, 1/mm."""
    kernels = evidence.kernels
    if flow is None:
        return kernels.array(basis.at(evidence.times_s)) @ kernels.array(state.coefficients).T
    return _swung(kernels, evidence.times_s, state, basis, flow).amplitudes


def _swung(
    kernels: SparseKernels,
    times_s: NDArray[np.float64],
    state: GaussianState,
    basis: TemporalBasis,
    flow: UnsteadyFlow,
) -> Modulated:
    """The Gaussians' amplitudes at the times of the views (V,) under unsteady flow."""
    coefficients, shapes = kernels.array(state.coefficients), kernels.array(state.shapes)
    return modulated(flow, coefficients, shapes, basis, times_s, kernels)


def _follow_flow(state: GaussianState, plan: RefinementPlan, swung: Modulated, by_amplitude: Array) -> Array:
    """One step of the fields of unsteady flow; gradient (N, K) by the coefficients before it."""
    flow, count = plan.flow, len(swung.amplitudes)
    assert flow is not None
    # squared residuals over twice the noise's variance, in units of the Huber loss, of all views
    prior = plan.evidence.noise / _HUBER_NOISE * count / len(plan.evidence)
    update_flow(flow, swung.by_fields(by_amplitude), prior=prior, decay=_RATE_DECAY ** (state.step / plan.steps))
    return swung.by_coefficients(by_amplitude)


def render(
    state: GaussianState, evidence: Evidence, basis: TemporalBasis, flow: UnsteadyFlow | None = None
) -> NDArray[np.float32]:
    """Line integrals (V, R, C) of the Gaussians at the views of ``evidence``."""
    kernels, shape = evidence.kernels, evidence.geometry.detector_shape
    amplitudes = amplitudes_at(evidence, state, basis, flow)
    records = evidence.records
    return kernels.host(kernels.render_gaussians(kernels.array(state.shapes), amplitudes, records, shape, APERTURE_PX2))


def _update(state: GaussianState, plan: RefinementPlan, gradients: tuple[Array, Array], views: int) -> None:
    """Adam on shapes and coefficients with an L1 penalty on the mass projected to so many views, then the bounds."""
    decay = _RATE_DECAY ** (state.step / plan.steps)
    center = _RATE_CENTER_VOXELS * plan.spacing_mm
    projected = _GAUSSIAN_VOLUME / plan.evidence.pixel_mm**2
    step = GaussianStep(
        state.step + 1,
        _BETAS,
        np.array([center, center, center, _RATE_LOG_SIGMA], np.float32) * np.float32(decay),
        (math.log(_SIGMA_MIN_VOXELS * plan.spacing_mm), math.log(_SIGMA_MAX_VOXELS * plan.spacing_mm)),
        _RATE_COEFFICIENT * decay,
        _COEFFICIENT_FLOOR,
        _SPARSITY * views * projected * plan.basis.values.max(1),
    )
    plan.evidence.kernels.gaussian_step((state.shapes, state.coefficients), gradients, state.moments, step)
