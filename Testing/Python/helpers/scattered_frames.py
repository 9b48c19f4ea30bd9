"""Frames of a head with dense stripes, with scatter over mask and fill."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def scattered(clean: NDArray[np.float32], relative: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Line integrals and their variance (V, R, C); ``relative``: scatter relative to the primary intensity."""
    column = np.mgrid[: clean.shape[1], : clean.shape[2]][1]
    mask = np.broadcast_to(np.exp(-1.2 * np.cos(column / 5) ** 2), clean.shape)
    fill = mask * np.exp(-clean)
    blurred = [ndimage.gaussian_filter(image, (0, 15, 15), mode="nearest") for image in (mask, fill)]
    mask, fill = mask + relative * blurred[0], fill + relative * blurred[1]
    local = [ndimage.uniform_filter(image, (0, 3, 3), mode="nearest") for image in (mask, fill)]
    return np.log(mask / fill).astype(np.float32), (1e-5 * (1 / local[0] + 1 / local[1])).astype(np.float32)
