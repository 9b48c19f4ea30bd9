"""What a killed job needs to go on: the state of each stage as named arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit.calibration import Calibration
from DSAReconLib.methods.transit.config import Config
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.refinement import GaussianState
from DSAReconLib.methods.transit.support import Support
from DSAReconLib.methods.transit.transit_model import InletCurve
from DSAReconLib.methods.transit.unsteady import UnsteadyFlow
from DSAReconLib.methods.transit.voxel_stage import TransitSolution


@dataclass(frozen=True)
class SavedState:
    """Newest state of a job.

    Parameters
    ----------
    rounds
        Solves done: 1 = first solution, 2 = first reweighting ...
    solution
        Result of the last solve.
    calibration
        Corrections of the measurement that follow from the solution.
    gaussians
        State of the refinement, once it has begun.
    flow
        Fields of unsteady flow, once they are fitted.
    swing
        What the decision on them rested on (:func:`~DSAReconLib.methods.transit.flow_swing.flow_swing`).
    """

    rounds: int
    solution: TransitSolution
    calibration: Calibration
    gaussians: GaussianState | None = None
    flow: UnsteadyFlow | None = None
    swing: float = 0.0


def job_key(evidence: Evidence, config: Config) -> str:
    """Fingerprint of data and parameters: a state of another job must not be resumed."""
    text = f"{config!r} {evidence.line_integrals.shape} {evidence.times_s.tolist()} {evidence.noise:.9g}"
    return hashlib.sha256(text.encode()).hexdigest()


def save(checkpoint: CheckpointStore, key: str, state: SavedState) -> None:
    """Replace the stored state."""
    solution = state.solution
    arrays: dict[str, Any] = {
        "key": key,
        "rounds": state.rounds,
        "movement_px": state.calibration.movement_px,
        "background": state.calibration.background,
        "scatter": state.calibration.scatter,
        "index_zyx": solution.support.index_zyx,
        "shape_zyx": solution.support.grid.shape_zyx,
        "spacing_mm": solution.support.grid.spacing_mm,
        "origin_mm": solution.support.grid.origin_mm,
        "inlet_times_s": solution.inlet.times_s,
        "inlet_values": solution.inlet.values,
        "delays_s": solution.delays_s,
        "coefficients": solution.coefficients,
        "swing": state.swing,
    }
    if state.gaussians is not None:
        gaussians = state.gaussians
        arrays |= {"shapes": gaussians.shapes, "mixture": gaussians.coefficients, "step": gaussians.step}
        arrays |= {f"moment{n}": moment for n, moment in enumerate(gaussians.moments)}
    if state.flow is not None:
        arrays |= {f"flow_{name}": value for name, value in state.flow.arrays().items()}
    checkpoint.save(**arrays)


def load(checkpoint: CheckpointStore | None, key: str) -> SavedState | None:
    """The stored state of this very job, if there is one."""
    arrays = checkpoint.load() if checkpoint is not None else None
    if arrays is None or str(arrays.get("key")) != key:
        return None
    grid = VolumeGrid(tuple(arrays["shape_zyx"]), tuple(arrays["spacing_mm"]), tuple(arrays["origin_mm"]))
    solution = TransitSolution(
        Support(grid, arrays["index_zyx"]),
        InletCurve(arrays["inlet_times_s"], arrays["inlet_values"]),
        arrays["delays_s"],
        arrays["coefficients"],
    )
    gaussians = None
    if "shapes" in arrays:
        moments = tuple(arrays[f"moment{n}"] for n in range(4))
        gaussians = GaussianState(arrays["shapes"], arrays["mixture"], moments, int(arrays["step"]))  # type: ignore[arg-type]
    flow = None
    if "flow_values" in arrays:
        stored = {name.removeprefix("flow_"): value for name, value in arrays.items() if name.startswith("flow_")}
        flow = UnsteadyFlow.from_arrays(stored)
    calibration = Calibration(arrays["movement_px"], arrays["background"], float(arrays["scatter"]))
    return SavedState(int(arrays["rounds"]), solution, calibration, gaussians, flow, float(arrays["swing"]))
