"""Patient, study and times of result objects come from the source runs, and only from the right ones."""

import logging

import numpy as np
import pydicom
import pytest
from helpers.result_exports import (
    FILL_UID,
    MASK_UID,
    PATIENT_NAME,
    STUDY_UID,
    CancelledAfter,
    complaints,
    write_small_result,
    write_sources,
)
from helpers.xa_objects import FRAMES, enhanced_dataset, offsets, stored_frames, write_xa
from pydicom.dataset import Dataset

from DSAReconLib.dicom.attributes import Attributes, quiet
from DSAReconLib.dicom.results.sources import acquisition_start, read_sources
from DSAReconLib.errors import JobCancelled, ResultError
from DSAReconLib.jobs.export import DicomExport, export_dicom
from DSAReconLib.progress import SilentProgress

pytest.importorskip("highdicom")

COPIED = ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "StudyTime")


@pytest.fixture
def export(tmp_path):
    """Export a result of the given source objects with one time point; all data sets by file name."""

    def run(source, *, uids=(MASK_UID, FILL_UID), out="dicom", progress=None, **options):
        result = tmp_path / "result"
        if not result.exists():
            write_small_result(result, uids=uids)
        job = DicomExport(result=result, sources=(source,), out=tmp_path / out, times=1, **options)
        return {path.name: pydicom.dcmread(path) for path in export_dicom(job, progress or SilentProgress())}

    return run


def test_patient_and_study_are_those_of_the_source(export, tmp_path):
    source = write_sources(
        tmp_path / "source", PatientSex="F", StudyDescription="Cerebral DSA", ReferringPhysicianName=""
    )
    fill = pydicom.dcmread(source / "fill.dcm")
    for name, dataset in export(source).items():
        for keyword in (*COPIED, "PatientSex", "StudyDescription", "AccessionNumber"):
            assert dataset[keyword].value == fill[keyword].value, (name, keyword)
        assert dataset.SeriesInstanceUID != fill.SeriesInstanceUID


def test_what_the_source_lacks_is_empty_and_still_valid(export, tmp_path):
    absent = dict.fromkeys(("PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber", "BodyPartExamined"))
    source = write_sources(tmp_path / "source", AcquisitionDate=None, **absent)
    objects = export(source)
    assert objects["time_000.dcm"].PatientBirthDate == ""
    assert objects["time_000.dcm"].StudyDate == ""
    content = objects["time_000.dcm"].PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0]
    assert "FrameReferenceDateTime" not in content
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        assert complaints(path) == []


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), ("ISO_IR 192", "山田^太郎"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")],
)
def test_names_in_other_scripts_survive(export, tmp_path, charset, name):
    source = write_sources(tmp_path / "source", SpecificCharacterSet=charset, PatientName=name)
    for dataset in export(source).values():
        assert str(dataset.PatientName) == name
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        assert complaints(path) == []


def test_values_that_are_not_to_the_letter_are_repeated_not_refused(export, tmp_path, monkeypatch):
    source = write_sources(tmp_path / "source")
    with monkeypatch.context() as patch:
        patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        for path in source.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.add_new("StudyDate", "DA", "2026.01.01")
            dataset.add_new("PatientAge", "AS", "45")
            dataset.add_new("SeriesNumber", "IS", "")
            dataset.save_as(path)
    objects = export(source)
    assert str(objects["movie.dcm"]["StudyDate"].value) == "2026.01.01"
    assert objects["movie.dcm"].SeriesNumber == 9006


