import json

import numpy as np
import pydicom
import pytest
from helpers.xa_objects import FRAMES, START_DEG, offsets, stored_frames, write_xa
from pydicom.dataset import Dataset

from DSAReconLib.dicom import find_runs, load_pair, read_run, read_runs
from DSAReconLib.errors import DicomRunError, PairingError

TWICE = [*offsets(), *offsets()]


def _item(**values):
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _two_runs(path, *, contrast=300, **attributes):
    pixels = stored_frames(2 * FRAMES)
    pixels[FRAMES:] = pixels[:FRAMES]
    pixels[FRAMES:, 8:12, 8:12] -= contrast
    return write_xa(
        path,
        pixels,
        **{
            "PositionerPrimaryAngleIncrement": TWICE,
            "PositionerSecondaryAngleIncrement": 0.0,
            **attributes,
        },
    )


@pytest.mark.parametrize(
    "item",
    [
        _item(MaskOperation="TID", TIDOffset=FRAMES, ApplicableFrameRange=[FRAMES + 1, 2 * FRAMES]),
        _item(
            MaskOperation="AVG_SUB",
            MaskFrameNumbers=list(range(1, FRAMES + 1)),
            ApplicableFrameRange=[FRAMES + 1, 2 * FRAMES],
        ),
    ],
    ids=["TID", "AVG_SUB"],
)
def test_mask_and_fill_in_one_object_are_taken_apart(tmp_path, item):
    path = _two_runs(tmp_path / "run.dcm", MaskSubtractionSequence=[item])
    mask, fill = read_runs(path)
    assert (mask.attributes["role"], fill.attributes["role"]) == ("mask", "fill")
    assert len(mask) == len(fill) == FRAMES
    assert fill.times_s[0] == 0
    assert mask.geometry == fill.geometry
    assert fill.intensity.sum() < mask.intensity.sum()
    with pytest.raises(DicomRunError) as caught:
        read_run(path)
    assert caught.value.code == "dicom.two_runs"


def test_a_reversed_tid_pairs_frames_backwards(tmp_path):
    back = offsets()[::-1]
    item = _item(MaskOperation="REV_TID", TIDOffset=1, ApplicableFrameRange=[FRAMES + 1, 2 * FRAMES])
    path = _two_runs(
        tmp_path / "run.dcm", MaskSubtractionSequence=[item], PositionerPrimaryAngleIncrement=[*offsets(), *back]
    )
    mask, fill = read_runs(path)
    np.testing.assert_allclose(mask.geometry.primary_angle_deg[::-1], fill.geometry.primary_angle_deg, atol=1e-9)


def test_a_static_mask_is_not_a_mask_run(tmp_path):
    item = _item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], ApplicableFrameRange=[2, FRAMES])
    run = read_run(write_xa(tmp_path / "run.dcm", MaskSubtractionSequence=[item]))
    assert len(run) == FRAMES
    assert "dicom.mask_not_rotating" in {code for code, _ in run.warnings}


def test_a_mask_operation_of_none_means_nothing(tmp_path):
    item = _item(MaskOperation="NONE", MaskFrameNumbers=[0])
    assert len(read_run(write_xa(tmp_path / "run.dcm", MaskSubtractionSequence=[item]))) == FRAMES


def test_private_counts_of_mask_and_fill_frames_are_used(tmp_path):
    path = _two_runs(tmp_path / "run.dcm", PositionerPrimaryAngleIncrement=[*offsets(), *offsets()])
    ds = pydicom.dcmread(path)
    block = ds.private_block(0x0025, "SIEMENS SMS-AX ORIGINAL IMAGE INFO 1.0", create=True)
    block.add_new(0x12, "US", FRAMES)
    block.add_new(0x13, "US", FRAMES)
    ds.save_as(path)
    assert [run.attributes["role"] for run in read_runs(path)] == ["mask", "fill"]


@pytest.mark.parametrize("second", [offsets(), offsets()[::-1]], ids=["same direction", "back"])
def test_an_arc_swept_twice_is_two_runs_whose_roles_the_pixels_tell(tmp_path, second):
    path = _two_runs(tmp_path / "run.dcm", PositionerPrimaryAngleIncrement=[*offsets(), *second])
    assert [run.attributes["role"] for run in read_runs(path)] == ["unknown", "unknown"]
    mask, fill = load_pair([path])
    assert mask.intensity.sum() > fill.intensity.sum()


