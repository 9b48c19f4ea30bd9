"""Virtual rotational angiography: vessel trees, bolus transport, head, C-arm, noise; with ground truth."""

from DSAReconLib.simulation.case import SimulatedCase, simulate_case
from DSAReconLib.simulation.config import PRESETS, SimulationConfig, preset
from DSAReconLib.simulation.transport import FLOW_MODELS, Flow
from DSAReconLib.simulation.writing import check_case_folder, write_case

__all__ = [
    "FLOW_MODELS",
    "PRESETS",
    "Flow",
    "SimulatedCase",
    "SimulationConfig",
    "check_case_folder",
    "preset",
    "simulate_case",
    "write_case",
]
