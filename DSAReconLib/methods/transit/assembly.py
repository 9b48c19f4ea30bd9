"""Put the fitted model, its threshold, maps and warnings together."""

from __future__ import annotations

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit import outputs
from DSAReconLib.methods.transit.confidence import confidence_map
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.refinement import GaussianState, RefinementPlan, initial_gaussians, render
from DSAReconLib.methods.transit.residual_curves import residual_excess
from DSAReconLib.methods.transit.transit_model import InletCurve, transit_basis
from DSAReconLib.methods.transit.voxel_stage import TransitSolution
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import Reconstruction

_RESIDUAL_ALARM = 4.0
_FEW_VIEWS = 8
_FEW_VOXELS = 50


def assembled(
    solution: TransitSolution,
    state: GaussianState | None,
    plan: RefinementPlan | None,
    evidence: Evidence,
    box: VolumeGrid,
    scatter_share: float,
    progress: Progress,
) -> Reconstruction:
    """The reconstruction of record from the last stage that ran."""
    progress.report("output", 0.0)
    refined = state is not None and plan is not None
    if state is not None and plan is not None:
        basis = plan.basis
        volume = outputs.gaussian_volume(state, basis, box, solution.support.spacing_mm)
    else:
        basis = transit_basis(solution.inlet, solution.delays_s)
        volume = outputs.voxel_volume(solution, basis)
        state = initial_gaussians(solution)
    duration = evidence.duration_s
    threshold = outputs.surface_threshold(volume, solution.inlet.plateau, duration, from_gaussians=refined)
    progress.check_cancelled()
    maps = outputs.hemodynamic_maps(volume, solution.delays_s, threshold, duration)
    if len(solution.support):
        model = render(state, evidence, basis)
        maps["confidence"] = confidence_map(volume, evidence, model)
    facts = _facts(solution, state, plan, evidence) | {"scatter_share": scatter_share}
    progress.report("output", 1.0)
    return Reconstruction(
        volume,
        threshold,
        gaussians=outputs.radiative_gaussians(state, basis),
        native="gaussians" if refined else "volume",
        vessel_probability=outputs.vessel_probability(volume, threshold, duration),
        maps=maps,
        warnings=_warnings(solution.inlet, facts, len(evidence)),
        facts=facts,
    )


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
    }
    if plan is not None:
        facts["residual_in_noise"] = residual_excess(state, plan)
        facts["residual_curves"] = float(len(plan.basis) - len(solution.delays_s))
    return facts


def _warnings(inlet: InletCurve, facts: dict[str, float], views: int) -> tuple[tuple[str, str], ...]:
    """Assumptions that did not hold."""
    found = []
    if views < _FEW_VIEWS:
        found.append(("transit.few_views", f"Only {views} views: thin vessels may be missing or doubled."))
    if facts["voxels"] < _FEW_VOXELS:
        found.append(("transit.no_vessels", "Hardly any vessel stands out from the noise."))
    if inlet.values[0] > 0.3 * inlet.plateau:
        found.append(("transit.no_onset", "Contrast is there in the first frame: arrival times are upper bounds."))
    if inlet.width_s > 0.8 * inlet.times_s[-1]:
        found.append(("transit.long_bolus", "The bolus lasts for most of the run: timing rests on few views."))
    if facts.get("residual_in_noise", 0.0) > _RESIDUAL_ALARM:
        text = f"The model misses the data by {facts['residual_in_noise']:.1f} times the noise within the vessels."
        found.append(("transit.residual", text))
    return tuple(found)
