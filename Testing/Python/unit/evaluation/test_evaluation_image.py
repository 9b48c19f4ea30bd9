import numpy as np
import pytest
from skimage.metrics import structural_similarity

from DSAReconLib.evaluation.image import compare_images, contrast_range, frame_peaks, normalized, psnr_db, ssim


@pytest.fixture
def frames() -> np.ndarray:
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[:40, :48]
    base = np.exp(-((xx - 20) ** 2) / 18.0) * (1 + 0.2 * np.sin(yy / 5))
    return np.stack([base * s + 0.01 * rng.standard_normal(base.shape) for s in (1.0, 0.7, 0.4)]).astype(np.float32)


def test_constant_offset_gives_the_closed_form_psnr():
    reference = np.zeros((8, 8), np.float32)
    assert psnr_db(reference + 0.1, reference, 2.0) == pytest.approx(20 * np.log10(2.0 / 0.1), abs=1e-4)


def test_identical_images_have_infinite_psnr_and_ssim_one(frames):
    assert psnr_db(frames[0], frames[0], 1.0) == np.inf
    assert ssim(frames[0], frames[0], 1.0) == pytest.approx(1)


def test_ssim_equals_skimage_where_everything_is_measured(frames):
    expected = structural_similarity(frames[0], frames[1], data_range=1.3, win_size=7)
    assert ssim(frames[0], frames[1], 1.3) == pytest.approx(expected, abs=1e-6)


def test_normalized_metrics_are_blind_to_scale_and_the_others_are_not(frames):
    result = compare_images(1.5 * frames, frames, data_range=1.2)
    assert result["psnr_normalized_db"] > 80
    assert result["ssim_normalized"] == pytest.approx(1, abs=1e-5)
    assert result["psnr_db"] < 25
    assert result["relative_l1"] == pytest.approx(0.5, abs=1e-5)


def test_negative_noise_is_clipped_before_normalization():
    image = np.array([[-5.0, 0.0], [1.0, 2.0]], np.float32)
    np.testing.assert_allclose(normalized(image), [[0, 0], [0.5, 1]])


def test_constant_image_normalizes_to_zero_instead_of_nan():
    assert not normalized(np.full((4, 4), 3.0, np.float32)).any()


def test_unmeasured_pixels_change_nothing(frames):
    measured = np.ones(frames.shape, bool)
    measured[:, :, :9] = False
    prediction = np.roll(frames, 1, 1)
    first = compare_images(prediction, frames, data_range=1.0, measured=measured)
    broken = frames.copy()
    broken[:, :, :9] = 77
    second = compare_images(prediction + 5 * ~measured, broken, data_range=1.0, measured=measured)
    assert first == pytest.approx(second)


def test_range_is_the_median_of_the_frame_maxima(frames):
    assert contrast_range(frame_peaks(frames)) == pytest.approx(frames[1].max())


def test_frames_without_contrast_do_not_set_the_range_when_they_are_most():
    assert contrast_range(np.array([0.0, 0.0, 0.01, 0.0, 2.0, 3.0, 4.0, 0.0])) == pytest.approx(3.0)
    assert contrast_range(np.zeros(4)) == 0


def test_a_noisy_pixel_behind_bone_does_not_count_as_contrast(frames):
    variance = np.full(frames.shape, 1e-4)
    frames[0, 3, 3], variance[0, 3, 3] = 50, 20.0**2
    frames[1, 5, 5], variance[1, 5, 5] = 60, np.inf
    assert frame_peaks(frames, variance).max() < 1.3
    assert frame_peaks(frames)[0] == 50


def test_frames_of_noise_alone_have_no_peak():
    noise = 0.01 * np.random.default_rng(0).standard_normal((4, 64, 64)).astype(np.float32)
    assert not frame_peaks(noise, 1e-4).any()


def test_only_counted_frames_enter(frames):
    prediction = frames.copy()
    prediction[2] += 1
    counted = np.array([True, True, False])
    assert compare_images(prediction, frames, data_range=1.0, frames=counted)["relative_l1"] == 0
    assert np.isnan(compare_images(prediction, frames, data_range=1.0, frames=counted & False)["psnr_db"])


def test_different_shapes_are_refused(frames):
    with pytest.raises(ValueError, match="same shape"):
        compare_images(frames[:2], frames, data_range=1.0)
