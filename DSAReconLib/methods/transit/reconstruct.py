"""The transit method: support, blind inlet curve, sparse transit densities, free Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit import saved_state
from DSAReconLib.methods.transit.assembly import assembled
from DSAReconLib.methods.transit.config import Config
from DSAReconLib.methods.transit.evidence import Evidence, gather_evidence
from DSAReconLib.methods.transit.inlet import estimate_inlet
from DSAReconLib.methods.transit.refinement import GaussianState, RefinementPlan, initial_gaussians, refine_step
from DSAReconLib.methods.transit.residual_curves import needs_residual_curves, widened_plan
from DSAReconLib.methods.transit.saved_state import SavedState
from DSAReconLib.methods.transit.support import WINDOW_SHARE, candidate_support
from DSAReconLib.methods.transit.transit_model import transit_basis, transit_delays
from DSAReconLib.methods.transit.voxel_stage import first_solution, reweighted_solution
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import Reconstruction

_VOXELS_PER_PIXEL = 0.87
_SPACING_MAX_MM = 0.8
_PIXELS_PER_VOXEL_MIN = 0.15
_RESIDUAL_DECISION = 0.25
"""Share of the refinement after which residual curves may be added."""
_ARRAYS_PER_VOXEL = 7
"""Coefficient-sized arrays that the solver holds at once."""
_IMAGE_SETS = 8


@dataclass(frozen=True)
class _Job:
    """What every stage needs."""

    evidence: Evidence
    box: VolumeGrid
    spacing_mm: float
    config: Config
    progress: Progress
    checkpoint: CheckpointStore | None
    key: str

    def save(self, state: SavedState, *, force: bool = True) -> None:
        """Write the state if there is a checkpoint store and (unless forced) it is time to."""
        if self.checkpoint is not None and (force or self.checkpoint.due()):
            saved_state.save(self.checkpoint, self.key, state)


def reconstruct(
    angiogram: Angiogram,
    grid: VolumeGrid,
    config: Config,
    *,
    device: str,
    progress: Progress,
    checkpoint: CheckpointStore | None = None,
) -> Reconstruction:
    """Reconstruct 4D contrast attenuation from few views of one injection.

    Parameters
    ----------
    angiogram
        The selected views; nothing else of the run is used.
    grid
        Region of interest; the voxel size is the method's own (``config.spacing_mm``), and
        the volume returned is cropped to the vessels.
    config
        Parameters.
    device
        Kernels run on the CPU whatever the device.
    progress, checkpoint
        Where to report, and where to keep the state after each stage.

    Returns
    -------
    Reconstruction
        Native form Gaussians (voxels if ``config.refine_steps`` is 0), with maps of time to
        peak, mean transit time, blood volume and flow, and confidence.
    """
    job = _job(angiogram, grid, config, progress, checkpoint)
    saved = saved_state.load(checkpoint, job.key)
    saved = _voxel_rounds(job, saved or _first_round(job))
    state, plan = _refined(job, saved) if config.refine_steps and len(saved.solution.support) else (None, None)
    return assembled(saved.solution, state, plan, job.evidence, job.box, progress)


def _job(
    angiogram: Angiogram, grid: VolumeGrid, config: Config, progress: Progress, checkpoint: CheckpointStore | None
) -> _Job:
    """Weigh the data, choose voxel size and binning, warn of what can be seen at once."""
    evidence = gather_evidence(angiogram)
    if len(evidence) < 8:
        progress.warn("transit.few_views", f"Only {len(evidence)} views: thin vessels may be missing or doubled.")
    spacing = config.spacing_mm
    if spacing is None:
        spacing = min(max(_VOXELS_PER_PIXEL * evidence.pixel_mm, config.spacing_min_mm), _SPACING_MAX_MM)
    factor = max(1, math.ceil(spacing / evidence.pixel_mm - _PIXELS_PER_VOXEL_MIN))
    evidence = evidence.binned(factor)
    box = _working_box(grid, evidence)
    return _Job(evidence, box, spacing, config, progress, checkpoint, saved_state.job_key(evidence, config))


def _working_box(grid: VolumeGrid, evidence: Evidence) -> VolumeGrid:
    """Union of the region of interest and what the detector sees: other matter must not fold in."""
    view = evidence.geometry.field_of_view_grid()
    low = np.minimum(grid.center_mm - grid.size_mm / 2, view.center_mm - view.size_mm / 2)
    high = np.maximum(grid.center_mm + grid.size_mm / 2, view.center_mm + view.size_mm / 2)
    shape = np.ceil(high - low - 1e-6).astype(int)
    return VolumeGrid.centered(tuple(shape[::-1]), tuple((high - low) / shape), tuple((low + high) / 2))


def _first_round(job: _Job) -> SavedState:
    """Inlet curve, candidate support, first solution."""
    evidence, config = job.evidence, job.config
    level = config.support_noise * evidence.noise
    inlet = estimate_inlet(evidence, job.box, noise_level=level, progress=job.progress)
    delays = transit_delays(inlet, step_s=config.delay_step_s, delays_max=config.delays_max)
    support, reached = candidate_support(
        evidence,
        job.box,
        spacing_mm=job.spacing_mm,
        window_s=WINDOW_SHARE * inlet.width_s,
        threshold=level,
        voxels_max=_voxels_max(job, len(delays)),
        progress=job.progress,
    )
    if reached > level:
        job.progress.warn(
            "transit.memory", f"The support was thinned to fit memory_limit_gb={config.memory_limit_gb:g}."
        )
    solution = first_solution(support, inlet, delays, evidence, config, job.progress)
    state = SavedState(1, solution, np.zeros((len(evidence), 2)))
    job.save(state)
    return state


def _voxels_max(job: _Job, functions: int) -> int:
    """Number of voxels whose arrays fit into the memory limit beside the images."""
    images = _IMAGE_SETS * job.evidence.line_integrals.nbytes
    free = max(job.config.memory_limit_gb * 1e9 - images, 0.2e9)
    return int(free / (4 * functions * _ARRAYS_PER_VOXEL + 50))


def _voxel_rounds(job: _Job, state: SavedState) -> SavedState:
    """The reweighted solves that are still to do."""
    for done in range(state.rounds, 1 + job.config.reweightings):
        solution = reweighted_solution(state.solution, job.evidence, done - 1, job.config, job.progress)
        state = replace(state, rounds=done + 1, solution=solution)
        job.save(state)
    return state


def _refined(job: _Job, saved: SavedState) -> tuple[GaussianState, RefinementPlan]:
    """Gaussians after all steps, with residual curves if the data ask for them."""
    config, solution = job.config, saved.solution
    basis = transit_basis(solution.inlet, solution.delays_s)
    plan = RefinementPlan(
        job.evidence,
        basis,
        np.ones(len(basis), np.float32),
        solution.support.spacing_mm,
        config.refine_steps,
        config.refine_batch,
        config.seed,
    )
    state = saved.gaussians or initial_gaussians(solution)
    decision = round(_RESIDUAL_DECISION * config.refine_steps)
    if state.coefficients.shape[1] > len(basis):
        plan = widened_plan(plan, solution.inlet)
    while state.step < config.refine_steps:
        job.progress.check_cancelled()
        undecided = state.step == decision and config.residual_curves != "off" and plan.basis is basis
        if undecided and (config.residual_curves == "on" or needs_residual_curves(state, plan)):
            plan = widened_plan(plan, solution.inlet)
            state = state.widened(len(plan.basis) - len(basis))
        state, residual = refine_step(state, plan)
        job.progress.report("refine", state.step / config.refine_steps, metrics={"residual": residual})
        job.save(replace(saved, gaussians=state), force=False)
    return state, plan
