"""Sub-pixel motion between a mask and a fill frame that ignores the vessels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.warping import ShiftedSpline, TurnedSpline, filled

Warp = Callable[[NDArray[np.float64]], tuple[NDArray[np.float32], ...]]
"""From a motion to the moved image (R, C) and its derivative (R, C) by each component of the motion."""

# Coarse to fine: blocks of pixels are averaged and smoothed by 1.5 blocks, so that the coarse levels catch
# several pixels. Detectors with more pixels than needed for the fraction of one start coarser.
_LEVELS = (4, 2, 1)
_ENOUGH_PIXELS = 320
_DENSE_PIXELS = 192
_SMOOTHING_PX = 1.5
_ITERATIONS = 12
_CONVERGED_PX = 1e-3
_CONVERGED_COARSELY_PX = 0.02
# Slopes of a smoothed image change little within this distance.
_SLOPES_HOLD_PX = 0.1
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
class Motion:
    """How a mask frame must move onto its fill frame: displacement (row, column) in pixels, clockwise turn.

    ``reliable`` is false if a direction had too little structure; it then counts as 0.
    ``error_px`` is the standard error along the least certain direction, a turn counted as
    the root mean square movement of the pixels.
    """

    row_column_px: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0
    error_px: float = np.inf
    reliable: bool = False

    @property
    def moved(self) -> bool:
        """Whether there is any motion."""
        return self.row_column_px != (0.0, 0.0) or self.turn_deg != 0


def estimate_motion(
    mask_log: NDArray[np.float32],
    fill_log: NDArray[np.float32],
    usable: NDArray[np.bool_] | None = None,
    mask_variance: NDArray[np.float32] | None = None,
    *,
    turn: bool = False,
) -> Motion:
    """Robust Gauss-Newton for the translation, the offset and, if wanted, the turn between two log frames (R, C).

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
    turn
        Estimate a rotation in the image plane, about the middle of the image, as well.
    """
    usable = np.ones(mask_log.shape, bool) if usable is None else usable
    mask_log, fill_log = (filled(image, usable) for image in (mask_log, fill_log))
    noise = 0.0 if mask_variance is None else float(np.mean(mask_variance[usable & np.isfinite(mask_variance)]))
    motion, covariance = np.zeros(3 if turn else 2), None
    finest = max(1, min(mask_log.shape) // _ENOUGH_PIXELS)
    for level in (finest * factor for factor in _LEVELS):
        pyramid = _level(mask_log, fill_log, usable, level)
        if pyramid is None:
            continue
        # Mean square slope of white noise smoothed by s pixels: variance / (8 pi s^4); here in blocks.
        noise_slope = noise / (8 * np.pi * _SMOOTHING_PX**4 * level**2)
        prior = _PRIOR_PX * finest / level
        converged = _CONVERGED_PX if level == finest else _CONVERGED_COARSELY_PX
        motion, covariance = _gauss_newton(*pyramid, motion / level, prior, noise_slope, converged)
        motion, covariance = motion * level, covariance * level**2
        if not np.all(np.abs(motion) < _LARGEST_SHIFT_PX * finest):
            return Motion()
    if covariance is None:
        return Motion()
    return _significant(motion, covariance, mean_radius_px(mask_log.shape))


def mean_radius_px(shape: tuple[int, int]) -> float:
    """Root mean square distance of the pixels from the middle of an image."""
    return float(np.hypot(*shape) / np.sqrt(12))


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
    # Sums of strided slices: many times faster than the mean over short axes.
    across, blocks = np.zeros((rows * level, columns), np.float32), np.zeros((rows, columns), np.float32)
    for start in range(level):
        across += image[: rows * level, start : columns * level : level]
    for start in range(level):
        blocks += across[start::level]
    return np.asarray(blocks / level**2, np.float32)


def _gauss_newton(
    mask: NDArray[np.float32],
    fill: NDArray[np.float32],
    inside: NDArray[np.float32],
    start: NDArray[np.float64],
    prior: float,
    noise_slope: float,
    converged: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Motion (row, column[, turn times mean radius]) and its covariance, in blocks of this level."""
    # After the smoothing, every other pixel says nothing new.
    stride = 2 if min(mask.shape) >= _DENSE_PIXELS else 1
    warp = (_warp_by_shift if len(start) == 2 else _warp_by_shift_and_turn)(mask, stride)
    fill, inside = fill[::stride, ::stride], inside[::stride, ::stride]
    motion, covariance = start.copy(), np.full((len(start),) * 2, np.inf)
    for _ in range(_ITERATIONS):
        warped, *sensitivities = warp(motion)
        residual = fill - warped
        residual -= median_residual(residual, inside)
        weight = inside * robust_weights(residual, inside)
        design = (*sensitivities, np.ones_like(residual))  # the last unknown is the offset
        weighted = [weight * column for column in design]
        normal = np.array([[np.vdot(a, b) for b in design] for a in weighted], float)
        right = np.array([np.vdot(a, residual) for a in weighted], float)
        # Smoothing by s pixels leaves about 1 / (4 pi s^2) of the residuals independent.
        alike = 4 * np.pi * (_SMOOTHING_PX / stride) ** 2
        variance = np.vdot(weight * residual, residual) / weight.sum() * alike
        pull = np.diag([variance / prior**2] * len(motion) + [0.0])
        right[:-1] -= pull[0, 0] * motion
        step = np.linalg.lstsq(normal + pull, right, rcond=1e-12)[0][:-1]
        motion = motion + np.clip(step, -2 * _SMOOTHING_PX, 2 * _SMOOTHING_PX)
        covariance = variance * _inverse_structure(normal, noise_slope * weight.sum())
        if np.max(np.abs(step)) < converged or np.max(np.abs(motion)) > _LARGEST_SHIFT_PX:
            break
    return motion, covariance


