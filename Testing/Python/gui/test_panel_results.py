"""Results in the panel: shown, played, measured, compared, exported, and taken away at any moment."""

# ruff: noqa: E402 - qt and the module exist once the stand-in for the desktop was made

import shutil

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.panel import DESKTOP, row_texts
from helpers.result_exports import STUDY_UID, write_small_result, write_sources
from pydicom import dcmread

pytestmark = pytest.mark.gui

import qt
import slicer
from DSAReconWidgets import layout

from DSAReconLib.mrml.coordinates import vtk_matrix
from DSAReconLib.mrml.core_application import read_bundle, save_bundle
from DSAReconLib.mrml.sequence import current_time
from DSAReconLib.mrml.volumes import ijk_to_ras_of, image_data, voxels


@pytest.fixture
def shown(panel, result_folders):
    """The first result, shown."""
    panel.openResult(result_folders[0])
    DESKTOP.spin()
    return panel.result


def _layout():
    return slicer.app.layoutManager().layout


def _vessel_point(result):
    points = result.surface.GetPolyData()
    return points.GetPoint(points.GetNumberOfPoints() // 2)


def _place_point(panel, position):
    panel.ui.placePointButton.checked = True
    panel.parameterNode.probePoint.AddControlPoint(*position)
    DESKTOP.spin(0.1)


def test_opened_result_is_shown_at_its_fullest_time(panel, shown):
    assert panel.ui.resultSelector.currentText == "First 12 views"
    assert panel.ui.displayControls.visible
    assert shown.rendering.GetVisibility()
    assert panel.ui.timeSlider.value == pytest.approx(current_time(shown.browser), abs=0.01)
    assert panel.ui.timeSlider.value > 0
    assert panel.ui.timeSlider.maximum == pytest.approx(shown.times_s[-1], abs=0.01)


def test_time_slider_moves_the_volume_and_the_volume_moves_the_slider(panel, shown):
    panel.ui.timeSlider.value = shown.times_s[2]
    assert shown.browser.GetSelectedItemNumber() == 2
    assert panel.ui.frameLabel.text == "frame 3 of 12"
    shown.browser.SetSelectedItemNumber(7)
    assert panel.ui.timeSlider.value == pytest.approx(shown.times_s[7], abs=0.01)
    assert panel.parameterNode.timeS == pytest.approx(shown.times_s[7])


def test_play_and_stop(panel, shown):
    panel.ui.playButton.click()
    assert shown.browser.GetPlaybackActive()
    assert panel.ui.playButton.text == "Stop"
    panel.ui.speedCombo.currentIndex = panel.ui.speedCombo.findData(2.0)
    fast = shown.browser.GetPlaybackRateFps()
    panel.ui.speedCombo.currentIndex = panel.ui.speedCombo.findData(1.0)
    assert fast == pytest.approx(2 * shown.browser.GetPlaybackRateFps())
    panel.ui.playButton.click()
    assert not shown.browser.GetPlaybackActive()
    assert panel.ui.playButton.text == "Play"


def test_look_of_volume_and_surface(panel, shown):
    ui = panel.ui
    assert not ui.surfaceOpacitySlider.enabled
    assert "surface" in ui.arrivalCheckBox.toolTip.lower()
    ui.surfaceCheckBox.checked = True
    DESKTOP.spin()
    display = shown.surface.GetDisplayNode()
    assert display.GetVisibility()
    ui.surfaceOpacitySlider.value = 40
    assert display.GetOpacity() == pytest.approx(0.4)
    ui.arrivalCheckBox.checked = True
    DESKTOP.spin()
    assert display.GetScalarVisibility()
    ui.volumeCheckBox.checked = False
    DESKTOP.spin()
    assert not shown.rendering.GetVisibility()
    assert not ui.volumePresetCombo.enabled
    ui.volumeCheckBox.checked = True
    ui.volumePresetCombo.currentIndex = ui.volumePresetCombo.findData("X-ray MIP")
    DESKTOP.spin()
    from DSAReconLib.mrml.display import current_preset

    assert current_preset(shown) == "X-ray MIP"


def test_curve_of_a_point_on_a_vessel(panel, shown):
    assert not panel.ui.plotViewButton.enabled
    _place_point(panel, _vessel_point(shown))
    assert not panel.ui.placePointButton.checked
    assert "Arrival" in panel.ui.curveLabel.text
    assert panel.ui.curvePlotLabel.visible
    panel.parameterNode.probePoint.SetNthControlPointPosition(0, 500, 500, 500)
    DESKTOP.spin(0.1)
    assert "no vessel" in panel.ui.curveLabel.text
    assert not panel.ui.plotViewButton.enabled


def test_large_plot_changes_the_layout_and_gives_it_back(panel, shown):
    _place_point(panel, _vessel_point(shown))
    panel.ui.plotViewButton.click()
    assert _layout() == getattr(slicer.vtkMRMLLayoutNode, layout.WITH_PLOT)
    charts = slicer.mrmlScene.GetNodesByClass("vtkMRMLPlotChartNode")
    assert charts.GetNumberOfItems() == 1
    panel.ui.plotViewButton.click()
    assert _layout() == getattr(slicer.vtkMRMLLayoutNode, layout.ONE_3D)
    panel.exit()
    assert _layout() == 2


def test_layout_that_the_user_chose_is_kept(panel, shown):
    slicer.app.layoutManager().setLayout(3)
    panel.exit()
    assert _layout() == 3


def test_results_of_one_run_are_switched_with_time_and_visibility(panel, shown, result_folders):
    assert not panel.ui.nextResultButton.enabled
    panel.ui.timeSlider.value = shown.times_s[4]
    panel.openResult(result_folders[1])
    DESKTOP.spin()
    second = panel.result
    assert [row[0] for row in row_texts(panel.ui.compareTree)] == ["First 12 views", "Second 12 views"]
    assert current_time(second.browser) == pytest.approx(shown.times_s[4])
    assert (shown.rendering.GetVisibility(), second.rendering.GetVisibility()) == (0, 1)
    panel.ui.timeSlider.value = shown.times_s[9]
    panel.ui.nextResultButton.click()
    DESKTOP.spin()
    assert panel.result.name == shown.name
    assert current_time(shown.browser) == pytest.approx(shown.times_s[9])
    assert (shown.rendering.GetVisibility(), second.rendering.GetVisibility()) == (1, 0)
    panel.ui.compareTree.itemClicked.emit(panel.ui.compareTree.topLevelItem(1), 0)
    DESKTOP.spin()
    assert panel.result.name == second.name
    panel.ui.removeResultButton.click()
    panel.ui.removeResultButton.click()
    panel.ui.removeResultButton.click()
    DESKTOP.spin()
    assert panel.results == []
    assert not panel.ui.displayControls.visible


def test_opening_a_result_twice_shows_it_once(panel, shown, result_folders):
    panel.openResult(result_folders[0])
    DESKTOP.spin()
    assert len(panel.results) == 1


def test_folder_that_is_no_result_is_refused_in_a_sentence(panel, tmp_path):
    panel.openResult(tmp_path)
    assert panel.ui.messageFrame.visible
    assert str(tmp_path) in panel.ui.messageLabel.text
    assert panel.result is None


@pytest.mark.parametrize("victim", ["browser", "sequence", "proxy", "surface", "peak", "arrival"])
def test_nodes_deleted_while_they_are_shown(panel, shown, victim):
    panel.ui.surfaceCheckBox.checked = True
    _place_point(panel, _vessel_point(shown))
    panel.ui.playButton.click()
    slicer.mrmlScene.RemoveNode(getattr(shown, victim))
    DESKTOP.spin(0.1)
    panel.ui.timeSlider.value = 1.0
    panel.ui.playButton.click()
    panel.ui.playButton.click()
    panel.ui.surfaceCheckBox.checked = False
    panel.ui.nextResultButton.click()
    DESKTOP.spin(0.1)
    assert DESKTOP.take_errors() == []


def _add_segment(panel, shown):
    """All voxels where contrast passes, as a segment of a new segmentation."""
    labelmap = slicer.vtkOrientedImageData()
    labelmap.DeepCopy(image_data((voxels(shown.peak) > 0).astype(np.uint8)))
    labelmap.SetGeometryFromImageToWorldMatrix(vtk_matrix(ijk_to_ras_of(shown.peak)))
    segmentation = panel.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.AddSegmentFromBinaryLabelmapRepresentation(labelmap, "Vessels", [1.0, 0.0, 0.0], "vessels")
    DESKTOP.spin()
    return segmentation


def test_curve_of_a_segment_and_back_to_the_point(panel, shown, tmp_path):
    ui, combo = panel.ui, panel.ui.curveSourceCombo
    assert not combo.visible
    _place_point(panel, _vessel_point(shown))
    ofPoint = panel.curve._curve
    segmentation = _add_segment(panel, shown)
    assert combo.visible
    combo.currentIndex = combo.findText("Vessels")
    DESKTOP.spin(0.1)
    curve = panel.curve._curve
    assert (curve.name, curve.voxels) == ("Vessels", int((voxels(shown.peak) > 0).sum()))
    assert "Arrival" in ui.curveLabel.text
    assert not ui.placePointButton.enabled
    bundle = save_bundle(panel.context, tmp_path / "scene.mrb")
    combo.currentIndex = 0
    DESKTOP.spin(0.1)
    np.testing.assert_allclose(panel.curve._curve.attenuation, ofPoint.attenuation)
    combo.currentIndex = 1
    segmentation.GetSegmentation().RemoveSegment("vessels")
    DESKTOP.spin(0.1)
    assert not combo.visible
    np.testing.assert_allclose(panel.curve._curve.attenuation, ofPoint.attenuation)
    DESKTOP.close_scene()
    read_bundle(panel.context, bundle)
    DESKTOP.wait_for(lambda: panel.result is not None, what="the saved result")
    DESKTOP.wait_for(lambda: panel.curve._curve is not None and panel.curve._curve.name == "Vessels", what="its curve")


def test_segmentation_deleted_while_its_curve_is_shown(panel, shown):
    segmentation = _add_segment(panel, shown)
    panel.ui.curveSourceCombo.currentIndex = 1
    DESKTOP.spin(0.1)
    panel.ui.plotViewButton.click()
    slicer.mrmlScene.RemoveNode(segmentation)
    DESKTOP.spin(0.1)
    assert not panel.ui.curvePlotLabel.visible
    assert panel.ui.placePointButton.enabled


def test_point_deleted_while_it_is_shown(panel, shown):
    _place_point(panel, _vessel_point(shown))
    slicer.mrmlScene.RemoveNode(panel.parameterNode.probePoint)
    DESKTOP.spin(0.1)
    assert not panel.ui.curvePlotLabel.visible
    _place_point(panel, _vessel_point(shown))
    assert "Arrival" in panel.ui.curveLabel.text


def test_scene_closed_during_playback(panel, shown):
    panel.ui.playButton.click()
    DESKTOP.close_scene()
    assert panel.result is None
    assert panel.ui.displayReasonLabel.visible


def test_shown_result_survives_saving_and_reading_the_scene(panel, shown, tmp_path):
    panel.ui.surfaceCheckBox.checked = True
    panel.ui.timeSlider.value = shown.times_s[5]
    _place_point(panel, _vessel_point(shown))
    bundle = save_bundle(panel.context, tmp_path / "scene.mrb")
    time = float(shown.times_s[5])
    DESKTOP.close_scene()
    read_bundle(panel.context, bundle)
    DESKTOP.wait_for(lambda: panel.result is not None, what="the saved result")
    DESKTOP.spin(0.1)
    assert current_time(panel.result.browser) == pytest.approx(time)
    assert panel.ui.surfaceCheckBox.checked
    assert "Arrival" in panel.ui.curveLabel.text


def test_result_whose_folder_has_gone_is_still_shown_but_not_exported(panel, result_folders, tmp_path):
    folder = tmp_path / "gone"
    shutil.copytree(result_folders[0], folder)
    panel.openResult(folder)
    bundle = save_bundle(panel.context, tmp_path / "scene.mrb")
    DESKTOP.close_scene()
    shutil.rmtree(folder)
    read_bundle(panel.context, bundle)
    DESKTOP.wait_for(lambda: panel.result is not None, what="the saved result")
    DESKTOP.spin()
    assert panel.ui.timeSlider.enabled
    for button in (panel.ui.exportStlButton, panel.ui.novelViewButton, panel.ui.placePointButton):
        assert not button.enabled
        assert "gone" in button.toolTip


def test_exports_are_written_where_the_user_says(panel, shown, tmp_path, monkeypatch):
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(tmp_path / "volumes"))
    (tmp_path / "volumes").mkdir()
    panel.ui.exportNrrdButton.click()
    assert list((tmp_path / "volumes").rglob("*.nrrd"))
    for name, button in (("v.stl", panel.ui.exportStlButton), ("g.ply", panel.ui.exportPlyButton)):
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_arguments, name=name: str(tmp_path / name))
        button.click()
        assert (tmp_path / name).stat().st_size > 100
        assert name in panel.ui.exportLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_arguments: "")
    panel.ui.exportStlButton.click()
    assert DESKTOP.take_errors() == []


