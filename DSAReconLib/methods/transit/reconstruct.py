"""The transit method: support, blind inlet curve, sparse transit densities, free Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.backend import sparse_kernels
from DSAReconLib.methods.transit import saved_state
from DSAReconLib.methods.transit.assembly import assembled
from DSAReconLib.methods.transit.calibration import (
    Calibration,
    calibrated,
    no_calibration,
    updated_background,
    updated_movement,
    updated_scatter,
)
from DSAReconLib.methods.transit.concentration import gathered
from DSAReconLib.methods.transit.config import Config
from DSAReconLib.methods.transit.evidence import Evidence, gather_evidence
from DSAReconLib.methods.transit.flow_swing import FEW_VIEWS, flow_swing, steady_swing
from DSAReconLib.methods.transit.inlet import estimate_inlet
from DSAReconLib.methods.transit.missed_vessels import with_missed_vessels
from DSAReconLib.methods.transit.phases import views_of_all_phases
from DSAReconLib.methods.transit.refinement import (
    GaussianState,
    RefinementPlan,
    initial_gaussians,
    refine_step,
    refinement_steps,
    render,
)
from DSAReconLib.methods.transit.saved_state import SavedState
from DSAReconLib.methods.transit.support import WINDOW_SHARE, candidate_support
from DSAReconLib.methods.transit.transit_model import transit_basis, transit_delays
from DSAReconLib.methods.transit.unsteady import steady_flow
from DSAReconLib.methods.transit.voxel_stage import data_problem, rescaled, reweighted_solution, uniform_solution
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import Reconstruction

_VOXELS_PER_PIXEL = 0.87
_SPACING_MAX_MM = 0.8
_PIXELS_PER_VOXEL_MIN = 0.15
_FLOW_DECISION = 0.25
"""Share of the refinement after which unsteady flow is fitted; the calibration repeats as often."""
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
            if state.gaussians is not None:
                state = replace(state, gaussians=state.gaussians.moved(self.evidence.kernels.host))
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
        ``"cpu"``, ``"cuda"`` or ``"cuda:i"``: where support, solves and refinement are computed;
        calibration and outputs stay on the CPU.
    progress, checkpoint
        Where to report, and where to keep the state after each stage.

    Returns
    -------
    Reconstruction
        Native form Gaussians (voxels if ``config.refine_steps`` is 0), with maps of time to
        peak, mean transit time, blood volume and flow, and confidence.

    Raises
    ------
    DependencyError
        A CUDA device is asked for that cannot be used.
    """
    evidence = gather_evidence(angiogram, sparse_kernels(device))
    job = _job(evidence, grid, config, progress, checkpoint)
    saved = saved_state.load(checkpoint, job.key)
    saved = _voxel_rounds(job, saved or _first_round(job))
    state, plan = None, None
    if config.refine_steps and len(saved.solution.support):
        saved, plan = _refined(job, saved)
        state = saved.gaussians
    evidence = calibrated(job.evidence, saved.calibration)
    return assembled(saved.solution, state, plan, evidence, job.box, saved.calibration, saved.swing, progress)


def _job(
    evidence: Evidence, grid: VolumeGrid, config: Config, progress: Progress, checkpoint: CheckpointStore | None
) -> _Job:
    """Choose voxel size and binning."""
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
    searched, width = views_of_all_phases(evidence, inlet)
    support, reached = candidate_support(
        searched,
        job.box,
        spacing_mm=job.spacing_mm,
        window_s=WINDOW_SHARE * width,
        threshold=level,
        voxels_max=_voxels_max(job, len(delays)),
        progress=job.progress,
    )
    if reached > level:
        job.progress.warn(
            "transit.memory", f"The support was thinned to fit memory_limit_gb={config.memory_limit_gb:g}."
        )
    solution = rescaled(uniform_solution(support, inlet, delays, evidence, config, job.progress))
    state = _recalibrated(job, SavedState(1, solution, no_calibration(evidence)))
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
        evidence = calibrated(job.evidence, state.calibration)
        solution = reweighted_solution(state.solution, evidence, done - 1, job.config, job.progress)
        state = _recalibrated(job, replace(state, rounds=done + 1, solution=solution))
        job.save(state)
    return state


def _recalibrated(job: _Job, state: SavedState) -> SavedState:
    """The state with its calibration updated from the voxel solution."""
    if not len(state.solution.support):
        return state
    calibration = state.calibration
    problem = data_problem(state.solution, calibrated(job.evidence, calibration))
    model = problem.projector.project(problem.basis, state.solution.coefficients)
    return replace(state, calibration=_aligned(job, calibration, model))


def _aligned(job: _Job, calibration: Calibration, model: NDArray[np.float32]) -> Calibration:
    """Scatter, background and shifts updated from the model's line integrals."""
    job.progress.check_cancelled()
    if job.config.scatter_correction:
        calibration = replace(calibration, scatter=updated_scatter(job.evidence, calibration, model))
        job.progress.check_cancelled()
    if job.config.smooth_background:
        calibration = replace(calibration, background=updated_background(job.evidence, calibration, model))
    if job.config.shift_calibration:
        calibration = replace(calibration, movement_px=updated_movement(job.evidence, calibration, model))
    return calibration


def _refined(job: _Job, saved: SavedState) -> tuple[SavedState, RefinementPlan]:
    """Gaussians and fields of unsteady flow after all steps."""
    solution, kernels = saved.solution, job.evidence.kernels
    plan = _plan(job, saved)
    state = (saved.gaussians or initial_gaussians(solution)).moved(kernels.array)
    decision = round(_FLOW_DECISION * plan.steps)
    while state.step < plan.steps:
        job.progress.check_cancelled()
        if state.step in (decision, 2 * decision, 3 * decision):
            model = render(state, plan.evidence, plan.basis, plan.flow)
            calibration = _aligned(job, saved.calibration, model)
            saved = replace(saved, calibration=calibration)
            plan = replace(plan, evidence=calibrated(job.evidence, calibration))
            if state.step == decision and plan.flow is None:
                host = state.moved(kernels.host)
                saved = replace(saved, swing=flow_swing(host, plan.evidence, plan.basis, model))
                plan = _following_flow(job, saved.swing, host, plan)
                saved = replace(saved, flow=plan.flow)
        state, residual = refine_step(state, plan)
        if plan.second_look(state.step):
            host = with_missed_vessels(state.moved(kernels.host), plan, solution, job.config, job.progress)
            state = gathered(host, plan.spacing_mm).moved(kernels.array)
        job.progress.report("refine", state.step / plan.steps, metrics={"residual": residual})
        saved = replace(saved, gaussians=state)
        job.save(saved, force=False)
    return replace(saved, gaussians=state.moved(kernels.host)), plan


def _following_flow(job: _Job, swing: float, state: GaussianState, plan: RefinementPlan) -> RefinementPlan:
    """The plan with the fields that flow needs which swings."""
    views = len(plan.evidence)
    if job.config.unsteady_flow and (views >= FEW_VIEWS or swing > steady_swing(views)):
        return replace(plan, flow=steady_flow(state.means_mm, plan.evidence.duration_s, views))
    return plan


def _plan(job: _Job, saved: SavedState) -> RefinementPlan:
    """What the refinement needs."""
    return RefinementPlan(
        calibrated(job.evidence, saved.calibration),
        transit_basis(saved.solution.inlet, saved.solution.delays_s),
        saved.solution.support.spacing_mm,
        refinement_steps(job.config.refine_steps, len(job.evidence)),
        job.config.refine_batch,
        job.config.seed,
        saved.flow,
    )
