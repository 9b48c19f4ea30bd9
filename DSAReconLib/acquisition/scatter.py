"""Scattered radiation: how it lies over the detector, taken off line integrals and put back.

Scatter adds nearly the same intensity to mask and fill, so that line integrals come out too
small: ln((P + S) / (P e^-D + S)) < D. Its shape is the intensity behind the head, blurred; its
amount is one number, the share of scatter in the intensity of a homogeneous frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.angiogram import Angiogram

PRIMARY_MIN = 0.25
"""At most three quarters of an intensity are taken for scatter."""
_KERNEL_MM = 25.0
"""Width (sigma) of the scatter kernel on the detector; the result hardly depends on it."""
_OPEN_FIELD = 2.0
"""Intensities above this multiple of the median bypass the patient and scatter little."""
EXPONENT_MAX = 5.0
"""Largest line integral that intensities are computed of."""
_MOST_STEPS = 12
_TOLERANCE = 1e-5
"""Of the line integrals; a step leaves about a seventh of the error."""

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
    values
        Line integrals with their scatter (V, R, C).
    weights
        1 / variance, up to a factor (V, R, C); 0 = no measurement.
    counting_share
        Part of the variance that is counting noise (V, R, C); ``None`` = all of it.
    pixel_mm
        Pixel size on the detector, mm.
    """
    counting = weights if counting_share is None else weights / counting_share
    views = [_shape(value, weight, pixel_mm) for value, weight in zip(values, counting, strict=True)]
    return ScatterImages(*(np.array(images, np.float32).reshape(values.shape) for images in zip(*views, strict=True)))


def without_scatter(values: Image, images: ScatterImages, share: float) -> tuple[Image, Image]:
    """Line integrals (V, R, C) of the primary radiation alone, and its part of the fill frame's intensity.

    Parameters
    ----------
    values
        Line integrals as measured (V, R, C).
    images
        Of these values.
    share
        Scatter of a homogeneous frame relative to its total intensity, dimensionless.
    """
    primary, trust = np.empty_like(values), np.empty_like(values)
    for view, (mask_scatter, fill_scatter, smooth) in enumerate(zip(*images, strict=True)):
        mask, scatter = _intensities(mask_scatter, fill_scatter, smooth, share)
        fill = np.exp(-values[view])
        primary[view] = np.log(mask / np.maximum(fill - scatter, PRIMARY_MIN * fill))
        trust[view] = 1 - scatter * np.exp(smooth)
    return primary, trust


def with_scatter(primary: Image, frames: Angiogram, share: float) -> Image:
    """Line integrals (V, R, C) that the detector would measure: inverse of :func:`without_scatter`.

    Parameters
    ----------
    primary
        Line integrals free of scatter (V, R, C), e.g. of a rendered view.
    frames
        Measured frames of the same views. Their variance tells the mask's intensity; their
        line integrals are not used, so that held-out frames can be predicted.
    share
        Scatter of a homogeneous frame relative to its total intensity, dimensionless.
    """
    if share <= 0:
        return primary
    pixel_mm = float(np.linalg.norm(frames.geometry.detector_u_mm[0]))
    variance = np.broadcast_to(frames.variance, primary.shape)
    result = np.empty_like(primary)
    for view, line in enumerate(primary):
        counting = variance[view] * (1 if frames.counting_share is None else frames.counting_share[view])
        usable = np.isfinite(counting) & (counting > 0)
        weights = np.divide(1, counting, out=np.zeros(line.shape, np.float32), where=usable)
        result[view] = _detected(line, weights, pixel_mm, share)
    return result


def _detected(primary: Image, weights: Image, pixel_mm: float, share: float) -> Image:
    """Scatter depends on the intensity that it is part of: repeated until it no longer changes."""
    values = primary
    for _ in range(_MOST_STEPS):
        mask, scatter = _intensities(*_shape(values, weights, pixel_mm), share)
        before, values = values, -np.log(mask * np.exp(-primary) + scatter)
        if np.abs(values - before).max() < _TOLERANCE:
            break
    return values


def _intensities(mask_scatter: Image, fill_scatter: Image, smooth: Image, share: float) -> tuple[Image, Image]:
    """Primary intensity of the mask frame and scatter in the fill frame (R, C), relative to all of the mask's."""
    mask = np.maximum(1 - np.float32(share) * mask_scatter, np.float32(PRIMARY_MIN))
    return mask, np.minimum(np.float32(share) * fill_scatter, np.float32(1 - PRIMARY_MIN) * np.exp(-smooth))


def _shape(values: Image, counting: Image, pixel_mm: float) -> tuple[Image, Image, Image]:
    """:class:`ScatterImages` of one view (R, C)."""
    from scipy import ndimage

    measured = counting > 0
    transmitted = ndimage.uniform_filter(np.exp(-np.clip(values, -1, EXPONENT_MAX)), 3)
    smooth = -np.log(transmitted)  # as the variance was smoothed
    mask = ndimage.gaussian_filter(counting * (1 + np.exp(smooth)), 1.0)
    typical = np.float32(np.median(mask[measured])) if measured.any() else np.float32(1)
    mask = np.where(measured, np.maximum(mask, np.float32(1e-3) * typical), typical).astype(np.float32)
    ceiling = np.float32(_OPEN_FIELD) * typical
    in_mask = _blurred(np.minimum(mask, ceiling), _KERNEL_MM / pixel_mm) / mask
    in_fill = _blurred(np.minimum(mask * np.exp(-smooth), ceiling), _KERNEL_MM / pixel_mm) / mask
    return in_mask, in_fill, smooth


def _blurred(image: Image, sigma_px: float) -> Image:
    """Wide Gaussian blur, on pixels binned to a fifth of its width."""
    from scipy import ndimage

    factor = max(1, int(sigma_px / 5))
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % factor), (0, -columns % factor)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, -1, factor).mean((1, 3))
    blurred = ndimage.gaussian_filter(blocks, sigma_px / factor, mode="nearest")
    centers = [(np.arange(n) + 0.5) / factor - 0.5 for n in (rows, columns)]
    grid = np.meshgrid(*centers, indexing="ij")
    return np.asarray(ndimage.map_coordinates(blurred, grid, order=1, mode="nearest"), np.float32)