def test_export_that_fails_is_one_sentence(panel, shown, tmp_path, monkeypatch):
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_arguments: str(tmp_path / "no" / "such" / "v.stl"))
    (tmp_path / "no").write_text("a file, not a folder")
    panel.ui.exportStlButton.click()
    assert panel.ui.messageFrame.visible
    assert panel.ui.exportLabel.text == ""


def test_movie_is_written_by_a_child_process_while_the_panel_stays_alive(panel, shown, tmp_path, monkeypatch):
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_arguments: str(tmp_path / "vessels.gif"))
    panel.ui.exportMovieButton.click()
    panel.ui.exportMovieButton.click()
    DESKTOP.spin()
    assert not panel.ui.exportStlButton.enabled
    assert "Another export" in panel.ui.exportStlButton.toolTip
    DESKTOP.wait_for(lambda: panel.ui.exportStlButton.enabled, timeout_s=180, what="the movie")
    assert "Written" in panel.ui.exportLabel.text, panel.ui.messageLabel.text
    assert (tmp_path / "vessels.gif").stat().st_size > 1000


def test_dicom_export_needs_the_acquired_runs(panel, shown, tiny_case):
    assert not panel.ui.exportDicomButton.enabled
    assert "section 1" in panel.ui.exportDicomButton.toolTip
    panel.parameterNode.inputFolder = tiny_case
    DESKTOP.spin()
    assert panel.ui.exportDicomButton.enabled


