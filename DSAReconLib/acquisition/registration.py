"""Sub-pixel shift between a mask and a fill frame that ignores the vessels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Coarse to fine: blocks of pixels are averaged and smoothed by 1.5 blocks, so that the coarse levels catch
# several pixels. Detectors with more pixels than needed for the fraction of one start coarser.
_LEVELS = (4, 2, 1)
_ENOUGH_PIXELS = 320
_SMOOTHING_PX = 1.5
_ITERATIONS = 12
_CONVERGED_PX = 1e-3
_LARGEST_SHIFT_PX = 12.0
# Patients move by less than this; directions without any structure stay where they are.
_PRIOR_PX = 3.0
_UNCERTAIN_PX = 0.25
_CERTAIN = 3.0
_LEAST_PIXELS = 400
# Residuals beyond this many robust sigmas are vessels: a tenth of the weight.
_VESSEL_SIGMAS = 6.0
_HUBER_SIGMAS = 1.5
_SCALE_SAMPLES = 8192


@dataclass(frozen=True)
class ShiftEstimate:
    """Displacement (row, column) in pixels by which a mask frame must move onto its fill frame.

    ``reliable`` is false if a direction had too little structure; it then counts as 0.
    """

    row_column_px: tuple[float, float]
    error_px: float
    reliable: bool


def estimate_shift(
    mask_log: NDArray[np.float32],
    fill_log: NDArray[np.float32],
    usable: NDArray[np.bool_] | None = None,
    mask_variance: NDArray[np.float32] | None = None,
) -> ShiftEstimate:
    """Robust Gauss-Newton for the translation and the offset between two log frames (R, C).

    Both frames are smoothed alike, and the mask is warped anew in every iteration: noise is
    uncorrelated with its own gradient, so that the fixed point is unbiased although the
    gradient is noisy. Vessels are outliers of the residual and lose their weight. A
    component that does not stand out from its own standard error counts as 0.

    Parameters
    ----------
    mask_log, fill_log
        Logarithm of the intensities.
    usable
        Pixels that measured something in both.
    mask_variance
        Noise variance of ``mask_log`` (R, C). With it, slopes that are mere noise do not pass for structure.
    """
    usable = np.ones(mask_log.shape, bool) if usable is None else usable
    mask_log, fill_log = (filled(image, usable) for image in (mask_log, fill_log))
    noise = 0.0 if mask_variance is None else float(np.mean(mask_variance[usable & np.isfinite(mask_variance)]))
    shift, covariance = np.zeros(2), None
    finest = max(1, min(mask_log.shape) // _ENOUGH_PIXELS)
    for level in (finest * factor for factor in _LEVELS):
        pyramid = _level(mask_log, fill_log, usable, level)
        if pyramid is None:
            continue
        # Mean square slope of white noise smoothed by s pixels: variance / (8 pi s^4); here in blocks.
        noise_slope = noise / (8 * np.pi * _SMOOTHING_PX**4 * level**2)
        prior = _PRIOR_PX * finest / level
        shift, covariance = _gauss_newton(*pyramid, shift / level, prior, noise_slope)
        shift, covariance = shift * level, covariance * level**2
        if not np.all(np.abs(shift) < _LARGEST_SHIFT_PX * finest):
            return ShiftEstimate((0.0, 0.0), np.inf, False)
    if covariance is None:
        return ShiftEstimate((0.0, 0.0), np.inf, False)
    return _significant(shift, covariance)


def filled(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Image (R, C) with its median in the pixels that are not usable, so that these draw no edges."""
    if usable.all():
        return image
    level = float(np.median(image[usable])) if usable.any() else 0.0
    return np.where(usable, image, np.float32(level))


