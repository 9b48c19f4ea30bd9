"""Free temporal functions for flow that is not one inlet curve seen through transit times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DSAReconLib.methods.transit.refinement import GaussianState, RefinementPlan, render
from DSAReconLib.methods.transit.transit_model import InletCurve
from DSAReconLib.reconstruction import TemporalBasis

_FUNCTIONS_MAX = 24
_VIEWS_PER_FUNCTION = 1.25
_SCALE = 0.5
_RATE = 1 / 3
VESSEL_SHARE = 0.1
"""Vessels are where the model exceeds this share of the median view's largest line integral."""


def residual_excess(state: GaussianState, plan: RefinementPlan) -> float:
    """Weighted rms residual within the projected vessels in units of the noise."""
    model = render(state, plan.evidence, plan.basis, plan.flow)
    vessel = model > VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 50))
    vessel &= plan.evidence.weights > 0
    if not vessel.any():
        return 0.0
    residual = (model - plan.evidence.line_integrals)[vessel]
    return float(np.sqrt(np.mean(residual**2 * plan.evidence.weights[vessel]))) / plan.evidence.noise


def widened_plan(plan: RefinementPlan, inlet: InletCurve) -> RefinementPlan:
    """The plan with hat functions over the run appended to the basis.

    They are scaled down and learn slowly, which weighs the L1 penalty against them: they
    take what the transit basis cannot explain.
    """
    count = int(min(_FUNCTIONS_MAX, max(4, len(plan.evidence) / _VIEWS_PER_FUNCTION)))
    knots = np.linspace(0, plan.evidence.duration_s, count)
    hats = _SCALE * inlet.plateau * TemporalBasis.hats(knots).at(inlet.times_s).T
    basis = TemporalBasis(inlet.times_s, np.concatenate([plan.basis.values, hats]).astype(np.float32))
    rates = np.concatenate([plan.rates, np.full(count, _RATE, np.float32)])
    return replace(plan, basis=basis, rates=rates)
