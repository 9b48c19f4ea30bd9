import numpy as np
import pytest

from DSAReconLib.evaluation.surface import rigidly_aligned, surface_distances, surface_vertices, thinned
from DSAReconLib.geometry import VolumeGrid

GRID = VolumeGrid.centered((44, 44, 50), 0.5, (1.0, -2.0, 3.0))


def sphere(center, radius) -> np.ndarray:
    distance = np.linalg.norm(GRID.points_mm() - center, axis=1).reshape(GRID.shape_zyx)
    return (radius - distance).astype(np.float32)


def test_vertices_lie_on_the_sphere_in_mm():
    center = np.array([2.0, -1.0, 3.5])
    vertices = surface_vertices(sphere(center, 6.0), GRID, 0.0)
    np.testing.assert_allclose(np.linalg.norm(vertices - center, axis=1), 6.0, atol=0.02)


def test_vessels_cut_by_the_grid_are_closed():
    vertices = surface_vertices(np.ones(GRID.shape_zyx, np.float32), GRID, 0.5)
    low = np.array(GRID.origin_mm)
    np.testing.assert_allclose(vertices.min(0), low - 0.25, atol=1e-5)


def test_no_voxel_above_the_level_gives_no_vertices_and_nan_distances():
    vertices = surface_vertices(np.zeros(GRID.shape_zyx, np.float32), GRID, 0.1)
    assert vertices.shape == (0, 3)
    assert all(np.isnan(v) for v in surface_distances(vertices, np.zeros((4, 3))).values())


def test_concentric_spheres_are_apart_by_the_difference_of_their_radii():
    center = np.array([1.0, -2.0, 3.0])
    first = surface_vertices(sphere(center, 6.0), GRID, 0.0)
    second = surface_vertices(sphere(center, 7.5), GRID, 0.0)
    distances = surface_distances(first, second)
    assert distances["chamfer_mm"] == pytest.approx(3.0, abs=0.06)
    assert distances["chamfer_mean_mm"] == distances["chamfer_mm"] / 2
    assert distances["hd95_mm"] == pytest.approx(1.5, abs=0.06)


def test_distances_of_two_shifted_points_sets_are_exact():
    first = np.array([[0.0, 0, 0], [10, 0, 0]])
    distances = surface_distances(first, first + np.array([0, 0, 2.0]))
    assert distances == pytest.approx({"chamfer_mm": 4, "chamfer_mean_mm": 2, "hd95_mm": 2, "hd100_mm": 2})


def test_hausdorff_takes_the_worse_direction():
    near, with_outlier = np.zeros((1, 3)), np.array([[0.0, 0, 0], [0, 9, 0]])
    assert surface_distances(near, with_outlier)["hd100_mm"] == 9


def test_thinning_keeps_small_sets_and_is_repeatable():
    points = np.random.default_rng(0).random((500, 3))
    assert thinned(points, 600) is points
    np.testing.assert_array_equal(thinned(points, 100), thinned(points, 100))


def test_icp_undoes_a_small_rigid_motion():
    grid = np.random.default_rng(1).random((400, 3)) * [30, 20, 10]
    turn = np.deg2rad(2.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    moved = grid @ rotation.T + [0.2, -0.1, 0.15]
    assert surface_distances(rigidly_aligned(moved, grid), grid)["hd100_mm"] < 1e-3
