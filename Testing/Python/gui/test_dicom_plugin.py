"""The DICOM plugin offers rotational runs, and nothing else, with what a user must know about them."""

import shutil
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from helpers.realdata import real_data
from helpers.xa_objects import FRAMES, enhanced_dataset, offsets, stored_frames, write_xa

pytest.importorskip("slicer")
from helpers.dicom_browser import dicom_browser

pytestmark = pytest.mark.mrml
ARC = np.linspace(-80, 80, FRAMES)


@pytest.fixture
def browser(monkeypatch):
    with dicom_browser(monkeypatch) as opened:
        yield opened


@pytest.fixture
def study(tmp_path):
    """Mask and fill of one study, in series of their own."""
    mask = write_xa(tmp_path / "mask.dcm", SeriesDescription="3D mask", SeriesNumber=1, AcquisitionTime="120000")
    fill = write_xa(tmp_path / "fill.dcm", SeriesDescription="3D fill", SeriesNumber=2, AcquisitionTime="120030")
    return mask, fill


def _examine(browser, *series):
    """Loadables for lists of files, one per series."""
    lists = [[str(path) for path in (files if isinstance(files, (list, tuple)) else [files])] for files in series]
    browser.database.add(path for files in lists for path in files)
    return browser.plugin.examineForImport(lists)


def _write_enhanced(path, **attributes):
    enhanced_dataset(patient_angles=(ARC, np.zeros(FRAMES)), **attributes).save_as(path, enforce_file_format=True)
    return path


def _uid(path):
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def test_module_is_hidden_and_registers_the_plugin(browser):
    assert browser.parent.hidden is True
    assert browser.parent.categories == ["Developer Tools.DICOM Plugins"]
    assert browser.plugin.loadType == "Rotational X-ray run"


def test_classic_run_is_offered_with_role_arc_frames_and_time(browser, study):
    (loadable,) = _examine(browser, study[1])
    assert (loadable.confidence, loadable.selected, loadable.files) == (0.9, True, [str(study[1])])
    assert loadable.name == "2: 3D fill (fill run, 165°, 12 frames, 0.4 s)"
    assert "Fill run (with contrast medium), 24 x 32 pixels" in loadable.tooltip
    assert "RAO 90° to LAO 75°, CRA 0°" in loadable.tooltip
    assert "750 mm" in loadable.tooltip
    assert "1200 mm" in loadable.tooltip


def test_enhanced_run_is_offered(browser, tmp_path):
    path = _write_enhanced(tmp_path / "enhanced.dcm", SeriesDescription="mask")
    (loadable,) = _examine(browser, path)
    assert loadable.confidence == 0.9
    assert "mask run, 160°, 12 frames" in loadable.name


def test_mask_and_fill_of_a_study_name_each_other_and_refer_to_each_other(browser, study):
    mask, fill = _examine(browser, study[0], study[1])
    assert "Fill run: 3D fill (fill.dcm)" in mask.tooltip
    assert "Mask run: 3D mask (mask.dcm)" in fill.tooltip
    assert (mask.referencedInstanceUIDs, fill.referencedInstanceUIDs) == ([_uid(study[1])], [_uid(study[0])])
    assert (mask.warning, fill.warning) == ("", "")


def test_mask_comes_before_its_fill_whatever_the_selection_order(browser, study):
    assert [one.files for one in _examine(browser, study[1], study[0])] == [[str(study[0])], [str(study[1])]]


def test_partner_is_found_in_the_database_when_only_one_series_is_selected(browser, study):
    browser.database.add(study)
    (fill,) = browser.plugin.examineForImport([[str(study[1])]])
    assert fill.referencedInstanceUIDs == [_uid(study[0])]
    assert browser.database.fileForInstance(fill.referencedInstanceUIDs[0]) == str(study[0])


def test_partner_is_not_taken_from_another_study(browser, study, tmp_path):
    other = write_xa(tmp_path / "other.dcm", SeriesDescription="3D mask", StudyInstanceUID="1.2.3.4")
    loadables = _examine(browser, study[1], other)
    assert [one.referencedInstanceUIDs for one in loadables] == [[], []]


