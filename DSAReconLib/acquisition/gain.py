"""Exposure difference between a mask and a fill frame, seen beside the vessels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Small blocks fit between fine vessels, large ones tell faint vessels from noise.
_BLOCKS = (2, 4)
_LEAST_BLOCKS, _MOST_BLOCKS = 16, 20_000
_ITERATIONS = 30
# Residual structure (misregistered bone) spans several blocks: so many count as one in the standard error.
_BLOCKS_ALIKE = 8
# Width of the redescending weight exp(-z^2 / 2w^2): a block 4 sigma off (a vessel) counts 13 %.
_WIDTH = 2.0
_CERTAIN = 3.0
# Half a permille of intensity: the least difference worth a correction.
_LEAST_GAIN = 5e-4


def frame_gain(
    difference: NDArray[np.float32], variance: NDArray[np.float32], valid: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Offset of a log difference beside the vessels, and its standard error.

    The mode of block means: contrast only adds to the log difference, so that the vessels
    form a tail on one side, which a redescending M-estimator ignores. For the same reason
    the smaller of the modes of 2 x 2 and 4 x 4 blocks counts.

    Parameters
    ----------
    difference, variance
        ln(mask) - ln(fill) (R, C) and its noise variance; pixels with ``inf`` are left out.
    valid
        Pixels (R, C) that measured something.
    """
    usable = np.isfinite(variance) if valid is None else np.isfinite(variance) & valid
    return min(_mode(*_block_means(difference, variance, usable, size)) for size in _BLOCKS)


def _mode(values: NDArray[np.float64], sigmas: NDArray[np.float64]) -> tuple[float, float]:
    """Mode of values (N,) with the given noise (N,), and its standard error."""
    if values.size < _LEAST_BLOCKS:
        return 0.0, np.inf
    gain = _half_sample_mode(values)
    scale = float(np.median(sigmas))
    for _ in range(_ITERATIONS):
        below = gain - values[values < gain]
        spread = max(scale, 1.4826 * float(np.median(below)) if below.size > _LEAST_BLOCKS else scale)
        weight = np.exp(-0.5 * ((values - gain) / (_WIDTH * spread)) ** 2)
        moved = float(np.average(values, weights=weight))
        converged = abs(moved - gain) < 1e-3 * spread
        gain = moved
        if converged:
            break
    return gain, spread * float(np.sqrt(_BLOCKS_ALIKE / weight.sum()))


def correction(gain: float, error: float) -> float:
    """The gain to take off: 0 unless it stands out from its own uncertainty."""
    return gain if abs(gain) > max(_CERTAIN * error, _LEAST_GAIN) else 0.0


def _block_means(
    difference: NDArray[np.float32], variance: NDArray[np.float32], usable: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of whole blocks (N,) and their standard deviation (N,) by the noise model."""
    rows, columns = (n // size for n in difference.shape)

    def blocks(image: NDArray) -> NDArray:
        whole = image[: rows * size, : columns * size]
        return whole.reshape(rows, size, columns, size).mean((1, 3), dtype=np.float64)

    whole = blocks(usable) == 1
    means = blocks(np.where(usable, difference, 0))[whole]
    sigmas = np.sqrt(blocks(np.where(usable, variance, 0))[whole]) / size
    thinned = slice(None, None, 1 + means.size // _MOST_BLOCKS)
    return means[thinned], sigmas[thinned]


def _half_sample_mode(values: NDArray[np.float64]) -> float:
    """Mode by repeatedly keeping the densest half of the sorted values."""
    values = np.sort(values)
    while values.size > _LEAST_BLOCKS:
        half = (values.size + 1) // 2
        start = int(np.argmin(values[half - 1 :] - values[: values.size - half + 1]))
        values = values[start : start + half]
    return float(np.median(values))
