import numpy as np
import pytest

from DSAReconLib.errors import JobCancelled
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation.projection import project_contrast


@pytest.fixture
def geometry():
    return ConeBeamGeometry.from_angles(
        [-70.0, 0.0, 35.0],
        [10.0, 0.0, -20.0],
        sod_mm=750,
        sdd_mm=1200,
        detector_shape=(48, 64),
        detector_spacing_mm=(1.3, 1.1),
        principal_point_px=(20.0, 34.0),
    )


def test_a_ball_has_the_line_integrals_of_its_chords(geometry):
    grid = VolumeGrid.centered(80, 0.3)
    points = grid.points_mm()
    center, radius = np.array([2.0, -3.0, 1.0]), 8.0
    distance = np.linalg.norm(points - center, axis=1)
    inside = np.clip(0.5 - (distance - radius) / 0.3, 0, 1).astype(np.float32)
    keep = inside > 0
    images = project_contrast(
        points[keep], 0.3, np.tile(0.05 * inside[keep], (3, 1)), geometry, progress=SilentProgress()
    )
    rows, columns = np.mgrid[:48, :64]
    for view in range(3):
        pixel = (
            geometry.detector_center_mm[view]
            + (columns - 31.5)[..., None] * geometry.detector_u_mm[view]
            + (rows - 23.5)[..., None] * geometry.detector_v_mm[view]
        )
        ray = pixel - geometry.source_mm[view]
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        offset = center - geometry.source_mm[view]
        nearest2 = (offset**2).sum() - (ray @ offset) ** 2
        chord = 2 * np.sqrt(np.maximum(radius**2 - nearest2, 0))
        core = nearest2 < (radius - 1.5) ** 2
        np.testing.assert_allclose(images[view][core], 0.05 * chord[core], rtol=0.02)
        assert images[view][nearest2 > (radius + 1.5) ** 2].max() == 0


def test_every_frame_sees_its_own_amplitude(geometry):
    amplitudes = np.array([[0.1], [0.0], [0.3]], np.float32)
    images = project_contrast(np.zeros((1, 3)), 0.5, amplitudes, geometry, progress=SilentProgress())
    mass = images.sum((1, 2))
    assert mass[1] == 0
    assert mass[2] == pytest.approx(3 * mass[0], rel=1e-3)


def test_a_voxel_falls_where_its_center_projects_to(geometry):
    points = np.array([[4.3, -6.1, 2.7]])
    images = project_contrast(points, 5.0, np.ones((3, 1), np.float32), geometry, progress=SilentProgress())
    expected, _ = geometry.project_points(points)
    rows, columns = np.mgrid[:48, :64]
    for image, (row, column) in zip(images, expected[:, 0], strict=True):
        assert (image * rows).sum() / image.sum() == pytest.approx(row, abs=0.02)
        assert (image * columns).sum() / image.sum() == pytest.approx(column, abs=0.02)


def test_voxels_off_the_detector_do_not_wrap_around(geometry):
    points = np.array([[500.0, 0.0, 0.0], [0.0, 0.0, 400.0]])
    images = project_contrast(points, 0.4, np.ones((3, 2), np.float32), geometry[1], progress=SilentProgress())
    assert images.max() == 0


def test_projection_stops_when_cancelled(geometry):
    class Cancelled(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        project_contrast(np.zeros((1, 3)), 0.4, np.ones((3, 1), np.float32), geometry, progress=Cancelled())
