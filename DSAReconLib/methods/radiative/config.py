"""Parameters of radiative Gaussian splatting (standard library only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter

_OURS = "ours: not in the paper"


@dataclass(frozen=True, kw_only=True)
class Config:
    """4DRGS, arXiv 2412.12919: Gaussians fitted to line integrals; equations 4.1 to 4.8 as in the paper's code."""

    time_basis: str = parameter(
        "hats",
        "Time course of a Gaussian: linear or cubic between knots, constant (R2-Gaussian), or a neural field.",
        source="neural: paper eq. 4.2; constant: R2-Gaussian; hats, bspline: ours",
        choices=("hats", "bspline", "constant", "neural"),
    )
    knots: int | None = parameter(
        None, "Number of time functions; None = about half the number of views.", source=_OURS, minimum=2, maximum=128
    )
    integral: str = parameter(
        "exact",
        "Line integrals of a Gaussian: exact perspective, or frozen at the Gaussian's center.",
        source="affine: paper eq. 4.4, 4.5; exact: ours",
        choices=("exact", "affine"),
    )
    pixel_average: bool = parameter(True, "Average over the pixel's area instead of sampling its center.", source=_OURS)
    points: int = parameter(
        60_000, "Largest number of Gaussians to begin with.", source="paper: 30000", minimum=100, maximum=2_000_000
    )
    seed_threshold: float = parameter(
        0.016,
        "Attenuation of the filtered backprojection above which Gaussians begin; lowered if fewer than points pass.",
        unit="1/mm",
        source="paper: 0.016; the lowering is ours",
        minimum=0,
    )
    seed_choice: str = parameter(
        "brightest",
        "Which voxels above the threshold are taken.",
        source="paper: random; brightest: ours",
        choices=("brightest", "random"),
    )
    seed_spacing_mm: float | None = parameter(
        None,
        "Voxel size of the first backprojection, also the unit of the scale bounds; None = from the pixel size.",
        unit="mm",
        source="ours; the paper takes the scanner's voxels",
        minimum=0.05,
    )
    crop: bool = parameter(True, "Begin only where consecutive views agree on contrast.", source=_OURS)
    window_s: float = parameter(
        1.5, "How long consecutive views must agree; not longer than the bolus.", unit="s", source=_OURS, minimum=0
    )
    reseeds: int = parameter(
        2, "How often Gaussians are added where the residual's backprojection is bright.", source=_OURS, maximum=10
    )
    first_scale: float = parameter(
        0.45, "First width, in units of the distance to the three nearest.", source="paper: 1", minimum=0.05, maximum=3
    )
    scale_min: float = parameter(0.1, "Smallest width.", unit="voxels", source="paper eq. 4.3", minimum=0.01)
    scale_max: float = parameter(10.0, "Largest width.", unit="voxels", source="paper eq. 4.3", minimum=0.5)
    steps: int = parameter(300, "Optimizer steps.", source="paper: 30000 (10000)", minimum=1, maximum=200_000)
    batch: int = parameter(6, "Views per step.", source="paper: 1", minimum=1, maximum=256)
    position_rate: float = parameter(
        4e-4, "Learning rate of positions, of the volume's edge.", source="paper: 1e-4", minimum=0, maximum=0.1
    )
    scale_rate: float = parameter(0.03, "Learning rate of the raw scales.", source="paper: 5e-3", minimum=0)
    rotation_rate: float = parameter(0.01, "Learning rate of the quaternions.", source="paper: 1e-3", minimum=0)
    attenuation_rate: float = parameter(
        0.03,
        "Learning rate of the time courses, relative to each one's peak; of the neural field's weights as it is.",
        source="paper (neural field): 1e-3",
        minimum=0,
    )
    rate_decay: float = parameter(
        0.1, "Learning rates at the end, of those at the beginning.", source="paper: 0.1", minimum=1e-4, maximum=1
    )
    second_moment: float = parameter(
        0.98, "Decay of Adam's second moments.", source="paper: 0.999", minimum=0.5, maximum=0.99999
    )
    ssim_weight: float = parameter(
        0.0, "Share of 1 - SSIM in the loss; the rest is L1.", source="paper eq. 4.7: 0.2", minimum=0, maximum=1
    )
    bend_in_noise: float = parameter(
        1.3, "Errors below this many standard deviations of the noise count quadratically.", source=_OURS, minimum=0
    )
    variance_weights: bool = parameter(True, "Weight pixels by the inverse of their noise variance.", source=_OURS)
    time_jitter: float = parameter(
        0.0,
        "Standard deviation of the random shift of the times in each step, in intervals between views.",
        source="paper eq. 4.6: 1",
        minimum=0,
        maximum=5,
    )
    sparsity: float = parameter(
        1.5e-4, "Weight of the projected mass, against the mean slope of the data term.", source=_OURS, minimum=0
    )
    reweighting: float = parameter(
        0.05,
        "Divide a Gaussian's sparsity weight by its neighborhood's attenuation in units of this share of a "
        "well-filled one (plus a tenth); 0 = off.",
        source="ours: reweighted L1, Candes et al. 2008",
        minimum=0,
        maximum=1,
    )
    smoothness: float = parameter(
        0.015, "Weight of the time courses' second differences.", source="ours: instead of the jitter", minimum=0
    )
    coherence: float = parameter(
        0.04, "Pull of the time courses to those of the nearest Gaussians.", source="ours: the field's role", minimum=0
    )
    control_every: int = parameter(25, "Steps between density controls.", source="paper: 200", minimum=1)
    grow: bool = parameter(False, "Clone and split Gaussians that the data pull at.", source="paper: on")
    grow_from: float = parameter(0.2, "Share of the steps before growing.", source="paper: 500 of 30000", maximum=1)
    grow_until: float = parameter(0.6, "Share of the steps after which growing ends.", source="paper: 0.5", maximum=1)
    gradient_threshold: float = parameter(
        1e-4, "Mean gradient (loss per half detector) from which to grow.", source="paper: 1e-4", minimum=0
    )
    split_above: float = parameter(
        2.5, "Width above which a growing Gaussian is split, at first.", unit="voxels", source="paper", minimum=0
    )
    split_above_last: float = parameter(
        0.5, "The same when growing ends; exponential in between.", unit="voxels", source="paper", minimum=0
    )
    prune_attenuation: float = parameter(
        1e-6, "Accumulated attenuation below which to prune.", unit="1/mm", source="paper: 1e-6", minimum=0
    )
    prune_volume: float = parameter(
        1e-3, "Prune what stands for less than this share of a filled voxel.", source=_OURS, minimum=0
    )
    prune_random: float = parameter(
        0.0, "Share pruned at random at each growing control.", source="paper's ablation: 0.08", minimum=0, maximum=0.5
    )
    prune_specks: float = parameter(
        6.0, "Prune clusters of fewer filled voxels times views.", unit="voxels", source=_OURS, minimum=0
    )
    max_gaussians: int = parameter(200_000, "No growing beyond this number.", source="paper: none", minimum=100)
    field_log2_entries: int = parameter(
        19, "Binary logarithm of the entries per level of the neural field.", source="paper: 19", minimum=8, maximum=22
    )
    field_samples: int = parameter(
        64, "Time samples that a neural field's result is stored at.", source="paper evaluates at 133", minimum=2
    )
    seed: int = parameter(0, "Seed of everything random.", source="paper: 0", minimum=0)


