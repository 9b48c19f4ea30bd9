"""A loaded result: contents, times, place in RAS, hierarchy, saving, removing."""

import numpy as np
import pytest
from helpers.scene_cases import SOURCE_UIDS, truth, write_truth_result

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from DSAReconLib.errors import ResultError  # noqa: E402
from DSAReconLib.io.nrrd import read_sequence, read_volume  # noqa: E402
from DSAReconLib.mrml import display, hierarchy, volumes  # noqa: E402
from DSAReconLib.mrml.coordinates import flipped  # noqa: E402
from DSAReconLib.mrml.core_application import read_bundle, save_bundle  # noqa: E402
from DSAReconLib.mrml.result import load_result, remove_result, results_in_scene, same_run  # noqa: E402
from DSAReconLib.mrml.sequence import current_time, select_time  # noqa: E402


def _node_ids(context):
    return {node.GetID() for node in context.scene.GetNodes()}


def _nearest(volume, points_ras):
    """Real values of the voxels nearest to points, 0 outside of the volume."""
    index = np.linalg.inv(volumes.ijk_to_ras_of(volume)) @ np.c_[points_ras, np.ones(len(points_ras))].T
    index = np.rint(index[:3]).astype(int)
    values, size = volumes.real_voxels(volume), np.array(volume.GetImageData().GetDimensions())
    inside = ((index >= 0) & (index < size[:, None])).all(0)
    x, y, z = np.where(inside, index, 0)
    return np.where(inside, values[z, y, x], 0)


def test_frames_hold_the_attenuation_of_the_file_within_one_step(context, result_folder):
    nodes = load_result(context, result_folder)
    expected, grid, times = read_sequence(result_folder / "attenuation.seq.nrrd")
    assert nodes.sequence.GetIndexName() == "time"
    assert nodes.sequence.GetIndexUnit() == "s"
    np.testing.assert_allclose(nodes.times_s, times, rtol=1e-12)
    assert nodes.sequence.GetNumberOfDataNodes() == len(expected) > 5
    for number, frame in enumerate(expected):
        volume = nodes.sequence.GetNthDataNode(number)
        assert volumes.voxels(volume).dtype == np.uint16
        assert volumes.scale_of(volume) == nodes.attenuation_scale
        rounding = 0.51 * nodes.attenuation_scale + 2**-13 * expected.max()  # ours, and that of the file
        np.testing.assert_allclose(volumes.real_voxels(volume), frame, rtol=0, atol=rounding)
        assert volumes.ijk_to_ras_of(volume) == pytest.approx(np.diag([-1, -1, 1, 1]) @ grid.index_to_world)


def test_integers_say_what_they_mean(context, result_folder):
    nodes = load_result(context, result_folder)
    peak = read_volume(result_folder / "attenuation_peak.nrrd")[0].max()
    assert np.log10(nodes.attenuation_scale) == pytest.approx(round(np.log10(nodes.attenuation_scale)))
    for node in (nodes.proxy, nodes.sequence, nodes.sequence.GetNthDataNode(0)):
        assert node.GetAttribute("DSARecon.Unit") == f"{nodes.attenuation_scale:g} 1/mm"
    exponent = round(np.log10(nodes.attenuation_scale))
    select_time(nodes.browser, nodes.times_s[0])
    assert nodes.proxy.GetVoxelValueUnits().GetCodeValue() == f"10*{exponent}/mm"
    units = {node.GetVoxelValueUnits().GetCodeValue() for node in (nodes.peak, nodes.arrival, nodes.probability)}
    assert units == {"/mm", "s", "1"}
    assert 6000 < peak / nodes.attenuation_scale < 65536


def test_result_lies_where_the_truth_is(context, result_folder):
    case = truth()
    nodes = load_result(context, result_folder)
    line = flipped(case.centerline_mm)
    inside = _nearest(nodes.peak, line) > 0.5 * nodes.surface_threshold
    assert inside.mean() > 0.95
    for mirror in ([-1, 1, 1], [1, -1, 1], [1, 1, -1]):  # a wrong sign would show
        assert (_nearest(nodes.peak, line * mirror) > 0.5 * nodes.surface_threshold).mean() < 0.5
    bounds = np.zeros(6)
    nodes.surface.GetRASBounds(bounds)
    radius = case.centerline_radius_mm.max() + max(nodes.proxy.GetSpacing())
    np.testing.assert_allclose(bounds[::2], line.min(0), atol=1.5 * radius)
    np.testing.assert_allclose(bounds[1::2], line.max(0), atol=1.5 * radius)


