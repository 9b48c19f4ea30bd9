"""What VPAL changes from step to step, and its presets."""

import numpy as np
import pytest

from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.vpal.config import GRID_SIZES, PRESETS, Config
from DSAReconLib.methods.vpal.schedule import active_levels, perturbed_times, prior_factor, rate_factor

PAPER = build_config("vpal", "paper")


def test_the_paper_preset_has_the_published_sizes_and_schedule():
    assert (PAPER.iterations, PAPER.rays, PAPER.points) == (100_000, 2048, 0)
    assert (PAPER.levels, PAPER.features, PAPER.log2_entries, PAPER.hidden, PAPER.layers) == (12, "8", 19, 128, 3)
    assert (PAPER.base_resolution, PAPER.growth) == (8, 1.45)
    assert (PAPER.base_resolution_time, PAPER.growth_time) == (2, 1.4)
    assert (PAPER.loss, PAPER.prior_weight, PAPER.prior_points, PAPER.prior_warmup) == ("l1", 0.01, 10_000, 0)
    assert (PAPER.occupancy, PAPER.volume, PAPER.jitter, PAPER.step_voxels) == ("none", "total", False, 2)
    levels = [active_levels(PAPER, step) for step in (0, 2499, 2500, 19_999, 20_000, 99_999)]
    assert levels == [4, 4, 5, 11, 12, 12]
    rates = [rate_factor(PAPER, step) for step in (0, 4999, 5000, 99_999)]
    assert rates == pytest.approx([1, 1, 0.9, 0.9**19])
    assert PAPER.learning_rate == PAPER.table_learning_rate == 7.5e-4


def test_the_rates_rise_before_they_fall():
    config = Config(iterations=100, rate_warmup=0.2, rate_decay=0.5)
    rates = [rate_factor(config, step) for step in (0, 4, 9, 19, 20)]
    assert rates == pytest.approx([0.05, 0.25, 0.5 * 0.5, 0.5**3, 0.5**4])


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_valid(preset):
    assert isinstance(build_config("vpal", preset), Config)
    assert preset in GRID_SIZES


def test_progressive_activation_can_be_switched_off():
    config = Config(progressive=False, levels=7)
    assert active_levels(config, 0) == 7


def test_half_of_the_rays_are_perturbed_with_the_published_weights():
    views, count = 30, 4000
    times = np.full(count, 0.5)
    moved, weights = perturbed_times(times, views, PAPER, np.random.default_rng(0))
    shift = moved - 0.5
    assert not shift[count // 2 :].any()
    assert np.all(weights[count // 2 :] == 1)
    assert shift[: count // 2].std() == pytest.approx(1 / views, rel=0.05)
    three_sigma = 1 / (1 + 10 * views / 3 * np.abs(shift[: count // 2]))
    np.testing.assert_allclose(weights[: count // 2], three_sigma, rtol=1e-4)
    assert 1 / (1 + 10 * views / 3 * (3 / views)) == pytest.approx(1 / 11)


def test_perturbed_times_stay_in_the_run_and_can_be_left_alone():
    ends = np.repeat([0.0, 1.0], 500)
    moved, _ = perturbed_times(ends[::-1], 4, Config(), np.random.default_rng(1))
    assert 0 <= moved.min() <= moved.max() <= 1
    same, weights = perturbed_times(ends, 4, Config(perturbation=False), np.random.default_rng(1))
    np.testing.assert_array_equal(same, ends)
    assert np.all(weights == 1)


def test_the_prior_waits_for_contrast_only_if_asked_to():
    assert prior_factor(PAPER, 0) == 1
    config = Config(prior_warmup=0.4, iterations=100)
    assert [prior_factor(config, step) for step in (0, 20, 30, 40, 99)] == pytest.approx([0, 0, 0.5, 1, 1])