def test_fill_without_mask_says_so(browser, study):
    (fill,) = _examine(browser, study[1])
    assert "cannot be reconstructed yet" in fill.warning
    assert "mask run and a fill run are needed" in fill.warning


def test_two_runs_of_unknown_role_pair_and_the_tooltip_says_that_the_contrast_decides(browser, tmp_path):
    first = write_xa(tmp_path / "1.dcm", SeriesNumber=1, AcquisitionTime="120000")
    second = write_xa(tmp_path / "2.dcm", SeriesNumber=2, AcquisitionTime="120030")
    for loadable in _examine(browser, first, second):
        assert "do not tell mask from fill" in loadable.tooltip
        assert len(loadable.referencedInstanceUIDs) == 1


def test_object_with_mask_and_fill_is_one_loadable_and_needs_no_partner(browser, tmp_path):
    both = _write_both(tmp_path / "both.dcm")
    (loadable,) = _examine(browser, both)
    assert "mask and fill run, 165°, 12 + 12 frames" in loadable.name
    assert loadable.referencedInstanceUIDs == []
    assert "cannot be reconstructed" not in loadable.warning


def _write_both(path):
    return write_xa(
        path,
        stored_frames(2 * FRAMES),
        SeriesDescription="spin twice",
        PositionerPrimaryAngleIncrement=[*offsets(), *offsets()],
        PositionerSecondaryAngleIncrement=[0.0] * (2 * FRAMES),
        MaskSubtractionSequence=[_tid_item()],
    )


def _tid_item():
    item = pydicom.Dataset()
    item.MaskOperation, item.TIDOffset = "TID", FRAMES
    item.ApplicableFrameRange = [FRAMES + 1, 2 * FRAMES]
    return item


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"DistanceSourceToPatient": None, "Manufacturer": "SIEMENS"}, "typical values of Siemens"),
        ({"PixelIntensityRelationship": "DISP"}, "processed for display"),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": 12}, "compressed with losses"),
        ({"DistanceSourceToPatient": None}, "not reconstructed: run.dcm: The distance source-isocenter (0018,1111)"),
        ({"ImagerPixelSpacing": None}, "not reconstructed: run.dcm: Imager Pixel Spacing (0018,1164)"),
        ({"FrameTime": None, "FrameIncrementPointer": None}, "not reconstructed: run.dcm: Frame Time"),
    ],
    ids=["typical distance", "display", "lossy", "distance", "spacing", "times"],
)
def test_what_the_reader_doubts_is_a_warning(browser, tmp_path, attributes, said):
    (loadable,) = _examine(browser, write_xa(tmp_path / "run.dcm", **attributes))
    assert said in loadable.warning
    assert loadable.selected


def test_pair_without_geometry_is_paired_all_the_same(browser, study):
    for path in study:
        header = pydicom.dcmread(path)
        del header.DistanceSourceToDetector
        del header.ImagerPixelSpacing
        header.save_as(path)
    mask, fill = _examine(browser, *study)
    assert mask.warning.count("not reconstructed") == 2
    assert fill.referencedInstanceUIDs == [_uid(study[0])]


def test_run_whose_pixels_mean_nothing_is_left_to_other_plugins_but_stays_in_the_list(browser, tmp_path):
    (loadable,) = _examine(browser, write_xa(tmp_path / "log.dcm", PixelIntensityRelationship="LOG"))
    assert not loadable.selected
    assert "logarithmic" in loadable.warning


_OTHERS = {
    "static DSA": {"PositionerMotion": "STATIC", "PositionerPrimaryAngleIncrement": None,
                   "PositionerSecondaryAngleIncrement": None},
    "increments all zero": {"PositionerPrimaryAngleIncrement": [0.0] * FRAMES},
    "one mean step of zero": {"PositionerPrimaryAngleIncrement": 0.0, "PositionerSecondaryAngleIncrement": 0.0},
    "trembling biplane": {"PositionerPrimaryAngleIncrement": list(0.1 * np.arange(FRAMES)),
                          "ImageType": ["ORIGINAL", "PRIMARY", "BIPLANE A"]},
    "fluoroscopy": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.2", "Modality": "RF"},
    "CT": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"},
    "one frame": {"NumberOfFrames": 1},
    "reconstructed volume": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.1"},
    "no number of frames": {"NumberOfFrames": None},
}  # fmt: skip


