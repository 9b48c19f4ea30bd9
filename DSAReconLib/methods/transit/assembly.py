"""Put the fitted model, its threshold, maps and warnings together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit import outputs
from DSAReconLib.methods.transit.assumptions import (
    doubted_noise,
    failed_assumptions,
    residual_in_noise,
    structure_in_noise,
    truncated_share,
)
from DSAReconLib.methods.transit.branches import CONFIDENT, branch_confidence, vessel_branches
from DSAReconLib.methods.transit.calibration import Calibration, detector_motion
from DSAReconLib.methods.transit.concentration import concentrated
from DSAReconLib.methods.transit.confidence import Sights, probabilities
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.flow_swing import flow_swing
from DSAReconLib.methods.transit.phases import injection_phases
from DSAReconLib.methods.transit.refinement import GaussianState, RefinementPlan, initial_gaussians, render
from DSAReconLib.methods.transit.transit_model import transit_basis
from DSAReconLib.methods.transit.unsteady import swings
from DSAReconLib.methods.transit.voxel_stage import TransitSolution
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import DynamicVolume, RadiativeGaussians, Reconstruction


def assembled(
    solution: TransitSolution,
    state: GaussianState | None,
    plan: RefinementPlan | None,
    evidence: Evidence,
    box: VolumeGrid,
    calibration: Calibration,
    swing: float,
    progress: Progress,
) -> Reconstruction:
    """The reconstruction of record from the last stage that ran."""
    progress.report("output", 0.0)
    refined = state is not None and plan is not None
    if state is not None and plan is not None:
        basis, flow = plan.basis, plan.flow
        volume, density, gaussians = _drawn(solution, state, plan, box)
    else:
        basis, flow = transit_basis(solution.inlet, solution.delays_s), None
        volume = outputs.voxel_volume(solution, basis)
        state = initial_gaussians(solution)
        density, gaussians = volume.coefficients, outputs.radiative_gaussians(state, basis)
    duration = evidence.duration_s
    bright = outputs.brightness(volume, duration)
    threshold = outputs.surface_threshold(bright, solution.inlet.plateau)
    progress.check_cancelled()
    maps = outputs.hemodynamic_maps(volume, density, solution.delays_s, threshold, duration)
    probability = outputs.vessel_probability(volume, bright, threshold)
    facts = _facts(solution, state, plan, evidence) | {"scatter_share": calibration.scatter, "flow_swing": swing}
    if len(solution.support):
        model = render(state, evidence, basis, flow)
        progress.check_cancelled()
        if not refined:
            facts["flow_swing"] = flow_swing(state, evidence, basis, model)
        certainty, checks = _checked(volume, probability, evidence, model)
        maps |= certainty
        facts |= checks
    progress.report("output", 1.0)
    return Reconstruction(
        volume,
        threshold,
        gaussians=gaussians,
        native="gaussians" if refined else "volume",
        vessel_probability=probability,
        maps=maps,
        warnings=failed_assumptions(solution.inlet, facts, len(evidence)),
        facts=facts,
        detector_motion=detector_motion(calibration, evidence),
    )


def _drawn(
    solution: TransitSolution, state: GaussianState, plan: RefinementPlan, box: VolumeGrid
) -> tuple[DynamicVolume, NDArray[np.float32], RadiativeGaussians]:
    """Volume, transit density (K, N) of its voxels and Gaussians of the refined state."""
    spacing, basis = solution.support.spacing_mm, plan.basis
    drawn = concentrated(state, spacing)
    volume = outputs.gaussian_volume(drawn.of(state), basis, box, spacing)
    density = volume.coefficients[: len(solution.delays_s)]
    if plan.flow is not None:  # unsteady flow
        state, basis = outputs.sampled_curves(state, basis, plan.flow, solution.inlet.plateau)
        volume = outputs.on_voxels_of(volume, drawn.of(state), basis)
    return volume, density, outputs.radiative_gaussians(state, basis)


def _checked(
    volume: DynamicVolume, probability: NDArray[np.float32], evidence: Evidence, model: NDArray[np.float32]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """Confidence of voxels and of branches as maps (z, y, x); what the views say of structure, border and branches."""
    structure, residual = structure_in_noise(evidence, model), residual_in_noise(evidence, model)
    sights = Sights(volume, replace(evidence, noise=doubted_noise(evidence.noise, structure, residual)), model)
    confidence = volume.scatter(probabilities(sights))
    branches = vessel_branches(probability >= 0.5)
    each = branch_confidence(branches, sights)
    spread = np.concatenate([np.zeros(1, np.float32), each])[branches.labels]
    facts = {
        "residual_in_noise": residual,
        "structure_in_noise": structure,
        "truncated_view_share": truncated_share(evidence, model, structure),
        "branches": float(len(branches)),
        "confident_branches": float((each >= CONFIDENT).sum()),
    }
    return {"confidence": confidence, "branch_confidence": spread}, facts


def _facts(
    solution: TransitSolution, state: GaussianState, plan: RefinementPlan | None, evidence: Evidence
) -> dict[str, float]:
    """Numbers for the run record."""
    facts = {
        "noise": evidence.noise,
        "voxels": float(len(solution.support)),
        "gaussians": float(len(state.shapes)),
        "spacing_mm": solution.support.spacing_mm,
        "inlet_plateau_per_mm": solution.inlet.plateau,
        "inlet_width_s": solution.inlet.width_s,
        "inlet_onset_s": solution.inlet.onset_s,
        "injection_phases": float(injection_phases(solution.inlet)),
    }
    if plan is not None and plan.flow is not None:
        found = swings(plan.flow, state.coefficients, state.means_mm, plan.basis)
        facts["concentration_swing"], facts["arrival_swing_s"] = found
    return facts
