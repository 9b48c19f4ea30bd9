"""How attenuation becomes 16-bit values: one scale for all time points of a result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.dicom.results.elements import decimal

_LEVELS = 65535


@dataclass(frozen=True)
class StoredScale:
    """attenuation = slope * stored + intercept, in 1/mm; zero attenuation is a stored value.

    Parameters
    ----------
    slope, intercept
        1/mm, exactly as their decimal strings in the header say.
    """

    slope: float
    intercept: float

    @classmethod
    def covering(cls, low: float, high: float) -> StoredScale:
        """The finest scale that holds ``low`` <= 0 <= ``high``, 1/mm."""
        low, high = min(low, 0.0), max(high, 0.0)
        # one level is kept free because rounding the slope to 16 characters may shorten the range
        slope = float(decimal(max(high - low, 1e-9) / (_LEVELS - 2)))
        zero = int(np.ceil(-low / slope))
        intercept = 0.0 if zero == 0 else float(decimal(-zero * slope))
        return cls(slope, intercept)

    def store(self, attenuation: ArrayLike) -> NDArray[np.uint16]:
        """Stored values of the same shape; the error is at most half a ``slope``."""
        levels = (np.asarray(attenuation, np.float32) - np.float32(self.intercept)) / np.float32(self.slope)
        return np.clip(np.rint(levels), 0, _LEVELS).astype("<u2")

    def attenuation(self, stored: ArrayLike) -> NDArray[np.float64]:
        """What readers get, 1/mm."""
        return self.slope * np.asarray(stored, float) + self.intercept
