import numpy as np
import pytest
from helpers.balls import c_arm

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry.orbit import SourceOrbit


def test_equal_steps_of_an_open_arc_have_equal_widths():
    orbit = SourceOrbit.of(c_arm(np.linspace(-100, 100, 101)))
    np.testing.assert_allclose(np.rad2deg(orbit.width_rad), 2, atol=1e-9)
    assert np.rad2deg(orbit.range_rad) == pytest.approx(202)
    assert not orbit.is_full_turn


def test_irregular_steps_share_the_gaps_between_neighbors():
    orbit = SourceOrbit.of(c_arm([0.0, 1.0, 3.0, 7.0]))
    np.testing.assert_allclose(sorted(np.rad2deg(orbit.width_rad)), [1, 1.5, 3, 4], atol=1e-9)


@pytest.mark.parametrize("angles", [np.arange(90) * 4.0, np.linspace(0, 360, 91), np.linspace(0, 420, 140)])
def test_a_closed_circle_is_recognized_and_counts_every_direction_once(angles):
    orbit = SourceOrbit.of(c_arm(angles))
    assert orbit.is_full_turn
    assert orbit.range_rad == pytest.approx(2 * np.pi)


def test_an_arc_of_340_degrees_is_open():
    assert not SourceOrbit.of(c_arm(np.linspace(0, 340, 171))).is_full_turn


def test_order_and_direction_of_the_views_do_not_matter():
    angles = np.linspace(-100, 100, 33) + np.random.default_rng(0).uniform(-1, 1, 33)
    shuffled = np.random.default_rng(1).permutation(33)
    forward, mixed = SourceOrbit.of(c_arm(angles)), SourceOrbit.of(c_arm(angles[shuffled]))
    np.testing.assert_allclose(mixed.width_rad, forward.width_rad[shuffled], atol=1e-12)
    backward = SourceOrbit.of(c_arm(angles[::-1]))
    np.testing.assert_allclose(backward.width_rad, forward.width_rad[::-1], atol=1e-12)


def test_the_axis_of_a_tilted_run_is_the_patients_axis():
    orbit = SourceOrbit.of(c_arm(np.linspace(-100, 100, 33), 25.0))
    assert abs(orbit.axis[2]) == pytest.approx(1)
    assert np.rad2deg(np.ptp(orbit.angle_rad)) == pytest.approx(200)


def test_two_views_are_enough_and_one_is_not():
    orbit = SourceOrbit.of(c_arm([0.0, 90.0]))
    assert abs(orbit.axis[2]) == pytest.approx(1)
    with pytest.raises(GeometryError, match="at least 2 views"):
        SourceOrbit.of(c_arm([0.0]))
    with pytest.raises(GeometryError, match="same angle"):
        SourceOrbit.of(c_arm([5.0, 5.0, 5.0]))
