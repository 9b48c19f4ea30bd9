"""The panel before anything is reconstructed: what can be pressed, and why not."""

# ruff: noqa: E402 - qt and the module exist once the stand-in for the desktop was made

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.panel import DESKTOP, TESTS, choose_folder, row_texts

pytestmark = pytest.mark.gui

import slicer
from DSAReconWidgets import parameters
from DSAReconWidgets.controller import State

NEEDS_RESULT = ("novelViewButton", "exportNrrdButton", "exportStlButton", "exportDicomButton", "removeResultButton")


def test_nothing_can_be_started_without_input_and_the_reason_is_shown(panel):
    assert not panel.ui.reconstructButton.enabled
    assert "DICOM" in panel.ui.inputStatusLabel.text
    assert "DICOM" in panel.ui.reconstructButton.toolTip
    assert "section 1" in panel.ui.reconstructReasonLabel.text
    for name in NEEDS_RESULT:
        button = getattr(panel.ui, name)
        assert not button.enabled
        assert "result" in button.toolTip.lower()


def test_folder_with_both_runs_makes_the_reconstruction_possible(panel, tiny_case):
    choose_folder(panel, tiny_case)
    assert sorted(row[0].removesuffix(" ⚠") for row in row_texts(panel.ui.runTree)) == ["Fill run", "Mask run"]
    assert {row[1] for row in row_texts(panel.ui.runTree)} == {"20"}
    assert panel.ui.reconstructButton.enabled
    assert "background" in panel.ui.reconstructButton.toolTip


def test_folder_without_runs_says_so(panel, tmp_path):
    (tmp_path / "note.txt").write_text("no DICOM")
    panel.ui.inputFolderEdit.currentPath = str(tmp_path)
    DESKTOP.wait_for(lambda: "needed" in panel.ui.inputStatusLabel.text, what="a sentence")
    assert not panel.ui.reconstructButton.enabled
    panel.ui.inputFolderEdit.currentPath = str(tmp_path / "nowhere")
    DESKTOP.wait_for(lambda: "not there" in panel.ui.inputStatusLabel.text, what="another sentence")


def test_file_instead_of_a_folder_is_told_from_a_folder_without_runs(panel, tiny_case):
    panel.ui.inputFolderEdit.currentPath = str(tiny_case / "fill.dcm")
    DESKTOP.wait_for(lambda: "is a file" in panel.ui.inputStatusLabel.text, what="a sentence")
    panel.ui.inputFolderEdit.currentPath = "   "
    DESKTOP.wait_for(lambda: "Load a mask run" in panel.ui.inputStatusLabel.text, what="another sentence")


def test_damaged_partner_is_named(panel, tiny_case, tmp_path):
    shutil.copy(tiny_case / "mask.dcm", tmp_path)
    (tmp_path / "fill.dcm").write_bytes((tiny_case / "fill.dcm").read_bytes()[:700])
    panel.ui.inputFolderEdit.currentPath = str(tmp_path)
    DESKTOP.wait_for(lambda: "found only mask.dcm" in panel.ui.inputStatusLabel.text, what="a sentence")
    assert not panel.ui.reconstructButton.enabled


def test_exchanged_runs_are_remarked(panel, tiny_case):
    node = panel.parameterNode
    node.fillRun, node.maskRun = (panel.logic.loadRun(tiny_case / name) for name in ("mask.dcm", "fill.dcm"))
    DESKTOP.spin()
    assert "exchanged" in panel.ui.inputStatusLabel.text
    node.fillRun, node.maskRun = node.maskRun, node.fillRun
    DESKTOP.spin()
    assert "exchanged" not in panel.ui.inputStatusLabel.text


def test_dose_follows_the_number_of_views(panel, tiny_case):
    choose_folder(panel, tiny_case)
    assert "<b>100 %</b>" in panel.ui.doseLabel.text
    assert not panel.ui.selectionCombo.enabled
    panel.ui.viewsSpinBox.value = 5
    DESKTOP.spin()
    assert "5 of 20 frames" in panel.ui.doseLabel.text
    assert "<b>25 %</b>" in panel.ui.doseLabel.text
    assert panel.ui.selectionCombo.enabled
    panel.ui.viewsSpinBox.value = 500
    DESKTOP.spin()
    assert "20 frames" in panel.ui.doseLabel.text
    assert not panel.ui.reconstructButton.enabled


def test_exact_frames_win_over_the_number_of_views(panel, tiny_case):
    choose_folder(panel, tiny_case)
    panel.ui.viewIndicesEdit.text = "0:20:2"
    DESKTOP.spin()
    assert "10 of 20 frames" in panel.ui.doseLabel.text
    assert not panel.ui.viewsSpinBox.enabled
    panel.ui.viewIndicesEdit.text = "0:99:x"
    DESKTOP.spin()
    assert not panel.ui.reconstructButton.enabled


