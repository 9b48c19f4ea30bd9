"""From path lengths to detected counts: attenuation, scatter, noise, read-out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.simulation.background import TissuePaths
from DSAReconLib.simulation.config import SimulationConfig

IODINE_MM_ML_MG = 0.956e-3
"""Attenuation at 55 keV (effective) of iodine, 1/mm per mg/ml (NIST XCOM)."""
BONE_MM, SOFT_MM = 0.070, 0.0225
"""Attenuation of cortical bone and of brain at 55 keV, 1/mm (NIST XCOM)."""

_SPECTRUM = np.array([0.30, 0.35, 0.22, 0.13])
_IODINE_SPECTRUM = np.array([1.23e-3, 0.76e-3, 0.50e-3, 0.35e-3])
_BONE_SPECTRUM = np.array([0.081, 0.060, 0.050, 0.043])
_SOFT_SPECTRUM = np.array([0.0237, 0.0214, 0.0201, 0.0190])
"""50, 60, 70 and 80 keV: detected share (ours, typical of 80 kV behind a head) and attenuation (NIST XCOM)."""

SATURATION = 40.0
"""Full scale of the detector relative to the median behind the head."""
SCATTER_SIGMA_MM = 30.0
"""Width of the scatter kernel on the detector, mm."""


def transmission(
    paths: TissuePaths, contrast: NDArray[np.float32] | None, config: SimulationConfig
) -> NDArray[np.float32]:
    """Primary intensity (F, R, C) relative to the open field.

    ``contrast`` holds the line integrals of contrast at 55 keV, or ``None`` for a mask run.
    """
    if not config.beam_hardening:
        attenuation = BONE_MM * paths.bone_mm + SOFT_MM * paths.soft_mm
        return np.exp(-attenuation if contrast is None else -(attenuation + contrast))
    result = np.zeros_like(paths.bone_mm)
    for share, iodine, bone, soft in zip(_SPECTRUM, _IODINE_SPECTRUM, _BONE_SPECTRUM, _SOFT_SPECTRUM, strict=True):
        attenuation = np.float32(bone) * paths.bone_mm + np.float32(soft) * paths.soft_mm
        if contrast is not None:
            attenuation += np.float32(iodine / IODINE_MM_ML_MG) * contrast
        result += np.float32(share) * np.exp(-attenuation)
    return result


def median_behind_head(primary: NDArray[np.float32]) -> float:
    """Median of the primary intensity where anything stands in the beam (all pixels if nothing does)."""
    covered = primary[:: max(1, len(primary) // 16)]
    behind = covered[covered < 0.9]
    return float(np.median(behind)) if behind.size > covered.size // 20 else float(np.median(covered))


def detect(
    primary: NDArray[np.float32],
    median: float,
    config: SimulationConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], float]:
    """Read-out values (F, R, C) of a 16-bit linear detector, and photons per unit.

    ``median`` is the intensity that gets ``config.photons`` photons; ``primary`` is overwritten.
    """
    from scipy.ndimage import uniform_filter

    photons = config.photons if config.photons > 0 else 2e4
    # Three running means of this width have the spread of a Gaussian, whatever its width costs.
    width = max(1, round(2 * SCATTER_SIGMA_MM / config.detector_spacing_mm))
    photons_per_unit = photons * SATURATION / 65535
    values = np.empty(primary.shape, np.uint16)
    for frame, image in enumerate(primary):
        if config.scatter_fraction > 0:
            scatter = np.minimum(image, 2 * median)
            for _ in range(3):
                scatter = uniform_filter(scatter, width)
            image += np.float32(config.scatter_fraction) * scatter
        counts = np.minimum(image / median, 1.5 * SATURATION) * photons
        if config.photons > 0:
            counts = _poisson(counts, rng)
            counts += config.electronic_noise_photons * rng.standard_normal(counts.shape, np.float32)
        values[frame] = np.clip(np.rint(counts / photons_per_unit), 1, 65535)
    return values, photons_per_unit


def _poisson(mean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Poisson numbers; normal above 1000, where the difference cannot be seen and drawing is quick."""
    counts = mean + np.sqrt(mean) * rng.standard_normal(mean.shape, np.float32)
    few = mean < 1000
    counts[few] = rng.poisson(mean[few])
    return counts.astype(np.float32, copy=False)
