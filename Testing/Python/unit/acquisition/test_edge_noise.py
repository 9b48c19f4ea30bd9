import numpy as np
import pytest
from helpers.cases import small_case
from helpers.spins import spin_geometry
from scipy.ndimage import gaussian_filter

from DSAReconLib.acquisition import Angiogram, subtract
from DSAReconLib.acquisition.edge_noise import edge_variance, sharpness
from DSAReconLib.acquisition.warping import image_at, move_image

NOISE = 0.01


def _steps(shift, sigma_px=0.0, shape=(128, 128)):
    """Discs with sharp rims, sampled at points or seen through a blur that pixels can resolve."""
    fine = 5 if sigma_px else 1
    rows, columns = np.mgrid[: shape[0] * fine, : shape[1] * fine]
    rows, columns = (rows + 0.5) / fine - 0.5 - shift[0], (columns + 0.5) / fine - 0.5 - shift[1]
    image = np.zeros(rows.shape)
    for row, column, radius in ((40, 40, 25.3), (70, 80, 40.1), (90, 30, 18.7), (64, 64, 55.2)):
        image += 0.4 * ((rows - row) ** 2 + (columns - column) ** 2 < radius**2)
    if sigma_px:
        image = gaussian_filter(image, sigma_px * fine).reshape(shape[0], fine, shape[1], fine).mean((1, 3))
    return image


def _difference(sigma_px, seed=0):
    rng = np.random.default_rng(seed)
    shift = (0.45, -0.35)
    mask, fill = (
        (-_steps(by, sigma_px) + NOISE * rng.standard_normal((128, 128))).astype(np.float32) for by in ((0, 0), shift)
    )
    variance = np.full(mask.shape, NOISE**2, np.float32)
    moved, kept = move_image(mask, variance, shift)
    return sharpness(mask, variance), moved - fill, kept + variance


def _inner(image):
    return image[6:-6, 6:-6]


def test_what_interpolation_leaves_of_sharp_edges_counts_as_noise():
    sharp, difference, variance = _difference(0)
    before = _inner(difference / np.sqrt(variance))
    after = _inner(difference / np.sqrt(variance + edge_variance(sharp, difference, variance)))
    assert np.sqrt(np.mean(before**2)) > 3
    assert np.sqrt(np.mean(after**2)) == pytest.approx(1, abs=0.4)
    assert np.mean(np.abs(after) > 4) < 0.2 * np.mean(np.abs(before) > 4)


def test_pixels_beside_edges_keep_their_variance():
    sharp, difference, variance = _difference(0)
    added = edge_variance(sharp, difference, variance) / variance
    assert np.median(added) < 0.05
    assert added.max() > 10


def test_images_that_the_pixels_resolve_get_hardly_any_edge_noise():
    sharp, difference, variance = _difference(1.2)
    assert np.mean(edge_variance(sharp, difference, variance)) < 0.1 * np.mean(variance)


def test_noise_alone_is_not_sharp():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, NOISE, (200, 200)).astype(np.float32)
    sharp = sharpness(noise, np.full(noise.shape, NOISE**2, np.float32))
    assert sharp.mean() < 0.1 * NOISE**2


def test_places_of_a_whole_shift_give_the_shifted_image_and_hide_what_comes_from_outside():
    image = _steps((0, 0), 1.0).astype(np.float32)
    variance = np.full(image.shape, NOISE**2, np.float32)
    place = np.stack(np.mgrid[:128, :128]).astype(np.float32) - np.array([3, -2], np.float32)[:, None, None]
    moved, spread = image_at(image, variance, place)
    np.testing.assert_allclose(moved[3:, :-2], image[:-3, 2:], atol=1e-5)
    assert np.isinf(spread[:3]).all()
    assert np.isinf(spread[:, -2:]).all()
    np.testing.assert_allclose(spread[3:, :-2], NOISE**2, rtol=1e-3)


def test_binning_and_selecting_keep_the_variance_that_is_counting_noise():
    rng = np.random.default_rng(0)
    variance = rng.uniform(1, 3, (3, 8, 8)).astype(np.float32)
    share = rng.uniform(0.1, 1, (3, 8, 8)).astype(np.float16)
    variance[0, :2, :2] = np.inf
    geometry = spin_geometry(np.array([0.0, 20.0, 40.0]), shape=(8, 8))
    angiogram = Angiogram(
        np.zeros((3, 8, 8), np.float32), variance, geometry, np.arange(3.0), 2.0, np.arange(3), counting_share=share
    )
    binned = angiogram.select([2, 1]).binned(2)
    counting = (variance * share)[[2, 1]].reshape(2, 4, 2, 4, 2).mean((2, 4)) / 4
    np.testing.assert_allclose(binned.variance * binned.counting_share, counting, rtol=2e-3)
    assert np.isfinite(angiogram.binned(2).counting_share).all()


def test_only_frames_that_moved_have_edge_noise():
    still, moved = (small_case(views=8, detector=96, misregistration_mm=by)[:2] for by in (0.0, 0.6))
    assert subtract(*still, register="rigid").counting_share is None
    angiogram = subtract(*moved, register="rigid")
    assert angiogram.counting_share is not None
    assert angiogram.counting_share.min() < 0.3
    assert np.median(angiogram.counting_share) > 0.9
    with pytest.raises(ValueError, match="counting_share must have shape"):
        Angiogram(
            angiogram.line_integrals,
            angiogram.variance,
            angiogram.geometry,
            angiogram.times_s,
            angiogram.duration_s,
            angiogram.frame_index,
            counting_share=angiogram.counting_share[:, :4],
        )