def test_runs_are_loaded_by_a_double_click_and_taken_as_a_pair(panel, tiny_case):
    choose_folder(panel, tiny_case)
    tree = panel.ui.runTree
    for row in range(2):
        tree.itemDoubleClicked.emit(tree.topLevelItem(row), 0)
        DESKTOP.spin()
    node = panel.parameterNode
    assert panel.logic.runFile(node.fillRun).name == "fill.dcm"
    assert panel.logic.runFile(node.maskRun).name == "mask.dcm"
    assert panel.ui.fillRunSelector.currentNode() is node.fillRun
    assert len(row_texts(tree)) == 2  # not listed twice
    job = panel.logic.job(node)
    assert Path(job.fill).name == "fill.dcm"


def test_same_run_chosen_twice_is_refused(panel, tiny_case):
    node = panel.logic.loadRun(tiny_case / "fill.dcm")
    panel.parameterNode.fillRun = panel.parameterNode.maskRun = node
    DESKTOP.spin()
    assert "twice" in panel.ui.inputStatusLabel.text
    assert not panel.ui.reconstructButton.enabled


def test_removed_run_leaves_the_panel_usable(panel, tiny_case):
    panel.parameterNode.fillRun = panel.logic.loadRun(tiny_case / "fill.dcm")
    DESKTOP.spin()
    slicer.mrmlScene.RemoveNode(panel.parameterNode.fillRun)
    DESKTOP.spin()
    assert panel.parameterNode.fillRun is None
    assert not panel.ui.reconstructButton.enabled


@pytest.mark.parametrize(
    ("widget", "attribute", "value", "parameter"),
    [
        ("viewsSpinBox", "value", 40, "views"),
        ("sizeSpinBox", "value", 128, "size"),
        ("spacingSpinBox", "value", 0.55, "spacing_mm"),
        ("seedSpinBox", "value", 7, "seed"),
        ("outputTimesSpinBox", "value", 12, "output_times"),
        ("viewIndicesEdit", "text", "0,5,9", "view_indices"),
        ("correctionsEdit", "text", "/a/b.csv", "corrections"),
        ("reportCheckBox", "checked", False, "report"),
        ("followCameraCheckBox", "checked", False, "followCamera"),
        ("primarySlider", "value", -30.0, "primaryAngleDeg"),
        ("secondarySlider", "value", 12.0, "secondaryAngleDeg"),
        ("surfaceCheckBox", "checked", True, "showSurface"),
    ],
)
def test_widgets_and_parameters_follow_each_other(panel, widget, attribute, value, parameter):
    node = panel.parameterNode
    before = getattr(node, parameter)
    setattr(getattr(panel.ui, widget), attribute, value)
    assert getattr(node, parameter) == value
    setattr(node, parameter, before)
    assert getattr(getattr(panel.ui, widget), attribute) == before


@pytest.mark.parametrize(
    ("combo", "parameter", "value"),
    [
        ("methodCombo", "method", "tiavox"),
        ("presetCombo", "preset", "quality"),
        ("deviceCombo", "device", "cpu"),
        ("selectionCombo", "selection", "bolus"),
        ("registrationCombo", "registration", "none"),
    ],
)
def test_lists_and_parameters_follow_each_other(panel, combo, parameter, value):
    widget = getattr(panel.ui, combo)
    before = getattr(panel.parameterNode, parameter)
    widget.currentIndex = widget.findData(value)
    assert getattr(panel.parameterNode, parameter) == value
    setattr(panel.parameterNode, parameter, before)
    DESKTOP.spin()
    assert widget.currentData == before


def test_preset_that_a_method_lacks_falls_back_to_balanced(panel):
    panel.parameterNode.method = "tiavox"
    panel.parameterNode.preset = "paper"
    DESKTOP.spin()
    assert panel.ui.presetCombo.currentData == "paper"
    panel.parameterNode.method = "transit"
    DESKTOP.spin()
    assert panel.parameterNode.preset == "balanced"


def _option(panel, name):
    return next(editor for editor in panel.reconstruction._editors if editor.spec.name == name)


def test_options_of_the_method_are_made_from_its_configuration(panel):
    names = {editor.spec.name for editor in panel.reconstruction._editors}
    assert names == {spec.name for spec in parameters.methodOptions("transit")} - {"seed"}
    step = _option(panel, "delay_step_s").widget
    assert step.text == "0.15 s"
    assert "Unit: s" in step.toolTip
    panel.parameterNode.method = "fdk"
    DESKTOP.spin()
    assert {editor.spec.name for editor in panel.reconstruction._editors} == {
        spec.name for spec in parameters.methodOptions("fdk")
    }