@pytest.mark.parametrize("name", _OTHERS)
def test_other_objects_are_left_alone(browser, tmp_path, name):
    assert _examine(browser, write_xa(tmp_path / "other.dcm", **_OTHERS[name])) == []


def test_enhanced_object_that_does_not_rotate_is_left_alone(browser, tmp_path):
    path = tmp_path / "still.dcm"
    enhanced_dataset(patient_angles=(np.full(FRAMES, 30.0), np.zeros(FRAMES))).save_as(path, enforce_file_format=True)
    assert _examine(browser, path) == []


def test_damaged_file_does_not_hide_the_run_beside_it(browser, study, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(study[0].read_bytes()[:900])
    (loadable,) = _examine(browser, [study[1], broken])
    assert loadable.files == [str(study[1])]


@pytest.mark.realdata
def test_real_files_that_do_not_rotate_are_left_alone(browser):
    files = sorted(real_data("xa_dicom").glob("*.dcm"))
    assert len(files) >= 10
    assert _examine(browser, files) == []


def test_examination_reads_headers_only_and_each_once(browser, study, monkeypatch):
    import DSAReconLib.dicom.reader as reader
    from DSAReconLib.dicom import find

    read = []
    original = find.read_run_header
    monkeypatch.setattr(find, "read_run_header", lambda path, *rest: read.append(str(path)) or original(path, *rest))
    monkeypatch.setattr(reader, "stored_frames", lambda *_: pytest.fail("pixels were read"))
    first = _examine(browser, *study)
    again = browser.plugin.examineForImport([[str(path)] for path in study])
    assert [one.name for one in first] == [one.name for one in again]
    assert sorted(read) == sorted(map(str, study))


def test_header_is_read_again_when_the_file_has_changed(browser, study, tmp_path):
    path = str(study[1])
    browser.database.add([path])
    assert "fill run" in browser.plugin.examineForImport([[path]])[0].name
    shutil.copy(write_xa(tmp_path / "new.dcm", stored_frames(20), SeriesDescription="3D mask"), path)
    assert "mask run, 285°, 20 frames" in browser.plugin.examineForImport([[path]])[0].name


def test_other_files_cost_no_header(browser, tmp_path, monkeypatch):
    from DSAReconLib.dicom import find

    monkeypatch.setattr(find, "read_run_header", lambda *_: pytest.fail("a header was read"))
    slices = [write_xa(tmp_path / f"{n}.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.2") for n in range(5)]
    assert _examine(browser, slices) == []
    assert browser.database.values_asked == 5


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_run_of_133_frames_is_examined_in_a_moment(browser, tmp_path, kind):
    angles = np.linspace(0, 200, 133)
    pixels = stored_frames(133)
    path = tmp_path / "long.dcm"
    if kind == "classic":
        write_xa(path, pixels, PositionerPrimaryAngleIncrement=[round(float(v), 4) for v in angles])
    else:
        angles = (angles - 100, np.zeros(133))
        enhanced_dataset(pixels, patient_angles=angles).save_as(path, enforce_file_format=True)
    browser.database.add([path])
    browser.plugin.examineForImport([[str(_write_enhanced(tmp_path / "warm.dcm"))]])
    began = time.perf_counter()
    (loadable,) = browser.plugin.examineForImport([[str(path)]])
    assert "133 frames" in loadable.name
    assert time.perf_counter() - began < 1.0


# Loading


@pytest.fixture
def loading(monkeypatch):
    """The plugin with a scene to load into."""
    from DSAReconLib.mrml.core_application import core_context

    context = core_context()
    with dicom_browser(monkeypatch, context=context) as opened:
        opened.context = context
        yield opened
    context.scene.Clear(True)


def _loaded(loading):
    """Runs in the scene: the panel finds them this way."""
    from DSAReconWidgets.runs import runNodes

    from DSAReconLib.mrml.run import run_of_sequence

    return [run_of_sequence(loading.context, node) for node in runNodes(loading.context)]


def test_run_is_loaded_as_a_sequence_with_angles_times_and_origin(loading, study):
    from DSAReconWidgets.runs import ROLE_ATTRIBUTE, runFile

    from DSAReconLib.dicom import read_run

    (loadable,) = _examine(loading, study[1])
    assert loading.plugin.load(loadable)
    (nodes,) = _loaded(loading)
    run = read_run(study[1])
    np.testing.assert_allclose(nodes.primary_angle_deg, run.geometry.primary_angle_deg)
    np.testing.assert_allclose(nodes.times_s, run.times_s)
    assert nodes.sequence.GetNumberOfDataNodes() == FRAMES
    for node in (nodes.sequence, nodes.proxy):
        assert node.GetAttribute("DICOM.instanceUIDs") == _uid(study[1])
    assert nodes.proxy.GetName() == "2: 3D fill"
    assert nodes.sequence.GetAttribute(ROLE_ATTRIBUTE) == "fill"
    assert runFile(nodes.sequence) == study[1]
    assert loading.shown == [nodes.browser]


def test_mask_and_fill_are_loaded_below_one_study(loading, study):
    for loadable in _examine(loading, *study):
        assert loading.plugin.load(loadable)
    hierarchy = loading.context.subject_hierarchy
    items = [hierarchy.GetItemByDataNode(nodes.proxy) for nodes in _loaded(loading)]
    studies = {hierarchy.GetItemAncestorAtLevel(item, "Study") for item in items}
    assert len(items) == 2
    assert len(studies) == 1
    assert 0 not in studies


def test_object_with_two_runs_becomes_two_runs_below_one_study(loading, tmp_path):
    both = _write_both(tmp_path / "both.dcm")
    (loadable,) = _examine(loading, both)
    assert loading.plugin.load(loadable)
    mask, fill = _loaded(loading)
    assert [nodes.proxy.GetName() for nodes in (mask, fill)] == ["spin twice (mask run)", "spin twice (fill run)"]
    hierarchy = loading.context.subject_hierarchy
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.proxy)) for nodes in (mask, fill)}
    assert len(parents) == 1
    assert hierarchy.GetItemLevel(parents.pop()) == "Study"


