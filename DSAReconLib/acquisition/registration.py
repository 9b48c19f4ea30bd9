"""Sub-pixel shift between a mask and a fill frame that ignores the vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Coarse to fine: wide smoothing catches shifts of several pixels, the last one fixes the fraction.
_SMOOTHING_PX = (6.0, 3.0, 1.5)
_ITERATIONS = 12
_CONVERGED_PX = 1e-3
_LARGEST_SHIFT_PX = 12.0
_UNCERTAIN_PX = 0.25
_CERTAIN = 3.0
# Residuals beyond this many robust sigmas are vessels: a tenth of the weight.
_VESSEL_SIGMAS = 6.0
_HUBER_SIGMAS = 1.5


@dataclass(frozen=True)
class ShiftEstimate:
    """Displacement (row, column) in pixels by which a mask frame must move onto its fill frame."""

    row_column_px: tuple[float, float]
    error_px: float
    reliable: bool


def estimate_shift(
    mask_log: NDArray[np.float32],
    fill_log: NDArray[np.float32],
    variance: NDArray[np.float32] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> ShiftEstimate:
    """Robust Gauss-Newton for the translation and the offset between two log frames (R, C).

    Both frames are smoothed alike and the mask is warped anew in every iteration: noise is
    uncorrelated with its own gradient, so that the fixed point is unbiased although the
    gradient is noisy. Vessels are outliers of the residual and lose their weight. A shift
    that does not stand out from its own standard error is returned as 0.

    Parameters
    ----------
    mask_log, fill_log
        Logarithm of the intensities.
    variance
        Noise variance of their difference; ``inf`` leaves pixels out.
    valid
        Pixels that measured something.
    """
    from scipy.ndimage import binary_erosion, gaussian_filter

    usable = np.ones(mask_log.shape, bool) if valid is None else valid.copy()
    if variance is not None:
        usable &= np.isfinite(variance)
    filled = [_filled(image, usable) for image in (mask_log, fill_log)]
    shift, error = np.zeros(2), np.inf
    for sigma in _SMOOTHING_PX:
        if min(mask_log.shape) < 12 * sigma:
            continue
        margin = int(np.ceil(2 * sigma))
        inside = binary_erosion(usable, iterations=margin, border_value=0)
        if inside.sum() < 500:
            continue
        smooth = [gaussian_filter(image, sigma, mode="nearest") for image in filled]
        shift, error = _gauss_newton(smooth[0], smooth[1], inside, shift, sigma)
        if not np.all(np.abs(shift) < _LARGEST_SHIFT_PX):
            return ShiftEstimate((0.0, 0.0), np.inf, False)
    if not error < _UNCERTAIN_PX:
        return ShiftEstimate((0.0, 0.0), float(error), False)
    if np.hypot(*shift) < _CERTAIN * error:
        shift = np.zeros(2)
    return ShiftEstimate((float(shift[0]), float(shift[1])), float(error), True)


def _filled(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    if usable.all():
        return image
    level = float(np.median(image[usable])) if usable.any() else 0.0
    return np.where(usable, image, np.float32(level))


def _gauss_newton(
    mask: NDArray[np.float32],
    fill: NDArray[np.float32],
    inside: NDArray[np.bool_],
    start: NDArray[np.float64],
    sigma: float,
) -> tuple[NDArray[np.float64], float]:
    """Shift (row, column) and its standard error for frames smoothed by ``sigma`` pixels."""
    from scipy.ndimage import spline_filter

    coefficients = spline_filter(mask, order=3, mode="mirror", output=np.float32)
    shift, error = start.copy(), np.inf
    for _ in range(_ITERATIONS):
        warped = _warp(coefficients, shift)
        gradient = np.gradient(warped)
        # Moving the image content by +d changes a pixel by -gradient * d.
        design = np.stack([-gradient[0][inside], -gradient[1][inside], np.ones(int(inside.sum()), np.float32)], 1)
        residual = (fill - warped)[inside]
        residual = residual - np.median(residual)
        weight = _robust_weights(residual)
        normal = (design * weight[:, None]).T @ design.astype(np.float64)
        step = np.linalg.lstsq(normal, (design * weight[:, None]).T @ residual.astype(np.float64), rcond=1e-10)[0]
        shift = shift + np.clip(step[:2], -2 * sigma, 2 * sigma)
        error = _standard_error(normal, residual, weight, sigma)
        if np.max(np.abs(step[:2])) < _CONVERGED_PX or np.max(np.abs(shift)) > _LARGEST_SHIFT_PX:
            break
    return shift, error


def _warp(coefficients: NDArray[np.float32], shift: NDArray[np.float64]) -> NDArray[np.float32]:
    from scipy.ndimage import shift as moved

    return moved(coefficients, shift, order=3, mode="mirror", prefilter=False)


def _robust_weights(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Huber weights, a tenth of that for vessels (fill darker than mask by 6 sigma)."""
    scale = 1.4826 * float(np.median(np.abs(residual))) + 1e-12
    normalized = np.abs(residual) / scale
    weight = 1 / np.maximum(1, normalized / _HUBER_SIGMAS)
    weight[normalized > _VESSEL_SIGMAS] *= 0.1
    return weight


def _standard_error(
    normal: NDArray[np.float64], residual: NDArray[np.float32], weight: NDArray[np.float32], sigma: float
) -> float:
    """Standard error of the shift, px; smoothing by ``sigma`` leaves 1 / (4 pi sigma^2) of the pixels independent."""
    variance = float(np.average(residual**2, weights=weight)) * 4 * np.pi * sigma**2
    try:
        covariance = np.linalg.inv(normal) * variance
    except np.linalg.LinAlgError:
        return np.inf
    diagonal = np.diag(covariance)[:2]
    return float(np.sqrt(diagonal.sum())) if np.all(diagonal >= 0) else np.inf


def shift_image(
    image: NDArray[np.float32], variance: NDArray[np.float32], row_column_px: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image (R, C) moved by a sub-pixel shift (cubic spline), and its noise variance.

    Interpolation averages neighboring noise: the variance falls by the sum of the squared
    interpolation weights. Pixels that come from outside the image get variance ``inf``.
    """
    if row_column_px == (0.0, 0.0):
        return image, variance
    from scipy.ndimage import shift as moved

    impulse = np.zeros((33, 33))
    impulse[16, 16] = 1
    kept = float((moved(impulse, row_column_px, order=3, mode="mirror") ** 2).sum())
    result = moved(image, row_column_px, order=3, mode="mirror").astype(np.float32, copy=False)
    # Nearest neighbor keeps infinite variances from spreading over the whole image.
    shifted = moved(variance, np.round(row_column_px), order=0, mode="constant", cval=np.inf) * np.float32(kept)
    return result, shifted
