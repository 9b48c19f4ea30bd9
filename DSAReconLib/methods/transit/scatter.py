"""Scattered radiation: its share is found from the contrast that it hides, and taken off.

Scatter adds nearly the same intensity to mask and fill, so that line integrals come out too
small: ln((P + S) / (P e^-D + S)) < D, most of all where the line integral is large or the head
lets little through (Boone and Seibert 1988). The same vessel seen from several directions
through different anatomy therefore contradicts itself, which fixes the amount of scatter.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.methods.transit.evidence import Evidence

_KERNEL_MM = 25.0
"""Width (sigma) of the scatter kernel on the detector; the result hardly depends on it."""
_OPEN_FIELD = 2.0
"""Intensities above this multiple of the median bypass the patient and scatter little."""
_VESSEL_SHARE = 0.25
_HUBER_NOISE = 10.0
_RELAXATION = 1.5
"""The model has taken up about half of the contradiction by the time it is measured."""
_SHARE_MAX = 0.4
_PRIMARY_MIN = 0.25
"""At most three quarters of an intensity are taken for scatter."""
_EXPONENT_MAX = 5.0

Image = NDArray[np.float32]


def without_scatter(evidence: Evidence, share: float) -> tuple[Image, Image]:
    """Line integrals and weights (V, R, C) after taking scatter off mask and fill.

    Parameters
    ----------
    evidence
        As measured.
    share
        Scatter of a homogeneous frame relative to its total intensity, dimensionless.
    """
    if share <= 0:
        return evidence.line_integrals, evidence.weights
    values, weights = np.empty_like(evidence.line_integrals), np.empty_like(evidence.weights)
    for view, (mask_scatter, fill_scatter, smooth) in enumerate(_scatter_images(evidence)):
        mask = np.maximum(1 - share * mask_scatter, _PRIMARY_MIN)
        scatter = np.minimum(share * fill_scatter, (1 - _PRIMARY_MIN) * np.exp(-smooth))
        fill = np.exp(-evidence.line_integrals[view])
        primary = np.maximum(fill - scatter, _PRIMARY_MIN * fill)
        values[view] = np.log(mask / primary)
        # the noise of the fill frame grows relative to what is left of it
        weights[view] = evidence.weights[view] * (1 - scatter * np.exp(smooth)) ** 2
    values[evidence.weights <= 0] = 0
    return values, weights


def updated_share(evidence: Evidence, calibrated: Evidence, model: Image, share: float) -> float:
    """The share of scatter after one step, from what is left between data and model.

    Parameters
    ----------
    evidence
        As measured.
    calibrated
        The same with all present corrections, ``share`` among them.
    model
        Line integrals (V, R, C) of the reconstruction.
    """
    vessel = _VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 75))
    limit = np.float32(_HUBER_NOISE * evidence.noise)
    matrix, right = np.zeros((2, 2)), np.zeros(2)
    for view, (mask_scatter, fill_scatter, _) in enumerate(_scatter_images(evidence)):
        chosen = (model[view] > vessel) & (calibrated.weights[view] > 0)
        line = model[view][chosen]
        mask = np.maximum(1 - share * mask_scatter[chosen], _PRIMARY_MIN)
        hidden = mask_scatter[chosen] - fill_scatter[chosen] * np.exp(np.minimum(line, _EXPONENT_MAX))
        residual = calibrated.line_integrals[view][chosen] - line
        weight = calibrated.weights[view][chosen] / np.maximum(1, np.abs(residual) / limit)
        design = np.stack([hidden / mask, line]).astype(float)
        matrix += (design * weight) @ design.T
        right += (design * weight) @ residual
    if np.linalg.cond(matrix) > 1e10:
        return share
    return float(np.clip(share + _RELAXATION * np.linalg.solve(matrix, right)[0], 0, _SHARE_MAX))


def _scatter_images(evidence: Evidence) -> Iterator[tuple[Image, Image, Image]]:
    """Per view: scatter in mask and in fill for a share of 1, relative to the mask's intensity, and smooth data.

    The variance of a line integral is that of two logarithms of counts, 1/M + 1/F with
    F = M e^-D: it tells the intensity M up to a factor, which cancels.
    """
    sigma = _KERNEL_MM / float(np.linalg.norm(evidence.geometry.detector_u_mm[0]))
    for view, (values, weights) in enumerate(zip(evidence.line_integrals, evidence.weights)):
        counting = weights if evidence.counting_share is None else weights / evidence.counting_share[view]
        transmitted = ndimage.uniform_filter(np.exp(-np.clip(values, -1, _EXPONENT_MAX)), 3)
        smooth = -np.log(transmitted)  # as the variance was smoothed
        measured = weights > 0
        mask = ndimage.gaussian_filter(counting * (1 + np.exp(smooth)), 1.0)
        typical = np.float32(np.median(mask[measured])) if measured.any() else np.float32(1)
        mask = np.where(measured, np.maximum(mask, np.float32(1e-3) * typical), typical)
        ceiling = np.float32(_OPEN_FIELD) * typical
        scatter_mask = _smooth(np.minimum(mask, ceiling), sigma)
        scatter_fill = _smooth(np.minimum(mask * np.exp(-smooth), ceiling), sigma)
        yield (scatter_mask / mask).astype(np.float32), (scatter_fill / mask).astype(np.float32), smooth


def _smooth(image: Image, sigma_px: float) -> Image:
    """Wide Gaussian blur, on pixels binned to a fifth of its width."""
    factor = max(1, int(sigma_px / 5))
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % factor), (0, -columns % factor)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, -1, factor).mean((1, 3))
    blurred = ndimage.gaussian_filter(blocks, sigma_px / factor, mode="nearest")
    centers = [(np.arange(n) + 0.5) / factor - 0.5 for n in (rows, columns)]
    grid = np.meshgrid(*centers, indexing="ij")
    return np.asarray(ndimage.map_coordinates(blurred, grid, order=1, mode="nearest"), np.float32)
