"""Noise of X-ray frames: detected counts per intensity unit, estimated from the frames themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# |x| of a standard normal variable is below 0.3186 with probability 1/4. The lower quartile tolerates
# that nearly half of the pixels show vessels or misregistered bone instead of noise.
_QUANTILE, _QUANTILE_OF_NORMAL = 0.25, 0.31864
_BINS = 24
_LEAST_PIXELS_PER_BIN = 200
# Per frame: more pixels would not make the estimate better than its model.
_MOST_PIXELS = 60_000
_LEAST_VARIANCE = 1e-8
_WIDE_RANGE = 4.0
_CLEARLY_BETTER = 0.7


@dataclass(frozen=True)
class NoiseModel:
    """Variance of an intensity I: ``I / counts_per_unit + electronic_variance``.

    Parameters
    ----------
    counts_per_unit
        Detected photons per intensity unit; ``inf`` for frames without noise.
    electronic_variance
        Variance of the dark signal in intensity units squared.
    """

    counts_per_unit: float
    electronic_variance: float = 0.0

    def log_variance(self, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Variance of ln(intensity), same shape; ``inf`` where the intensity is not positive."""
        positive = intensity > 0
        safe = np.where(positive, intensity, 1)
        variance = 1 / (safe * self.counts_per_unit) + self.electronic_variance / safe**2 + _LEAST_VARIANCE / 2
        return np.where(positive, variance, np.inf).astype(np.float32)

    def log(self, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
        """ln(intensity) without the bias that counting noise gives to the logarithm.

        The mean of ln(N) is ln(n) - 1/(2n); the mean of ln(N + 1/2) is ln(n) + O(1/n^2).
        Intensities that are not positive count as the smallest positive one.
        """
        positive = intensity[intensity > 0]
        floor = positive.min() if positive.size else np.float32(1)
        return np.log(np.maximum(intensity, floor) + np.float32(0.5 / self.counts_per_unit))


def estimate_noise(
    frames: Iterable[tuple[NDArray[np.float32], NDArray[np.float32], float]],
    valid: NDArray[np.bool_] | None = None,
) -> NoiseModel:
    """Noise model of mask and fill frames from their log difference.

    The second difference along rows and columns removes everything smooth; what is left
    of it is noise except at the edges of vessels, which a low quantile ignores. Its
    variance over 1/mask + 1/fill gives 1 / counts_per_unit (mean-variance relation).

    Parameters
    ----------
    frames
        Triples of mask intensity (R, C), fill intensity (R, C) of the same pose, and the
        sum of the squared weights with which the mask was interpolated (1 for a frame).
    valid
        Pixels (R, C) that measured something.
    """
    samples = [_noise_samples(mask, fill, weight, valid) for mask, fill, weight in frames]
    inverse = np.concatenate([sample[0] for sample in samples] or [np.zeros(0)])
    inverse_squared = np.concatenate([sample[1] for sample in samples] or [np.zeros(0)])
    residual = np.concatenate([sample[2] for sample in samples] or [np.zeros(0)])
    if residual.size < _LEAST_PIXELS_PER_BIN:
        return NoiseModel(np.inf)
    return _fit(*_binned(inverse, inverse_squared, residual))


def _noise_samples(
    mask: NDArray[np.float32], fill: NDArray[np.float32], weight: float, valid: NDArray[np.bool_] | None
) -> tuple[NDArray, NDArray, NDArray]:
    """1/I and 1/I^2 summed over mask and fill, and the noise residual, per usable pixel (N,)."""
    from scipy.ndimage import minimum_filter, uniform_filter

    usable = (mask > 0) & (fill > 0) & ~((mask == mask.max()) & (fill == fill.max()))
    if valid is not None:
        usable &= valid
    difference = np.where(usable, np.log(np.where(usable, mask, 1)) - np.log(np.where(usable, fill, 1)), 0)
    inner = minimum_filter(usable, size=3, mode="constant", cval=0)[1:-1, 1:-1]
    rows = difference[:-2] - 2 * difference[1:-1] + difference[2:]
    residual = (rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]) / 6  # unit gain for white noise
    # Single pixels would correlate the level with the noise that is measured at that level.
    levels = [uniform_filter(image, 5)[1:-1, 1:-1] for image in (mask, fill)]
    chosen = np.flatnonzero(inner)
    chosen = chosen[:: 1 + chosen.size // _MOST_PIXELS]
    masks, fills, noise = (image.ravel()[chosen].astype(np.float64) for image in (*levels, residual))
    return weight / masks + 1 / fills, weight / masks**2 + 1 / fills**2, noise


def _binned(inverse: NDArray, inverse_squared: NDArray, residual: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Means of both regressors and the robust variance in bins of equal size (B,) by rising 1/I."""
    order = np.argsort(inverse)
    count = max(1, min(_BINS, residual.size // _LEAST_PIXELS_PER_BIN))
    bins = np.array_split(order, count)
    scale = np.array([np.quantile(np.abs(residual[index]), _QUANTILE) for index in bins]) / _QUANTILE_OF_NORMAL
    means = [np.array([values[index].mean() for index in bins]) for values in (inverse, inverse_squared)]
    return means[0], means[1], scale**2


def _fit(inverse: NDArray, inverse_squared: NDArray, variance: NDArray) -> NoiseModel:
    """Relative least squares; the electronic term only where the data clearly ask for it."""
    from scipy.optimize import nnls

    weight = 1 / np.maximum(variance, _LEAST_VARIANCE)
    target = variance * weight
    slope = float(np.dot(inverse * weight, target) / np.dot(inverse * weight, inverse * weight))
    poisson = NoiseModel(1 / slope if slope > 0 else np.inf)
    if inverse[-1] < _WIDE_RANGE * inverse[0]:
        return poisson
    design = np.stack([inverse, inverse_squared], 1) * weight[:, None]
    scale = design.max(axis=0)
    coefficients, error = nnls(design / scale, target)
    alone = float(np.linalg.norm(inverse * weight * slope - target))
    per_count, electronic = coefficients / scale
    if error > _CLEARLY_BETTER * alone or per_count <= 0:
        return poisson
    return NoiseModel(1 / float(per_count), float(electronic))
