"""Parameters of FDK. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter


@dataclass(frozen=True)
class Config:
    """Parameters of the filtered backprojection."""

    window: str = parameter(
        "hann",
        "Apodization of the ramp filter: ram-lak is sharpest and noisiest, hann smoothest.",
        source="4DRGS baseline: Hann",
        choices=("ram-lak", "shepp-logan", "cosine", "hamming", "hann"),
    )
    cutoff: float = parameter(
        1.0,
        "Where the window ends, as a fraction of the detector's Nyquist frequency.",
        source="ours: the whole band",
        minimum=0.1,
        maximum=1.0,
    )
    parker: bool = parameter(
        True,
        "Short-scan weights; off: rays measured twice count twice and the volume is scaled by 180 / arc.",
        source="Parker 1982",
    )
    clip_negative: bool = parameter(
        False, "Set negative attenuation to 0; left in, it keeps means unbiased.", source="ours"
    )


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"cutoff": 0.7},
    "balanced": {},
    "quality": {"window": "shepp-logan"},
}
GRID_SIZES = {"fast": 128, "balanced": 256, "quality": 384}
"""Voxels per side of the field of view where a job names neither size nor spacing."""
