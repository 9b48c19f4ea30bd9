"""Angiograms of balls, whose line integrals and attenuation are known exactly."""

from __future__ import annotations

import numpy as np
from helpers.projection import ellipsoid_chords

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

SHORT_SCAN_DEG = np.linspace(-100, 100, 101)
FULL_TURN_DEG = np.arange(120) * 3.0
OFF_CENTER_MM = (25.0, 10.0, 5.0)


def c_arm(primary_deg, secondary_deg=0.0, *, pixels: int = 64, **changes) -> ConeBeamGeometry:
    """C-arm with a 307 mm detector."""
    values = {
        "sod_mm": 750.0,
        "sdd_mm": 1200.0,
        "detector_shape": (pixels, pixels),
        "detector_spacing_mm": (307.2 / pixels,) * 2,
    }
    return ConeBeamGeometry.from_angles(primary_deg, secondary_deg, **{**values, **changes})


def ball(geometry: ConeBeamGeometry, center_mm=(0.0, 0.0, 0.0), radius_mm: float = 30.0) -> np.ndarray:
    """Line integrals (V, R, C) of a ball of 1/mm."""
    return ellipsoid_chords(geometry, center_mm, np.full(3, radius_mm)).astype(np.float32)


def angiogram(geometry: ConeBeamGeometry, line_integrals: np.ndarray, **changes) -> Angiogram:
    """These line integrals as an angiogram of 5 s."""
    views = len(geometry)
    values = {
        "line_integrals": np.asarray(line_integrals, np.float32),
        "variance": np.full((1, 1, 1), 1e-4, np.float32),
        "geometry": geometry,
        "times_s": np.linspace(0, 5, views),
        "duration_s": 5.0,
        "frame_index": np.arange(views),
    }
    return Angiogram(**{**values, **changes})


def distance_mm(grid: VolumeGrid, center_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Distance (Z, Y, X) of the voxels from a point."""
    return np.linalg.norm(grid.points_mm() - np.asarray(center_mm), axis=1).reshape(grid.shape_zyx)