def _warp_by_shift(mask: NDArray[np.float32], stride: int) -> Warp:
    """Moving the content by +d changes a pixel by -slope * d."""
    spline = ShiftedSpline(mask, margin=int(np.ceil(_LARGEST_SHIFT_PX)) + 3, stride=stride)

    def warp(motion: NDArray[np.float64]) -> tuple[NDArray[np.float32], ...]:
        image, row_slope, column_slope = spline.at(motion, slopes=True)
        return image, -row_slope, -column_slope

    return warp


def _warp_by_shift_and_turn(mask: NDArray[np.float32], stride: int) -> Warp:
    """As a shift; a clockwise turn moves a pixel right of the middle down, and one below the middle to the left."""
    spline, radius = TurnedSpline(mask, stride), mean_radius_px(mask.shape)
    row, column = (
        (axis - (size - 1) / 2).astype(np.float32) / np.float32(radius)
        for axis, size in zip(np.ogrid[: mask.shape[0] : stride, : mask.shape[1] : stride], mask.shape, strict=True)
    )

    slopes: list[NDArray[np.float32]] = []
    taken_at = np.full(3, np.inf)

    def warp(motion: NDArray[np.float64]) -> tuple[NDArray[np.float32], ...]:
        place = motion[:2], motion[2] / radius
        if np.abs(motion - taken_at).max() > _SLOPES_HOLD_PX:
            slopes[:], taken_at[:] = spline.slopes_at(*place), motion
        row_slope, column_slope = slopes
        return spline.at(*place), -row_slope, -column_slope, row * column_slope - column * row_slope

    return warp


def _inverse_structure(normal: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Inverse of the normal matrix of the motion (offset eliminated) that noise alone would not have.

    The errors are those of the noisy equations: structure^-1 normal structure^-1.
    """
    slopes = normal[:-1, :-1] - np.outer(normal[:-1, -1], normal[:-1, -1]) / normal[-1, -1]
    values, directions = np.linalg.eigh(slopes)
    structure = np.maximum(values - noise, 1e-6 * (values.max() + noise) + 1e-30)
    return (directions * (np.maximum(values, 0) / structure**2)) @ directions.T


def median_residual(residual: NDArray[np.float32], inside: NDArray[np.float32]) -> np.float32:
    """Median of the residual (R, C) where ``inside`` is positive."""
    return np.float32(np.median(_samples(residual, inside)))


def _samples(residual: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    values = residual[inside > 0]
    return values[:: max(1, values.size // _SCALE_SAMPLES)]


def robust_weights(residual: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    """Huber weights, and a tenth of that for vessels."""
    scale = np.float32(1.4826 * np.median(np.abs(_samples(residual, inside))) + 1e-9)
    normalized = np.abs(residual) / scale
    weight = (1 / np.maximum(1, normalized / np.float32(_HUBER_SIGMAS))).astype(np.float32, copy=False)
    weight[normalized > _VESSEL_SIGMAS] *= np.float32(0.1)
    return weight


def _significant(motion: NDArray[np.float64], covariance: NDArray[np.float64], radius_px: float) -> Motion:
    """The motion along the directions in which it is known and stands out from its error."""
    known, error = significant_part(motion, covariance, _UNCERTAIN_PX)
    row, column, *turn = (float(value) for value in known)
    turn_deg = float(np.rad2deg(turn[0] / radius_px)) if turn else 0.0
    return Motion((row, column), turn_deg, error, error <= _UNCERTAIN_PX)


def significant_part(
    motion: NDArray[np.float64], covariance: NDArray[np.float64], uncertain: float
) -> tuple[NDArray[np.float64], float]:
    """Motion (N,) without the directions that are uncertain or do not stand out from their error; the largest error."""
    variances, directions = np.linalg.eigh(covariance)
    errors = np.sqrt(np.maximum(variances, 0))
    along = directions.T @ motion
    along[(errors > uncertain) | (np.abs(along) < _CERTAIN * errors)] = 0
    return directions @ along, float(errors.max())
