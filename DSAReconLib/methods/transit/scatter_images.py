"""How scattered radiation is distributed over the detector, up to its amount."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_KERNEL_MM = 25.0
"""Width (sigma) of the scatter kernel on the detector; the result hardly depends on it."""
_OPEN_FIELD = 2.0
"""Intensities above this multiple of the median bypass the patient and scatter little."""
_EXPONENT_MAX = 5.0

Image = NDArray[np.float32]


class ScatterImages(NamedTuple):
    """Scatter in mask and fill (V, R, C) for a share of 1, relative to the mask's intensity, and smooth data."""

    mask: Image
    fill: Image
    smooth: Image


def scatter_images(values: Image, weights: Image, counting_share: Image | None, pixel_mm: float) -> ScatterImages:
    """Shape of the scatter: the intensity itself, blurred.

    The variance of a line integral is that of two logarithms of counts, 1/M + 1/F with
    F = M e^-D: it tells the intensity M up to a factor, which cancels.

    Parameters
    ----------
    values, weights, counting_share
        As in :class:`~DSAReconLib.methods.transit.evidence.Evidence`, (V, R, C).
    pixel_mm
        Pixel size on the detector, mm.
    """
    images = ScatterImages(*(np.empty(values.shape, np.float32) for _ in ScatterImages._fields))
    for view in range(len(values)):
        counting = weights[view] if counting_share is None else weights[view] / counting_share[view]
        transmitted = ndimage.uniform_filter(np.exp(-np.clip(values[view], -1, _EXPONENT_MAX)), 3)
        smooth = -np.log(transmitted)  # as the variance was smoothed
        measured = weights[view] > 0
        mask = ndimage.gaussian_filter(counting * (1 + np.exp(smooth)), 1.0)
        typical = np.float32(np.median(mask[measured])) if measured.any() else np.float32(1)
        mask = np.where(measured, np.maximum(mask, np.float32(1e-3) * typical), typical)
        ceiling = np.float32(_OPEN_FIELD) * typical
        images.mask[view] = _blurred(np.minimum(mask, ceiling), _KERNEL_MM / pixel_mm) / mask
        images.fill[view] = _blurred(np.minimum(mask * np.exp(-smooth), ceiling), _KERNEL_MM / pixel_mm) / mask
        images.smooth[view] = smooth
    return images


def _blurred(image: Image, sigma_px: float) -> Image:
    """Wide Gaussian blur, on pixels binned to a fifth of its width."""
    factor = max(1, int(sigma_px / 5))
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % factor), (0, -columns % factor)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, -1, factor).mean((1, 3))
    blurred = ndimage.gaussian_filter(blocks, sigma_px / factor, mode="nearest")
    centers = [(np.arange(n) + 0.5) / factor - 0.5 for n in (rows, columns)]
    grid = np.meshgrid(*centers, indexing="ij")
    return np.asarray(ndimage.map_coordinates(blurred, grid, order=1, mode="nearest"), np.float32)
