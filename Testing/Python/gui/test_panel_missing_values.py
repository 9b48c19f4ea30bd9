"""Runs whose headers lack distances: the panel says what is missing, and has a place for it only then."""

# ruff: noqa: E402 - qt and the module exist once the stand-in for the desktop was made

import pytest
from helpers.xa_objects import write_xa

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.panel import DESKTOP, choose_folder

pytestmark = pytest.mark.gui

from DSAReconWidgets.header_values import headerText, parseHeader

from DSAReconLib.errors import ConfigError

DISTANCES = "DistanceSourceToPatient=750 DistanceSourceToDetector=1200"


@pytest.fixture
def lacking(tmp_path):
    """Mask and fill run without any distance."""
    missing = {"DistanceSourceToPatient": None, "DistanceSourceToDetector": None}
    for name, time in (("mask", "120000"), ("fill", "120030")):
        write_xa(tmp_path / f"{name}.dcm", SeriesDescription=f"3D {name}", AcquisitionTime=time, **missing)
    return tmp_path


def _type(panel, text):
    panel.ui.headerEdit.text = text
    DESKTOP.spin()
    DESKTOP.wait_for(lambda: not panel.input._search.active, what="the end of the search")
    DESKTOP.spin()


def test_pairs_of_keyword_and_value_are_read_and_written():
    values = {"DistanceSourceToPatient": "785", "ImagerPixelSpacing": r"0.3\0.3"}
    assert parseHeader(headerText(values)) == values
    assert parseHeader(" FrameTime=33.3;  ;DistanceSourceToPatient=785 ") == {
        "FrameTime": "33.3", "DistanceSourceToPatient": "785",
    }  # fmt: skip
    assert parseHeader("") == {}
    for text in ("785", "FrameTime=", "=3", "Frame Time=3"):
        with pytest.raises(ConfigError, match="not understood"):
            parseHeader(text)


def test_no_line_for_missing_values_where_nothing_is_missing(panel, tiny_case):
    choose_folder(panel, tiny_case)
    assert panel.ui.headerEdit.isHidden()


def test_given_distances_make_a_folder_usable(panel, lacking):
    panel.ui.inputFolderEdit.currentPath = str(lacking)
    DESKTOP.wait_for(lambda: "Missing values" in panel.ui.inputStatusLabel.text, what="the sentence")
    assert not panel.ui.headerEdit.isHidden()
    assert not panel.ui.reconstructButton.enabled
    for nonsense in ("785", "NoSuchKeyword=3", "DistanceSourceToPatient=far"):
        _type(panel, nonsense)
        assert panel.ui.inputStatusLabel.text
        assert not panel.ui.reconstructButton.enabled
    _type(panel, DISTANCES)
    assert panel.ui.reconstructButton.enabled, panel.ui.reconstructButton.toolTip
    assert panel.logic.job(panel.parameterNode).header == parseHeader(DISTANCES)
    tree = panel.ui.runTree
    for row in range(2):
        tree.itemDoubleClicked.emit(tree.topLevelItem(row), 0)
        DESKTOP.spin()
    assert panel.ui.reconstructButton.enabled, panel.ui.reconstructButton.toolTip
    assert not panel.ui.messageFrame.visible


def test_run_in_the_scene_that_lacks_distances_says_so(panel, lacking):
    node, given = panel.parameterNode, parseHeader(DISTANCES)
    node.fillRun = panel.logic.loadRun(lacking / "fill.dcm", header=given)
    node.maskRun = panel.logic.loadRun(lacking / "mask.dcm", header=given)
    DESKTOP.spin()
    assert "Missing values" in panel.ui.inputStatusLabel.text
    assert not panel.ui.reconstructButton.enabled
    _type(panel, DISTANCES)
    assert panel.ui.reconstructButton.enabled, panel.ui.reconstructButton.toolTip
