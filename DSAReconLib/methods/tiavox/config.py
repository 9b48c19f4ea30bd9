"""Parameters of TiAVox (standard library only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter

_OURS = "ours: not stated in the paper"


@dataclass(frozen=True, kw_only=True)
class Config:
    """TiAVox, arXiv 2309.02318: a grid of attenuation values at time knots, fitted by gradient descent."""

    knots: int = parameter(13, "Number of time knots, evenly spaced over the run.", source=_OURS, minimum=2, maximum=64)
    levels: int = parameter(
        3, "Voxel sizes from coarse to fine, each half the one before.", source="voxel doubling", minimum=1, maximum=5
    )
    iterations: int = parameter(
        40, "Passes over all views on each voxel size.", source=_OURS, minimum=1, maximum=100000
    )
    repeats: int = parameter(
        2, "Further rounds on the finest voxels, without those that stayed dark.", source=_OURS, minimum=0, maximum=10
    )
    max_voxels: int = parameter(1_000_000, "Keep at most this many voxels, the brightest.", source=_OURS, minimum=1000)
    projector: str = parameter(
        "footprint",
        "Line integrals: Joseph's interpolation along rays, or on the CPU bilinear voxel footprints (faster).",
        source="ours",
        choices=("footprint", "joseph"),
    )
    optimizer: str = parameter(
        "accelerated",
        "Minimizer: Adam, or accelerated descent with one step size per voxel.",
        source="Adam: DVGO family",
        choices=("accelerated", "adam"),
    )
    learning_rate: float = parameter(
        2e-3, "Adam's first step; it falls to a tenth on each voxel size.", unit="1/mm", source=_OURS, minimum=1e-7
    )
    tv_space_mm: float = parameter(
        5e-4, "Weight of the total variation in space.", unit="mm", source="paper's loss; value ours", minimum=0
    )
    tv_time_s: float = parameter(
        5e-3, "Weight of the total variation in time.", unit="s", source="paper's loss; value ours", minimum=0
    )
    sparsity: float = parameter(
        0.0, "Weight of the integrated attenuation; 0 = the published objective.", source="ours: not in the paper",
        minimum=0,
    )  # fmt: skip
    reweighting: float = parameter(
        0.0125,
        "Where there is a sparsity term, from the second round on: divide a voxel's weight by its density in units "
        "of this share of a filled voxel (plus a tenth); 0 = off.",
        source="ours: reweighted L1, Candes et al. 2008",
        minimum=0,
        maximum=1,
    )
    tv_epsilon: float = parameter(
        1e-3, "Differences below this are smoothed quadratically.", unit="1/mm", source=_OURS, minimum=1e-6
    )
    crop: bool = parameter(True, "Fit only where consecutive views agree on contrast.", source=_OURS)
    window_s: float = parameter(
        1.5, "How long consecutive views must agree; not longer than the bolus.", unit="s", source=_OURS, minimum=0
    )
    prune: float = parameter(
        0.05,
        "After a round, drop voxels with no neighbor above this share of a filled voxel (less for coarse voxels).",
        source="ours, after DVGO's free-space mask",
        minimum=0,
        maximum=1,
    )
    variance_weights: bool = parameter(
        False, "Weight pixels by the inverse of their noise variance.", source="paper: plain MSE"
    )


GRID_SIZES: dict[str, int] = {"fast": 128, "balanced": 288, "quality": 352, "paper": 256, "sparse": 288}
"""Voxels per side of the field of view; only the region of contrast is fitted, unless ``crop`` is off."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"levels": 2, "iterations": 25},
    "balanced": {},
    "quality": {"repeats": 3, "iterations": 60},
    "paper": {
        "crop": False,
        "levels": 3,
        "repeats": 0,
        "iterations": 400,
        "optimizer": "adam",
        "projector": "joseph",
        "tv_space_mm": 1e-3,
    },
    "sparse": {"sparsity": 5e-3, "tv_space_mm": 5e-5},
}
"""``sparse`` adds our own reweighted sparsity to the published objective that all others have."""
