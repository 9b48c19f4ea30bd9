"""Plain rotational runs in memory for tests of the acquisition stage."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.geometry import ConeBeamGeometry

STUDY = {"study_instance_uid": "1.2.3", "patient_key": "p"}


def spin_geometry(primary_deg: np.ndarray, secondary_deg=0.0, shape=(64, 80)) -> ConeBeamGeometry:
    """Poses of a C-arm at the given angles."""
    return ConeBeamGeometry.from_angles(
        primary_deg, secondary_deg, sod_mm=750, sdd_mm=1200, detector_shape=shape, detector_spacing_mm=(1.2, 1.2)
    )


def spin(intensity: np.ndarray, primary_deg: np.ndarray, secondary_deg=0.0, **fields) -> RotationalRun:
    """Run with 0.1 s between frames."""
    geometry = spin_geometry(primary_deg, secondary_deg, intensity.shape[1:])
    values = {**STUDY, **fields}
    return RotationalRun(
        intensity=np.asarray(intensity, np.float32),
        geometry=geometry,
        times_s=0.1 * np.arange(len(intensity)),
        **values,
    )


def anatomy(shape=(64, 80), seed=0) -> np.ndarray:
    """Log attenuation (R, C) with structure at all scales, values around -1."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    for sigma, amplitude in ((20, 0.35), (6, 0.15), (2, 0.05)):
        layer = gaussian_filter(rng.normal(size=shape), sigma)
        image += amplitude * layer / layer.std()
    return image - 1


def vessels(frames: int, shape=(64, 80)) -> np.ndarray:
    """Contrast line integrals (F, R, C) of two vessels that fill over the run; about 6 % of the pixels."""
    contrast = np.zeros((frames, *shape))
    for k in range(frames):
        level = min(1.0, 2 * k / frames)
        contrast[k, 20:23, 5:70] = 0.3 * level
        contrast[k, 10:60, 40:42] = 0.8 * level
    return contrast
