"""The mask at the very angle of a fill frame, with the variance of noise and of the interpolation itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.noise import NoiseModel
from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.acquisition.trajectory import PoseMatch


@dataclass(frozen=True)
class InterpolatedMask:
    """Logarithm of a mask run between its frames.

    Linear along the arc. What moves by more than its own size from frame to frame, such as
    the edges of bone, is not linear there: the error of a linear interpolation at share t
    is t (1 - t) / 2 times the second difference, whose local mean square enters the
    variance, so that fits trust these pixels less.
    """

    run: RotationalRun
    match: PoseMatch
    noise: NoiseModel

    def at(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """ln(mask) at the pose of a fill frame, and its variance, both (R, C)."""
        lower, upper = int(self.match.lower[frame]), int(self.match.upper[frame])
        share = np.float32(self.match.weight[frame])
        if share == 0 or share == 1:
            image = self.run.intensity[upper if share == 1 else lower]
            return self.noise.log(image), smooth_log_variance(self.noise, image)
        first, second = self.run.intensity[lower], self.run.intensity[upper]
        log = (1 - share) * self.noise.log(first) + share * self.noise.log(second)
        variances = smooth_log_variance(self.noise, first), smooth_log_variance(self.noise, second)
        variance = (1 - share) ** 2 * variances[0] + share**2 * variances[1]
        curvature = self._curvature(lower, upper, variances[0])
        return log, variance + np.float32((share * (1 - share) / 2) ** 2) * curvature

    def _curvature(self, lower: int, upper: int, variance: NDArray[np.float32]) -> NDArray[np.float32]:
        """Local mean square (R, C) of the second differences along the arc, without their noise."""
        from scipy.ndimage import uniform_filter

        squares = []
        for middle in (lower, upper):
            if 0 < middle < len(self.run) - 1:
                before, here, after = (self.noise.log(self.run.intensity[middle + step]) for step in (-1, 0, 1))
                squares.append((before - 2 * here + after) ** 2)
        if not squares:
            return np.zeros_like(variance)
        mean = uniform_filter(sum(squares[1:], squares[0]) / len(squares), 3, mode="nearest")
        # Three independent frames with weights 1, -2, 1 carry six times the noise of one.
        return np.maximum(mean - 6 * np.where(np.isfinite(variance), variance, 0), 0)


def smooth_log_variance(noise: NoiseModel, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Variance of ln(intensity) from the local mean, ``inf`` where the pixel itself is not positive.

    A variance from the pixel's own noisy count would give bright fluctuations more weight
    than dark ones and bias every weighted fit.
    """
    from scipy.ndimage import uniform_filter

    variance = noise.log_variance(uniform_filter(intensity, 3, mode="nearest"))
    variance[intensity <= 0] = np.inf
    return variance
