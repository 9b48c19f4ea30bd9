"""A few opacified tubes as contrast line integrals: what fitting tests start from."""

from __future__ import annotations

import numpy as np

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.splat import splat_xray

NOISE = 0.004
DURATION_S = 4.0


def tubes(views: int = 20, detector: int = 48, seed: int = 0) -> tuple[Angiogram, np.ndarray]:
    """Noisy angiogram of two tubes with a traveling bolus, and the noise-free line integrals.

    The tubes are chains of Gaussians (standard deviation 1.2 mm, 0.05/mm at the peak), so
    no voxel grid takes part in making the data.
    """
    along = np.linspace(-14, 14, 57)
    zero = np.zeros_like(along)
    first = np.stack([6 * np.sin(along / 7), 4 * np.cos(along / 6), along], -1)
    second = np.stack([along, zero - 5, 6 + 0.2 * along], -1)
    means = np.concatenate([first, second])
    arrival = 0.3 + 0.03 * np.concatenate([along + 14, along + 30])
    times = np.linspace(0, DURATION_S, views)
    rise = np.clip((times[:, None] - arrival) / 0.4, 0, 1) * np.clip((arrival + 2.6 - times[:, None]) / 0.6, 0, 1)
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, views), sod_mm=750.0, sdd_mm=1200.0,
        detector_shape=(detector, detector), detector_spacing_mm=(76.8 / detector,) * 2,
    )  # fmt: skip
    count = len(means)
    shape = (means, np.full((count, 3), 1.2), np.tile([1.0, 0, 0, 0], (count, 1)))
    clean = splat_xray(*shape, 0.0085 * rise, geometry, pixel_box=True)
    noise = np.random.default_rng(seed).normal(0, NOISE, clean.shape)
    line_integrals = (clean + noise).astype(np.float32)
    variance = np.full((1, 1, 1), NOISE**2, np.float32)
    return Angiogram(line_integrals, variance, geometry, times, DURATION_S, np.arange(views)), clean
