"""What the method assumes and the data may break: measured on the fit, said in warnings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.flow_swing import steady_swing
from DSAReconLib.methods.transit.transit_model import InletCurve

_VESSEL_SHARE = 0.1
"""Vessels are where the model exceeds this share of the median view's largest line integral."""
_BORDER_PIXELS = 3
_CLEAR_NOISE = 6.0
_STRUCTURE_BLUR_PX = 2.0

_RESIDUAL_ALARM = 4.0
_STRUCTURE_ALARM = 2.0
_TRUNCATED_ALARM = 0.1
_FEW_VIEWS = 8
_FEW_VOXELS = 50


def residual_in_noise(evidence: Evidence, model: NDArray[np.float32]) -> float:
    """Weighted rms residual within the projected vessels in units of the noise."""
    vessel = model > _VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 50))
    vessel &= evidence.weights > 0
    if not vessel.any():
        return 0.0
    residual = (model - evidence.line_integrals)[vessel]
    return float(np.sqrt(np.mean(residual**2 * evidence.weights[vessel]))) / evidence.noise


def truncated_share(evidence: Evidence, model: NDArray[np.float32], structure: float) -> float:
    """Share of views in which contrast reaches the left or right border of the image.

    A vessel that leaves there is missing in some views and not in others. The upper and lower
    borders do not count: feeding vessels enter through them in every view of a circular run.
    What else is left in the images (``structure``, see :func:`structure_in_noise`) has to be
    exceeded as noise has: the rims of a skull that moved are no vessels.
    """
    level = _VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 50))
    noise = evidence.noise * max(1.0, structure)
    touched = [
        _reaches_border(image, weights, level, noise)
        for image, weights in zip(evidence.line_integrals, evidence.weights, strict=True)
    ]
    return float(np.mean(touched))


def _reaches_border(image: NDArray[np.float32], weights: NDArray[np.float32], level: float, noise: float) -> bool:
    """Whether a stretch of the first or last measured columns stands out from the rest of them."""
    measured = np.flatnonzero((weights > 0).mean(0) > 0.5)
    if len(measured) < 2 * _BORDER_PIXELS:
        return False
    for columns in (measured[:_BORDER_PIXELS], measured[-_BORDER_PIXELS:]):
        trust = ndimage.uniform_filter1d(weights[:, columns].sum(1), _BORDER_PIXELS)
        total = ndimage.uniform_filter1d((image * weights)[:, columns].sum(1), _BORDER_PIXELS)
        known = trust > 0
        if not known.any():
            continue
        mean = total[known] / trust[known]
        spread = noise / np.sqrt(_BORDER_PIXELS * trust[known])
        if np.any(mean - np.median(mean) > np.maximum(level, _CLEAR_NOISE * spread)):
            return True
    return False


def structure_in_noise(evidence: Evidence, model: NDArray[np.float32]) -> float:
    """Rms of what is left beside the vessels after blurring, in units of what noise alone would leave."""
    vessel = model > 0.2 * _VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 50))
    weights = np.where(vessel, 0, evidence.weights)
    blur = [
        ndimage.gaussian_filter(stack, (0, _STRUCTURE_BLUR_PX, _STRUCTURE_BLUR_PX))
        for stack in ((evidence.line_integrals - model) * weights, weights)
    ]
    known = (blur[1] > 0.25) & (weights > 0)
    if not known.any():
        return 0.0
    expected = evidence.noise**2 / (4 * np.pi * _STRUCTURE_BLUR_PX**2) * blur[1][known]
    return float(np.sqrt(np.mean(blur[0][known] ** 2) / np.mean(expected)))


def doubted_noise(noise: float, structure: float, residual: float) -> float:
    """Noise that a vessel has to stand out from, given what the model leaves in units of ``noise``.

    What is left beside the vessels (:func:`structure_in_noise`) can imitate a vessel as noise can,
    and so can half the variance of what is left within them (:func:`residual_in_noise`).
    """
    return noise * max(1.0, structure, math.sqrt((1 + residual**2) / 2))


def failed_assumptions(inlet: InletCurve, facts: dict[str, float], views: int) -> tuple[tuple[str, str], ...]:
    """Code and text of each assumption that did not hold, from the facts of the run record."""
    found = []
    if views < _FEW_VIEWS:
        found.append(("transit.few_views", f"Only {views} views: thin vessels may be missing or doubled."))
    if facts["voxels"] < _FEW_VOXELS:
        found.append(("transit.no_vessels", "Hardly any vessel stands out from the noise."))
    if inlet.values[0] > 0.3 * inlet.plateau:
        found.append(("transit.no_onset", "Contrast is there in the first frame: arrival times are upper bounds."))
    if inlet.width_s > 0.8 * inlet.times_s[-1]:
        found.append(("transit.long_bolus", "The bolus lasts for most of the run: timing rests on few views."))
    phases = facts.get("injection_phases", 1)
    if phases > 1:
        text = f"The injection has {phases:.0f} phases: each fills vessels for a short time only."
        found.append(("transit.phases", text))
    if facts.get("flow_swing", 0.0) > steady_swing(views):
        found.append(("transit.unsteady", _unsteady_text(facts)))
    truncated = facts.get("truncated_view_share", 0.0)
    if truncated > _TRUNCATED_ALARM:
        text = f"Vessels reach the side of the detector in {100 * truncated:.0f} % of the views: they are incomplete."
        found.append(("transit.truncated", text))
    structure = facts.get("structure_in_noise", 0.0)
    if structure > _STRUCTURE_ALARM:
        text = f"Beside the vessels {structure:.1f} times the noise is left: motion, or matter that not all views see."
        found.append(("transit.structure", text))
    residual = facts.get("residual_in_noise", 0.0)
    if residual > _RESIDUAL_ALARM:
        text = f"The model misses the data by {residual:.1f} times the noise within the vessels."
        found.append(("transit.residual", text))
    return tuple(found)


def _unsteady_text(facts: dict[str, float]) -> str:
    """How the flow swings, and whether the result follows it."""
    if "concentration_swing" not in facts:
        share = 100 * facts["flow_swing"]
        return f"The flow is not steady: contrast swings by {share:.0f} % over time, which the result does not follow."
    change, delay = 100 * facts["concentration_swing"], facts["arrival_swing_s"]
    return (
        f"The flow is not steady: contrast swings by {change:.0f} % and its arrival by {delay:.2f} s (both followed)."
    )
