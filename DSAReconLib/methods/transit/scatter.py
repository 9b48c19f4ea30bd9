"""The share of scattered radiation: found from the contrast that it hides, and taken off.

Scatter hides most where the line integral is large or the head lets little through (Boone and
Seibert 1988). The same vessel seen from several directions through different anatomy therefore
contradicts itself, which fixes the amount of scatter.
"""

from __future__ import annotations

import numpy as np

from DSAReconLib.acquisition import scatter
from DSAReconLib.acquisition.scatter import EXPONENT_MAX, PRIMARY_MIN, Image
from DSAReconLib.methods.transit.evidence import Evidence

_VESSEL_SHARE = 0.25
_HUBER_NOISE = 10.0
_RELAXATION = 1.5
"""The model has taken up about half of the contradiction by the time it is measured."""
_SHARE_MAX = 0.4


def without_scatter(evidence: Evidence, share: float) -> tuple[Image, Image]:
    """Line integrals and weights (V, R, C) after taking scatter off mask and fill.

    Parameters
    ----------
    evidence
        As measured.
    share
        Scatter of a homogeneous frame relative to its total intensity, dimensionless.
    """
    if share <= 0:
        return evidence.line_integrals, evidence.weights
    if share not in evidence.scatter_free:
        values, primary = scatter.without_scatter(evidence.line_integrals, evidence.scatter_images, share)
        values[evidence.weights <= 0] = 0
        evidence.scatter_free.clear()
        # the noise of the fill frame grows relative to what is left of it
        evidence.scatter_free[share] = values, evidence.weights * primary**2
    return evidence.scatter_free[share]


def updated_share(evidence: Evidence, calibrated: Evidence, model: Image, share: float) -> float:
    """The share of scatter after one step, from what is left between data and model.

    Parameters
    ----------
    evidence
        As measured.
    calibrated
        The same with all present corrections, ``share`` among them.
    model
        Line integrals (V, R, C) of the reconstruction.
    """
    vessel = _VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 75))
    limit = np.float32(_HUBER_NOISE * evidence.noise)
    matrix, right = np.zeros((2, 2)), np.zeros(2)
    for view, (mask_scatter, fill_scatter, _) in enumerate(zip(*evidence.scatter_images)):
        chosen = (model[view] > vessel) & (calibrated.weights[view] > 0)
        line = model[view][chosen]
        mask = np.maximum(1 - share * mask_scatter[chosen], PRIMARY_MIN)
        hidden = mask_scatter[chosen] - fill_scatter[chosen] * np.exp(np.minimum(line, EXPONENT_MAX))
        residual = calibrated.line_integrals[view][chosen] - line
        weight = calibrated.weights[view][chosen] / np.maximum(1, np.abs(residual) / limit)
        design = np.stack([hidden / mask, line]).astype(float)
        matrix += (design * weight) @ design.T
        right += (design * weight) @ residual
    if np.linalg.cond(matrix) > 1e10:
        return share
    return float(np.clip(share + _RELAXATION * np.linalg.solve(matrix, right)[0], 0, _SHARE_MAX))
