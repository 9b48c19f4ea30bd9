"""Parameters of TOGS (standard library only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter

_CODE = "public code of TOGS"
_TABLE = "public code of TOGS, per number of views; none = that table"
_OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Config:
    """TOGS, arXiv 2403.19586: alpha-composited Gaussians whose opacity has an offset at knots in time."""

    iterations: int | None = parameter(None, "Training steps of one picture.", source=_TABLE, minimum=1)
    points: int = parameter(100_000, "Gaussians at the start.", source=_CODE, minimum=10)
    start: str = parameter(
        "cube",
        "Where they start: anywhere in a cube, or where consecutive views agree on contrast.",
        source="cube: " + _CODE + "; contrast: " + _OURS,
        choices=("cube", "contrast"),
    )
    cube_half_width: float = parameter(
        0.117, "Half the edge of the cube in units of the source's distance.", source="0.07 / 0.5985, " + _CODE,
        minimum=0.01, maximum=1,
    )  # fmt: skip
    knots: int = parameter(5, "Knots of the opacity offset, evenly over the run.", source=_CODE, minimum=2, maximum=64)
    degree: int = parameter(3, "Degree of the color's harmonics.", source=_CODE, minimum=0, maximum=3)
    degree_step: int = parameter(1000, "Iterations until the degree grows by one.", source=_CODE, minimum=1)
    picture: str = parameter(
        "exponential",
        "Grey value of a line integral D: exp(-D), the ratio of fill and mask picture, or 1 - D / D_max.",
        source="a subtracted 8-bit picture in the paper; the mapping is ours",
        choices=("exponential", "linear"),
    )
    detector_pixels: int | None = parameter(
        None, "Bin pictures until their shorter side has at most so many pixels.", source=_OURS, minimum=16
    )
    feature_rate: float | None = parameter(None, "Adam's step of the color.", source=_TABLE, minimum=0)
    opacity_rate: float | None = parameter(None, "Adam's step of opacity and offsets.", source=_TABLE, minimum=0)
    position_rate: float = parameter(
        1.6e-4, "Adam's first step of the position, in units of the cameras' extent.", source=_CODE, minimum=0
    )
    position_rate_end: float = parameter(1.6e-6, "The same at the last iteration.", source=_CODE, minimum=1e-12)
    scale_rate: float = parameter(5e-3, "Adam's step of the logarithmic scale.", source=_CODE, minimum=0)
    rotation_rate: float = parameter(1e-3, "Adam's step of the quaternion.", source=_CODE, minimum=0)
    ssim_weight: float | None = parameter(
        None, "Weight of the structural part of the loss.", source=_TABLE, minimum=0, maximum=1
    )
    smooth_weight: float | None = parameter(
        None, "Weight of the smoothness of the opacity over time.", source=_TABLE, minimum=0
    )
    density_interval: int | None = parameter(None, "Iterations between density controls.", source=_TABLE, minimum=1)
    density_from: int | None = parameter(None, "First iteration of density control.", source=_TABLE, minimum=0)
    density_until: int | None = parameter(None, "Last iteration of density control.", source=_TABLE, minimum=0)
    density_gradient: float | None = parameter(
        None, "Copy or split from this mean gradient on (normalized image coordinates).", source=_TABLE, minimum=0
    )
    min_opacity: float | None = parameter(
        None, "Prune what never exceeds this opacity.", source=_TABLE, minimum=0, maximum=1
    )
    random_prune: float | None = parameter(
        None, "Share that every second density control deletes at random.", source=_TABLE, minimum=0, maximum=0.9
    )
    opacity_reset: int | None = parameter(None, "Iterations between opacity resets.", source=_TABLE, minimum=1)
    dense_share: float = parameter(
        0.02, "Split what is larger than this share of the cameras' extent, copy the rest.", source=_CODE, minimum=0
    )
    max_gaussians: int = parameter(1_000_000, "Copy and split up to this number.", source=_OURS, minimum=100)
    volume: str = parameter(
        "absorption",
        "What becomes attenuation in the converted volume: opacity times darkness per length, or opacity alone.",
        source="ours: the paper has no volume",
        choices=("absorption", "opacity"),
    )
    rasterizer: str = parameter(
        "auto",
        "Who composites: auto = gsplat on CUDA and our own kernels on the CPU.",
        source=_OURS,
        choices=("auto", "own", "gsplat"),
    )
    seed: int = parameter(20, "Seed of everything random.", source=_CODE, minimum=0)


GRID_SIZES: dict[str, int] = {"fast": 160, "balanced": 224, "quality": 288, "paper": 256}
"""Voxels per side of the volume that the Gaussians are converted to; the fit does not depend on it."""

_CPU: dict[str, Any] = {
    "start": "contrast",
    "feature_rate": 0.01,
    "density_interval": 100,
    "density_gradient": 3e-5,
    "min_opacity": 0.005,
    "random_prune": 0.02,
    "opacity_reset": 1_000_000,
}
"""For few iterations: a start near the vessels, faster colors, earlier growth, gentle pruning, no resets."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": _CPU
    | {
        "iterations": 2000,
        "points": 10_000,
        "max_gaussians": 15_000,
        "detector_pixels": 128,
        "degree_step": 300,
        "density_from": 200,
        "density_until": 1400,
    },
    "balanced": _CPU
    | {
        "iterations": 6000,
        "points": 20_000,
        "max_gaussians": 40_000,
        "detector_pixels": 256,
        "density_from": 300,
        "density_until": 4000,
    },
    "quality": _CPU
    | {
        "iterations": 15_000,
        "points": 40_000,
        "max_gaussians": 100_000,
        "detector_pixels": 512,
        "density_from": 500,
        "density_until": 10_000,
        "feature_rate": 5e-3,
    },
    "paper": {},
}
"""``paper`` is the published schedule (for a GPU); the others are ours, for CPUs."""
