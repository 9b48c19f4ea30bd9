import numpy as np
import pytest
from scipy.spatial import cKDTree

from DSAReconLib.evaluation import topology
from DSAReconLib.geometry import VolumeGrid

GRID = VolumeGrid.centered((30, 30, 60), 0.6)
X = np.arange(-16, 16.01, 0.25)
CENTERLINE = np.stack([X, 0 * X, 0 * X], -1)


def tube(low_x=-16.0, high_x=16.0, y=0.0, radius=1.2) -> np.ndarray:
    x, yy, z = GRID.axes_mm()
    inside = np.hypot(z[:, None, None], yy[None, :, None] - y) <= radius
    return inside & ((x >= low_x) & (x <= high_x))[None, None]


def precision_of(mask) -> float:
    radius = np.full(len(CENTERLINE), 1.2)
    return topology.centerline_precision(topology.skeleton(mask), GRID, cKDTree(CENTERLINE), radius)


def test_complete_tube_is_found_completely_and_invents_nothing():
    assert topology.centerline_found(tube(), GRID, CENTERLINE).all()
    assert precision_of(tube()) == 1


def test_half_a_tube_has_half_the_recall():
    found = topology.centerline_found(tube(high_x=0), GRID, CENTERLINE)
    assert found.mean() == pytest.approx(17 / 32, abs=0.02)


def test_found_points_equal_a_brute_force_search():
    rng = np.random.default_rng(0)
    mask = rng.random(GRID.shape_zyx) > 0.98
    points = rng.uniform(-22, 22, (300, 3))
    distance = cKDTree(GRID.points_mm(np.flatnonzero(mask))).query(points)[0]
    np.testing.assert_array_equal(topology.centerline_found(mask, GRID, points), distance < 1.0)


def test_an_invented_branch_costs_precision_only():
    mask = tube() | tube(y=6.0, radius=1.2)
    assert topology.centerline_found(mask, GRID, CENTERLINE).all()
    assert precision_of(mask) == pytest.approx(0.5, abs=0.03)


def test_empty_mask_scores_zero():
    empty = np.zeros(GRID.shape_zyx, bool)
    assert not topology.centerline_found(empty, GRID, CENTERLINE).any()
    assert precision_of(empty) == 0
    assert topology.voxel_cldice(empty, empty, tube(), topology.skeleton(tube())) == 0


def test_skeleton_of_a_tube_is_a_line_of_its_length():
    line = topology.skeleton(tube())
    y, z = GRID.points_mm(np.flatnonzero(line))[:, 1:].T
    assert np.hypot(y, z).max() <= 0.9
    assert line.any((0, 1)).sum() == pytest.approx(32 / 0.6, abs=4)


def test_voxel_cldice_of_a_tube_and_its_half_is_two_thirds():
    whole, half = tube(), tube(high_x=0)
    score = topology.voxel_cldice(half, topology.skeleton(half), whole, topology.skeleton(whole))
    assert score == pytest.approx(2 / 3, abs=0.03)


def test_recall_is_reported_for_the_radius_classes_that_exist():
    found = np.array([True, False, True, True])
    result = topology.recall_by_radius(found, np.array([0.3, 0.4, 1.5, 3.0]))
    assert result == {"recall_radius_0_0.5mm": 0.5, "recall_radius_1_2mm": 1.0, "recall_radius_over_2mm": 1.0}


def test_dense_centerline_weights_by_length_and_interpolates_the_radius():
    nodes = np.array([[0.0, 0, 0], [6, 0, 0], [6, 3, 0]])
    points, radius = topology.dense_centerline(nodes, np.array([2.0, 1.0, 1.0]), np.array([-1, 0, 1]))
    assert len(points) == 30
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 0.31
    np.testing.assert_allclose(radius[:20], 2 - points[:20, 0] / 6)
    assert topology.dense_centerline(nodes, np.ones(3), None)[0] is not points


def test_harmonic_mean_of_nothing_is_zero():
    assert topology.harmonic_mean(0, 0) == 0
    assert topology.harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
