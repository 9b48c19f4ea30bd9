"""How much each measured pixel counts in a fit."""

from __future__ import annotations

import numpy as np

from DSAReconLib.acquisition import Angiogram


def pixel_weights(angiogram: Angiogram, by_variance: bool) -> np.ndarray:
    """Weights (V, R, C), float32: 0 without a measurement, else 1 or median variance / variance."""
    variance = np.broadcast_to(angiogram.variance, angiogram.line_integrals.shape)
    measured = np.isfinite(variance) & np.isfinite(angiogram.line_integrals)
    if not by_variance or not measured.any():
        return measured.astype(np.float32)
    middle = np.median(variance[measured])
    usable = measured & (variance > 0)
    return np.where(usable, middle / np.where(usable, variance, 1), 0).astype(np.float32)
