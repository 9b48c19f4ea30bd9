import numpy as np
import pytest
from helpers.realdata import real_data

from DSAReconLib.errors import ConfigError
from DSAReconLib.simulation.centerlines import read_centerlines
from DSAReconLib.simulation.growth import branch_lengths_mm
from DSAReconLib.simulation.procedural import aneurysm_tree, avm_tree, carotid_tree, tiny_tree, with_cortical_veins
from DSAReconLib.simulation.trees import VesselKind, VesselTree


@pytest.fixture(scope="module")
def carotid():
    return carotid_tree(0)


def test_the_carotid_tree_has_the_size_and_radii_of_a_hemisphere(carotid):
    size = np.diff(carotid.bounds_mm(), axis=0)[0]
    assert carotid.num_branches >= 60
    assert 2.0 < carotid.radius_mm.max() < 2.4
    assert 0.3 < carotid.radius_mm.min() < 0.4
    assert np.all(size > 50)
    assert np.all(size < 145)


def test_radii_obey_murray_at_bifurcations_of_arteries(carotid):
    fork = np.flatnonzero(carotid.num_children > 1)
    daughters = np.zeros(len(carotid))
    np.add.at(daughters, carotid.parent[1:], carotid.radius_mm[1:] ** 3)
    wide = fork[carotid.radius_mm[fork] > 0.6]
    np.testing.assert_allclose(daughters[wide], carotid.radius_mm[wide] ** 3, rtol=0.1)


def test_vessels_do_not_widen_downstream(carotid):
    child = np.flatnonzero(carotid.parent >= 0)
    assert np.all(carotid.radius_mm[child] <= carotid.radius_mm[carotid.parent[child]] + 1e-9)


def test_the_same_seed_gives_the_same_tree_and_another_seed_another_one():
    first, again, other = carotid_tree(3), carotid_tree(3), carotid_tree(4)
    np.testing.assert_array_equal(first.points_mm, again.points_mm)
    assert len(first) != len(other) or not np.allclose(first.points_mm, other.points_mm)


def test_every_seed_gives_a_tree_with_enough_branches():
    assert all(carotid_tree(seed).num_branches >= 60 for seed in range(5, 9))


def test_the_aneurysm_is_a_ball_on_the_tree():
    tree = aneurysm_tree(0, sac_diameter_mm=7.0)
    sac = tree.kind == VesselKind.ANEURYSM
    assert sac.sum() >= 2
    assert tree.radius_mm[sac].max() == pytest.approx(3.5)
    assert (tree.kind[tree.parent[sac]] == VesselKind.ARTERY).any()


def test_veins_of_the_avm_are_wider_than_its_nidus_and_start_in_it():
    tree = avm_tree(0)
    vein, nidus = tree.kind == VesselKind.VEIN, tree.kind == VesselKind.NIDUS
    first = vein & (tree.kind[tree.parent] != VesselKind.VEIN)
    assert np.median(tree.radius_mm[vein]) > 1.5 * np.median(tree.radius_mm[nidus])
    assert np.all(tree.kind[tree.parent[first]] == VesselKind.NIDUS)


def test_cortical_veins_start_at_tips_of_arteries():
    tree = with_cortical_veins(carotid_tree(0), 0)
    vein = tree.kind == VesselKind.VEIN
    first = np.flatnonzero(vein & (tree.kind[tree.parent] == VesselKind.ARTERY))
    assert len(first) == 7
    arteries_below = np.bincount(tree.parent[(tree.parent >= 0) & ~vein], minlength=len(tree))
    assert np.all(arteries_below[tree.parent[first]] == 0)


def test_resampling_shortens_segments_and_keeps_the_shape():
    tree = tiny_tree(0)
    fine = tree.resampled(0.3)
    assert fine.segment_length_mm.max() <= 0.3 + 1e-9
    assert fine.volume_ml == pytest.approx(tree.volume_ml, rel=1e-6)
    assert fine.num_branches == tree.num_branches


def test_from_parents_sorts_nodes_and_numbers_branches():
    # A fork given upside down: 3 is the root, 2 its child with two children 0 and 1.
    tree = VesselTree.from_parents([(0, 0, 3), (1, 0, 3), (0, 0, 1), (0, 0, 0)], [1, 1, 1, 1], [2, 2, 3, -1])
    np.testing.assert_array_equal(tree.points_mm[0], (0, 0, 0))
    assert tree.num_branches == 3
    assert np.all(tree.parent < np.arange(4))


def test_a_cycle_of_parents_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        VesselTree.from_parents([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [1, 1, 1], [-1, 2, 1])


def test_an_swc_file_is_read_in_any_order_of_nodes(tmp_path):
    path = tmp_path / "fork.swc"
    path.write_text("# comment\n7 3 0 0 10 0.5 5\n5 3 0 0 5 0.8 2\n2 3 0 0 0 1.0 -1\n9 3 3 0 9 0.4 5\n")
    tree = read_centerlines(path)
    np.testing.assert_array_equal(tree.points_mm[0], (0, 0, 0))
    assert tree.num_branches == 3
    assert sorted(tree.radius_mm) == [0.4, 0.5, 0.8, 1.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.swc", "1 3 0 0 0 1.0 -1\n2 3 0 0 1 1.0 8\n"),
        ("a.swc", "1 3 0 0 0 -1.0 -1\n"),
        ("a.swc", "hello\n"),
        ("a.vtp", "hello\n"),
        ("a.txt", ""),
    ],
)
def test_an_unusable_tree_file_is_refused_by_name(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"a\."):
        read_centerlines(tmp_path / name)


def test_the_avm_of_the_cta_is_read_as_one_tree():
    tree = read_centerlines(real_data("vessels", "avm_cta_tree.swc"))
    assert len(tree) == 17989
    assert np.sum(tree.parent < 0) == 1
    assert tree.radius_mm.max() == pytest.approx(5.3, abs=0.1)


def test_vmtk_center_lines_share_their_common_part():
    tree = read_centerlines(real_data("vessels", "vmtk_aorta_centerline.vtp"))
    assert tree.num_branches == 3
    assert branch_lengths_mm(tree).min() > 5
