from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import small_case
from helpers.spins import anatomy, spin, vessels

from DSAReconLib.acquisition import subtract
from DSAReconLib.errors import JobCancelled, PairingError
from DSAReconLib.progress import SilentProgress

FRAMES = 10
ANGLES = -90 + 15.0 * np.arange(FRAMES)
PHOTONS = 5000


def _codes(angiogram):
    return {code for code, _ in angiogram.warnings}


def _expected(frames=FRAMES):
    still = PHOTONS * np.exp(anatomy()) * np.ones((frames, 1, 1))
    return still, vessels(frames)


def _noisy(seed, gain=1.0):
    rng = np.random.default_rng(seed)
    still, contrast = _expected()
    mask = spin(rng.poisson(still), ANGLES)
    fill = spin(rng.poisson(gain * still * np.exp(-contrast)), ANGLES)
    return mask, fill, contrast


def test_equal_angles_take_the_mask_frames_as_they_are():
    still, contrast = _expected()
    still = still * np.exp(0.3 * np.arange(FRAMES))[:, None, None]
    result = subtract(spin(still, ANGLES), spin(still * np.exp(-contrast), ANGLES + 1e-4))
    np.testing.assert_allclose(result.line_integrals, contrast, atol=2e-5)
    np.testing.assert_array_equal(result.frame_index, np.arange(FRAMES))
    assert result.warnings == ()


def test_frames_are_paired_by_angle_and_not_by_index():
    still, contrast = _expected()
    still = still * np.exp(0.1 * np.arange(FRAMES))[:, None, None]
    mask = spin(still[::-1], ANGLES[::-1])
    result = subtract(mask, spin(still * np.exp(-contrast), ANGLES), correct_gain=False)
    np.testing.assert_allclose(result.line_integrals, contrast, atol=2e-5)


def test_between_two_mask_frames_the_logarithm_is_interpolated_along_the_arc():
    still, _ = _expected()
    mask = spin(still * np.exp(0.1 * np.arange(FRAMES))[:, None, None], ANGLES, 2.0 * np.sin(np.arange(FRAMES)))
    share = 0.3
    between = (1 - share) * ANGLES[:-1] + share * ANGLES[1:]
    tilt = 2.0 * ((1 - share) * np.sin(np.arange(9)) + share * np.sin(np.arange(1, 10)))
    fill = spin(still[:-1], between, tilt)
    result = subtract(mask, fill, correct_gain=False)
    np.testing.assert_allclose(result.line_integrals[:, 5, 5], 0.1 * (np.arange(9) + share), atol=2e-3)
    assert "acquisition.interpolated_mask" in _codes(result)


def test_noise_below_zero_is_kept_and_unbiased():
    mask, fill, contrast = _noisy(0)
    result = subtract(mask, fill)
    beside = contrast == 0
    assert 0.45 < np.mean(result.line_integrals[beside] < 0) < 0.55
    normalized = (result.line_integrals - contrast) / np.sqrt(result.variance)
    assert abs(normalized[beside].mean()) < 4 / np.sqrt(beside.sum())
    assert abs(normalized[~beside].mean()) < 0.1


@pytest.mark.parametrize("gain", [1.0, 0.9, 1.25])
def test_the_variance_is_that_of_the_data_for_any_exposure(gain):
    mask, fill, contrast = _noisy(1, gain)
    result = subtract(mask, fill)
    normalized = (result.line_integrals - contrast) / np.sqrt(result.variance)
    assert normalized.var() == pytest.approx(1, abs=0.2)
    assert abs((result.line_integrals - contrast).mean()) < 1e-3
    assert ("acquisition.gain" in _codes(result)) == (gain != 1)


def test_known_counts_are_used_without_estimating():
    rng = np.random.default_rng(2)
    still, contrast = _expected()
    mask = spin(rng.poisson(still) * 4.0, ANGLES, counts_per_unit=0.25)
    fill = spin(rng.poisson(still * np.exp(-contrast)) * 4.0, ANGLES, counts_per_unit=0.25)
    result = subtract(mask, fill)
    normalized = (result.line_integrals - contrast) / np.sqrt(result.variance)
    assert normalized.var() == pytest.approx(1, abs=0.05)