def test_changed_option_is_remembered_and_reset(panel):
    assert not panel.ui.resetOptionsButton.enabled
    _option(panel, "epochs").widget.value = 33
    DESKTOP.spin()
    assert parameters.methodOverrides(panel.parameterNode) == {"epochs": 33}
    panel.ui.resetOptionsButton.click()
    DESKTOP.spin()
    assert parameters.methodOverrides(panel.parameterNode) == {}
    assert _option(panel, "epochs").widget.value == 20


def test_impossible_option_is_refused_in_a_sentence(panel):
    edit = _option(panel, "delay_step_s").widget
    edit.text = "77 s"
    edit.editingFinished.emit()
    DESKTOP.spin()
    assert "must lie in" in panel.ui.messageLabel.text
    assert parameters.methodOverrides(panel.parameterNode) == {}
    assert _option(panel, "delay_step_s").widget.text == "0.15 s"
    panel.ui.dismissButton.click()
    assert not panel.ui.messageFrame.visible


def test_every_control_has_a_tooltip(panel):
    kinds = ("QPushButton", "QToolButton", "QComboBox", "QSpinBox", "QDoubleSpinBox", "QCheckBox", "ctkSliderWidget")
    controls = [widget for widget in vars(panel.ui).values() if type(widget).__name__ in kinds]
    plain = {"dismissButton", "closeDiagnosisButton"}
    without = [widget.name for widget in controls if not widget.toolTip and widget.name not in plain]
    assert [name for name in without if not name.startswith("qt_")] == []
    assert len(controls) > 40


def test_diagnosis_is_shown_and_copied(panel):
    panel.ui.diagnoseButton.click()
    panel.ui.diagnoseButton.click()
    DESKTOP.wait_for(lambda: panel.ui.diagnosisFrame.visible, timeout_s=120, what="the diagnosis")
    assert slicer.app.applicationVersion in panel.ui.diagnosisText.plainText
    panel.ui.copyDiagnosisButton.click()
    assert slicer.app.clipboard().text() == panel.ui.diagnosisText.plainText
    panel.ui.closeDiagnosisButton.click()
    assert not panel.ui.diagnosisFrame.visible


def test_missing_packages_are_named_with_a_button(panel, monkeypatch):
    monkeypatch.setattr(panel.controller, "missing", lambda: ["numba>=0.60", "tqdm"])
    panel.firstUse.forget()
    panel.update()
    assert "numba, tqdm" in panel.ui.setupText.text
    assert panel.ui.installButton.visible
    monkeypatch.setattr(panel.controller, "missing", list)
    panel.firstUse.forget()
    panel.update()
    assert not panel.ui.installButton.visible


def test_installation_shows_progress_and_can_be_cancelled(panel, monkeypatch):
    asked = []
    monkeypatch.setattr(type(panel.controller), "state", property(lambda self: State.INSTALLING))
    monkeypatch.setattr(panel.controller, "cancel", lambda *arguments: asked.append(arguments))
    panel.update()
    panel.controller.installChanged("Downloading numba")
    assert panel.ui.setupProgress.visible
    assert panel.ui.setupText.text == "Downloading numba"
    assert panel.ui.installButton.text == "Cancel"
    assert not panel.ui.reconstructButton.visible
    panel.ui.installButton.click()
    assert asked == [()]


def test_module_is_left_and_entered_twice_and_cleaned_up_twice(panel):
    for action in (panel.exit, panel.exit, panel.enter, panel.enter, panel.cleanup, panel.cleanup):
        action()
        DESKTOP.spin()


def test_closed_scene_gives_a_new_state(panel, tiny_case):
    choose_folder(panel, tiny_case)
    DESKTOP.close_scene()
    assert panel.parameterNode.inputFolder == Path()
    assert panel.ui.inputFolderEdit.currentPath == ""
    assert not panel.ui.reconstructButton.enabled


def test_state_survives_saving_and_reading_the_scene(panel, tiny_case, tmp_path):
    from DSAReconLib.mrml.core_application import read_bundle, save_bundle

    choose_folder(panel, tiny_case)
    panel.ui.viewsSpinBox.value = 9
    panel.ui.methodCombo.currentIndex = panel.ui.methodCombo.findData("tiavox")
    DESKTOP.spin()
    bundle = save_bundle(panel.context, tmp_path / "scene.mrb")
    DESKTOP.close_scene()
    assert panel.ui.viewsSpinBox.value == 0
    read_bundle(panel.context, bundle)
    DESKTOP.wait_for(lambda: panel.ui.viewsSpinBox.value == 9, what="the saved number of views")
    assert panel.ui.methodCombo.currentData == "tiavox"
    DESKTOP.wait_for(lambda: "9 of 20 frames" in panel.ui.doseLabel.text, what="the runs")


def test_slicer_with_bundled_packages_opens_the_panel_loads_runs_and_shows_a_result(tiny_case, result_folders):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parents[1])])}
    command = [sys.executable, "-m", "helpers.light_process", str(tiny_case), str(result_folders[0])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["light"], done.stderr[-2000:]
