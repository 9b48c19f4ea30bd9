"""Random C-arm poses for property tests."""

import numpy as np
from hypothesis import strategies as st

from DSAReconLib.geometry import ConeBeamGeometry


def random_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform proper rotations (count, 3, 3)."""
    q, r = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    q = q * np.sign(np.einsum("vii->vi", r))[:, None, :]
    q[np.linalg.det(q) < 0, :, 0] *= -1
    return q


@st.composite
def c_arm_geometries(draw, min_views=1, max_views=5) -> ConeBeamGeometry:
    """Geometries from angles with offsets, roll and distances that vary from view to view."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    views = draw(st.integers(min_views, max_views))
    return ConeBeamGeometry.from_angles(
        rng.uniform(-180, 180, views),
        rng.uniform(-60, 60, views),
        sod_mm=rng.uniform(500, 900, views),
        sdd_mm=rng.uniform(950, 1500, views),
        detector_shape=(draw(st.integers(2, 80)), draw(st.integers(2, 80))),
        detector_spacing_mm=(rng.uniform(0.1, 3), rng.uniform(0.1, 3)),
        principal_point_px=tuple(rng.uniform(-10, 90, 2)),
        roll_deg=rng.uniform(-180, 180, views),
    )


@st.composite
def vector_geometries(draw, min_views=1, max_views=5) -> ConeBeamGeometry:
    """Geometries whose detectors are tilted and shifted at will (rectangular, same pixels)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    views = draw(st.integers(min_views, max_views))
    gantry = random_rotations(rng, views)
    small = rng.uniform(-0.3, 0.3, (views, 3))
    tilt = np.stack([_rotation_from_vector(v) for v in small])
    detector = gantry @ tilt
    source = gantry[:, :, 0] * rng.uniform(500, 900, (views, 1))
    center = np.einsum("vij,vj->vi", gantry, rng.uniform((-600, -40, -40), (-300, 40, 40), (views, 3)))
    row_mm, column_mm = rng.uniform(0.2, 2, 2)
    shape = (draw(st.integers(2, 60)), draw(st.integers(2, 60)))
    return ConeBeamGeometry(source, center, column_mm * detector[:, :, 1], row_mm * detector[:, :, 2], shape)


def _rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