@pytest.mark.parametrize(
    ("attributes", "role"),
    [
        ({"SeriesDescription": "3D Mask run"}, "mask"),
        ({"SeriesDescription": "DSA fill"}, "fill"),
        ({"SeriesDescription": "head without contrast"}, "mask"),
        ({"SeriesDescription": "spin"}, "unknown"),
        ({"SeriesDescription": "spin", "ContrastBolusAgent": "Iomeron"}, "fill"),
        ({"SeriesDescription": "Mask", "ContrastBolusAgent": "Iomeron"}, "mask"),
        ({"SeriesDescription": "mask and fill"}, "unknown"),
    ],
)
def test_descriptions_tell_the_role(tmp_path, attributes, role):
    assert read_run(write_xa(tmp_path / "run.dcm", **attributes)).attributes["role"] == role


def _folder(tmp_path):
    pixels = stored_frames()
    filled = pixels.copy()
    filled[:, 8:12, 8:12] -= 400
    # Named so that the order of names is not the order of acquisition.
    write_xa(tmp_path / "z.dcm", pixels, AcquisitionTime="100000")
    (tmp_path / "deep").mkdir()
    write_xa(tmp_path / "deep" / "a.dcm", filled, AcquisitionTime="100030")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_folders_are_searched_and_other_files_passed_over(tmp_path):
    summaries = find_runs([_folder(tmp_path)])
    assert sorted(summary.path.name for summary in summaries) == ["a.dcm", "z.dcm"]
    summary = summaries[0]
    assert summary.frames == FRAMES
    assert summary.primary_deg == pytest.approx((START_DEG, START_DEG + offsets()[-1]), abs=1e-3)
    assert summary.sod_mm == 750
    assert summary.decodable
    assert json.loads(json.dumps(summary.to_dict()))["rows"] == 24


def test_a_file_named_directly_is_always_reported(tmp_path):
    folder = _folder(tmp_path)
    (summary,) = find_runs([folder / "notes.txt"])
    assert summary.refusal_code == "dicom.not_dicom"
    assert not summary.is_run


def test_copies_and_repeated_paths_count_once(tmp_path):
    folder = _folder(tmp_path)
    (folder / "copy.dcm").write_bytes((folder / "z.dcm").read_bytes())
    assert len(find_runs([folder, folder / "z.dcm", folder / "deep"])) == 2


def test_a_pair_is_loaded_in_the_right_order_from_a_folder(tmp_path):
    mask, fill = load_pair([_folder(tmp_path)])
    assert (mask.path.name, fill.path.name) == ("z.dcm", "a.dcm")


def test_named_runs_are_taken_as_named(tmp_path):
    folder = _folder(tmp_path)
    mask, fill = load_pair(mask=folder / "deep" / "a.dcm", fill=folder / "z.dcm")
    assert (mask.path.name, fill.path.name) == ("a.dcm", "z.dcm")
    mask, fill = load_pair([folder], fill=folder / "z.dcm")
    assert (mask.path.name, fill.path.name) == ("a.dcm", "z.dcm")


def test_the_same_file_cannot_be_mask_and_fill(tmp_path):
    path = _folder(tmp_path) / "z.dcm"
    with pytest.raises(PairingError) as caught:
        load_pair(mask=path, fill=path)
    assert caught.value.code == "acquisition.same_file"


def test_one_run_alone_is_not_a_pair(tmp_path):
    with pytest.raises(PairingError) as caught:
        load_pair([_folder(tmp_path) / "z.dcm"])
    assert caught.value.code == "acquisition.missing_run"
    assert "z.dcm" in caught.value.message


def test_a_folder_without_runs_says_so(tmp_path):
    with pytest.raises(DicomRunError) as caught:
        load_pair([tmp_path])
    assert caught.value.code == "dicom.none_found"
    write_xa(tmp_path / "static.dcm", PositionerPrimaryAngleIncrement=None, PositionerSecondaryAngleIncrement=None)
    with pytest.raises(DicomRunError) as caught:
        load_pair([tmp_path])
    assert caught.value.code == "dicom.angles_missing"


def test_a_correction_table_moves_the_poses_of_both_runs(tmp_path):
    folder = _folder(tmp_path)
    (folder / "sag.csv").write_text("primary_deg,row_px,column_px\n-180,2,1\n180,2,1\n")
    plain, moved = load_pair([folder]), load_pair([folder], corrections=folder / "sag.csv")
    for before, after in zip(plain, moved, strict=True):
        assert after.geometry.isclose(before.geometry.shifted_detector((2.0, 1.0)), 1e-9)


def test_overrides_reach_runs_that_are_searched_for(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    for name, time in (("a.dcm", "100000"), ("b.dcm", "100030")):
        pixels = stored_frames()
        pixels[:, 8:12, 8:12] -= 400 * (name == "b.dcm")
        write_xa(folder / name, pixels, AcquisitionTime=time, DistanceSourceToPatient=None)
    mask, fill = load_pair([folder], overrides={"DistanceSourceToPatient": 700})
    np.testing.assert_allclose([mask.geometry.sod_mm, fill.geometry.sod_mm], 700)