def test_loaded_pair_is_what_the_panel_reconstructs(loading, study):
    from DSAReconWidgets.runs import inputOf

    for loadable in _examine(loading, *study):
        loading.plugin.load(loadable)
    mask, fill = _loaded(loading)
    chosen = inputOf(mask.sequence, fill.sequence, Path())
    assert chosen == {"mask": str(study[0]), "fill": str(study[1])}


def test_display_pixels_can_be_looked_at(loading, tmp_path):
    (loadable,) = _examine(loading, write_xa(tmp_path / "display.dcm", PixelIntensityRelationship="DISP"))
    assert loading.plugin.load(loadable)
    assert len(_loaded(loading)) == 1


def test_run_without_distances_can_be_looked_at(loading, tmp_path):
    (loadable,) = _examine(loading, write_xa(tmp_path / "run.dcm", DistanceSourceToPatient=None))
    assert loading.plugin.load(loadable)
    assert len(_loaded(loading)) == 1


def test_problem_while_loading_is_a_sentence_and_leaves_the_scene_alone(loading, tmp_path):
    (loadable,) = _examine(loading, write_xa(tmp_path / "log.dcm", PixelIntensityRelationship="LOG"))
    assert loading.plugin.load(loadable) is False
    assert "logarithmic" in loading.errors[0]
    assert "Export the run" in loading.errors[0]
    assert _loaded(loading) == []


def test_file_that_has_gone_is_a_sentence(loading, study):
    (loadable,) = _examine(loading, study[1])
    study[1].unlink()
    assert loading.plugin.load(loadable) is False
    assert "does not exist" in loading.errors[0]
