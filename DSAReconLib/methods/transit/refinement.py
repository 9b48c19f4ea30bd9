"""Refinement as free isotropic Gaussians with the same temporal basis.

Centers, widths and non-negative coefficients follow Adam on a Huber loss; every batch of
views spans the whole run. The random order depends on seed and step only, so that a resumed
run continues exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.descent import adam_step
from DSAReconLib.kernels.sparse.gaussians import gaussian_gradients, render_gaussians
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.methods.transit.confidence import confidence_values
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.unsteady import UnsteadyFlow, modulated, update_flow
from DSAReconLib.methods.transit.voxel_stage import PRUNE_FILLING, TransitSolution
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

APERTURE_PX2 = 1 / 12
"""Variance of a full square pixel."""
_SIGMA_VOXELS = 0.4
"""Starting width: the data hardly widen or narrow it, and narrow kernels keep thin vessels bright."""
_SIGMA_MIN_VOXELS, _SIGMA_MAX_VOXELS = 0.15, 5.0
_HUBER_NOISE = 1.3
_BETAS = (0.9, 0.98)
_RATE_CENTER_VOXELS = 0.05
_RATE_LOG_SIGMA = 0.01
_RATE_COEFFICIENT = 0.03
_COEFFICIENT_FLOOR = 0.02
_RATE_DECAY = 0.1
_SPARSITY = 0.006
_PRUNE_VOXELS = 0.0185
_PRUNE_EVERY = 100
_PRUNE_PAUSE = 20
_CONFIDENCE_MIN = 0.5
"""Gaussians whose surroundings are vessel with a lower probability are ghosts more often than not."""
_GAUSSIAN_VOLUME = (2 * math.pi) ** 1.5


@dataclass
class GaussianState:
    """Parameters of N Gaussians and the moments of Adam; changes in place.

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

    shapes: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    moments: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
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

    def subset(self, keep: NDArray[np.bool_]) -> GaussianState:
        """Only the Gaussians for which ``keep`` (N,) is true."""
        return GaussianState(
            np.ascontiguousarray(self.shapes[keep]),
            np.ascontiguousarray(self.coefficients[keep]),
            tuple(np.ascontiguousarray(moment[keep]) for moment in self.moments),  # type: ignore[arg-type]
            self.step,
        )

    def widened(self, functions: int) -> GaussianState:
        """Room for ``functions`` more temporal functions, with coefficient 0."""

        def wider(array: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.concatenate([array, np.zeros((len(array), functions), np.float32)], 1)

        first, second, first_coefficients, second_coefficients = self.moments
        moments = (first, second, wider(first_coefficients), wider(second_coefficients))
        return replace(self, coefficients=wider(self.coefficients), moments=moments)


@dataclass(frozen=True)
class RefinementPlan:
    """What the steps need besides the state.

    Parameters
    ----------
    evidence
        Line integrals.
    basis
        Temporal functions.
    rates
        Relative learning rate per temporal function (K,).
    spacing_mm
        Voxel size of the stage before: the unit of lengths.
    steps, batch, seed
        Number of steps, views per step, seed of the order.
    flow
        Fields of unsteady flow, which the steps fit as well; none while the flow is steady.
    """

    evidence: Evidence
    basis: TemporalBasis
    rates: NDArray[np.float32]
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
    views = plan.views(state.step)
    residual, records, curves = _residual(state, plan, views)
    weights = plan.evidence.weights[views]
    normalized = float(np.sqrt(np.mean(residual * residual * weights))) / plan.evidence.noise
    huber = np.float32(_HUBER_NOISE * plan.evidence.noise)
    slope = np.clip(residual / huber, -1, 1)
    slope *= weights
    amplitudes = amplitudes_at(plan.evidence.times_s[views], state, plan.basis, plan.flow)
    by_shape, by_amplitude = gaussian_gradients(
        state.means_mm, state.sigmas_mm, amplitudes, records, slope, APERTURE_PX2
    )
    by_coefficient = by_amplitude.T @ curves if plan.flow is None else _follow_flow(state, plan, views, by_amplitude)
    _update(state, plan, by_shape.sum(0), by_coefficient + _mass_slope(state, plan, len(views)))
    state.step += 1
    if state.step % _PRUNE_EVERY == 0 and state.step <= plan.steps - _PRUNE_PAUSE:
        state = state.subset(state.volumes_mm3 > _PRUNE_VOXELS * plan.spacing_mm**3)
    if state.step % _PRUNE_EVERY == 0 or state.step == plan.steps:
        state = without_ghosts(state, plan)
    return state, normalized


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


def amplitudes_at(
    times_s: NDArray[np.float64], state: GaussianState, basis: TemporalBasis, flow: UnsteadyFlow | None
) -> NDArray[np.float32]:
    """Central attenuation (V, N) of the Gaussians at times (V,), 1/mm."""
    if flow is None:
        return basis.at(times_s) @ state.coefficients.T
    return modulated(flow, state.coefficients, state.means_mm, basis, times_s).amplitudes


def _follow_flow(
    state: GaussianState, plan: RefinementPlan, views: NDArray[np.int64], by_amplitude: NDArray[np.float32]
) -> NDArray[np.float32]:
    """One step of the fields of unsteady flow; gradient (N, K) by the coefficients before it."""
    flow, evidence = plan.flow, plan.evidence
    assert flow is not None
    curves = modulated(flow, state.coefficients, state.means_mm, plan.basis, evidence.times_s[views])
    # squared residuals over twice the noise's variance, in units of the Huber loss, of all views
    prior = evidence.noise / _HUBER_NOISE * len(views) / len(evidence)
    update_flow(flow, curves.by_fields(by_amplitude), prior=prior, decay=_RATE_DECAY ** (state.step / plan.steps))
    return curves.by_coefficients(by_amplitude)


def render(
    state: GaussianState, evidence: Evidence, basis: TemporalBasis, flow: UnsteadyFlow | None = None
) -> NDArray[np.float32]:
    """Line integrals (V, R, C) of the Gaussians at the views of ``evidence``."""
    images = np.empty((len(evidence), *evidence.geometry.detector_shape), np.float32)
    amplitudes = amplitudes_at(evidence.times_s, state, basis, flow)
    records = view_records(evidence.geometry)
    render_gaussians(state.means_mm, state.sigmas_mm, amplitudes, records, images, APERTURE_PX2)
    return images


def _residual(
    state: GaussianState, plan: RefinementPlan, views: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Model minus data at some views, their records, and the basis at their times."""
    part = plan.evidence.select(views)
    residual = render(state, part, plan.basis, plan.flow)
    residual -= part.line_integrals
    return residual, view_records(part.geometry), plan.basis.at(part.times_s)


def _mass_slope(state: GaussianState, plan: RefinementPlan, views: int) -> NDArray[np.float32]:
    """Gradient (N, K) of the L1 penalty on projected mass."""
    projected = np.float32(_GAUSSIAN_VOLUME / plan.evidence.pixel_mm**2) * state.sigmas_mm**3
    height = plan.basis.values.max(1)
    return (np.float32(_SPARSITY * views) * projected)[:, None] * (height / np.maximum(plan.rates, 1e-3))[None]


def _update(
    state: GaussianState,
    plan: RefinementPlan,
    shape_gradient: NDArray[np.float32],
    coefficient_gradient: NDArray[np.float32],
) -> None:
    """Adam on shapes and coefficients, then the bounds."""
    decay = _RATE_DECAY ** (state.step / plan.steps)
    center = _RATE_CENTER_VOXELS * plan.spacing_mm
    rates = np.array([center, center, center, _RATE_LOG_SIGMA], np.float32) * np.float32(decay)
    step = state.step + 1
    first, second, first_coefficients, second_coefficients = state.moments
    shape_rates = np.broadcast_to(rates, state.shapes.shape)
    adam_step(state.shapes, shape_gradient, (first, second), shape_rates, step=step, betas=_BETAS)
    size = np.maximum(state.coefficients.max(1, keepdims=True), np.float32(_COEFFICIENT_FLOOR))
    coefficient_rates = np.float32(_RATE_COEFFICIENT * decay) * size * plan.rates
    adam_step(
        state.coefficients,
        np.ascontiguousarray(coefficient_gradient, np.float32),
        (first_coefficients, second_coefficients),
        coefficient_rates,
        step=step,
        betas=_BETAS,
    )
    np.maximum(state.coefficients, 0, out=state.coefficients)
    low, high = math.log(_SIGMA_MIN_VOXELS * plan.spacing_mm), math.log(_SIGMA_MAX_VOXELS * plan.spacing_mm)
    np.clip(state.shapes[:, 3], low, high, out=state.shapes[:, 3])
