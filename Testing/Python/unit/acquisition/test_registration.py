import numpy as np
import pytest
from helpers.spins import anatomy
from scipy.ndimage import affine_transform
from scipy.ndimage import shift as moved

from DSAReconLib.acquisition.registration import estimate_motion
from DSAReconLib.acquisition.warping import ShiftedSpline, move_image

PHOTONS = 8000


def _frames(shift, seed, shape=(128, 128), contrast=1.0):
    rng = np.random.default_rng(seed)
    still = anatomy(shape, seed=5)
    blood = np.zeros(shape)
    blood[40:43, 10:120], blood[20:110, 60:64] = 0.3 * contrast, 0.9 * contrast
    other = moved(still, shift, order=5, mode="mirror") - blood
    return tuple(
        np.log(np.maximum(rng.poisson(PHOTONS * np.exp(image)), 1)).astype(np.float32) for image in (still, other)
    )


@pytest.mark.parametrize("shift", [(0.5, 0.5), (-0.5, 0.25), (0.0, -0.7), (3.2, -2.6)])
def test_a_shift_is_found_within_two_hundredths_of_a_pixel_beside_vessels(shift):
    estimates = np.array([estimate_motion(*_frames(shift, seed)).row_column_px for seed in range(4)])
    np.testing.assert_allclose(estimates, [shift] * 4, atol=0.04)
    np.testing.assert_allclose(estimates.mean(axis=0), shift, atol=0.015)


def test_frames_that_did_not_move_stay_exactly_where_they_are():
    for seed in range(6):
        estimate = estimate_motion(*_frames((0, 0), seed))
        assert estimate.row_column_px == (0.0, 0.0)
        assert estimate.reliable


def test_an_exposure_difference_is_no_shift():
    mask, fill = _frames((0.5, -0.5), 0)
    np.testing.assert_allclose(estimate_motion(mask, fill + np.float32(0.4)).row_column_px, (0.5, -0.5), atol=0.03)


def test_an_image_without_structure_is_not_moved():
    rng = np.random.default_rng(0)
    flat = [np.log(rng.poisson(PHOTONS, (96, 96))).astype(np.float32) for _ in range(2)]
    variance = np.full((96, 96), 1 / PHOTONS, np.float32)
    estimate = estimate_motion(*flat, mask_variance=variance)
    assert estimate.row_column_px == (0.0, 0.0)
    assert not estimate.reliable


def test_structure_along_one_direction_fixes_that_direction_only():
    rng = np.random.default_rng(0)
    profile = np.cumsum(rng.normal(0, 0.1, 128))
    still = np.tile(np.convolve(profile, np.ones(5) / 5, "same"), (128, 1))
    other = moved(still, (0, 0.6), order=5, mode="nearest")
    mask, fill = (np.log(rng.poisson(PHOTONS * np.exp(image))).astype(np.float32) for image in (still, other))
    estimate = estimate_motion(mask, fill, mask_variance=np.full(mask.shape, 1 / PHOTONS, np.float32))
    assert estimate.row_column_px[1] == pytest.approx(0.6, abs=0.05)
    assert abs(estimate.row_column_px[0]) < 0.05
    assert not estimate.reliable


def test_a_tiny_or_hidden_image_is_left_alone():
    tiny = np.zeros((8, 8), np.float32)
    assert estimate_motion(tiny, tiny).row_column_px == (0.0, 0.0)
    mask, fill = _frames((0.5, 0.5), 0)
    assert not estimate_motion(mask, fill, np.zeros(mask.shape, bool)).reliable


def test_the_spline_moves_an_image_like_scipy():
    image = anatomy((40, 50)).astype(np.float32)
    for vector in ((0.0, 0.0), (0.3, -0.8), (-4.25, 2.5)):
        expected = moved(image, vector, order=3, mode="mirror")
        result = ShiftedSpline(image, 8).at(np.array(vector))[0]
        np.testing.assert_allclose(result[6:-6, 6:-6], expected[6:-6, 6:-6], atol=2e-6)