GRID_SIZES: dict[str, int] = {"fast": 256, "balanced": 320, "quality": 384, "paper": 384}
"""Voxels per side of the field of view that the Gaussians are voxelized on; only the part they reach is kept."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps": 200, "points": 40_000},
    "balanced": {},
    "quality": {"steps": 900, "points": 100_000, "batch": 10},
    "paper": {
        "time_basis": "neural",
        "integral": "affine",
        "pixel_average": False,
        "points": 30_000,
        "seed_choice": "random",
        "crop": False,
        "reseeds": 0,
        "first_scale": 1.0,
        "steps": 30_000,
        "batch": 1,
        "position_rate": 1e-4,
        "scale_rate": 5e-3,
        "rotation_rate": 1e-3,
        "attenuation_rate": 1e-3,
        "second_moment": 0.999,
        "ssim_weight": 0.2,
        "bend_in_noise": 0.0,
        "variance_weights": False,
        "time_jitter": 1.0,
        "sparsity": 0.0,
        "reweighting": 0.0,
        "smoothness": 0.0,
        "coherence": 0.0,
        "control_every": 200,
        "grow": True,
        "grow_from": 1 / 60,
        "grow_until": 0.5,
        "prune_volume": 0.0,
        "prune_specks": 0.0,
        "max_gaussians": 2_000_000,
    },
}