def test_surface_carries_arrival_times_that_grow_along_the_tree(context, result_folder):
    from scipy.spatial import cKDTree
    from scipy.stats import spearmanr
    from vtk.util.numpy_support import vtk_to_numpy

    case = truth()
    nodes = load_result(context, result_folder)
    polydata = nodes.surface.GetPolyData()
    arrival = vtk_to_numpy(polydata.GetPointData().GetArray("arrival_time"))
    assert np.isfinite(arrival).all()
    points = vtk_to_numpy(polydata.GetPoints().GetData())
    nearest = cKDTree(flipped(case.centerline_mm)).query(points)[1]
    assert spearmanr(arrival, case.centerline_arrival_s[nearest]).statistic > 0.9
    shown = nodes.surface.GetDisplayNode()
    assert shown.GetActiveScalarName() == "arrival_time"
    assert shown.GetScalarVisibility()
    low, high = display.arrival_time_range(nodes)
    assert low <= np.percentile(arrival, 1)
    assert high >= np.percentile(arrival, 99)
    color = np.zeros(4)
    shown.GetColorNode().GetColor(0, color)
    assert color[0] > 2 * color[2]  # early is red
    shown.GetColorNode().GetColor(255, color)
    assert color[2] > 2 * color[0]  # late is blue


def test_voxels_without_arrival_are_not_displayed(context, result_folder):
    nodes = load_result(context, result_folder)
    stored = volumes.voxels(nodes.arrival)
    expected = read_volume(result_folder / "arrival_time.nrrd")[0]
    assert np.isfinite(stored).all()
    assert (stored[np.isnan(expected)] == -1).all()
    np.testing.assert_array_equal(volumes.real_voxels(nodes.arrival), expected)
    shown = nodes.arrival.GetDisplayNode()
    assert shown.GetApplyThreshold()
    assert -1 < shown.GetLowerThreshold() <= 0
    assert set(nodes.maps) == {"time_to_peak"}
    assert nodes.maps["time_to_peak"].GetAttribute("DSARecon.Unit") == "s"


def test_static_result_has_one_frame_and_no_arrival(context, static_folder):
    nodes = load_result(context, static_folder)
    assert nodes.is_static
    assert nodes.arrival is None
    assert display.arrival_time_range(nodes) is None
    assert not nodes.surface.GetDisplayNode().GetScalarVisibility()
    display.color_surface(nodes, "arrival_time")
    display.show_legend(context, nodes)
    assert not display.legend_visible(nodes)


def test_first_picture_shows_filled_vessels(context, result_folder):
    nodes = load_result(context, result_folder)
    sums = read_sequence(result_folder / "attenuation.seq.nrrd")[0].sum((1, 2, 3))
    assert current_time(nodes.browser) == pytest.approx(nodes.times_s[sums.argmax()])
    assert display.volume_visible(nodes)
    assert not display.surface_visible(nodes)


def test_proxy_changes_never_reach_the_sequence(context, result_folder):
    nodes = load_result(context, result_folder)
    before = volumes.voxels(nodes.sequence.GetNthDataNode(3)).copy()
    select_time(nodes.browser, nodes.times_s[3])
    volumes.voxels(nodes.proxy)[:] = 7
    nodes.proxy.Modified()
    select_time(nodes.browser, nodes.times_s[0])
    np.testing.assert_array_equal(volumes.voxels(nodes.sequence.GetNthDataNode(3)), before)


def test_result_stands_under_the_study_of_its_run(context, result_folder):
    tree = context.subject_hierarchy
    subject = tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient")
    study = tree.CreateStudyItem(subject, "Study")
    run = context.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fill")
    run.SetAttribute("DICOM.instanceUIDs", f"9.9 {SOURCE_UIDS[1]}")
    tree.CreateItem(study, run)
    nodes = load_result(context, result_folder)
    folder = hierarchy.folder_of(context, str(nodes.folder))
    assert tree.GetItemParent(folder) == study
    assert tree.GetItemName(folder) == nodes.name == "Truth 12 views"
    for node in nodes.all_nodes():
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == folder


def test_loading_twice_replaces_and_leaves_nothing_behind(context, result_folder):
    empty = _node_ids(context)
    first = load_result(context, result_folder)
    once = context.scene.GetNumberOfNodes()
    second = load_result(context, result_folder)
    assert not first.in_scene()
    assert second.in_scene()
    assert context.scene.GetNumberOfNodes() == once
    assert [nodes.name for nodes in results_in_scene(context)] == ["Truth 12 views"]
    remove_result(context, second)
    remove_result(context, second)
    assert results_in_scene(context) == []
    left = [context.scene.GetNodeByID(name).GetClassName() for name in _node_ids(context) - empty]
    assert set(left) <= {"vtkMRMLColorTableNode", "vtkMRMLSubjectHierarchyNode"}
    assert hierarchy.folder_of(context, str(second.folder)) == 0


