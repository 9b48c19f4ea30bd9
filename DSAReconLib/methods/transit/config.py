"""Parameters of the transit method. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter

_OURS = "ours, tuned on simulated trees"


@dataclass(frozen=True)
class Config:
    """Parameters of the transit method; nothing here needs tuning from case to case.

    Lengths and times are physical, attenuation is measured in units of the opacified
    vessel, thresholds in units of the noise, so that contrast, dose, detector and run
    length may differ.
    """

    spacing_mm: float | None = parameter(
        None,
        "Voxel size of the sparse model; none = 0.87 pixels at the isocenter, between spacing_min_mm and 0.8 mm.",
        unit="mm",
        source=_OURS,
        minimum=0.1,
        maximum=3.0,
    )
    spacing_min_mm: float = parameter(
        0.5, "Smallest voxel size chosen automatically.", unit="mm", source=_OURS, minimum=0.1, maximum=3.0
    )
    delay_step_s: float = parameter(
        0.15, "Spacing of the transit times.", unit="s", source=_OURS, minimum=0.05, maximum=1.0
    )
    delays_max: int = parameter(
        28, "Largest number of transit times; long runs get a wider spacing.", source=_OURS, minimum=4, maximum=100
    )
    support_noise: float = parameter(
        1.4, "A voxel needs this many noise standard deviations in its window of views.", source=_OURS, minimum=0.5
    )
    sparsity_mm: float = parameter(
        0.03,
        "Weight of the L1 penalty: thickness of opacified vessel, averaged over the views, below which it wins.",
        unit="mm",
        source=_OURS,
        minimum=0.0,
    )
    epochs: int = parameter(
        20,
        "Ordered-subset passes over the views in the first solve; reweighted ones take half.",
        source=_OURS,
        minimum=1,
        maximum=200,
    )
    full_steps: int = parameter(
        4, "Full-gradient steps at the end of each reweighted solve.", source=_OURS, minimum=0, maximum=200
    )
    reweightings: int = parameter(
        4, "Rounds of pruning and sparsity reweighted along lines.", source=_OURS, minimum=0, maximum=5
    )
    refine_steps: int = parameter(
        200, "Adam steps of the Gaussians; 0 keeps the voxel result.", source=_OURS, minimum=0, maximum=5000
    )
    refine_batch: int = parameter(6, "Views per Adam step.", source=_OURS, minimum=1, maximum=64)
    unsteady_flow: bool = parameter(
        True, "Fit how concentration and arrival swing, smoothly in space and time (heart beat).", source=_OURS
    )
    shift_calibration: bool = parameter(
        True, "Estimate per-view detector shifts (gantry wobble) against the reconstruction.", source=_OURS
    )
    scatter_correction: bool = parameter(
        True, "Estimate the share of scatter against the reconstruction and take it off.", source=_OURS
    )
    smooth_background: bool = parameter(
        True, "Take off residuals that are smooth over the detector (drift, misregistration).", source=_OURS
    )
    memory_limit_gb: float = parameter(
        4.0, "The candidate support is thinned until the solver's arrays fit.", unit="GB", source=_OURS, minimum=0.25
    )
    seed: int = parameter(0, "Seed of the view order in the refinement.", source=_OURS, minimum=0)


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"spacing_min_mm": 0.7, "refine_steps": 100, "epochs": 12, "full_steps": 4},
    "balanced": {},
    "quality": {"spacing_min_mm": 0.35, "epochs": 30, "full_steps": 16, "refine_steps": 400},
}