def _level(
    mask: NDArray[np.float32], fill: NDArray[np.float32], usable: NDArray[np.bool_], level: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None:
    """Smoothed block means of mask and fill, and the weight 1 of blocks away from unusable ones and the border."""
    from scipy.ndimage import gaussian_filter, minimum_filter

    reach = int(np.ceil(2 * _SMOOTHING_PX))
    inside = _block_means(usable, level) == 1
    if not inside.all():
        inside = minimum_filter(inside, size=2 * reach + 1)
    weight = inside.astype(np.float32)
    weight[:reach], weight[-reach:], weight[:, :reach], weight[:, -reach:] = 0, 0, 0, 0
    if weight.sum() < _LEAST_PIXELS:
        return None
    smooth = [
        gaussian_filter(_block_means(image, level), _SMOOTHING_PX, mode="nearest", truncate=3.0)
        for image in (mask, fill)
    ]
    return smooth[0], smooth[1], weight


def _block_means(image: NDArray, level: int) -> NDArray[np.float32]:
    """Means over whole blocks of ``level`` x ``level`` pixels."""
    if level == 1:
        return image.astype(np.float32, copy=False)
    rows, columns = (n // level for n in image.shape)
    blocks = image[: rows * level, : columns * level].reshape(rows, level, columns, level)
    return blocks.mean((1, 3), dtype=np.float32)


def _gauss_newton(
    mask: NDArray[np.float32],
    fill: NDArray[np.float32],
    inside: NDArray[np.float32],
    start: NDArray[np.float64],
    prior: float,
    noise_slope: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shift (row, column) and its covariance (2, 2), in blocks of this level."""
    spline = ShiftedSpline(mask, margin=int(np.ceil(_LARGEST_SHIFT_PX)) + 3)
    shift, covariance = start.copy(), np.full((2, 2), np.inf)
    for _ in range(_ITERATIONS):
        warped, row_slope, column_slope = spline.at(shift, slopes=True)
        residual = fill - warped
        residual -= _median(residual, inside)
        weight = inside * _robust_weights(residual, inside)
        # Moving the image content by +d changes a pixel by -slope * d; the third unknown is the offset.
        design = (-row_slope, -column_slope, np.ones_like(residual))
        weighted = [weight * column for column in design]
        normal = np.array([[np.vdot(a, b) for b in design] for a in weighted], float)
        right = np.array([np.vdot(a, residual) for a in weighted], float)
        # Smoothing by s pixels leaves about 1 / (4 pi s^2) of the residuals independent.
        variance = np.vdot(weight * residual, residual) / weight.sum() * 4 * np.pi * _SMOOTHING_PX**2
        pull = np.diag([variance / prior**2] * 2 + [0.0])
        right[:2] -= pull[0, 0] * shift
        step = np.linalg.lstsq(normal + pull, right, rcond=1e-12)[0][:2]
        shift = shift + np.clip(step, -2 * _SMOOTHING_PX, 2 * _SMOOTHING_PX)
        covariance = variance * _inverse_structure(normal, noise_slope * weight.sum())
        if np.max(np.abs(step)) < _CONVERGED_PX or np.max(np.abs(shift)) > _LARGEST_SHIFT_PX:
            break
    return shift, covariance


def _inverse_structure(normal: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Inverse (2, 2) of the normal matrix of the shift (offset eliminated) that noise alone would not have.

    The errors are those of the noisy equations: structure^-1 normal structure^-1.
    """
    slopes = normal[:2, :2] - np.outer(normal[:2, 2], normal[:2, 2]) / normal[2, 2]
    values, directions = np.linalg.eigh(slopes)
    structure = np.maximum(values - noise, 1e-6 * (values.max() + noise) + 1e-30)
    return (directions * (np.maximum(values, 0) / structure**2)) @ directions.T


def _median(residual: NDArray[np.float32], inside: NDArray[np.float32]) -> np.float32:
    return np.float32(np.median(_samples(residual, inside)))


def _samples(residual: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    values = residual[inside > 0]
    return values[:: max(1, values.size // _SCALE_SAMPLES)]


def _robust_weights(residual: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    """Huber weights, and a tenth of that for vessels."""
    scale = np.float32(1.4826 * np.median(np.abs(_samples(residual, inside))) + 1e-9)
    normalized = np.abs(residual) / scale
    weight = (1 / np.maximum(1, normalized / np.float32(_HUBER_SIGMAS))).astype(np.float32, copy=False)
    weight[normalized > _VESSEL_SIGMAS] *= np.float32(0.1)
    return weight


def _significant(shift: NDArray[np.float64], covariance: NDArray[np.float64]) -> ShiftEstimate:
    """The shift along the directions in which it is known and stands out from its error."""
    variances, directions = np.linalg.eigh(covariance)
    errors = np.sqrt(np.maximum(variances, 0))
    along = directions.T @ shift
    along[(errors > _UNCERTAIN_PX) | (np.abs(along) < _CERTAIN * errors)] = 0
    kept = directions @ along
    return ShiftEstimate((float(kept[0]), float(kept[1])), float(errors.max()), bool(errors.max() <= _UNCERTAIN_PX))


class ShiftedSpline:
    """Cubic spline through an image (R, C), evaluated on the whole pixel raster shifted by one vector.

    With one shift for all pixels, the interpolation is a separable sum of four shifted
    copies per axis.
    """

    def __init__(self, image: NDArray[np.float32], margin: int) -> None:
        from scipy.ndimage import spline_filter

        self._shape, self._margin = image.shape, margin
        coefficients = spline_filter(image, order=3, mode="mirror", output=np.float32)
        self._coefficients = np.pad(coefficients, margin, mode="reflect")

    def at(self, shift: NDArray[np.float64], *, slopes: bool = False) -> tuple[NDArray[np.float32], ...]:
        """Image moved by ``shift`` (row, column), and on request its slopes along rows and columns."""
        values, derivative = (self._along(self._coefficients, 0, shift[0], kind) for kind in (_weights, _slopes))
        image = self._along(values, 1, shift[1], _weights)
        if not slopes:
            return (image,)
        return image, self._along(derivative, 1, shift[1], _weights), self._along(values, 1, shift[1], _slopes)

    def _along(
        self, array: NDArray[np.float32], axis: int, shift: float, kind: Callable[[float], tuple[float, ...]]
    ) -> NDArray[np.float32]:
        whole = int(np.floor(-shift))
        first = self._margin + whole - 1
        pieces = [
            np.float32(weight) * array[(slice(None),) * axis + (slice(start, start + self._shape[axis]),)]
            for start, weight in enumerate(kind(-shift - whole), start=first)
        ]
        return np.asarray(sum(pieces[1:], pieces[0]), np.float32)


def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline at a fraction ``t`` of the way between two samples: weights of samples -1 to 2."""
    return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6


def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivatives of :func:`_weights`."""
    return -((1 - t) ** 2) / 2, (3 * t**2 - 4 * t) / 2, (-3 * t**2 + 2 * t + 1) / 2, t**2 / 2


def shift_image(
    image: NDArray[np.float32], variance: NDArray[np.float32], row_column_px: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image (R, C) moved by a sub-pixel shift (cubic spline), and its noise variance.

    Interpolation averages neighboring noise: the variance falls by the sum of the squared
    interpolation weights. Pixels beside unmeasured ones, and those that come from outside
    the image, get variance ``inf``.
    """
    if row_column_px == (0.0, 0.0):
        return image, variance
    from scipy.ndimage import maximum_filter
    from scipy.ndimage import shift as moved

    vector = np.array(row_column_px)
    margin = int(np.ceil(np.abs(vector).max())) + 3
    measured = np.isfinite(variance)
    result = ShiftedSpline(filled(image, measured), margin).at(vector)[0]
    impulse = np.zeros((33, 33), np.float32)
    impulse[16, 16] = 1
    kept = np.float32((ShiftedSpline(impulse, 16).at(vector - np.round(vector))[0] ** 2).sum())
    # Three more pixels beside unmeasured ones, where the spline still rings; whole-pixel steps keep "inf" sharp.
    around = variance if measured.all() else np.where(maximum_filter(~measured, 7), np.float32(np.inf), variance)
    shifted = moved(around, np.round(vector), order=0, mode="constant", cval=np.inf, prefilter=False)
    return result, shifted * kept
