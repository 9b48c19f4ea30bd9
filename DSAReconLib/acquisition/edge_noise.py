"""Noise of moved frames at sharp edges: what interpolation between pixels cannot know.

Edges of bone are sharper than pixels are wide. A frame that is moved by a part of a pixel
therefore misses them by an amount that is random for all practical purposes, zero in the
mean and proportional to the part of the picture close to the Nyquist frequency. It is
treated as noise, so that fits and thresholds do not take it for vessels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FOURTH_DIFFERENCE = np.array([1, -4, 6, -4, 1], np.float32) / 16
# White noise of variance 1 leaves so much in the fourth differences along rows and columns.
_NOISE_LEFT = 2 * 70 / 256
_REACH_PX = 3
# What noise may reach by chance in means over so few pixels is not taken for an edge.
_CHANCE = 2.0
_MEDIAN_OF_SQUARE = 0.4549
_LEAST_PIXELS = 200
_CLEAR = 2.0
_MOST_SHARE = 4.0
_ITERATIONS = 30


def sharpness(mask_log: NDArray[np.float32], variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Local mean square (R, C) of what lies close to the Nyquist frequency, without the noise of the frame.

    Parameters
    ----------
    mask_log, variance
        Logarithm of a frame as measured (R, C), and its noise variance.
    """
    from scipy.ndimage import convolve1d, uniform_filter

    squares = sum(convolve1d(mask_log, _FOURTH_DIFFERENCE, axis=axis, mode="nearest") ** 2 for axis in (0, 1))
    noise = np.where(np.isfinite(variance), variance, 0) * np.float32(_CHANCE * _NOISE_LEFT)
    return np.maximum(uniform_filter(squares, _REACH_PX, mode="nearest") - noise, 0).astype(np.float32)


def edge_variance(
    sharp: NDArray[np.float32], difference: NDArray[np.float32], variance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Variance (R, C) that edges add to a difference of frames one of which was moved.

    The share of the sharpness that is left in the difference depends on the detector and on
    the motion; it is the one that explains the difference at the median edge.

    Parameters
    ----------
    sharp
        From :func:`sharpness`.
    difference, variance
        ln(mask) - ln(fill) (R, C) and its noise variance.
    """
    chosen = np.isfinite(variance) & (sharp > _CLEAR * np.where(np.isfinite(variance), variance, 0))
    if np.count_nonzero(chosen) < _LEAST_PIXELS:
        return np.zeros_like(sharp)
    squares, noise, strength = difference[chosen] ** 2, variance[chosen], sharp[chosen]
    low, high = 0.0, _MOST_SHARE
    for _ in range(_ITERATIONS):
        share = (low + high) / 2
        if np.median(squares / (noise + np.float32(share) * strength)) > _MEDIAN_OF_SQUARE:
            low = share
        else:
            high = share
    return np.asarray(np.float32((low + high) / 2) * sharp)
