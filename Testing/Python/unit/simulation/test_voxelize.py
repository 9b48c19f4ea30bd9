import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.simulation.procedural import tiny_tree
from DSAReconLib.simulation.trees import VesselTree
from DSAReconLib.simulation.voxelize import grid_around, voxelize_tree


def tube(start, stop, radius, nodes=12):
    share = np.linspace(0, 1, nodes)[:, None]
    points = (1 - share) * np.asarray(start, float) + share * np.asarray(stop, float)
    return VesselTree.from_parents(points, np.full(nodes, radius), np.arange(nodes) - 1)


@pytest.mark.parametrize("radius", [0.2, 0.3, 0.6, 1.5])
def test_tubes_keep_their_volume_down_to_half_a_voxel_of_radius(radius):
    rng = np.random.default_rng(2)
    for _ in range(6):
        direction = rng.normal(size=3)
        end = 9 * direction / np.linalg.norm(direction)
        offset = rng.uniform(-0.2, 0.2, 3)
        tree = tube(offset - end, offset + end, radius)
        voxels = voxelize_tree(tree, grid_around(tree, 0.4))
        exact = np.pi * radius**2 * 18 + 4 / 3 * np.pi * radius**3
        assert voxels.occupancy.sum() * 0.4**3 == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.2])
def test_tubes_along_an_axis_keep_their_volume_too(offset):
    tree = tube((offset, offset, -9), (offset, offset, 9), 0.2)
    voxels = voxelize_tree(tree, grid_around(tree, 0.4))
    exact = np.pi * 0.2**2 * 18 + 4 / 3 * np.pi * 0.2**3
    assert voxels.occupancy.sum() * 0.4**3 == pytest.approx(exact, rel=0.03)


def test_vessels_that_overlap_are_united_not_added():
    one = tube((0, 0, -5), (0, 0, 5), 1.0)
    grid = grid_around(one, 0.4)
    twice = VesselTree.from_parents(
        np.vstack([one.points_mm, one.points_mm]),
        np.concatenate([one.radius_mm, one.radius_mm]),
        np.concatenate([one.parent, one.parent + np.where(one.parent >= 0, len(one), 0)]),
    )
    np.testing.assert_allclose(voxelize_tree(twice, grid).occupancy, voxelize_tree(one, grid).occupancy, atol=1e-6)


def test_the_center_of_mass_is_that_of_the_tube():
    tree = tube((-3.13, 1.27, -4.0), (2.2, 0.4, 5.0), 0.7)
    voxels = voxelize_tree(tree, grid_around(tree, 0.4))
    points = voxels.grid.points_mm(voxels.support)
    center = (voxels.occupancy[:, None] * points).sum(0) / voxels.occupancy.sum()
    np.testing.assert_allclose(center, tree.points_mm.mean(0), atol=0.01)


def test_values_along_the_tree_reach_the_voxels_by_position():
    tree = tube((0, 0, -9), (0, 0, 9), 0.8, nodes=7)
    voxels = voxelize_tree(tree, grid_around(tree, 0.4))
    z = voxels.grid.points_mm(voxels.support)[:, 2]
    inside = np.abs(z) < 8.5
    carried = voxels.interpolate(tree, tree.points_mm[:, 2].astype(np.float32))
    np.testing.assert_allclose(carried[inside], z[inside], atol=1e-3)


def test_the_grid_holds_the_whole_tree():
    tree = tiny_tree(0)
    voxels = voxelize_tree(tree, grid_around(tree, 0.5))
    index = np.stack(np.unravel_index(voxels.support, voxels.grid.shape_zyx), -1)
    assert index.min() > 0
    assert np.all(index.max(0) < np.array(voxels.grid.shape_zyx) - 1)


def test_grids_without_cubic_voxels_are_refused():
    with pytest.raises(ValueError, match="cubic"):
        voxelize_tree(tiny_tree(0), VolumeGrid.centered(20, (1.0, 1.0, 2.0)))
