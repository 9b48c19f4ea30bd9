"""Branches of a vessel mask and their confidence."""

import numpy as np
import pytest

from DSAReconLib.methods.transit.branches import CONFIDENT, branch_confidence, vessel_branches

Z, Y, X = np.indices((44, 40, 40))
TRUNK = (np.hypot(Y - 20, X - 20) < 3) & (Z > 4) & (Z < 40)
SIDE = (np.hypot(Z - 20, X - 20) < 2) & (Y >= 20) & (Y < 38)
SPECK = (Z >= 1) & (Z < 3) & (Y >= 2) & (Y < 4) & (X >= 2) & (X < 4)


def certain(mask, inside, outside=0.5):
    return np.where(mask, inside, outside).astype(np.float32)


def test_a_fork_parts_the_vessel_into_three():
    branches = vessel_branches(TRUNK | SIDE)
    assert len(branches) == 3
    below, above, aside = branches.labels[10, 20, 20], branches.labels[34, 20, 20], branches.labels[20, 33, 20]
    assert len({below, above, aside}) == 3


def test_a_wrinkle_of_the_surface_is_no_branch():
    wrinkled = TRUNK.copy()
    wrinkled[20:22, 22:25, 19:22] = True
    assert len(vessel_branches(wrinkled)) == 1


def test_pieces_that_thinning_would_delete_are_branches():
    branches = vessel_branches(TRUNK | SPECK)
    assert len(branches) == 2
    assert len(np.unique(branches.labels[SPECK])) == 1
    assert (branches.skeleton[SPECK] > 0).sum() == 1


def test_all_voxels_of_the_mask_and_only_those_belong_to_a_branch():
    mask = TRUNK | SIDE | SPECK
    branches = vessel_branches(mask)
    np.testing.assert_array_equal(branches.labels > 0, mask)
    on_line = branches.skeleton > 0
    np.testing.assert_array_equal(branches.labels[on_line], branches.skeleton[on_line])


def test_touching_the_border_of_the_volume_does_no_harm():
    branches = vessel_branches(np.ones((3, 3, 12), bool))
    assert len(branches) == 1


def test_no_vessels_have_no_branches():
    branches = vessel_branches(np.zeros((4, 5, 6), bool))
    assert len(branches) == 0
    assert branch_confidence(branches, np.zeros((4, 5, 6), np.float32), 0.8).shape == (0,)


def test_confidence_follows_the_voxels_of_the_branch_and_not_its_neighbors():
    branches = vessel_branches(TRUNK | SIDE)
    each = branch_confidence(branches, certain(Y < 24, 0.999, outside=0.6), 0.8)
    trunk, side = branches.labels[10, 20, 20], branches.labels[20, 33, 20]
    assert each[trunk - 1] > CONFIDENT > each[side - 1]


def test_a_few_bright_voxels_do_not_vouch_for_a_branch():
    branches = vessel_branches(TRUNK)
    each = branch_confidence(branches, certain(Z < 14, 0.9999, outside=0.6), 0.8)
    assert each[0] < 0.8


def test_a_single_voxel_of_center_line_is_never_confident():
    branches = vessel_branches(TRUNK | SPECK)
    each = branch_confidence(branches, np.full(TRUNK.shape, 0.9999, np.float32), 0.8)
    assert each[branches.labels[1, 2, 2] - 1] == 0.5
    assert each[branches.labels[20, 20, 20] - 1] >= CONFIDENT


def test_long_branches_are_surer_than_specks_of_the_same_voxels():
    branches = vessel_branches(TRUNK | SPECK)
    each = branch_confidence(branches, np.full(TRUNK.shape, 0.9, np.float32), 0.8)
    assert each[branches.labels[20, 20, 20] - 1] > each[branches.labels[1, 2, 2] - 1]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_confidence_stays_finite(value):
    each = branch_confidence(vessel_branches(TRUNK), np.full(TRUNK.shape, value, np.float32), 0.8)
    assert np.isfinite(each).all()
