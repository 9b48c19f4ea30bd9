"""Rendered line integrals of voxels and Gaussians, pictures and films."""

import numpy as np
import pytest

from DSAReconLib.errors import ConfigError, DependencyError, JobCancelled
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.derived import gaussians_from_volume
from DSAReconLib.kernels.raycast import project
from DSAReconLib.progress import SilentProgress
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis
from DSAReconLib.rendering.images import colored, grey_levels, maximum_projection
from DSAReconLib.rendering.movie import write_movie
from DSAReconLib.rendering.views import render_line_integrals

GEOMETRY = ConeBeamGeometry.from_angles(
    [-40.0, 5.0, 70.0], [0.0, 10.0, -20.0], sod_mm=750.0, sdd_mm=1200.0,
    detector_shape=(48, 52), detector_spacing_mm=(1.6, 1.6),
)  # fmt: skip
GRID = VolumeGrid((20, 22, 24), (1.0, 1.0, 1.0), (-11.0, -10.0, -9.0))


def vessel_like_volume(basis=None):
    """A bright bent tube on few voxels of a grid."""
    points = GRID.points_mm()
    center = np.stack([3 * np.sin(points[:, 2] / 4), 2 * np.cos(points[:, 2] / 5)], -1)
    distance = np.linalg.norm(points[:, :2] - center, axis=1)
    support = np.flatnonzero(distance < 3)
    basis = basis or TemporalBasis.hats([0.0, 1.0, 2.0])
    rng = np.random.default_rng(0)
    base = 0.05 * np.clip(3 - distance[support], 0, 1)
    return DynamicVolume(GRID, (base * rng.uniform(0.2, 1, (len(basis), 1))).astype(np.float32), basis, support)


def test_a_supported_volume_renders_as_the_whole_volume_at_each_time():
    volume = vessel_like_volume()
    times = [0.0, 0.7, 1.9]
    images = render_line_integrals(volume, GEOMETRY, times)
    for view, time in enumerate(times):
        expected = project(volume.at(time), GRID, GEOMETRY[view])[0]
        np.testing.assert_allclose(images[view], expected, atol=2e-6)


def test_a_static_volume_renders_as_the_whole_volume():
    volume = vessel_like_volume(TemporalBasis.constant())
    images = render_line_integrals(volume, GEOMETRY, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(images, project(volume.at(0.0), GRID, GEOMETRY), atol=2e-6)


def test_an_empty_volume_renders_black():
    volume = DynamicVolume(GRID, np.zeros((1, 0), np.float32), TemporalBasis.constant(), np.zeros(0, np.int64))
    assert not render_line_integrals(volume, GEOMETRY, [0, 0, 0]).any()


def test_the_gaussians_of_a_volume_render_like_the_volume():
    volume = vessel_like_volume()
    times = [0.3, 1.0, 1.6]
    gaussians = gaussians_from_volume(volume, 1e-5, times)
    voxels = render_line_integrals(volume, GEOMETRY, times)
    splats = render_line_integrals(gaussians, GEOMETRY, times)
    assert splats.sum() == pytest.approx(voxels.sum(), rel=0.02)
    assert np.linalg.norm(splats - voxels) < 0.07 * np.linalg.norm(voxels)


def test_one_time_per_pose_is_demanded():
    with pytest.raises(ValueError, match="times_s must have shape"):
        render_line_integrals(vessel_like_volume(), GEOMETRY, [0.0])


def test_rendering_can_be_cancelled():
    class Stop(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        render_line_integrals(vessel_like_volume(), GEOMETRY, [0, 1, 2], progress=Stop())


def test_vessels_are_dark_and_the_window_is_kept():
    grey = grey_levels(np.array([[0.0, 0.5, 1.0, 2.0]]), (0.0, 1.0))
    assert grey.tolist() == [[255, 128, 0, 0]]
    with pytest.raises(ValueError, match="low < high"):
        grey_levels(np.zeros((1, 1)), (1.0, 1.0))


def test_missing_values_are_black_in_color():
    picture = colored(np.array([[0.0, np.nan]]), (0.0, 1.0))
    assert picture.shape == (1, 2, 3)
    assert picture[0, 1].tolist() == [0, 0, 0]
    assert picture[0, 0].any()


def test_the_projection_of_maxima_shows_the_head_on_top():
    volume = np.zeros((3, 4, 5), np.float32)
    volume[2, 1, 4] = 1
    assert np.argwhere(maximum_projection(volume, "y")).tolist() == [[0, 4]]
    assert np.argwhere(maximum_projection(volume, "z")).tolist() == [[1, 4]]
    with pytest.raises(ValueError, match="x, y or z"):
        maximum_projection(volume, "t")


def test_a_gif_has_all_frames(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures = (np.arange(4)[:, None, None] * 60 + np.zeros((4, 6, 8))).astype(np.uint8)
    write_movie(tmp_path / "film.gif", pictures, frames_per_s=20)
    with image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4
        assert film.size == (8, 6)


def test_a_film_needs_a_known_suffix_and_its_package(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no suffix of a film"):
        write_movie(tmp_path / "film.avi", np.zeros((1, 4, 4), np.uint8))
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(DependencyError, match="imageio-ffmpeg"):
        write_movie(tmp_path / "film.mp4", np.zeros((1, 4, 4), np.uint8))
