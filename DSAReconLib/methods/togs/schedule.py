"""The schedule of one run: the table's row for the number of views, with what the configuration replaces."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from DSAReconLib.methods.togs.config import Config
from DSAReconLib.methods.togs.hyperparameters import Schedule, schedule_for

_REPLACED = {
    "iterations": "iterations",
    "feature_rate": "feature_rate",
    "opacity_rate": "opacity_rate",
    "ssim_weight": "ssim_weight",
    "smooth_weight": "smooth_weight",
    "interval": "density_interval",
    "reset": "opacity_reset",
    "start": "density_from",
    "stop": "density_until",
    "gradient": "density_gradient",
    "min_opacity": "min_opacity",
    "random_share": "random_prune",
}
"""Field of the schedule: parameter that replaces it."""
_TIMES = ("interval", "reset", "start", "stop")


def run_schedule(config: Config, views: int) -> Schedule:
    """Schedule of a run with ``views`` pictures.

    Another number of iterations than the table's moves the times of density control and
    of the resets in proportion, unless they are set themselves.
    """
    published = schedule_for(views)
    values: dict[str, Any] = {}
    ratio = (config.iterations or published.iterations) / published.iterations
    for field in fields(Schedule):
        chosen = getattr(config, _REPLACED[field.name])
        if chosen is None and field.name in _TIMES:
            chosen = max(1, round(getattr(published, field.name) * ratio))
        if chosen is not None:
            values[field.name] = chosen
    return replace(published, **values)
