import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid


def test_centered_grid_has_its_middle_at_the_center():
    grid = VolumeGrid.centered((3, 4, 5), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0))
    np.testing.assert_allclose(grid.center_mm, [10, 20, 30])
    np.testing.assert_allclose(grid.size_mm, [5, 8, 9])
    np.testing.assert_allclose(grid.points_mm().mean(0), [10, 20, 30])


def test_numpy_counts_make_cubes_too():
    assert VolumeGrid.centered(np.int64(7), 0.5).shape_zyx == (7, 7, 7)


def test_points_and_indices_are_inverse_and_in_c_order():
    grid = VolumeGrid((2, 3, 4), (1.0, 2.0, 3.0), (-1.0, -2.0, -3.0))
    assert np.ravel_multi_index((1, 2, 3), grid.shape_zyx) == 23
    np.testing.assert_allclose(grid.index_of(grid.points_mm([23])), [[3, 2, 1]])
    np.testing.assert_allclose(grid.index_to_world @ [3, 2, 1, 1], [*grid.points_mm([23])[0], 1])


def test_cropping_keeps_the_positions_of_the_voxels():
    grid = VolumeGrid.centered((5, 6, 7), 2.0)
    part = grid.cropped((1, 2, 3), (6, 5, 5))
    assert part.shape_zyx == (2, 3, 5)
    np.testing.assert_allclose(part.points_mm([0]), grid.points_mm([np.ravel_multi_index((3, 2, 1), (5, 6, 7))]))


def test_resampling_covers_the_same_box():
    grid = VolumeGrid.centered((5, 6, 7), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0)).resampled(0.7)
    assert np.all(grid.size_mm >= [7, 12, 15])
    np.testing.assert_allclose(grid.center_mm, [1, 2, 3])
    assert VolumeGrid.centered(10, 0.3).resampled(0.1).shape_zyx == (30, 30, 30)


@pytest.mark.parametrize(
    "arguments", [((2, 2), (1, 1, 1), (0, 0, 0)), ((2, 2, 0), (1, 1, 1), (0, 0, 0)), ((2, 2, 2), (1, 0, 1), (0, 0, 0))]
)
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(ValueError, match="must be three"):
        VolumeGrid(*arguments)
