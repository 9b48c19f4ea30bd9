"""Loss between measured and rendered line integrals, with its gradient: robust L1 and structural similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.blur import blurred

FloatArray = NDArray[np.float32]

_WINDOW, _SIGMA_PX = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
"""Stabilizers of SSIM on unnormalized line integrals, as in 4DRGS."""


class ImageLoss:
    """(1 - s) w |r| + s w (1 - SSIM), summed over pixels; r: rendered minus measured (4DRGS eq. 4.7).

    Below ``bend`` |r| is continued as the parabola r^2 / (2 bend) + bend / 2 (Huber). SSIM
    (Wang et al. 2004) uses a Gaussian window of 11 px, sigma 1.5 px, zeros beyond the border.

    Parameters
    ----------
    measured
        Line integrals (V, R, C); anything finite where there is no measurement.
    weights
        (V, R, C), 0 without measurement.
    ssim_weight
        s, in [0, 1].
    bend
        Line integral below which the error counts quadratically; 0 = plain L1.
    """

    def __init__(self, measured: FloatArray, weights: FloatArray, *, ssim_weight: float, bend: float) -> None:
        self._measured, self._weights = measured, weights
        self._share, self._bend = float(ssim_weight), max(float(bend), 1e-9)
        self._taps = gaussian_taps()
        if self._share:
            self._mean = blurred(measured, self._taps)
            self._spread = blurred(measured * measured, self._taps) - self._mean**2

    def __call__(self, rendered: FloatArray, views: NDArray[np.int64]) -> tuple[float, FloatArray]:
        """Mean loss per pixel of rendered views (n, R, C), and the gradient of the *sum* over pixels."""
        weights = self._weights[views]
        residual = rendered - self._measured[views]
        gradient = np.clip(residual * np.float32(1 / self._bend), -1, 1)
        size = np.abs(residual)
        value = np.where(size < self._bend, 0.5 * size * size / self._bend, size - 0.5 * self._bend) * weights
        gradient *= weights
        if not self._share:
            return float(value.mean(dtype=np.float64)), gradient
        similarity, slope = self._ssim(rendered, weights, views)
        dissimilarity = ((1 - similarity) * weights).mean(dtype=np.float64)
        total = (1 - self._share) * value.mean(dtype=np.float64) + self._share * dissimilarity
        return float(total), np.float32(1 - self._share) * gradient - np.float32(self._share) * slope

    def residual(self, rendered: FloatArray, views: NDArray[np.int64]) -> FloatArray:
        """Rendered minus measured (n, R, C), 0 without measurement."""
        return np.where(self._weights[views] > 0, rendered - self._measured[views], np.float32(0))

    def _ssim(
        self, rendered: FloatArray, weights: FloatArray, views: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """SSIM (n, R, C), and the gradient of its weighted sum by the rendered pixels."""
        y, mean_y, spread_y = self._measured[views], self._mean[views], self._spread[views]
        mean_x = blurred(rendered, self._taps)
        spread_x = blurred(rendered * rendered, self._taps) - mean_x**2
        common = blurred(rendered * y, self._taps) - mean_x * mean_y
        a1, a2 = 2 * mean_x * mean_y + np.float32(_C1), 2 * common + np.float32(_C2)
        b1, b2 = mean_x**2 + mean_y**2 + np.float32(_C1), spread_x + spread_y + np.float32(_C2)
        similarity = a1 * a2 / (b1 * b2)
        by_a1, by_a2 = weights * a2 / (b1 * b2), weights * a1 / (b1 * b2)
        by_b1, by_b2 = -weights * similarity / b1, -weights * similarity / b2
        by_mean = 2 * (mean_y * (by_a1 - by_a2) + mean_x * (by_b1 - by_b2))
        gradient = blurred(by_mean, self._taps) + 2 * rendered * blurred(by_b2, self._taps)
        gradient += 2 * y * blurred(by_a2, self._taps)
        return similarity, gradient


def gaussian_taps(window: int = _WINDOW, sigma_px: float = _SIGMA_PX) -> FloatArray:
    """Normalized Gaussian (window,)."""
    offset = np.arange(window) - (window - 1) / 2
    taps = np.exp(-0.5 * (offset / sigma_px) ** 2)
    return (taps / taps.sum()).astype(np.float32)
