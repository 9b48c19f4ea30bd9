from functools import lru_cache

import numpy as np
import pytest
from helpers.balls import angiogram, ball, c_arm, distance_mm

from DSAReconLib.errors import JobCancelled
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.dsa4d.config import PRESETS, Config
from DSAReconLib.methods.dsa4d.reconstruct import reconstruct
from DSAReconLib.methods.dsa4d.temporal_weights import combine_neighbors
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.progress import SilentProgress

GRID = VolumeGrid.centered(36, 2.4)
FIRST_MM, SECOND_MM = (-20.0, 0.0, 18.0), (15.0, 10.0, -18.0)
GEOMETRY = c_arm(np.linspace(-100, 100, 45), pixels=80)
TIMES_S = np.linspace(0, 5, 45)


def filling(arrival_s: float) -> np.ndarray:
    return np.clip((TIMES_S - arrival_s) / 0.5 + 0.5, 0, 1)


def run(line_integrals, config=None, *, order=slice(None), progress=None, **changes):
    views = angiogram(GEOMETRY, line_integrals, **changes).select(order)
    return reconstruct(views, GRID, config or Config(), device="cpu", progress=progress or SilentProgress())


def two_balls() -> np.ndarray:
    return 0.04 * (
        filling(1.5)[:, None, None] * ball(GEOMETRY, FIRST_MM, 9.0)
        + filling(3.0)[:, None, None] * ball(GEOMETRY, SECOND_MM, 9.0)
    )


@lru_cache
def standard():
    """Result for the two balls; treat its arrays as read-only."""
    return run(two_balls())


def test_two_vessels_get_their_own_arrival_time_and_attenuation():
    result = standard()
    arrival = result.volume.arrival_time(TIMES_S, 0.005)
    for center, expected in ((FIRST_MM, 1.5), (SECOND_MM, 3.0)):
        inside = distance_mm(GRID, center) < 6
        assert np.nanmedian(arrival[inside]) == pytest.approx(expected, abs=0.12)
        assert result.volume.at(4.9)[inside].mean() == pytest.approx(0.04, rel=0.3)
        assert result.volume.at(0.0)[inside].mean() < 0.004


def test_result_is_sparse_with_hats_at_the_view_times():
    result = standard()
    np.testing.assert_allclose(result.volume.basis.times_s, TIMES_S)
    assert result.volume.coefficients.shape == (45, len(result.volume.support))
    assert result.volume.coefficients.dtype == np.float32
    assert len(result.volume.support) < 0.1 * GRID.num_voxels
    np.testing.assert_array_equal(np.flatnonzero(result.maps["constraint"]), result.volume.support)
    assert result.facts["support_voxels"] == len(result.volume.support)


def test_surface_has_the_volume_of_the_vessels():
    result = standard()
    surface = result.volume.top_mean(TIMES_S) > result.surface_threshold
    assert surface.sum() * 2.4**3 == pytest.approx(2 * 4 / 3 * np.pi * 9**3, rel=0.2)
    assert np.all((result.vessel_probability >= 0.5) == (result.volume.top_mean(TIMES_S) >= result.surface_threshold))


def test_order_of_the_views_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(45)
    first, second = standard(), run(two_balls(), order=shuffled)
    np.testing.assert_array_equal(first.volume.support, second.volume.support)
    np.testing.assert_allclose(first.volume.coefficients, second.volume.coefficients, atol=1e-5)


def test_doubled_contrast_doubles_the_attenuation():
    first, second = standard(), run(2 * two_balls())
    np.testing.assert_allclose(second.volume.at(3.3), 2 * first.volume.at(3.3), atol=1e-5)


def test_unmeasured_pixels_do_not_dim_the_vessels():
    frames = two_balls()
    variance = np.full(frames.shape, 1e-4, np.float32)
    variance[:, :, 39:41] = np.inf
    result = run(np.where(np.isinf(variance), 9.0, frames), variance=variance)
    complete = standard()
    inside = distance_mm(GRID, FIRST_MM) < 6
    assert result.volume.at(4.9)[inside].mean() == pytest.approx(complete.volume.at(4.9)[inside].mean(), rel=0.15)


def test_frames_without_contrast_give_an_empty_volume_and_a_warning():
    progress = SilentProgress()
    result = run(np.zeros((45, 80, 80)), progress=progress)
    assert result.volume.coefficients.shape == (45, 0)
    assert [code for code, _ in progress.warnings] == ["dsa4d.empty"]
    assert np.all(result.volume.at(1.0) == 0)
    assert np.all(result.vessel_probability == 0)


def test_a_view_in_which_a_vessel_is_hidden_counts_less():
    ratios = np.array([[1.0], [3.0], [1.0]], np.float32)
    crossed = np.array([[1.0], [10.0], [1.0]], np.float32)
    times = np.array([0.0, 0.1, 0.2])
    plain = combine_neighbors(ratios, crossed, times, times, width_s=0.1, power=0.0)
    wary = combine_neighbors(ratios, crossed, times, times, width_s=0.1, power=2.0)
    assert plain[1, 0] > 1.8
    assert wary[1, 0] < 1.1


def test_no_width_takes_every_view_alone():
    ratios = np.random.default_rng(0).uniform(0, 3, (5, 7)).astype(np.float32)
    times = np.arange(5.0)
    combined = combine_neighbors(ratios, np.ones_like(ratios), times, times, width_s=0.0, power=1.0)
    np.testing.assert_allclose(combined, ratios, rtol=1e-6)


def test_voxels_outside_of_a_view_are_read_from_the_others():
    ratios, crossed = np.array([[1.0], [3.0]], np.float32), np.array([[1.0], [0.0]], np.float32)
    times = np.array([0.0, 0.1])
    combined = combine_neighbors(ratios, crossed, times, times, width_s=0.1, power=1.0)
    np.testing.assert_allclose(combined, 1, atol=1e-4)


def test_cancelling_takes_effect_in_every_stage():
    class CancelledAfter(SilentProgress):
        def __init__(self, calls):
            super().__init__()
            self.calls = calls

        def check_cancelled(self):
            self.calls -= 1
            if self.calls < 0:
                raise JobCancelled

    for calls in (0, 5, 30, 60):
        with pytest.raises(JobCancelled):
            run(two_balls(), progress=CancelledAfter(calls))


def test_presets_are_valid_configs():
    for preset in PRESETS:
        assert isinstance(build_config("dsa4d", preset), Config)