def test_two_results_of_one_run_have_different_names_and_only_the_new_one_is_shown(context, result_folder, tmp_path):
    first = load_result(context, result_folder)
    display.show_surface(first)
    display.show_legend(context, first)
    second = load_result(context, write_truth_result(tmp_path / "again"))
    assert second.name == "Truth 12 views (2)"
    assert same_run(first, second)
    assert not display.volume_visible(first)
    assert not display.surface_visible(first)
    assert display.volume_visible(second)
    assert display.surface_visible(second)
    assert display.legend_visible(second)
    display.show_only(context, results_in_scene(context), first)
    assert display.volume_visible(first)
    assert not display.volume_visible(second)


@pytest.mark.parametrize("damage", ["model.npz", "attenuation_peak.nrrd", "run.json", "vessels.vtp"])
def test_damaged_result_leaves_the_scene_as_it_was(context, tmp_path, damage):
    folder = write_truth_result(tmp_path / "broken")
    (folder / damage).write_bytes(b"garbage")
    before = _node_ids(context)
    with pytest.raises(ResultError):
        load_result(context, folder)
    assert _node_ids(context) == before


def test_bundle_keeps_everything(context, result_folder, tmp_path):
    nodes = load_result(context, result_folder)
    display.show_surface(nodes)
    display.apply_preset(context, nodes, "Glass", threshold=0.02)
    select_time(nodes.browser, nodes.times_s[4])
    frames = [volumes.voxels(nodes.sequence.GetNthDataNode(number)).copy() for number in range(len(nodes.times_s))]
    kept = (
        nodes.times_s,
        nodes.attenuation_scale,
        display.arrival_time_range(nodes),
        nodes.browser.GetPlaybackRateFps(),
    )
    opacity = _opacity(nodes)
    arrival = volumes.voxels(nodes.arrival).copy()
    save_bundle(context, tmp_path / "scene.mrb")
    context.scene.Clear(False)
    assert results_in_scene(context) == []
    read_bundle(context, tmp_path / "scene.mrb")
    (again,) = results_in_scene(context)
    assert again.result is not None
    assert again.folder == nodes.folder
    assert (again.name, again.source_uids) == ("Truth 12 views", frozenset(SOURCE_UIDS))
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(volumes.voxels(again.sequence.GetNthDataNode(number)), frame)
    times, scale, colors, rate = kept
    np.testing.assert_allclose(again.times_s, times)
    assert again.attenuation_scale == scale
    assert volumes.scale_of(again.proxy) == scale
    assert again.proxy.GetVoxelValueUnits().GetCodeValue() == f"10*{round(np.log10(scale))}/mm"
    assert again.arrival.GetVoxelValueUnits().GetCodeValue() == "s"
    assert display.arrival_time_range(again) == pytest.approx(colors)
    assert again.browser.GetPlaybackRateFps() == pytest.approx(rate)
    assert current_time(again.browser) == pytest.approx(times[4])
    assert display.current_preset(again) == "Glass"
    assert display.visible_from(again) == pytest.approx(0.02)
    np.testing.assert_allclose(_opacity(again), opacity, rtol=1e-5)
    assert display.volume_visible(again)
    assert display.surface_visible(again)
    assert again.surface.GetDisplayNode().GetActiveScalarName() == "arrival_time"
    np.testing.assert_array_equal(volumes.voxels(again.arrival), arrival)
    assert again.arrival.GetDisplayNode().GetApplyThreshold()
    select_time(again.browser, times[1])
    np.testing.assert_array_equal(volumes.voxels(again.proxy), frames[1])
    assert hierarchy.folder_of(context, str(again.folder))
    load_result(context, result_folder)
    assert len(results_in_scene(context)) == 1


def test_scene_whose_result_folder_is_gone_still_plays(context, tmp_path):
    import shutil

    folder = write_truth_result(tmp_path / "gone")
    nodes = load_result(context, folder)
    shutil.rmtree(folder)
    (again,) = results_in_scene(context)
    assert again.result is None
    assert select_time(again.browser, nodes.times_s[2]) == pytest.approx(nodes.times_s[2])


def _opacity(nodes):
    function = nodes.rendering.GetVolumePropertyNode().GetScalarOpacity()
    values = np.zeros((function.GetSize(), 4))
    for number in range(function.GetSize()):
        function.GetNodeValue(number, values[number])
    return values
