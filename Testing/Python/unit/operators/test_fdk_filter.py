import numpy as np
import pytest
import scipy.fft
from helpers.balls import FULL_TURN_DEG, SHORT_SCAN_DEG, c_arm

from DSAReconLib.geometry.orbit import SourceOrbit
from DSAReconLib.operators.fdk import WINDOWS, FdkFilter, fan_angles, fill_unmeasured, parker_weights, ramp_response


def test_ramp_rises_linearly_and_keeps_a_little_of_the_mean():
    response = ramp_response(512, 0.5)
    frequency = scipy.fft.rfftfreq(512, 0.5)
    np.testing.assert_allclose(response[5:], frequency[5:], rtol=0.01)
    assert 0 < response[0] < 1e-3


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("samples", [180, 225])
def test_windows_leave_low_frequencies_and_end_at_the_cutoff(window, samples):
    plain = ramp_response(samples, 1.0)
    shaped = ramp_response(samples, 1.0, window, 0.5)
    assert shaped[1] == pytest.approx(plain[1], rel=0.1 if window == "hamming" else 0.01)
    frequency = np.arange(len(shaped)) / samples
    assert np.all(shaped[frequency > 0.2501] == 0)
    assert np.all(shaped <= plain + 1e-7)
    if window in ("hann", "cosine"):
        assert shaped[np.argmin(abs(frequency - 0.25))] < 0.02


def test_unknown_windows_and_cutoffs_are_refused():
    with pytest.raises(ValueError, match="kaiser"):
        ramp_response(64, 1.0, "kaiser")
    with pytest.raises(ValueError, match="cutoff"):
        ramp_response(64, 1.0, "hann", 1.5)


@pytest.mark.parametrize("arc", [197.0, 230.0, 300.0, 340.0])
@pytest.mark.parametrize("direction", [1, -1])
def test_parker_shares_of_a_ray_and_its_opposite_sum_to_one(arc, direction):
    geometry = c_arm(direction * np.linspace(0, arc, 700))
    orbit = SourceOrbit.of(geometry)
    fan = fan_angles(geometry, orbit)
    weights = parker_weights(orbit, fan)
    turn = orbit.angle_rad
    order = np.argsort(turn)
    for column in (7, 32, 57):
        gamma = fan[0, column]
        opposite = turn + np.pi + 2 * gamma
        inside = (opposite > turn.min()) & (opposite < turn.max())
        other = np.array([np.interp(-gamma, f[np.argsort(f)], w[np.argsort(f)]) for f, w in zip(fan, weights)])
        total = weights[:, column] + np.interp(opposite, turn[order], other[order])
        np.testing.assert_allclose(total[inside], 1, atol=0.02)
        alone = ~inside & (turn - np.pi + 2 * gamma < turn.min())
        np.testing.assert_allclose(weights[alone, column], 1, atol=0.02)


def test_reversing_the_run_reverses_the_weights():
    forward, backward = c_arm(SHORT_SCAN_DEG), c_arm(SHORT_SCAN_DEG[::-1])
    weights = [parker_weights(SourceOrbit.of(g), fan_angles(g, SourceOrbit.of(g))) for g in (forward, backward)]
    np.testing.assert_allclose(weights[0], weights[1][::-1], atol=1e-6)
    assert np.abs(weights[0] - weights[0][::-1]).max() > 0.5, "the weights are not symmetric, so the order matters"


def test_missing_pixels_are_bridged_and_borders_fall_to_zero():
    row = np.array([[[9, 9, 2, np.nan, np.nan, 8, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7]]], np.float32)
    measured = np.array([[[False] * 2 + [True] + [False] * 2 + [True] + [False] * 10]])
    filled = fill_unmeasured(row, measured)[0, 0]
    np.testing.assert_allclose(filled[2:6], [2, 4, 6, 8])
    np.testing.assert_allclose(filled[:3], [0, 1, 2], atol=1e-6)
    np.testing.assert_allclose(filled[5:9], [8, 4, 0, 0], atol=1e-6)


def test_rows_without_measurement_are_zero():
    filled = fill_unmeasured(np.full((1, 2, 4), np.inf, np.float32), np.zeros((1, 2, 4), bool))
    np.testing.assert_array_equal(filled, 0)


def test_filtering_in_blocks_changes_nothing():
    geometry = c_arm(SHORT_SCAN_DEG[::12], pixels=24)
    frames = np.random.default_rng(0).normal(size=(len(geometry), 24, 24)).astype(np.float32)
    fdk_filter = FdkFilter(geometry)
    parts = [fdk_filter(frames[k : k + 5], slice(k, k + 5)) for k in range(0, len(geometry), 5)]
    whole = fdk_filter(frames, slice(0, len(geometry)))
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5 * np.abs(whole).max())


def test_warnings_depend_on_the_arc():
    assert FdkFilter(c_arm(FULL_TURN_DEG)).warnings == ()
    assert FdkFilter(c_arm(SHORT_SCAN_DEG)).warnings == ()
    (code, message), *_ = FdkFilter(c_arm(np.linspace(0, 160, 81))).warnings
    assert code == "fdk.short_arc"
    assert "162 degrees" in message
    assert "194 degrees" in message