def test_interpolated_masks_have_less_noise():
    rng = np.random.default_rng(3)
    still, _ = _expected()
    mask = spin(rng.poisson(still), ANGLES)
    fill = spin(rng.poisson(still[:-1]), ANGLES[:-1] + 7.5)
    result = subtract(mask, fill)
    assert (result.line_integrals**2 / result.variance).mean() == pytest.approx(1, abs=0.2)
    exact = subtract(mask, spin(rng.poisson(still), ANGLES))
    assert result.variance.mean() == pytest.approx(0.75 * exact.variance.mean(), rel=0.15)


def test_pixels_without_measurement_have_infinite_variance():
    mask, fill, _ = _noisy(4)
    hidden = np.ones((64, 80), bool)
    hidden[:9] = False
    dark = fill.intensity.copy()
    dark[3, 30, 30] = 0
    mask = spin(mask.intensity, ANGLES, valid=hidden)
    for register in ("none", "translation"):
        result = subtract(mask, spin(dark, ANGLES), register=register)
        assert np.isinf(result.variance[:, :9]).all()
        assert (result.line_integrals[:, :9] == 0).all()
        assert np.isinf(result.variance[3, 30, 30])
        assert np.isfinite(result.variance[:, 12:]).mean() > 0.9
        assert np.isfinite(result.line_integrals).all()


def test_validity_may_differ_from_frame_to_frame():
    mask, fill, _ = _noisy(4)
    valid = np.ones(fill.intensity.shape, bool)
    valid[2, 5:8] = False
    result = subtract(mask, spin(fill.intensity, ANGLES, valid=valid))
    np.testing.assert_array_equal(np.isinf(result.variance), ~valid)


def test_frames_beyond_the_mask_arc_are_left_out_with_a_warning():
    still, contrast = _expected()
    fill = spin(np.concatenate([still * np.exp(-contrast), still[-2:]]), -90 + 15.0 * np.arange(FRAMES + 2))
    result = subtract(spin(still, ANGLES), fill)
    assert len(result) == FRAMES + 1
    assert result.frame_index[-1] == FRAMES
    assert result.duration_s == pytest.approx(0.1 * (FRAMES + 1))
    assert "acquisition.outside_arc" in _codes(result)


def test_runs_on_different_arcs_are_refused():
    still, _ = _expected()
    with pytest.raises(PairingError) as caught:
        subtract(spin(still, ANGLES), spin(still, ANGLES + 60))
    assert caught.value.code == "acquisition.arc"
    with pytest.raises(PairingError):
        subtract(spin(still, ANGLES), spin(still, ANGLES, 30.0))


def test_swapped_runs_are_noticed():
    mask, fill, _ = _noisy(5)
    assert "acquisition.negative_contrast" in _codes(subtract(fill, mask))


def test_registration_takes_misregistered_bone_out_of_the_difference():
    from scipy.ndimage import shift as moved

    rng = np.random.default_rng(6)
    still = anatomy((96, 96))
    other = moved(still, (0.6, -0.4), order=5, mode="mirror")
    contrast = vessels(4, (96, 96))
    mask = spin(rng.poisson(PHOTONS * np.exp(still) * np.ones((4, 1, 1))), ANGLES[:4])
    fill = spin(rng.poisson(PHOTONS * np.exp(other - contrast)), ANGLES[:4])
    inner = np.s_[:, 4:-4, 4:-4]
    plain, registered = (subtract(mask, fill, register=how) for how in ("none", "translation"))
    chi = [np.mean(((a.line_integrals - contrast) ** 2 / a.variance)[inner]) for a in (plain, registered)]
    assert chi[0] > 1.3
    assert chi[1] == pytest.approx(1, abs=0.15)
    assert "acquisition.registered" in _codes(registered)


def test_warnings_of_both_runs_are_merged_without_repeats():
    mask, fill, _ = _noisy(0)
    mask = spin(mask.intensity, ANGLES, warnings=(("a", "one"), ("b", "two")), sop_instance_uid="1")
    fill = spin(fill.intensity, ANGLES, warnings=(("b", "two"), ("c", "three")), sop_instance_uid="2")
    result = subtract(mask, fill)
    assert result.warnings[:3] == (("a", "one"), ("b", "two"), ("c", "three"))
    assert result.source_uids == ("1", "2")


