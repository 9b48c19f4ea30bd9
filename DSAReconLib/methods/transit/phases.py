"""Injections in separate phases: every phase that the run sees has to fill a vessel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.transit_model import WIDTH_FRACTION, InletCurve

_PAUSE_FRACTION = 0.25
_PHASE_MIN_S = 0.2


def phases_s(inlet: InletCurve) -> NDArray[np.float64]:
    """Begin and end (P, 2), s, of each phase above 40 % of the plateau.

    Phases are apart if the curve falls below 25 % between them; shorter ones than 0.2 s do not count.
    """
    pieces, count = ndimage.label(inlet.values > _PAUSE_FRACTION * inlet.plateau)
    above = inlet.values >= WIDTH_FRACTION * inlet.plateau
    step = float(inlet.times_s[1] - inlet.times_s[0])
    filled = [np.flatnonzero(above & (pieces == piece)) for piece in range(1, count + 1)]
    return np.array([inlet.times_s[[f[0], f[-1]]] for f in filled if len(f) * step >= _PHASE_MIN_S]).reshape(-1, 2)


def injection_phases(inlet: InletCurve) -> int:
    """How often the inlet curve rises above 40 % of its plateau after it was below 25 %, for 0.2 s at least."""
    return len(phases_s(inlet))


def views_of_all_phases(evidence: Evidence, inlet: InletCurve) -> tuple[Evidence, float]:
    """Views in the order of the time since the phase that fills a vessel, and how long this takes (s).

    A vessel that the first phase reaches at some time is reached by the others as much later
    as they were injected later. A view is listed once for each phase that it may show, at its
    time less that delay: what fills for as long as the bolus lasts is seen by views of all phases
    in turn, so that windows of them find it where those of one phase alone would agree on ghosts.
    Vessels that later phases reach after the end of the run are left to the first.
    """
    phases = phases_s(inlet)
    if len(phases) < 2:
        return evidence, inlet.width_s
    views, times = [np.arange(len(evidence))], [evidence.times_s]
    for later in phases[1:, 0] - phases[0, 0]:
        shown = np.flatnonzero(evidence.times_s - later >= inlet.onset_s)
        views.append(shown)
        times.append(evidence.times_s[shown] - later)
    order = np.argsort(np.concatenate(times), kind="stable")
    listed = evidence.select(np.concatenate(views)[order])
    width = float(np.diff(phases, axis=1).min())
    return replace(listed, times_s=np.concatenate(times)[order]), width
