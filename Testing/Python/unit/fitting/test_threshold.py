import numpy as np
import pytest
from helpers.balls import SHORT_SCAN_DEG, angiogram, ball, c_arm, distance_mm

from DSAReconLib.errors import JobCancelled
from DSAReconLib.fitting.threshold import probability_above, surface_threshold
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.progress import SilentProgress

GRID = VolumeGrid.centered(32, 2.5)


def case(attenuation: float, views: int = 12):
    geometry = c_arm(SHORT_SCAN_DEG[:: 100 // views], pixels=64)
    inside = np.clip((20 - distance_mm(GRID)) / 2.5 + 0.5, 0, 1).astype(np.float32)
    filling = np.linspace(0.2, 2, len(geometry))[:, None, None]
    return angiogram(geometry, attenuation * filling * ball(geometry, radius_mm=20.0)), attenuation * inside


@pytest.mark.parametrize("attenuation", [0.002, 0.05, 3.0])
def test_the_cut_follows_the_contrast_and_lies_at_the_edge_of_the_object(attenuation):
    views, volume = case(attenuation)
    threshold = surface_threshold(volume, views, GRID, progress=SilentProgress())
    radius = (3 * np.count_nonzero(volume > threshold) * 2.5**3 / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(20, abs=0.6)


def test_streaks_below_the_vessels_are_cut_away():
    views, volume = case(0.05)
    rng = np.random.default_rng(0)
    streaks = 0.012 * rng.uniform(0, 1, volume.shape).astype(np.float32)
    threshold = surface_threshold(np.maximum(volume, streaks), views, GRID, progress=SilentProgress())
    assert 0.012 < threshold < 0.045


def test_pixels_without_measurement_have_no_say():
    views, volume = case(0.05)
    spoiled = views.line_integrals.copy()
    spoiled[:, :25] = np.nan
    variance = np.full(spoiled.shape, 1e-4, np.float32)
    variance[:, 38:] = np.inf
    spoiled[:, 38:] = 7
    masked = angiogram(views.geometry, spoiled, variance=variance)
    threshold = surface_threshold(volume, masked, GRID, progress=SilentProgress())
    radius = (3 * np.count_nonzero(volume > threshold) * 2.5**3 / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(20, abs=1.0)


def test_an_empty_volume_gives_a_positive_threshold_that_nothing_exceeds():
    views, volume = case(0.05)
    for empty in (np.zeros_like(volume), np.full_like(volume, -1.0)):
        threshold = surface_threshold(empty, views, GRID, progress=SilentProgress())
        assert threshold > 0
        assert not np.any(empty > threshold)


def test_probability_is_one_half_at_the_threshold_and_keeps_its_bounds():
    values = np.array([-5.0, 0.0, 0.05, 0.1, 0.2, 1e30], np.float32)
    probability = probability_above(values, 0.1)
    np.testing.assert_allclose(probability, [0, 0, 1 / 17, 0.5, 16 / 17, 1], atol=1e-6)


def test_cancelling_takes_effect():
    class Cancelled(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    views, volume = case(0.05)
    with pytest.raises(JobCancelled):
        surface_threshold(volume, views, GRID, progress=Cancelled())
