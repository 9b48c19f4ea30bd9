"""Novel views in the panel, with the real render server."""

# ruff: noqa: E402 - qt and the module exist once the stand-in for the desktop was made

import os
import signal

import numpy as np
import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.panel import DESKTOP

pytestmark = pytest.mark.gui

import slicer
from DSAReconWidgets import layout


@pytest.fixture
def novel(panel, result_folders):
    """The novel view of the first result, with its first picture."""
    panel.openResult(result_folders[0])
    DESKTOP.spin()
    panel.ui.novelViewButton.click()
    view = panel.novelView._view
    DESKTOP.wait_for(lambda: view.presenter.line_integrals is not None, timeout_s=120, what="a picture")
    DESKTOP.spin(0.05)
    return view


def _camera(number):
    return layout.cameraOf(layout.threeDView(number))


def _shows(view, condition):
    DESKTOP.wait_for(lambda: condition(view.presenter.line_integrals), timeout_s=30, what="another picture")


def test_picture_of_the_vessels_fills_a_second_view(panel, novel):
    assert slicer.app.layoutManager().layout == getattr(slicer.vtkMRMLLayoutNode, layout.TWO_3D)
    picture = novel.presenter.line_integrals
    assert picture.max() > 20 * abs(np.median(picture))
    renderer = layout.threeDView(1).renderWindow().GetRenderers().GetFirstRenderer()
    assert renderer.GetTexturedBackground()
    assert panel.result.rendering.IsDisplayableInView(layout.threeDView(0).mrmlViewNode().GetID())
    assert not panel.result.rendering.IsDisplayableInView(layout.threeDView(1).mrmlViewNode().GetID())
    panel.ui.novelViewButton.click()
    assert not renderer.GetTexturedBackground()
    assert panel.result.rendering.IsDisplayableInView(layout.threeDView(0).mrmlViewNode().GetID())


def test_picture_follows_the_camera_and_the_cameras_follow_each_other(panel, novel):
    before = novel.presenter.line_integrals
    _camera(0).SetPosition(*(np.array(_camera(0).GetPosition())[[1, 0, 2]] * [1, -1, 1]))
    _shows(novel, lambda picture: picture.shape == before.shape and np.abs(picture - before).max() > 0.05)
    assert np.allclose(_camera(1).GetPosition(), _camera(0).GetPosition())
    _camera(1).SetPosition(300, 900, 10)
    DESKTOP.wait_for(lambda: np.allclose(_camera(0).GetPosition(), (300, 900, 10)), what="the main view")


def test_angles_steer_when_the_camera_does_not(panel, novel):
    assert not panel.ui.primarySlider.enabled
    panel.ui.followCameraCheckBox.checked = False
    DESKTOP.spin()
    assert panel.ui.primarySlider.enabled
    main = _camera(0).GetPosition()
    panel.ui.primarySlider.value = 40
    panel.ui.secondarySlider.value = -10
    DESKTOP.spin()
    assert novel.angles == pytest.approx((40, -10), abs=0.1)
    assert _camera(0).GetPosition() == pytest.approx(main)


def test_angles_show_where_the_camera_looks_from(panel, novel):
    DESKTOP.wait_for(lambda: panel.ui.primarySlider.value == pytest.approx(novel.angles[0], abs=0.6))
    assert panel.parameterNode.primaryAngleDeg == 0.0  # what the user has set stays


def test_picture_follows_the_time(panel, novel):
    brightest = float(novel.presenter.line_integrals.max())
    panel.ui.timeSlider.value = 0.0
    _shows(novel, lambda picture: picture.max() < 0.5 * brightest)


def test_window_and_level_are_kept_in_the_scene(panel, novel):
    DESKTOP.wait_for(lambda: novel.client.info is not None)
    panel.ui.windowSlider.value = 0.4
    panel.ui.levelSlider.value = 0.15
    DESKTOP.spin()
    assert (panel.parameterNode.window, panel.parameterNode.level) == pytest.approx((0.4, 0.15))
    assert (novel.presenter.window, novel.presenter.level) == pytest.approx((0.4, 0.15))


def test_acquired_frame_is_shown_beside_with_the_difference(panel, result_folders, tmp_path):
    from helpers.cases import simulated
    from helpers.scene_cases import VIEWS

    from DSAReconLib.simulation import write_case

    case = write_case(tmp_path / "case", simulated(views=VIEWS, detector=32))
    panel.parameterNode.maskRun = panel.logic.loadRun(case / "mask.dcm")
    panel.parameterNode.fillRun = panel.logic.loadRun(case / "fill.dcm")
    panel.openResult(result_folders[0])
    DESKTOP.spin()
    panel.ui.novelViewButton.click()
    DESKTOP.wait_for(lambda: "mean difference" in panel.ui.picturesLabel.text, timeout_s=120, what="the comparison")
    error = float(panel.ui.picturesLabel.text.rpartition(" ")[2])
    assert error < 0.1
    assert not panel.ui.acquiredPictureLabel.pixmap.isNull()
    panel.ui.besideCheckBox.checked = False
    assert not panel.ui.pictures.visible


def test_death_of_the_server_is_one_sentence_and_it_can_be_started_again(panel, novel):
    os.kill(novel.client.pid, signal.SIGKILL)
    DESKTOP.wait_for(lambda: panel.ui.messageFrame.visible, what="a sentence")
    assert not panel.ui.novelViewButton.checked
    panel.ui.novelViewButton.click()
    view = panel.novelView._view
    DESKTOP.wait_for(lambda: view.presenter.line_integrals is not None, timeout_s=120, what="a picture")


@pytest.mark.parametrize("end", ["button", "exit", "scene", "remove", "cleanup"])
def test_server_ends_with_the_view(panel, novel, end):
    process = psutil.Process(novel.client.pid)
    {
        "button": panel.ui.novelViewButton.click,
        "exit": panel.exit,
        "scene": DESKTOP.close_scene,
        "remove": lambda: slicer.mrmlScene.RemoveNode(panel.result.sequence),
        "cleanup": panel.cleanup,
    }[end]()
    DESKTOP.spin(0.1)
    _gone, alive = psutil.wait_procs([process], timeout=3)
    assert alive == []
    assert panel.novelView._view is None


def test_novel_view_goes_along_to_another_result(panel, novel, result_folders):
    panel.openResult(result_folders[1])
    DESKTOP.spin()
    view = panel.novelView._view
    assert view is not novel
    assert view.result.name == "Second 12 views"
    assert panel.ui.novelViewButton.checked
