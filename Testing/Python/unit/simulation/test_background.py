from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from DSAReconLib.errors import ConfigError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation.background import ellipsoid_paths
from DSAReconLib.simulation.head_ct import ct_paths
from DSAReconLib.simulation.skull import PaintedEllipsoids, skull_phantom


@pytest.fixture
def geometry():
    return ConeBeamGeometry.from_angles(
        [-95.0, 3.0, 60.0], sod_mm=750, sdd_mm=1200, detector_shape=(24, 32), detector_spacing_mm=(9.0, 9.0)
    )


def ball(center, radius, bone, soft, plane=(0, 0, 0, -1)):
    return (np.array([center], float), np.full((1, 3), float(radius)), np.eye(3)[None], np.array([plane], float),
            np.array([float(bone)]), np.array([float(soft)]))  # fmt: skip


def phantom(*balls):
    return PaintedEllipsoids(*(np.concatenate(parts) for parts in zip(*balls, strict=True)))


def sampled_paths(head, geometry, view, row, column, step=0.1):
    rows, columns = geometry.detector_shape
    pixel = (
        geometry.detector_center_mm[view]
        + (column - (columns - 1) / 2) * geometry.detector_u_mm[view]
        + (row - (rows - 1) / 2) * geometry.detector_v_mm[view]
    )
    source = geometry.source_mm[view]
    length = np.linalg.norm(pixel - source)
    at = np.arange(550 + 0.5 * step, 950, step)
    bone, soft = head.fractions_at(source + at[:, None] / length * (pixel - source))
    return bone.sum() * step, soft.sum() * step


def test_a_central_ray_crosses_a_ball_along_its_diameter():
    geometry = ConeBeamGeometry.from_angles(
        [20.0], sod_mm=750, sdd_mm=1200, detector_shape=(9, 9), detector_spacing_mm=(1.0, 1.0)
    )
    paths = ellipsoid_paths(phantom(ball((0, 0, 0), 30, 0.5, 0.25)), geometry, progress=SilentProgress())
    assert paths.bone_mm[0, 4, 4] == pytest.approx(30.0, rel=1e-5)
    assert paths.soft_mm[0, 4, 4] == pytest.approx(15.0, rel=1e-5)


def test_a_body_painted_later_replaces_what_it_covers_and_a_plane_cuts(geometry):
    head = phantom(
        ball((0, 0, 0), 40, 1.0, 0.0),
        ball((5, 0, 0), 25, 0.0, 1.0),
        ball((0, 10, 0), 30, 0.0, 0.0, plane=(0, 0.6, 0.8, 4.0)),
    )
    paths = ellipsoid_paths(head, geometry, progress=SilentProgress())
    for view, row, column in ((0, 12, 15), (1, 10, 17), (2, 13, 14), (1, 14, 12)):
        bone, soft = sampled_paths(head, geometry, view, row, column)
        assert paths.bone_mm[view, row, column] == pytest.approx(bone, abs=0.3)
        assert paths.soft_mm[view, row, column] == pytest.approx(soft, abs=0.3)


def test_paths_through_the_skull_agree_with_sampling_it(geometry):
    head = skull_phantom()
    paths = ellipsoid_paths(head, geometry, progress=SilentProgress())
    rng = np.random.default_rng(0)
    for _ in range(16):
        view, row, column = int(rng.integers(3)), int(rng.integers(24)), int(rng.integers(32))
        bone, soft = sampled_paths(head, geometry, view, row, column)
        assert paths.bone_mm[view, row, column] == pytest.approx(bone, abs=0.6)
        assert paths.soft_mm[view, row, column] == pytest.approx(soft, abs=0.6)


def test_the_skull_attenuates_like_a_head():
    geometry = ConeBeamGeometry.from_angles(
        [-90.0, 0.0], sod_mm=750, sdd_mm=1200, detector_shape=(32, 32), detector_spacing_mm=(8.8, 8.8)
    )
    paths = ellipsoid_paths(skull_phantom(), geometry, progress=SilentProgress())
    attenuation = 0.07 * paths.bone_mm + 0.0225 * paths.soft_mm
    assert 2.5 < np.median(attenuation[attenuation > 0.2]) < 5
    assert attenuation.max() < 12
    assert paths.bone_mm[1].std() > 5


def test_a_ct_of_a_water_ball_has_the_paths_of_a_ball(tmp_path, geometry):
    z, y, x = np.mgrid[:60, :60, :60] * 2.0
    inside = (x - 50) ** 2 + (y - 60) ** 2 + (z - 55) ** 2 < 40**2
    image = SimpleITK.GetImageFromArray(np.where(inside, 40.0, -1000.0).astype(np.float32))
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-300.0, 20.0, 7.0))
    path = Path(tmp_path) / "ball.nrrd"
    SimpleITK.WriteImage(image, str(path))
    center = np.array([4.0, -6.0, 3.0])
    paths = ct_paths(path, center, geometry, progress=SilentProgress())
    expected = ellipsoid_paths(phantom(ball(center, 40, 0, 1)), geometry, progress=SilentProgress())
    core = expected.soft_mm > 40
    np.testing.assert_allclose(paths.soft_mm[core], expected.soft_mm[core], rtol=0.06)
    assert paths.bone_mm.max() == 0


def test_a_volume_that_is_no_ct_is_refused(tmp_path, geometry):
    path = tmp_path / "mr.nrrd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((4, 4, 4), np.float32)), str(path))
    with pytest.raises(ConfigError, match=r"mr\.nrrd.*HU"):
        ct_paths(path, np.zeros(3), geometry, progress=SilentProgress())