def test_a_lossy_source_marks_everything_derived_from_it(export, tmp_path):
    source = write_sources(
        tmp_path / "source",
        LossyImageCompression="01",
        LossyImageCompressionRatio="12.5",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    for name, dataset in export(source).items():
        if name != "vessel_surface.dcm":
            assert dataset.LossyImageCompression == "01", name
            assert complaints(next((tmp_path / "dicom").rglob(name))) == []


def test_an_enhanced_source_works_as_a_classic_one(export, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    angles = (-90 + np.array(offsets()), np.zeros(FRAMES))
    for name, uid, number in (("mask", MASK_UID, 1), ("fill", FILL_UID, 2)):
        enhanced_dataset(
            patient_angles=angles,
            SOPInstanceUID=uid,
            SeriesDescription=f"spin {name}",
            SeriesNumber=number,
            StudyInstanceUID=STUDY_UID,
            AcquisitionDateTime=f"2026010112{number:02d}00.5+0100",
            LossyImageCompression="00",
        ).save_as(source / f"{name}.dcm", enforce_file_format=True)
    objects = export(source)
    volume = objects["time_000.dcm"]
    assert volume.StudyInstanceUID == STUDY_UID
    assert volume.ContentDate + volume.ContentTime == "20260101120200.500000"
    images = volume.SharedFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    assert {image.ReferencedSOPClassUID.name for image in images} == {"Enhanced XA Image Storage"}
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        assert complaints(path) == []


def test_times_of_one_object_with_mask_and_fill_count_from_its_first_fill_frame(export, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    mask = Dataset()
    mask.MaskOperation, mask.ApplicableFrameRange, mask.TIDOffset = "TID", [FRAMES + 1, 2 * FRAMES], FRAMES
    write_xa(
        source / "both.dcm",
        stored_frames(2 * FRAMES),
        SOPInstanceUID=FILL_UID,
        PositionerPrimaryAngleIncrement=[*offsets(), *offsets()],
        PositionerSecondaryAngleIncrement=[0.0] * (2 * FRAMES),
        MaskSubtractionSequence=[mask],
        AcquisitionDate="20260101",
        AcquisitionTime="235959.9",
    )
    objects = export(source, uids=(FILL_UID,))
    volume = objects["time_000.dcm"]
    assert len(volume.ContributingSourcesSequence) == 1
    assert volume.ContentDate + volume.ContentTime == "20260102000000.380000"
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        assert complaints(path) == []


def test_other_runs_than_those_of_the_result_are_refused(export, tmp_path):
    source = write_sources(tmp_path / "source", SOPInstanceUID="1.2.3.99")
    with pytest.raises(ResultError, match=MASK_UID.replace(".", r"\.")) as caught:
        export(source)
    assert caught.value.code == "result.source"
    assert "1.2.3.99" in caught.value.message
    assert not (tmp_path / "dicom").exists()


def test_half_of_the_source_is_not_enough(export, tmp_path):
    source = write_sources(tmp_path / "source")
    with pytest.raises(ResultError, match="is missing") as caught:
        export(source / "fill.dcm")
    assert MASK_UID in caught.value.message


def test_an_empty_source_folder_says_what_is_needed(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match="No rotational run"):
        read_sources([tmp_path / "empty"], [MASK_UID, FILL_UID])


def test_a_result_that_names_no_input_cannot_be_exported(tmp_path):
    with pytest.raises(ResultError, match="does not say"):
        read_sources([write_sources(tmp_path / "source")], [])


def test_the_same_export_gives_the_same_bytes_and_another_one_other_uids(export, tmp_path):
    source = write_sources(tmp_path / "source")
    export(source, out="first")
    export(source, out="second")
    names = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.dcm"))
    assert len(names) == 6
    differing = [
        name for name in names if (tmp_path / "first" / name).read_bytes() != (tmp_path / "second" / name).read_bytes()
    ]
    assert [str(name) for name in differing] == []
    other = write_small_result(tmp_path / "other", seed=1)
    job = DicomExport(result=other, sources=(source,), out=tmp_path / "third", times=1)
    third = {path.name: pydicom.dcmread(path, stop_before_pixels=True) for path in export_dicom(job, SilentProgress())}
    first = pydicom.dcmread(tmp_path / "first" / "attenuation" / "time_000.dcm", stop_before_pixels=True)
    assert third["time_000.dcm"].SeriesInstanceUID != first.SeriesInstanceUID
    assert third["time_000.dcm"].FrameOfReferenceUID == first.FrameOfReferenceUID


def test_a_cancelled_export_leaves_nothing(export, tmp_path):
    source = write_sources(tmp_path / "source")
    for reports in (2, 5, 8):
        with pytest.raises(JobCancelled):
            export(source, progress=CancelledAfter(reports))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result", "source"]


def test_no_name_of_the_patient_reaches_logs_messages_or_file_names(export, tmp_path, caplog):
    source = write_sources(tmp_path / "source")
    with caplog.at_level(logging.DEBUG):
        export(source)
    names = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "dicom").rglob("*"))
    for word in (*PATIENT_NAME.split("^"), "SECRET-4711"):
        assert word not in caplog.text
        assert word not in names
    assert PATIENT_NAME not in repr(read_sources([source], [MASK_UID, FILL_UID]))


def test_the_contrast_agent_is_the_source_s_where_it_is_coded(export, tmp_path):
    def code(value, meaning):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
        return item

    source = write_sources(
        tmp_path / "source",
        ContrastBolusAgentSequence=[code("353962003", "Iodixanol")],
        ContrastBolusAdministrationRouteSequence=[code("47625008", "Intravenous route")],
    )
    (agent,) = export(source)["time_000.dcm"].ContrastBolusAgentSequence
    assert agent.CodeMeaning == "Iodixanol"
    assert agent.ContrastBolusAdministrationRouteSequence[0].CodeMeaning == "Intravenous route"
    assert complaints(tmp_path / "dicom" / "attenuation" / "time_000.dcm") == []


def test_the_region_of_the_body_is_the_source_s(export, tmp_path):
    source = write_sources(tmp_path / "source", BodyPartExamined="ABDOMEN")
    objects = export(source)
    anatomy = objects["time_000.dcm"].SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
    assert anatomy.AnatomicRegionSequence[0].CodeMeaning == "Abdomen"
    assert objects["movie.dcm"].BodyPartExamined == "ABDOMEN"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"AcquisitionDateTime": "20260102030405.25+0100", "AcquisitionTime": "120000"}, "2026-01-02T03:04:05.250000"),
        ({"AcquisitionDate": "20260102", "AcquisitionTime": "030405"}, "2026-01-02T03:04:05"),
        ({"StudyDate": "20260102", "AcquisitionTime": "030405"}, "2026-01-02T03:04:05"),
        ({"AcquisitionDate": "20260102", "ContentDate": "20260103", "ContentTime": "0405"}, "2026-01-03T04:05:00"),
        (
            {"AcquisitionDate": "garbage", "AcquisitionTime": "x", "SeriesDate": "20260102", "SeriesTime": "01"},
            "2026-01-02T01:00:00",
        ),
        ({"StudyDate": "20260102", "StudyTime": "030405"}, None),
        ({}, None),
    ],
)
def test_the_start_of_the_run_is_the_best_moment_that_the_header_has(attributes, expected):
    dataset = Dataset()
    with quiet():
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        start = acquisition_start(Attributes(dataset))
    assert (start.isoformat() if start else None) == expected
