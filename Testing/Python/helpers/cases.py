"""Small simulated cases that tests share; each is simulated once per process."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.io.truth import Truth
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation import SimulatedCase, SimulationConfig, preset, simulate_case

TINY_WIDTH_MM = 64 * 1.6


def small_case(
    seed: int = 0, views: int = 30, detector: int = 64, **changes: Any
) -> tuple[RotationalRun, RotationalRun, Truth]:
    """Mask run, fill run and truth of the preset ``tiny`` (0.2 s); ``changes`` are fields of SimulationConfig."""
    case = simulated(seed=seed, views=views, detector=detector, **changes)
    return case.mask_run, case.fill_run, case.truth


def simulated(seed: int = 0, views: int = 30, detector: int = 64, **changes: Any) -> SimulatedCase:
    """The whole case behind :func:`small_case`; treat its arrays as read-only."""
    return _cached(small_config(seed, views, detector, **changes))


def small_config(seed: int = 0, views: int = 30, detector: int = 64, **changes: Any) -> SimulationConfig:
    """Config of the preset ``tiny``; the detector keeps its width when its number of pixels changes."""
    return replace(
        preset("tiny"),
        seed=seed,
        views=views,
        detector_shape=(detector, detector),
        detector_spacing_mm=TINY_WIDTH_MM / detector,
        **changes,
    )


@lru_cache(maxsize=8)
def _cached(config: SimulationConfig) -> SimulatedCase:
    return simulate_case(config, SilentProgress())