def test_subtraction_can_be_cancelled():
    class Impatient(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    mask, fill, _ = _noisy(0)
    with pytest.raises(JobCancelled):
        subtract(mask, fill, progress=Impatient())


def test_an_unknown_registration_is_a_mistake_of_the_caller():
    mask, fill, _ = _noisy(0)
    with pytest.raises(ValueError, match="register"):
        subtract(mask, fill, register="elastic")


def test_a_simulated_run_gives_the_true_line_integrals_within_its_noise():
    mask, fill, truth = small_case(views=20)
    result = subtract(mask, fill, register="translation")
    residual = result.line_integrals - truth.clean_line_integrals
    beside = truth.clean_line_integrals < 1e-3
    assert np.median(residual**2 / result.variance) == pytest.approx(0.455, rel=0.2)
    assert abs(residual[beside].mean()) < 5e-4


def test_edges_that_move_between_mask_frames_are_trusted_less():
    mask, fill, truth = small_case(views=60, mask_angle_offset_deg=1.5)
    result = subtract(mask, fill)
    inner = np.s_[:, 6:-6, 6:-6]
    residual = (result.line_integrals - truth.clean_line_integrals[result.frame_index])[inner]
    variance = result.variance[inner]
    doubtful = variance > np.quantile(variance, 0.95)
    assert residual[doubtful].std() > 2 * residual[~doubtful].std()
    assert np.mean(residual**2 / variance) < 8


def _residual(result, truth):
    finite = np.isfinite(result.variance)
    return np.sqrt(np.mean((result.line_integrals - truth.clean_line_integrals)[finite] ** 2))


def test_turning_frames_takes_more_of_a_moving_head_out_than_shifting_them():
    mask, fill, truth = small_case(views=16, detector=128, misregistration_mm=1.5)
    plain, shifted, turned = (
        _residual(subtract(mask, fill, register=how), truth) for how in ("none", "translation", "rigid")
    )
    assert shifted < 0.8 * plain
    assert turned < 0.95 * shifted


@pytest.mark.parametrize("how", ["translation", "rigid"])
def test_registration_never_harms_a_head_that_kept_still(how):
    for changes in ({}, {"photons": 2000.0}, {"detector": 128, "background": "none"}):
        mask, fill, truth = small_case(views=16, **changes)
        assert _residual(subtract(mask, fill, register=how), truth) < 1.001 * _residual(subtract(mask, fill), truth)


def test_masks_interpolated_over_many_degrees_are_not_turned():
    mask, fill, _ = small_case(views=30, mask_angle_offset_deg=2.0)
    shifted, turned = (subtract(mask, fill, register=how) for how in ("translation", "rigid"))
    np.testing.assert_array_equal(turned.line_integrals, shifted.line_integrals)


def _clipped(run, level):
    return replace(run, intensity=np.minimum(run.intensity, np.float32(level)), saturation=level)


@pytest.mark.parametrize("register", ["none", "rigid"])
def test_clipped_pixels_do_not_count_in_any_way(register):
    mask, fill, contrast = _noisy(7, gain=0.9)
    level = float(np.quantile(mask.intensity, 0.7))
    result = subtract(_clipped(mask, level), _clipped(fill, level), register=register)
    clipped = (mask.intensity >= level) | (fill.intensity >= level)
    assert np.isinf(result.variance[clipped]).all()
    assert np.isfinite(result.variance[~clipped]).all()
    beside = ~clipped & (contrast == 0)
    assert abs(result.line_integrals[beside].mean()) < 0.01, "the exposure is judged by what was measured"
    assert [code for code, _ in result.warnings].count("acquisition.saturated") == 1


def test_the_note_on_clipping_tells_the_open_field_from_hidden_contrast():
    still, contrast = _expected()
    still[:, :, :20] = still.max() * 1.4
    level = float(still.max() / 1.1)
    for added, words in ((np.where(still < level, contrast, 0), "open field"), (2 * contrast, "cannot be measured")):
        result = subtract(_clipped(spin(still, ANGLES), level), _clipped(spin(still * np.exp(-added), ANGLES), level))
        assert words in dict(result.warnings)["acquisition.saturated"]