def test_dicom_objects_are_written_by_a_child_process(panel, tmp_path, monkeypatch):
    panel.openResult(write_small_result(tmp_path / "result"))
    panel.parameterNode.inputFolder = write_sources(tmp_path / "runs")
    DESKTOP.spin()
    target = tmp_path / "Größe 1"
    target.mkdir()
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(target))
    panel.ui.exportDicomButton.click()
    DESKTOP.wait_for(lambda: panel.ui.exportNrrdButton.enabled, timeout_s=180, what="the DICOM objects")
    assert "Written" in panel.ui.exportLabel.text, panel.ui.messageLabel.text
    objects = [dcmread(path, stop_before_pixels=True) for path in target.rglob("*.dcm")]
    assert objects
    assert {str(found.StudyInstanceUID) for found in objects} == {STUDY_UID}


def test_arrival_colors_and_curve_have_no_meaning_for_a_static_result(panel, tmp_path):
    from helpers.scene_cases import write_truth_result

    panel.openResult(write_truth_result(tmp_path / "static", static=True))
    DESKTOP.spin()
    for widget in (panel.ui.timeSlider, panel.ui.playButton, panel.ui.arrivalCheckBox, panel.ui.placePointButton):
        assert not widget.enabled
        assert "does not change over time" in widget.toolTip


def test_result_that_changes_starts_at_its_fullest_time_after_a_static_one(panel, result_folders, tmp_path):
    from helpers.scene_cases import write_truth_result

    panel.openResult(write_truth_result(tmp_path / "static", static=True))
    panel.openResult(result_folders[0])
    DESKTOP.spin()
    assert panel.ui.timeSlider.value > 1


def test_numbers_of_the_curve_are_those_of_the_model(panel, shown):
    _place_point(panel, _vessel_point(shown))
    curve = panel.curve._curve
    peak = float(np.max(curve.attenuation))
    assert f"{peak:.3g} 1/mm" in panel.ui.curveLabel.text
