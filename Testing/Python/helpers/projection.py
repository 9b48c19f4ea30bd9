"""Small cone-beam problems of every kind of orientation."""

from __future__ import annotations

import numpy as np

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

ANISOTROPIC_GRID = VolumeGrid((18, 22, 20), (3.0, 2.5, 4.0), (-33.0, -21.0, -28.0))
"""Different counts, spacings and an origin that does not center the box."""


def rotational_geometry(views: int = 7, shape: tuple[int, int] = (20, 24)) -> ConeBeamGeometry:
    """A C-arm run around z: main axes x and y."""
    return ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, views), sod_mm=750, sdd_mm=1200, detector_shape=shape, detector_spacing_mm=(5.0, 6.0)
    )


def oblique_geometry(views: int = 7, shape: tuple[int, int] = (20, 24)) -> ConeBeamGeometry:
    """Primary, secondary and roll angles at once, up to a view along z, shifted principal point."""
    return ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, views),
        np.linspace(-30, 85, views),
        sod_mm=np.linspace(700, 800, views),
        sdd_mm=1200,
        detector_shape=shape,
        detector_spacing_mm=(5.0, 6.0),
        principal_point_px=(8.0, 13.5),
        roll_deg=np.linspace(0, 40, views),
    )


def wide_geometry(shape: tuple[int, int] = (24, 28)) -> ConeBeamGeometry:
    """Detectors so close that the rays of one view have different main axes, sources near the volume."""
    return ConeBeamGeometry.from_angles(
        [0.0, 45.0, 70.0, 130.0],
        [0.0, 35.0, -60.0, 10.0],
        sod_mm=70.0,
        sdd_mm=130.0,
        detector_shape=shape,
        detector_spacing_mm=(12.0, 14.0),
    )


GEOMETRIES = {"rotational": rotational_geometry, "oblique": oblique_geometry, "wide": wide_geometry}


def random_arrays(grid: VolumeGrid, geometry: ConeBeamGeometry, seed: int = 0):
    """Gaussian volume (Z, Y, X) and projections (V, R, C), float32."""
    rng = np.random.default_rng(seed)
    shape = (len(geometry), *geometry.detector_shape)
    return rng.standard_normal(grid.shape_zyx, np.float32), rng.standard_normal(shape, np.float32)


def ray_points(geometry: ConeBeamGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Source (V, 1, 1, 3) and unit direction (V, R, C, 3) of every pixel's ray, mm."""
    rows, columns = geometry.detector_shape
    r, c = np.meshgrid(np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2, indexing="ij")
    pixel = (
        geometry.detector_center_mm[:, None, None]
        + c[..., None] * geometry.detector_u_mm[:, None, None]
        + r[..., None] * geometry.detector_v_mm[:, None, None]
    )
    source = geometry.source_mm[:, None, None]
    direction = pixel - source
    return source, direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def gaussian_line_integrals(geometry: ConeBeamGeometry, center_mm, sigma_mm) -> np.ndarray:
    """Exact integrals of exp(-|(x - center) / sigma|^2 / 2), axis-parallel sigma (3,), over whole lines."""
    source, direction = ray_points(geometry)
    offset = (source - np.asarray(center_mm)) / sigma_mm
    along = direction / sigma_mm
    a = (along**2).sum(-1)
    b = (along * offset).sum(-1)
    c = (offset**2).sum(-1)
    return np.sqrt(2 * np.pi / a) * np.exp(-0.5 * (c - b**2 / a))


def ellipsoid_chords(geometry: ConeBeamGeometry, center_mm, semi_axes_mm) -> np.ndarray:
    """Exact chord lengths (V, R, C), mm, through an axis-parallel ellipsoid."""
    source, direction = ray_points(geometry)
    offset = (source - np.asarray(center_mm)) / semi_axes_mm
    along = direction / semi_axes_mm
    a, b, c = (along**2).sum(-1), (along * offset).sum(-1), (offset**2).sum(-1) - 1
    return 2 * np.sqrt(np.clip(b**2 - a * c, 0, None)) / a
