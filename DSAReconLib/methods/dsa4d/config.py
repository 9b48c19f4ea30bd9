"""Parameters of 4D-DSA. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DSAReconLib.methods.parameters import parameter

_DAVIS = "Davis et al., AJNR 2013; J. Med. Imaging 2016"


@dataclass(frozen=True)
class Config:
    """Parameters of the constraint volume and of its modulation by the views."""

    window: str = parameter(
        "hann",
        "Apodization of the constraint volume's ramp filter.",
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
    threshold_scale: float = parameter(
        1.0,
        "Factor on the automatic threshold of the constraint volume; lower keeps fainter vessels and more streaks.",
        source="ours",
        minimum=0.1,
        maximum=5.0,
    )
    blur_mm: float = parameter(
        1.8,
        "Standard deviation of the blur of measured and modeled view before their ratio, on the detector.",
        unit="mm",
        source=f"{_DAVIS}: box of 20 pixels of 0.31 mm",
        minimum=0.0,
        maximum=20.0,
    )
    ratio_max: float = parameter(3.0, "Largest temporal weight.", source="ours", minimum=1.0, maximum=20.0)
    neighbor_s: float = parameter(
        0.1,
        "Views within about this time are combined, so that a vessel hidden in one view is read from the next.",
        unit="s",
        source="ours; idea: PMC5606252",
        minimum=0.0,
        maximum=2.0,
    )
    overlap_power: float = parameter(
        1.0,
        "Views in which a voxel's ray crosses much other vessel count less, by this power of the crossed amount.",
        source="ours",
        minimum=0.0,
        maximum=8.0,
    )


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"cutoff": 0.7},
    "balanced": {},
    "quality": {"window": "shepp-logan"},
}
GRID_SIZES = {"fast": 96, "balanced": 160, "quality": 256}
"""Voxels per side of the field of view where a job names neither size nor spacing."""
