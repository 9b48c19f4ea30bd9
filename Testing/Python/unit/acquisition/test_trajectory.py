import numpy as np
import pytest
from helpers.spins import spin_geometry

from DSAReconLib.acquisition.trajectory import match_poses

ARC = spin_geometry(np.linspace(-90, 90, 19))


def test_poses_on_the_arc_are_placed_between_their_neighbors():
    match = match_poses(ARC, spin_geometry(np.array([-90.0, -87.0, 0.0, 33.0, 90.0])))
    position = match.lower + match.weight
    np.testing.assert_allclose(position, [0, 0.3, 9, 12.3, 18], atol=0.01)
    assert match.distance_deg.max() < 0.3
    assert match.step_deg == pytest.approx(10)
    assert set(match.weight[[0, 2, 4]]) <= {0.0, 1.0}


def test_poses_beside_and_beyond_the_arc_have_their_distance():
    match = match_poses(ARC, spin_geometry(np.array([0.0, 105.0]), np.array([8.0, 0.0])))
    np.testing.assert_allclose(match.distance_deg, [8, 15], rtol=0.02)
    np.testing.assert_allclose(match.distance_steps, [0.8, 1.5], rtol=0.02)


def test_frames_that_stand_still_do_no_harm():
    still = spin_geometry(np.array([0.0, 0.0, 0.0, 10.0, 20.0, 20.0]))
    match = match_poses(still, spin_geometry(np.array([0.0, 5.0, 20.0])))
    assert np.all(np.isfinite(match.weight))
    assert match.distance_deg.max() < 0.3
