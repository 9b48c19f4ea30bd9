import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from DSAReconLib.evaluation import volume as ev
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

SOURCE = VolumeGrid((9, 11, 13), (0.5, 0.7, 0.9), (-3.0, -3.5, -2.0))
TARGET = VolumeGrid((14, 12, 20), (0.4, 0.6, 0.5), (-4.0, -3.0, -2.5))


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).random(SOURCE.shape_zyx).astype(np.float32)


def test_resampling_equals_trilinear_interpolation_with_zero_outside(values):
    index = SOURCE.index_of(TARGET.points_mm())[:, ::-1].T
    expected = map_coordinates(values, index, order=1, mode="constant").reshape(TARGET.shape_zyx)
    np.testing.assert_allclose(ev.resampled(values, SOURCE, TARGET), expected, atol=1e-5)


def test_resampling_to_the_same_grid_changes_nothing(values):
    np.testing.assert_allclose(ev.resampled(values, SOURCE, SOURCE), values, rtol=1e-5)


def test_a_linear_field_is_resampled_exactly():
    x, y, z = SOURCE.axes_mm()
    field = (2 * x[None, None] + 3 * y[None, :, None] - z[:, None, None]).astype(np.float32)
    inner = VolumeGrid((3, 3, 3), (0.31, 0.42, 0.53), (-1.0, -1.0, -0.5))
    points = inner.points_mm()
    expected = (points @ [2, 3, -1]).reshape(inner.shape_zyx)
    np.testing.assert_allclose(ev.resampled(field, SOURCE, inner), expected, atol=1e-5)


def test_one_voxel_thick_volumes_can_be_resampled():
    flat = VolumeGrid((1, 2, 2), (1, 1, 1), (0, 0, 0))
    np.testing.assert_allclose(ev.resampled(np.ones((1, 2, 2), np.float32), flat, flat), 1)


@pytest.mark.parametrize("spacing", [0.35, 0.9])
def test_averaging_keeps_the_integral_for_finer_and_coarser_grids(values, spacing):
    low = np.array(SOURCE.origin_mm) - 2
    target = ev.box_grid(low, low + SOURCE.size_mm + 4, spacing)
    static = DynamicVolume(SOURCE, values.reshape(1, -1), TemporalBasis.constant())
    result = ev.averaged(static, target).at(0)
    assert result.sum() * spacing**3 == pytest.approx(values.sum() * np.prod(SOURCE.spacing_mm), rel=1e-5)


def test_averaging_eight_voxels_into_one_is_their_mean():
    fine = VolumeGrid((4, 4, 4), (0.3,) * 3, (0.15,) * 3)
    coarse = VolumeGrid((2, 2, 2), (0.6,) * 3, (0.3,) * 3)
    values = np.random.default_rng(1).random((4, 4, 4)).astype(np.float32)
    expected = values.reshape(2, 2, 2, 2, 2, 2).mean((1, 3, 5))
    static = DynamicVolume(fine, values.reshape(1, -1), TemporalBasis.constant())
    np.testing.assert_allclose(ev.averaged(static, coarse).at(0), expected, rtol=1e-5)


@pytest.mark.parametrize("sparse", [False, True])
def test_cropping_does_not_change_what_is_resampled_inside_the_box(values, sparse):
    support = np.flatnonzero(values > 0.4)
    kept = np.where(values > 0.4, values, 0)
    coefficients = np.stack([kept.reshape(-1), 2 * kept.reshape(-1)])
    basis = TemporalBasis.hats([0.0, 1.0])
    whole = DynamicVolume(SOURCE, coefficients, basis)
    if sparse:
        whole = DynamicVolume(SOURCE, coefficients[:, support], basis, support)
    target = ev.box_grid((-1.2, -1.4, -0.9), (0.8, 1.1, 2.1), 0.3)
    half = target.size_mm / 2
    part = ev.cropped(whole, target.center_mm - half, target.center_mm + half)
    assert part.grid.num_voxels < whole.grid.num_voxels
    expected = ev.resampled(whole.at(0.5), whole.grid, target)
    np.testing.assert_allclose(ev.resampled(part.at(0.5), part.grid, target), expected, atol=1e-6)


def test_box_outside_the_volume_gives_zeros(values):
    target = ev.box_grid((50, 50, 50), (52, 52, 52), 0.5)
    part = ev.cropped(DynamicVolume(SOURCE, values.reshape(1, -1), TemporalBasis.constant()), (50,) * 3, (52,) * 3)
    assert not ev.resampled(part.at(0), part.grid, target).any()


@pytest.mark.parametrize("signed", [False, True])
def test_curve_bound_is_never_exceeded(signed):
    rng = np.random.default_rng(2)
    basis = TemporalBasis(np.arange(4.0), (rng.random((3, 4)) - 0.5 * signed).astype(np.float32))
    grid = VolumeGrid((5, 5, 5), (1, 1, 1), (0, 0, 0))
    volume = DynamicVolume(grid, rng.standard_normal((3, 125)).astype(np.float32), basis)
    assert (volume.curves(np.arange(4.0)).max(1) <= ev.curve_bound(volume) + 1e-5).all()


def test_top_mean_above_equals_the_top_mean_of_bright_voxels(values):
    basis = TemporalBasis.hats([0.0, 1.0, 2.0])
    rng = np.random.default_rng(0)
    volume = DynamicVolume(SOURCE, values.reshape(1, -1) * rng.random((3, 1)).astype(np.float32), basis)
    times = np.linspace(0, 2, 21)
    expected, result = volume.top_mean(times), ev.top_mean_above(volume, times, 0.3).at(0)
    bright = expected > 0.3
    np.testing.assert_allclose(result[bright], expected[bright], rtol=1e-5)
    assert (result[~bright] <= 0.3).all()


def test_dice_of_two_boxes_that_share_a_third():
    first, second = np.zeros((2, 10, 10, 10), bool)
    first[2:6], second[4:8] = True, True
    assert ev.dice(first, second) == pytest.approx(0.5)
    assert ev.dice(first & False, first & False) == 1


def test_best_dice_finds_the_threshold_that_separates():
    truth = np.zeros((8, 8, 8), bool)
    truth[2:5] = True
    volume = np.where(truth, 0.6, 0.2).astype(np.float32)
    score, threshold = ev.best_dice(volume, truth, np.linspace(0.05, 0.95, 10))
    assert score == 1
    assert 0.2 <= threshold < 0.6


def test_best_dice_equals_dice_at_that_threshold():
    rng = np.random.default_rng(5)
    truth = rng.random((9, 9, 9)) > 0.6
    volume = (truth * 0.3 + rng.random(truth.shape)).astype(np.float32)
    score, threshold = ev.best_dice(volume, truth, np.geomspace(0.05, 1.2, 24))
    assert score == pytest.approx(ev.dice(volume > threshold, truth))


def test_volume_psnr_of_a_constant_error_is_closed_form(values):
    truth = DynamicVolume(SOURCE, values.reshape(1, -1), TemporalBasis.constant())
    result = DynamicVolume(SOURCE, values.reshape(1, -1) + np.float32(0.01), TemporalBasis.constant())
    psnr = ev.volume_psnr(result, truth, SOURCE, np.arange(5.0))
    expected = 20 * np.log10(values.max() / 0.01)
    assert psnr["psnr_3d_db"] == pytest.approx(expected, abs=1e-2)
    assert psnr["psnr_4d_db"] == pytest.approx(expected, abs=1e-2)
