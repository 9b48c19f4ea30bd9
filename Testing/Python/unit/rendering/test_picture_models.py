"""Models of pictures: the grey scale, rendering by compositing, and the way through a result folder."""

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.result_folder import open_result, write_result
from DSAReconLib.reconstruction import (
    DynamicVolume,
    OpacityGaussians,
    PictureScale,
    Reconstruction,
    TemporalBasis,
)
from DSAReconLib.rendering.views import grey_values, render_line_integrals

GEOMETRY = ConeBeamGeometry.from_angles(
    np.linspace(-40, 50, 3), np.zeros(3), sod_mm=600.0, sdd_mm=1000.0, detector_shape=(30, 34),
    detector_spacing_mm=(1.5, 1.5),
)  # fmt: skip
TIMES = np.array([0.0, 1.0, 2.0])


def pictures_model(kind="linear", degree=0, count=5, largest=1.2, seed=0):
    rng = np.random.default_rng(seed)
    return OpacityGaussians(
        means_mm=rng.uniform(-5, 5, (count, 3)).astype(np.float32),
        scales_mm=rng.uniform(1, 2, (count, 3)).astype(np.float32),
        quats_wxyz=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        opacities=rng.uniform(0.1, 0.7, (2, count)).astype(np.float32),
        color_harmonics=rng.normal(0, 0.5, (count, (degree + 1) ** 2)).astype(np.float32),
        basis=TemporalBasis.hats([0.0, 2.0]),
        picture=PictureScale(kind, largest),
        pixel_mm=0.9,
    )


@pytest.mark.parametrize("kind", ["linear", "exponential"])
def test_grey_values_come_back_as_line_integrals(kind):
    scale = PictureScale(kind, 1.5)
    line_integrals = np.linspace(0, 1.5, 7, dtype=np.float32)
    pictures = scale.pictures(line_integrals)
    assert pictures[0] == 1
    assert np.all(np.diff(pictures) < 0)
    np.testing.assert_allclose(scale.line_integrals(pictures), line_integrals, atol=1e-6)
    assert scale.line_integrals(np.array([1.3], np.float32))[0] == 0
    assert scale.pictures(np.array([-0.2], np.float32))[0] == 1


def test_an_unknown_grey_scale_is_refused():
    with pytest.raises(ValueError, match="linear"):
        PictureScale("logarithmic", 1.0)
    with pytest.raises(ValueError, match="largest"):
        PictureScale("linear", 0.0)


def test_shapes_of_a_model_of_pictures_are_checked():
    model = pictures_model(degree=2)
    assert model.degree == 2
    assert len(model) == 5
    with pytest.raises(ValueError, match="opacities"):
        OpacityGaussians(**{**vars(model), "opacities": model.opacities[:1]})
    with pytest.raises(ValueError, match="color_harmonics"):
        OpacityGaussians(**{**vars(model), "color_harmonics": model.color_harmonics[:, :5]})


def test_a_black_gaussian_darkens_by_its_opacity_at_the_time():
    pytest.importorskip("numba")
    model = OpacityGaussians(
        means_mm=np.zeros((1, 3), np.float32),
        scales_mm=np.full((1, 3), 4, np.float32),
        quats_wxyz=np.array([[1, 0, 0, 0]], np.float32),
        opacities=np.array([[0.2], [0.8]], np.float32),
        color_harmonics=np.full((1, 1), -0.5 / 0.28209479, np.float32),
        basis=TemporalBasis.hats([0.0, 2.0]),
        picture=PictureScale("linear", 1.2),
        pixel_mm=0.9,
    )
    images = render_line_integrals(model, GEOMETRY, TIMES)
    # the center lies between four pixels
    np.testing.assert_allclose(images.max((1, 2)), 1.2 * np.array([0.2, 0.5, 0.8]), rtol=0.03)
    assert images.min() >= 0


def test_smaller_pixels_show_the_same_picture():
    pytest.importorskip("numba")
    model = pictures_model(count=8)
    thin = OpacityGaussians(**{**vars(model), "scales_mm": 0.1 * model.scales_mm})
    fine = ConeBeamGeometry.from_angles(
        np.linspace(-40, 50, 3), np.zeros(3), sod_mm=600.0, sdd_mm=1000.0, detector_shape=(90, 102),
        detector_spacing_mm=(0.5, 0.5),
    )  # fmt: skip
    coarse = render_line_integrals(thin, GEOMETRY, TIMES)
    detailed = render_line_integrals(thin, fine, TIMES)[:, 1::3, 1::3]  # pixels with the same centers
    np.testing.assert_allclose(detailed, coarse, atol=0.01 * coarse.max())


def test_the_grey_value_depends_on_the_direction_from_degree_one_on():
    flat, shaped = pictures_model(degree=0), pictures_model(degree=1)
    views = [grey_values(model, GEOMETRY.source_mm[view]) for model in (flat, shaped) for view in (0, 2)]
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[2] - views[3]).max() > 0.05
    assert min(view.min() for view in views) >= 0


@pytest.mark.parametrize("kind", ["linear", "exponential"])
def test_a_result_of_pictures_is_rendered_from_them_after_a_round_trip(tmp_path, kind):
    pytest.importorskip("numba")
    grid = VolumeGrid((4, 4, 4), (2.0, 2.0, 2.0), (-3.0, -3.0, -3.0))
    basis = TemporalBasis.hats([0.0, 2.0])
    volume = DynamicVolume(grid, np.full((2, 64), 0.01, np.float32), basis)
    model = pictures_model(kind, degree=3)
    reconstruction = Reconstruction(volume, 0.005, native="pictures", pictures=model)
    assert reconstruction.model is model
    record = {"selected_views": [0], "heldout_views": [1, 2]}
    folder = write_result(tmp_path / "result", reconstruction, record=record, geometry=GEOMETRY, times_s=TIMES)
    loaded = open_result(folder).load_reconstruction()
    assert loaded.native == "pictures"
    assert loaded.model.picture == model.picture
    assert loaded.model.pixel_mm == model.pixel_mm
    for name in ("means_mm", "scales_mm", "quats_wxyz", "opacities", "color_harmonics"):
        np.testing.assert_array_equal(getattr(loaded.pictures, name), getattr(model, name))
    expected = render_line_integrals(model, GEOMETRY, TIMES)
    np.testing.assert_array_equal(render_line_integrals(loaded.model, GEOMETRY, TIMES), expected)


def test_without_pictures_the_model_of_record_is_the_volume_or_the_gaussians():
    grid = VolumeGrid((2, 2, 2), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    volume = DynamicVolume(grid, np.ones((1, 8), np.float32), TemporalBasis.constant())
    assert Reconstruction(volume, 0.5).model is volume
    assert Reconstruction(volume, 0.5, native="gaussians").model is volume
