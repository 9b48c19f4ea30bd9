"""Parameters of VPAL (standard library only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter

_CODE = "public code of the paper"
_OURS = "ours: not in the paper"


@dataclass(frozen=True, kw_only=True)
class Config:
    """VPAL, arXiv 2405.10705: vessel probability, static and dynamic attenuation as neural fields."""

    variant: str = parameter(
        "vpal",
        "Fields: all three; static + dynamic without probability; probability times dynamic; dynamic; static (NAF).",
        source="ablations of the paper",
        choices=("vpal", "sd", "pd", "dynamic", "static"),
    )
    iterations: int = parameter(2000, "Steps of the optimizer.", source="code: 100000", minimum=1, maximum=1000000)
    rays: int = parameter(8192, "Pixels per step.", source="code: 2048", minimum=16, maximum=1 << 20)
    points: int = parameter(
        65536, "Take as many pixels as this many points on their rays need; 0 = rays.", source=_OURS, minimum=0
    )
    step_voxels: float = parameter(
        1.4, "Distance of points on a ray.", unit="voxels", source="code: 2", minimum=0.1, maximum=10
    )
    jitter: bool = parameter(True, "Shift the points of each ray by a random part of their distance.", source=_OURS)
    levels: int = parameter(8, "Resolutions of each hash encoding.", source=_CODE, minimum=1, maximum=20)
    features: str = parameter("2", "Features per vertex.", source="code: 8", choices=("2", "8"))
    log2_entries: int = parameter(17, "log2 of the entries per level.", source="code: 19", minimum=8, maximum=24)
    base_resolution: int = parameter(8, "Coarsest level in space, vertices.", source=_CODE, minimum=2, maximum=64)
    growth: float = parameter(1.6, "Ratio of levels in space.", source="code: 1.45", minimum=1, maximum=3)
    base_resolution_time: int = parameter(
        2, "Coarsest level in space and time, vertices.", source=_CODE, minimum=2, maximum=64
    )
    growth_time: float = parameter(1.5, "Ratio of levels in space and time.", source=_CODE, minimum=1, maximum=3)
    hidden: int = parameter(32, "Width of the perceptrons' hidden layers.", source="code: 128", minimum=4, maximum=512)
    layers: int = parameter(1, "Hidden layers of the perceptrons.", source="code: 3", minimum=1, maximum=8)
    learning_rate: float = parameter(
        5e-3, "Adam's first step for the perceptrons.", source="code: 7.5e-4", minimum=1e-7
    )
    table_learning_rate: float = parameter(
        5e-2, "Adam's first step for the encodings.", source="code: 7.5e-4", minimum=1e-7
    )
    attenuation_scale: float = parameter(
        0.05, "Attenuation that an output of 1 stands for.", unit="1/mm", source="code: 1", minimum=1e-4
    )
    adam_epsilon: float = parameter(1e-15, "Adam's epsilon.", source="code: 1e-8", minimum=0)
    rate_decay: float = parameter(
        0.85, "The steps are multiplied by this 20 times in the fit.", source="code: 0.9", minimum=0.01, maximum=1
    )
    rate_warmup: float = parameter(
        0.05,
        "Part of the fit in which the steps grow: large ones close the ReLU of the attenuation almost everywhere.",
        source=_OURS,
        minimum=0,
        maximum=1,
    )
    progressive: bool = parameter(True, "Switch the levels on from coarse to fine.", source=_CODE)
    first_levels: int = parameter(4, "Levels at the start.", source=_CODE, minimum=1, maximum=20)
    progressive_share: float = parameter(
        0.15, "Part of the fit after which every level is on.", source=_CODE, minimum=0, maximum=1
    )
    loss: str = parameter("l1", "Penalty of the residual.", source="eq. 1.4: l1; l2 is ours", choices=("l1", "l2"))
    perturbation: bool = parameter(True, "Perturb the time of half of the rays.", source="eq. 1.3")
    perturbation_std: float = parameter(
        1.0, "Standard deviation of the perturbation.", unit="view intervals", source=_CODE, minimum=0, maximum=10
    )
    perturbation_beta: float = parameter(10.0, "How fast the weight falls with it.", source=_CODE, minimum=0)
    prior_weight: float = parameter(0.01, "Weight of the mean vessel probability.", source="eq. 1.6", minimum=0)
    prior_warmup: float = parameter(
        0.4,
        "Part of the fit until the prior has its full weight: before there is contrast to gate, it closes every gate.",
        source="ours: the paper has it from the start",
        minimum=0,
        maximum=1,
    )
    prior_points: int = parameter(4096, "Points it is averaged over.", source="code: 10000", minimum=1)
    sparsity: float = parameter(
        0.0,
        "Weight of the mean line integral; attenuation in cells that were dark costs up to ten times as much.",
        source=_OURS,
        minimum=0,
    )
    occupancy: str = parameter(
        "contrast",
        "Skip empty cells: none, those of small probability, or (also) those where the views do not agree on contrast.",
        source="code: none or probability; contrast is ours",
        choices=("none", "probability", "contrast"),
    )
    occupancy_threshold: float = parameter(
        0.08,
        "Cells stay occupied above this probability (contrast: above this share of the attenuation in vessels).",
        source="code: 0.01 for the probability",
        minimum=0,
        maximum=1,
    )
    occupancy_start: float = parameter(
        0.2, "Part of the fit before which nothing is skipped that the views agree on.", source=_OURS, minimum=0
    )
    occupancy_interval: int = parameter(100, "Steps between two refreshes.", source="code: 16", minimum=1)
    window_s: float = parameter(
        1.5, "How long consecutive views must agree on contrast.", unit="s", source=_OURS, minimum=0
    )
    knots: int = parameter(31, "Times at which the result is stored.", source=_OURS, minimum=2, maximum=256)
    volume: str = parameter(
        "contrast",
        "What the volume holds: p mu_d, or with the static part.",
        source="paper: total (1.7)",
        choices=("contrast", "total"),
    )
    seed: int = parameter(0, "Fixes everything random.", minimum=0)


GRID_SIZES: dict[str, int] = {"fast": 224, "balanced": 288, "paper": 512}
"""Voxels per side of the field of view."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "balanced": {
        "iterations": 2400,
        "points": 73728,
        "levels": 10,
        "log2_entries": 18,
        "growth": 1.5,
        "growth_time": 1.4,
    },
    "paper": {
        "iterations": 100_000,
        "rays": 2048,
        "points": 0,
        "step_voxels": 2.0,
        "jitter": False,
        "levels": 12,
        "features": "8",
        "log2_entries": 19,
        "growth": 1.45,
        "growth_time": 1.4,
        "hidden": 128,
        "layers": 3,
        "learning_rate": 7.5e-4,
        "table_learning_rate": 7.5e-4,
        "attenuation_scale": 1.0,
        "adam_epsilon": 1e-8,
        "rate_decay": 0.9,
        "rate_warmup": 0.0,
        "progressive_share": 0.2,
        "prior_warmup": 0.0,
        "prior_points": 10_000,
        "occupancy": "none",
        "occupancy_threshold": 0.01,
        "occupancy_interval": 16,
        "volume": "total",
    },
}
"""``paper`` is meant for a GPU: 71 million parameters, 2048 rays of some 250 points per step."""
