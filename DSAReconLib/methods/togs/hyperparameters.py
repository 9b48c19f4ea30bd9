"""Hyper-parameters of TOGS per number of views, as its public code sets them (standard library only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One row of the table.

    Parameters
    ----------
    iterations
        Training steps of one picture each.
    feature_rate, opacity_rate
        Adam's steps for the color and for opacity and its offsets.
    ssim_weight, smooth_weight
        Weights of the structural and of the temporal smoothness loss.
    interval
        Iterations between two density controls.
    reset
        Iterations between two opacity resets.
    start, stop
        First and last iteration of the density control.
    gradient
        Mean gradient of the center (normalized image coordinates) from which a Gaussian is copied or split.
    min_opacity
        Gaussians that never exceed it are pruned.
    random_share
        Share of all Gaussians that every second density control deletes at random.
    """

    iterations: int
    feature_rate: float
    opacity_rate: float
    ssim_weight: float
    smooth_weight: float
    interval: int
    reset: int
    start: int
    stop: int
    gradient: float
    min_opacity: float
    random_share: float


def _row(*values: float) -> Schedule:
    names = list(Schedule.__dataclass_fields__)
    whole = {"iterations", "interval", "reset", "start", "stop"}
    row: dict[str, Any] = {name: int(v) if name in whole else v for name, v in zip(names, values, strict=True)}
    return Schedule(**row)


SCHEDULES: dict[int, Schedule] = {
    4: _row(20000, 4.0e-3, 0.030, 0.005, 0.04, 500, 5000, 1100, 20000, 3.0e-4, 0.020, 0.08),
    10: _row(30000, 1.5e-3, 0.025, 0.017, 0.0065, 200, 5000, 1000, 20000, 3.0e-4, 0.029, 0.04),
    20: _row(30000, 2.0e-3, 0.025, 0.10, 0.0043, 100, 3000, 1000, 20000, 2.0e-4, 0.028, 0.08),
    30: _row(30000, 1.5e-3, 0.025, 0.10, 0.0043, 100, 3000, 1000, 20000, 2.0e-4, 0.020, 0.08),
    40: _row(30000, 1.5e-3, 0.025, 0.15, 0.0043, 100, 3000, 1000, 20000, 2.0e-4, 0.028, 0.08),
    50: _row(30000, 2.0e-3, 0.025, 0.15, 0.0001, 100, 3000, 1000, 20000, 1.5e-4, 0.008, 0.08),
    60: _row(30000, 2.0e-3, 0.025, 0.15, 0.0001, 100, 3000, 1000, 20000, 1.5e-4, 0.008, 0.08),
    100: _row(30000, 1.5e-3, 0.025, 0.10, 0.001, 100, 3000, 1000, 20000, 2.0e-4, 0.008, 0.08),
}
"""By number of training views."""


def schedule_for(views: int) -> Schedule:
    """The row of the nearest number of views; the smaller one of two equally near."""
    return SCHEDULES[min(SCHEDULES, key=lambda known: (abs(known - views), known))]
