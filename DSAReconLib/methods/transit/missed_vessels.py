"""A second look for vessels that ghosts had hidden: what the views still show once the ghosts are gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DSAReconLib.methods.transit.config import Config
from DSAReconLib.methods.transit.phases import views_of_all_phases
from DSAReconLib.methods.transit.refinement import GaussianState, RefinementPlan, initial_gaussians, render
from DSAReconLib.methods.transit.support import WINDOW_SHARE, candidate_support
from DSAReconLib.methods.transit.voxel_stage import TransitSolution, uniform_solution
from DSAReconLib.progress import Progress, SilentProgress

_CANDIDATES_MAX = 150_000
_FILLING_MIN = 0.05
"""Candidates filled less than this are more often noise than vessel."""


class _Quiet(SilentProgress):
    """No reports of the stages within this one; cancelling works."""

    def __init__(self, outer: Progress) -> None:
        super().__init__()
        self._outer = outer

    def check_cancelled(self) -> None:
        """As the outer progress does."""
        self._outer.check_cancelled()


def with_missed_vessels(
    state: GaussianState, plan: RefinementPlan, solution: TransitSolution, config: Config, progress: Progress
) -> GaussianState:
    """The Gaussians and new ones where all views but one of some window miss contrast.

    The same as support and first solution, but on the residual and within the box of
    ``solution``, whose inlet curve and delays it takes. Whether the new ones are ghosts is decided
    as for all others, after some steps of refinement.
    """
    evidence, quiet = plan.evidence, _Quiet(progress)
    model = render(state, evidence, plan.basis, plan.flow)
    residual = replace(evidence, line_integrals=evidence.line_integrals - model)
    searched, width = views_of_all_phases(residual, solution.inlet)
    support, _ = candidate_support(
        searched,
        solution.support.grid,
        spacing_mm=plan.spacing_mm,
        window_s=WINDOW_SHARE * width,
        threshold=evidence.noise,
        voxels_max=_CANDIDATES_MAX,
        progress=quiet,
    )
    if not len(support):
        return state
    found = uniform_solution(support, solution.inlet, solution.delays_s, residual, config, quiet)
    keep = found.filling > _FILLING_MIN
    coefficients = np.ascontiguousarray(found.coefficients[:, keep])
    return _joined(state, initial_gaussians(replace(found, support=support.subset(keep), coefficients=coefficients)))


def _joined(state: GaussianState, more: GaussianState) -> GaussianState:
    """Both sets of Gaussians."""
    moments = tuple(np.concatenate(pair) for pair in zip(state.moments, more.moments, strict=True))
    return replace(
        state,
        shapes=np.concatenate([state.shapes, more.shapes]),
        coefficients=np.concatenate([state.coefficients, more.coefficients]),
        moments=moments,  # type: ignore[arg-type]
    )
