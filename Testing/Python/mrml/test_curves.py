"""Curves equal the model's, follow points and segments, and are plotted in true units."""

import numpy as np
import pytest
from helpers.scene_cases import truth, write_truth_result

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from DSAReconLib.io.result_folder import open_result  # noqa: E402
from DSAReconLib.mrml import volumes  # noqa: E402
from DSAReconLib.mrml.coordinates import flipped, vtk_matrix  # noqa: E402
from DSAReconLib.mrml.core_application import read_bundle, save_bundle  # noqa: E402
from DSAReconLib.mrml.curves import CurveModel, CurvePlot  # noqa: E402
from DSAReconLib.mrml.probe import CurveProbe  # noqa: E402
from DSAReconLib.mrml.result import load_result  # noqa: E402


@pytest.fixture(scope="module")
def result(result_folder):
    """The opened result."""
    return open_result(result_folder)


@pytest.fixture(scope="module")
def model(result):
    """Its curves."""
    return CurveModel(result)


def _brightest(result):
    """Flat index and RAS point of the voxel with the largest peak."""
    volume = result.load_volume()
    flat = int(volume.peak(result.times_s).argmax())
    return volume, flat, flipped(volume.grid.points_mm([flat])[0])


def test_curve_at_a_point_is_that_of_the_voxel(result, model):
    volume, flat, point = _brightest(result)
    curve = model.at_point(point, name="A")
    expected = volume.curves(result.times_s, [int(np.flatnonzero(volume.support == flat)[0])])[0]
    np.testing.assert_allclose(curve.attenuation, expected, rtol=1e-5)
    np.testing.assert_array_equal(curve.times_s, result.times_s)
    assert curve.position_ras == pytest.approx(tuple(point))
    assert (curve.voxels, curve.name) == (1, "A")
    assert curve.peak == pytest.approx(expected.max())
    assert curve.peak_s == pytest.approx(result.times_s[expected.argmax()])
    assert curve.arrival_s < curve.peak_s
    assert np.interp(curve.arrival_s, curve.times_s, curve.attenuation) == pytest.approx(curve.peak / 2, rel=1e-3)


def test_point_beside_a_vessel_takes_the_nearest_vessel_voxel(result, model):
    volume, _, point = _brightest(result)
    offset = np.array([0.3, -0.2, 0.1]) * volume.grid.spacing_mm[0]
    assert model.at_point(point + offset).position_ras == pytest.approx(tuple(point))
    assert model.at_point(point + np.array([500, 0, 0])) is None
    far = np.array(volume.grid.size_mm) * 3
    assert model.at_point(point + far, reach_mm=1e4) is not None


def test_sphere_averages_vessel_voxels_only(result, model):
    volume, _, point = _brightest(result)
    radius = 1.5 * volume.grid.spacing_mm[0]
    curve = model.at_point(point, radius_mm=radius)
    peaks = volume.peak(result.record["sequence_times_s"]).ravel()[volume.support]
    points = flipped(volume.grid.points_mm(volume.support))
    inside = (np.linalg.norm(points - point, axis=1) <= radius) & (peaks >= result.record["surface_threshold"])
    assert curve.voxels == inside.sum() > 3
    np.testing.assert_allclose(
        curve.attenuation, volume.curves(result.times_s, np.flatnonzero(inside)).mean(0), rtol=1e-4
    )


def test_arrival_of_curves_follows_the_truth(model):
    case = truth()
    found, expected = [], []
    for point, arrival in list(zip(case.centerline_mm, case.centerline_arrival_s))[::5]:
        curve = model.at_point(flipped(point))
        if curve is not None:
            found.append(curve.arrival_s)
            expected.append(arrival)
    assert len(found) > 10
    assert np.abs(np.array(found) - expected).mean() < 0.4  # the result has only 6 knots over 5 s
    assert np.corrcoef(found, expected)[0, 1] > 0.9


def _box(grid, low, high):
    """Marked voxels [low, high) (x, y, z) of the grid (z, y, x)."""
    inside = np.zeros(grid.shape_zyx, np.uint8)
    inside[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = 1
    return inside


def _labelmap(context, inside, ijk_to_ras):
    node = context.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "box")
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras))
    node.SetAndObserveImageData(volumes.image_data(inside))
    return node


@pytest.fixture
def box(result):
    """A box around the brightest voxel, and the model's mean curve in it."""
    volume, flat, _ = _brightest(result)
    z, y, x = np.unravel_index(flat, volume.grid.shape_zyx)
    low = np.maximum([x - 2, y - 1, z - 2], 0)
    inside = _box(volume.grid, low, [x + 3, y + 3, z + 2])
    marked = np.flatnonzero(inside)
    expected = np.zeros((len(marked), len(result.times_s)), np.float32)
    place = {int(voxel): number for number, voxel in enumerate(volume.support)}
    for row, voxel in enumerate(marked):
        if int(voxel) in place:
            expected[row] = volume.curves(result.times_s, [place[int(voxel)]])[0]
    return inside, expected.mean(0)


def test_curve_of_a_labelmap_is_the_mean_of_its_voxels(context, result_folder, model, box):
    nodes = load_result(context, result_folder)
    inside, expected = box
    curve = model.in_labelmap(_labelmap(context, inside, volumes.ijk_to_ras_of(nodes.peak)))
    assert curve.voxels == inside.sum()
    assert curve.name == "box"
    np.testing.assert_allclose(curve.attenuation, expected, rtol=1e-4, atol=1e-8)
    assert model.in_labelmap(_labelmap(context, 0 * inside, volumes.ijk_to_ras_of(nodes.peak))) is None


