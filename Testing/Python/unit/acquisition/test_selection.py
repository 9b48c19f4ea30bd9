import numpy as np
import pytest
from helpers.spins import spin_geometry

from DSAReconLib.acquisition import parse_view_indices, select_views
from DSAReconLib.errors import ConfigError

VIEWS = 133
TIMES = np.linspace(0, 5, VIEWS)
GEOMETRY = spin_geometry(np.linspace(-100, 100, VIEWS))
WASH_IN = 1 / (1 + np.exp(-(TIMES - 1.5) / 0.15))


def test_uniform_is_the_rule_of_the_papers():
    chosen = select_views(TIMES, GEOMETRY, 30)
    assert chosen[:10].tolist() == [0, 4, 8, 13, 17, 22, 26, 31, 35, 39]
    assert chosen[-1] < 132


@pytest.mark.parametrize("strategy", ["uniform", "bolus"])
@pytest.mark.parametrize("count", [2, 10, 15, 30, 60, 100, 132, 133])
def test_any_number_of_distinct_ascending_views_can_be_chosen(strategy, count):
    chosen = select_views(TIMES, GEOMETRY, count, strategy, WASH_IN)
    assert len(chosen) == count
    assert np.all(np.diff(chosen) > 0)
    assert chosen[0] >= 0
    assert chosen[-1] < VIEWS


@pytest.mark.parametrize("count", [10, 15, 30])
def test_bolus_puts_more_views_into_the_wash_in_and_keeps_the_angles_spread(count):
    uniform = select_views(TIMES, GEOMETRY, count)
    chosen = select_views(TIMES, GEOMETRY, count, "bolus", WASH_IN)
    during = (TIMES > 1) & (TIMES < 2)
    assert during[chosen].sum() > 1.5 * during[uniform].sum()
    widest = np.diff(GEOMETRY.primary_angle_deg[chosen]).max()
    assert widest < 2 * 200 / count + 2 * 200 / VIEWS
    assert np.ptp(GEOMETRY.primary_angle_deg[chosen]) > 200 - 2.1 * 200 / count


def test_bolus_takes_images_as_well_as_sums():
    images = WASH_IN[:, None, None] * np.ones((1, 4, 5))
    np.testing.assert_array_equal(
        select_views(TIMES, GEOMETRY, 20, "bolus", images), select_views(TIMES, GEOMETRY, 20, "bolus", WASH_IN)
    )


def test_bolus_without_any_rise_is_even():
    chosen = select_views(TIMES, GEOMETRY, 19, "bolus", np.zeros(VIEWS))
    assert np.ptp(np.diff(chosen)) <= 1


@pytest.mark.parametrize("count", [0, 1, 134])
def test_impossible_numbers_of_views_are_refused(count):
    with pytest.raises(ConfigError) as caught:
        select_views(TIMES, GEOMETRY, count)
    assert caught.value.code == "config.views"


def test_unknown_strategies_and_missing_signals_are_refused():
    with pytest.raises(ConfigError):
        select_views(TIMES, GEOMETRY, 10, "random")
    with pytest.raises(ValueError, match="line_integrals"):
        select_views(TIMES, GEOMETRY, 10, "bolus")
    with pytest.raises(ValueError, match="shape"):
        select_views(TIMES, GEOMETRY, 10, "bolus", np.zeros(5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,4,8", [0, 4, 8]),
        ("8, 4,0,4", [0, 4, 8]),
        ("0:133:40", [0, 40, 80, 120]),
        ("::50", [0, 50, 100]),
        ("130:", [130, 131, 132]),
        ("1,10:13", [1, 10, 11, 12]),
        (":3", [0, 1, 2]),
    ],
)
def test_view_indices_are_numbers_and_ranges(text, expected):
    assert parse_view_indices(text, VIEWS).tolist() == expected


@pytest.mark.parametrize("text", ["", "a", "1", "1,,2", "0:10:0", "-1,5", "1.5,2", "5,133", "1-5", "10:10"])
def test_impossible_view_indices_are_refused_with_an_example(text):
    with pytest.raises(ConfigError) as caught:
        parse_view_indices(text, VIEWS)
    assert caught.value.code == "config.view_indices"
    assert caught.value.hint
