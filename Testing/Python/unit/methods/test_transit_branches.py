"""Branches of a vessel mask and their confidence."""

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.methods.transit.branches import CONFIDENT, branch_confidence, vessel_branches
from DSAReconLib.methods.transit.confidence import Sights
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

Z, Y, X = np.indices((44, 40, 40))
TRUNK = (np.hypot(Y - 20, X - 20) < 3) & (Z > 4) & (Z < 40)
SIDE = (np.hypot(Z - 20, X - 20) < 2) & (Y >= 20) & (Y < 38)
THREAD = (np.hypot(Y - 20, X - 20) < 1.2) & (Z > 4) & (Z < 40)
SHELL = (np.abs(np.hypot(Y - 20, X - 20) - 8) < 2) & (Z > 2) & (Z < 42)
GRID = VolumeGrid.centered(Z.shape, 0.8)
SPECK = (Z >= 1) & (Z < 3) & (Y >= 2) & (Y < 4) & (X >= 2) & (X < 4)


def confidences(branches, attenuation, *, missing=None, arc_deg=160.0, noise=0.02):
    """Confidence of branches in a volume (1/mm) seen from 12 directions, whose images lack what is ``missing``."""
    angles = np.linspace(-arc_deg / 2, arc_deg / 2, 12)
    pixels = {"detector_shape": (64, 64), "detector_spacing_mm": (1.6, 1.6)}
    geometry = ConeBeamGeometry.from_angles(angles, sod_mm=750, sdd_mm=1200, **pixels)
    values = np.asarray(attenuation, np.float32)
    support = np.flatnonzero(values)
    volume = DynamicVolume(GRID, values.reshape(1, -1)[:, support], TemporalBasis.constant(), support)
    projector = SparseProjector(GRID.points_mm(support), 0.8, geometry)
    shown = [
        projector(np.broadcast_to(image.ravel()[support], projector.domain_shape).astype(np.float32))
        for image in (values, values if missing is None else np.where(missing, 0, values))
    ]
    evidence = Evidence(shown[1], np.ones_like(shown[1]), noise, geometry, np.linspace(0, 4, 12), 4.0)
    return branch_confidence(branches, Sights(volume, evidence, shown[0]))


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
    branches = vessel_branches(np.zeros(TRUNK.shape, bool))
    assert len(branches) == 0
    assert confidences(branches, 0.02 * TRUNK).shape == (0,)


def test_a_branch_that_the_views_show_is_confident_and_one_that_they_lack_is_not():
    branches = vessel_branches(TRUNK | SIDE)
    aside = SIDE & ~TRUNK
    trunk, side = branches.labels[10, 20, 20], branches.labels[20, 33, 20]
    assert confidences(branches, 0.02 * (TRUNK | SIDE)).min() >= CONFIDENT
    each = confidences(branches, 0.02 * (TRUNK | SIDE), missing=aside)
    assert each[trunk - 1] >= CONFIDENT > each[side - 1]


def test_what_is_seen_from_one_direction_only_is_not_confident():
    branches = vessel_branches(THREAD)
    assert confidences(branches, 0.01 * THREAD)[0] >= CONFIDENT > confidences(branches, 0.01 * THREAD, arc_deg=10)[0]


def test_what_lies_under_denser_vessels_in_all_views_is_less_sure():
    branches = vessel_branches(THREAD)
    alone, covered = (confidences(branches, 0.01 * THREAD + dense * SHELL)[0] for dense in (0.0, 0.2))
    assert alone >= CONFIDENT > covered


def test_width_does_not_count_against_a_vessel():
    wide = np.hypot(Y - 20, X - 20) < 9
    each = confidences(vessel_branches(wide & (Z > 4) & (Z < 40)), 0.02 * wide)
    assert each[0] >= CONFIDENT


def test_a_single_voxel_of_center_line_is_never_confident():
    branches = vessel_branches(TRUNK | SPECK)
    each = confidences(branches, 0.2 * (TRUNK | SPECK), noise=0.001)
    assert each[branches.labels[1, 2, 2] - 1] == 0.5
    assert each[branches.labels[20, 20, 20] - 1] >= CONFIDENT


def test_long_branches_are_surer_than_short_ones():
    branches = vessel_branches(THREAD & (Z != 30))
    each = confidences(branches, 0.003 * THREAD)
    assert each[branches.labels[20, 20, 20] - 1] > each[branches.labels[35, 20, 20] - 1]


@pytest.mark.parametrize("noise", [1e-5, 1e5])
def test_confidence_stays_finite(noise):
    each = confidences(vessel_branches(TRUNK), 0.02 * TRUNK, noise=noise)
    assert np.isfinite(each).all()
