"""The temporal model: curves are the inlet curve seen through transit-time densities.

mu(x, t) = (c_in * k_x)(t) with k_x >= 0 (indicator dilution, Meier and Zierler 1954): with the
inlet curve known the model is linear in k_x, which is expanded in hats at discrete delays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.methods.transit.support import CUT_WINDOW_SHARE, WINDOW_SHARE
from DSAReconLib.reconstruction import TemporalBasis

ONSET_FRACTION = 0.05
"""The bolus has arrived when its curve first exceeds this fraction of its plateau."""
WIDTH_FRACTION = 0.4
"""The bolus width is measured at this fraction of its plateau."""
_SAMPLES_MIN = 121
_SAMPLE_S = 0.04


@dataclass(frozen=True)
class InletCurve:
    """Attenuation over time of a fully opacified voxel at the inlet.

    Parameters
    ----------
    times_s
        Uniform times (T,), s, from 0 to the end of the run.
    values
        Curve (T,), 1/mm.
    """

    times_s: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def plateau(self) -> float:
        """Mean of the highest 10 % of the curve, 1/mm."""
        count = max(1, round(0.1 * len(self.values)))
        return float(np.sort(self.values)[-count:].mean())

    @property
    def width_s(self) -> float:
        """Longest time without a break above 40 % of the plateau, s.

        An injection in two phases is as wide as the longer one: only without a break can
        consecutive views agree on contrast.
        """
        step = float(self.times_s[1] - self.times_s[0])
        above = np.concatenate([[False], self.values >= WIDTH_FRACTION * self.plateau, [False]])
        changes = np.flatnonzero(above[1:] != above[:-1])
        return max(float((changes[1::2] - changes[::2]).max(initial=1) - 1) * step, 4 * step)

    @property
    def onset_s(self) -> float:
        """First time above 5 % of the plateau, s."""
        return float(self.times_s[np.argmax(self.values > ONSET_FRACTION * self.plateau)])

    def scaled(self, plateau: float) -> InletCurve:
        """The same shape with another plateau, 1/mm."""
        return InletCurve(self.times_s, self.values * (plateau / max(self.plateau, 1e-12)))


def curve_times(duration_s: float) -> NDArray[np.float64]:
    """Uniform times (T,), s, on which inlet curves and bases are sampled."""
    return np.linspace(0, duration_s, max(_SAMPLES_MIN, math.ceil(duration_s / _SAMPLE_S) + 1))


def transit_delays(inlet: InletCurve, *, step_s: float, delays_max: int) -> NDArray[np.float64]:
    """Delays (K,), s, relative to the inlet curve.

    From "the bolus is there in the first frame" to the latest arrival that the support can
    have found (a window cut by the end of the run).
    """
    span = inlet.times_s[-1] - CUT_WINDOW_SHARE * WINDOW_SHARE * inlet.width_s
    span = max(span, 0.3 * inlet.times_s[-1])
    step = max(step_s, span / delays_max)
    first = -round(inlet.onset_s / step) * step
    return np.arange(first, first + span + 1e-9, step)


def transit_basis(inlet: InletCurve, delays_s: NDArray[np.float64]) -> TemporalBasis:
    """B_k(t) = (c_in * hat)(t - delay_k) in 1/mm; a coefficient of 1 opacifies a voxel fully."""
    step = float(inlet.times_s[1] - inlet.times_s[0])
    half_width = delays_s[1] - delays_s[0] if len(delays_s) > 1 else step
    reach = int(half_width / step)
    hat = np.maximum(0, 1 - np.abs(np.arange(-reach, reach + 1) * step / half_width))
    padded = np.concatenate([np.zeros(reach), inlet.values, np.full(reach, inlet.values[-1])])
    smooth = np.convolve(padded, hat / hat.sum(), "same")[reach : reach + len(inlet.values)]
    shifted = [np.interp(inlet.times_s - delay, inlet.times_s, smooth, left=0) for delay in delays_s]
    return TemporalBasis(inlet.times_s, np.array(shifted, np.float32))


def hat_basis(times_s: ArrayLike, knots_s: ArrayLike) -> NDArray[np.float32]:
    """Linear interpolation (n, K) from knots (K,) to times (n,), s."""
    return TemporalBasis.hats(knots_s).at(times_s)