def test_labelmap_under_a_transform_is_where_it_is_seen(context, result_folder, model, box):
    nodes = load_result(context, result_folder)
    inside, expected = box
    moved = np.eye(4)
    moved[:3, 3] = 100, -50, 25
    labelmap = _labelmap(context, inside, np.linalg.inv(moved) @ volumes.ijk_to_ras_of(nodes.peak))
    assert model.in_labelmap(labelmap) is None
    transform = context.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk_matrix(moved))
    labelmap.SetAndObserveTransformNodeID(transform.GetID())
    curve = model.in_labelmap(labelmap)
    assert curve.voxels == inside.sum()
    np.testing.assert_allclose(curve.attenuation, expected, rtol=1e-4, atol=1e-8)


def test_curve_of_a_segment_is_that_of_its_labelmap(context, result_folder, model, box):
    nodes = load_result(context, result_folder)
    inside, expected = box
    labelmap = slicer.vtkOrientedImageData()
    labelmap.DeepCopy(volumes.image_data(inside))
    labelmap.SetGeometryFromImageToWorldMatrix(vtk_matrix(volumes.ijk_to_ras_of(nodes.peak)))
    segmentation = context.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment = segmentation.AddSegmentFromBinaryLabelmapRepresentation(labelmap, "Aneurysm", [1.0, 0.0, 0.0], "aneurysm")
    curve = model.in_segment(segmentation, segment)
    assert (curve.name, curve.voxels) == ("Aneurysm", inside.sum())
    np.testing.assert_allclose(curve.attenuation, expected, rtol=1e-4, atol=1e-8)
    assert model.in_segment(segmentation, "unknown") is None


def _series(plot):
    chart = plot.chart
    return [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]


def test_plot_shows_true_values_with_units_and_survives_saving(context, result, model, tmp_path):
    plot = CurvePlot(context)
    curve = model.at_point(_brightest(result)[2], name="P1")
    plot.show("a", curve)
    plot.set_time(1.25)
    save_bundle(context, tmp_path / "plot.mrb")
    read_bundle(context, tmp_path / "plot.mrb")
    chart = context.scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetXAxisTitle() == "Time (s)"
    assert chart.GetYAxisTitle() == "Attenuation (1/mm)"
    series = {chart.GetNthPlotSeriesNode(n).GetName(): chart.GetNthPlotSeriesNode(n) for n in range(2)}
    table = series["P1"].GetTableNode()
    assert table.GetColumnUnitLabel(series["P1"].GetXColumnName()) == "s"
    assert table.GetColumnUnitLabel(series["P1"].GetYColumnName()) == "1/mm"
    times = vtk_to_numpy(table.GetTable().GetColumnByName("time"))
    values = vtk_to_numpy(table.GetTable().GetColumnByName("attenuation"))
    np.testing.assert_allclose(times, result.times_s, rtol=1e-5)
    np.testing.assert_allclose(values, curve.attenuation, rtol=1e-5)
    cursor = vtk_to_numpy(series["Shown time"].GetTableNode().GetTable().GetColumnByName("time"))
    np.testing.assert_allclose(cursor, 1.25)


def test_plot_replaces_drops_and_removes(context, result, model):
    empty = context.scene.GetNumberOfNodes()
    plot = CurvePlot(context)
    curve = model.at_point(_brightest(result)[2], name="P1")
    plot.show("a", curve)
    plot.show("b", curve)
    colors = {tuple(np.round(series.GetColor(), 3)) for series in _series(plot)}
    assert len(colors) == 2
    count = context.scene.GetNumberOfNodes()
    plot.show("a", curve)
    assert context.scene.GetNumberOfNodes() == count
    plot.drop("a")
    plot.drop("a")
    assert [series.GetName() for series in _series(plot)] == ["P1"]
    context.scene.RemoveNode(plot.tables["b"])
    plot.show("b", curve)
    assert len(_series(plot)) == 1
    plot.remove()
    plot.remove()
    assert plot.chart is None
    plot.show("a", curve)
    plot.set_time(1.0)
    assert context.scene.GetNumberOfNodes() == empty


def test_points_on_vessels_get_curves_that_follow_them(context, result_folder, result, tmp_path):
    nodes = load_result(context, result_folder)
    plot = CurvePlot(context)
    probe = CurveProbe(context, [nodes], plot)
    point = _brightest(result)[2]
    number = probe.add(tuple(point))
    assert [series.GetName() for series in _series(plot)] == [probe.points.GetNthControlPointLabel(number)]
    (table,) = plot.tables.values()
    first = vtk_to_numpy(table.GetTable().GetColumnByName("attenuation")).copy()
    root = flipped(truth().centerline_mm[0])
    probe.points.SetNthControlPointPositionWorld(number, *root)
    (table,) = plot.tables.values()
    assert np.abs(vtk_to_numpy(table.GetTable().GetColumnByName("attenuation")) - first).max() > 0
    probe.points.SetNthControlPointPositionWorld(number, *(root + 300))
    assert plot.tables == {}
    assert probe.points.GetNthControlPointDescription(number) == "no vessel within 5 mm"
    probe.points.SetNthControlPointPositionWorld(number, *point)
    assert probe.points.GetNthControlPointDescription(number) == ""
    second = load_result(context, write_truth_result(tmp_path / "second", title="Other"))
    probe.set_results([nodes, second])
    assert len(plot.tables) == 2
    probe.points.RemoveNthControlPoint(number)
    assert plot.tables == {}
    probe.add(tuple(point))
    context.scene.RemoveNode(probe.points)
    probe.update()
    probe.close()
    probe.close()