def test_slopes_of_the_spline_are_its_differences():
    spline = ShiftedSpline(anatomy((40, 50)).astype(np.float32), 4)
    _, along_rows, along_columns = spline.at(np.zeros(2), slopes=True)
    for axis, slope in ((0, along_rows), (1, along_columns)):
        step = np.eye(2)[axis] * 0.05
        difference = (spline.at(-step)[0] - spline.at(step)[0]) / 0.1
        np.testing.assert_allclose(slope, difference, atol=2e-4)


def test_the_variance_of_a_shifted_image_is_that_of_the_interpolated_noise():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, (256, 256)).astype(np.float32)
    image, variance = move_image(noise, np.full(noise.shape, 0.01, np.float32), (0.5, 0.3))
    finite = np.isfinite(variance)
    assert image[finite].var() == pytest.approx(float(variance[finite].mean()), rel=0.03)
    assert variance[finite].mean() < 0.0085


def test_hidden_pixels_move_along_and_do_not_ring():
    image = anatomy((64, 64)).astype(np.float32)
    variance = np.full(image.shape, 1e-4, np.float32)
    dark = image.copy()
    dark[:10], variance[:10] = -20, np.inf
    result, spread = move_image(dark, variance, (2.4, 0.0))
    assert np.isinf(spread[:13]).all()
    expected = moved(image, (2.4, 0.0), order=3, mode="mirror")
    finite = np.isfinite(spread)
    assert finite.sum() > 45 * 64
    np.testing.assert_allclose(result[finite], expected[finite], atol=0.02)


def _turned_frames(shift, turn_deg, seed, shape=(128, 144)):
    rng = np.random.default_rng(seed)
    still = anatomy(shape, seed=5)
    middle, angle = (np.array(shape) - 1) / 2, np.deg2rad(turn_deg)
    # content clockwise: what was right of the middle is now below it
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    other = affine_transform(still, back, middle - back @ (middle + shift), order=5, mode="mirror")
    blood = np.zeros(shape)
    blood[40:43, 10:120], blood[20:110, 60:64] = 0.3, 0.9
    return tuple(
        np.log(np.maximum(rng.poisson(PHOTONS * np.exp(image)), 1)).astype(np.float32)
        for image in (still, other - blood)
    )


@pytest.mark.parametrize(("shift", "turn_deg"), [((0.4, -0.6), 0.5), ((0.0, 0.0), -0.8), ((-2.2, 1.5), 1.5)])
def test_a_turn_is_found_along_with_the_shift_beside_vessels(shift, turn_deg):
    found = [estimate_motion(*_turned_frames(shift, turn_deg, seed), turn=True) for seed in range(3)]
    np.testing.assert_allclose([motion.row_column_px for motion in found], [shift] * 3, atol=0.05)
    np.testing.assert_allclose([motion.turn_deg for motion in found], [turn_deg] * 3, atol=0.05)
    assert all(motion.reliable for motion in found)


def test_frames_that_did_not_turn_stay_exactly_where_they_are():
    for seed in range(6):
        motion = estimate_motion(*_frames((0, 0), seed), turn=True)
        assert motion.row_column_px == (0.0, 0.0)
        assert motion.turn_deg == 0


def test_moving_by_the_found_motion_takes_it_off():
    mask, fill = _turned_frames((1.2, -0.7), 0.9, 0)
    motion = estimate_motion(mask, fill, turn=True)
    variance = np.full(mask.shape, 1 / PHOTONS, np.float32)
    beside = np.s_[50:100, 70:130]
    before = np.std((mask - fill)[beside])
    after = np.std((move_image(mask, variance, motion.row_column_px, motion.turn_deg)[0] - fill)[beside])
    noise = np.std((_turned_frames((0, 0), 0, 1)[0] - _turned_frames((0, 0), 0, 2)[0])[beside])
    assert before > 1.5 * noise
    assert after < 1.05 * noise


def test_the_variance_of_a_turned_image_is_that_of_the_interpolated_noise():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, (256, 256)).astype(np.float32)
    image, variance = move_image(noise, np.full(noise.shape, 0.01, np.float32), (0.5, 0.3), 1.0)
    finite = np.isfinite(variance)
    assert finite.mean() > 0.97
    assert np.mean(image[finite] ** 2 / variance[finite]) == pytest.approx(1, abs=0.03)
    sharp = finite & (variance > 0.0095)
    assert image[sharp].var() > 1.5 * image[finite & (variance < 0.006)].var()
