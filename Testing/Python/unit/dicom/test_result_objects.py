"""Vessel mask, arrival times, surface, key views and movie as DICOM objects."""

import numpy as np
import pydicom
import pytest
from helpers.result_exports import (
    FILL_UID,
    GRID,
    MASK_UID,
    TIMES_S,
    complaints,
    dynamic_volume,
    static_volume,
    write_small_result,
    write_sources,
)

from DSAReconLib.dicom.results.parametric_map import OUTSIDE_S
from DSAReconLib.io.result_folder import open_result
from DSAReconLib.jobs.export import DicomExport, export_dicom
from DSAReconLib.progress import SilentProgress

highdicom = pytest.importorskip("highdicom")

SINGLE = ("vessel_mask.dcm", "arrival_time.dcm", "vessel_surface.dcm", "key_views.dcm", "movie.dcm")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return write_small_result(tmp_path_factory.mktemp("objects") / "result")


@pytest.fixture(scope="module")
def exported(result):
    base = result.parent
    job = DicomExport(result=result, sources=(write_sources(base / "source"),), out=base / "dicom", times=2)
    export_dicom(job, SilentProgress())
    return base / "dicom"


@pytest.mark.parametrize("name", SINGLE)
def test_every_object_is_valid(exported, name):
    assert complaints(exported / name) == []


def test_the_mask_comes_back_as_the_same_voxels_at_the_same_place(exported, result):
    segmentation = highdicom.seg.segread(exported / "vessel_mask.dcm")
    volume = segmentation.get_volume(combine_segments=True)
    affine, voxels = _upright(volume)
    np.testing.assert_allclose(affine, GRID.index_to_world, rtol=0, atol=1e-6)
    inside = np.isfinite(open_result(result).load_map("arrival_time"))
    np.testing.assert_array_equal(voxels > 0, inside)
    assert 20 < inside.sum() < inside.size / 2
    assert list(segmentation.segment_numbers) == [1]
    assert segmentation.get_segment_description(1).segment_label == "Vessels"


def test_arrival_times_come_back_in_seconds_at_the_same_place(exported, result):
    image = highdicom.imread(exported / "arrival_time.dcm")
    affine, voxels = _upright(image.get_volume(apply_real_world_transform=False))
    np.testing.assert_allclose(affine, GRID.index_to_world, rtol=0, atol=1e-6)
    arrival = open_result(result).load_map("arrival_time")
    np.testing.assert_array_equal(voxels, np.where(np.isfinite(arrival), arrival, np.float32(OUTSIDE_S)))
    dataset = pydicom.dcmread(exported / "arrival_time.dcm")
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "s"
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == pytest.approx(np.nanmin(arrival))
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == pytest.approx(np.nanmax(arrival))
    assert dataset.FloatPixelPaddingValue == OUTSIDE_S


def test_the_surface_comes_back_byte_for_byte(exported, result):
    dataset = pydicom.dcmread(exported / "vessel_surface.dcm")
    stl = (result / "vessels.stl").read_bytes()
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == stl
    assert dataset.MIMETypeOfEncapsulatedDocument == "model/stl"
    assert dataset.MeasurementUnitsCodeSequence[0].CodeValue == "mm"


def test_all_objects_belong_to_one_study_and_lie_in_one_frame_of_reference(exported):
    datasets = {path.name: pydicom.dcmread(path, stop_before_pixels=True) for path in exported.rglob("*.dcm")}
    assert len({dataset.StudyInstanceUID for dataset in datasets.values()}) == 1
    in_space = ("time_000.dcm", "time_001.dcm", "vessel_mask.dcm", "arrival_time.dcm", "vessel_surface.dcm")
    assert len({datasets[name].FrameOfReferenceUID for name in in_space}) == 1
    assert len({dataset.SOPInstanceUID for dataset in datasets.values()}) == len(datasets) == 7
    numbers = {dataset.SeriesNumber: dataset.SeriesInstanceUID for dataset in datasets.values()}
    assert sorted(numbers) == [401, 402, 403, 404, 405, 406]
    assert len(set(numbers.values())) == 6


def test_mask_and_map_refer_to_a_volume_with_contrast(exported):
    for name in ("vessel_mask.dcm", "arrival_time.dcm"):
        dataset = pydicom.dcmread(exported / name)
        (series,) = dataset.ReferencedSeriesSequence
        (instance,) = series.ReferencedInstanceSequence
        volume = pydicom.dcmread(exported / "attenuation" / "time_001.dcm")
        first = pydicom.dcmread(exported / "attenuation" / "time_000.dcm")
        assert series.SeriesInstanceUID == volume.SeriesInstanceUID
        assert instance.ReferencedSOPInstanceUID == volume.SOPInstanceUID
        assert volume.pixel_array.sum() > first.pixel_array.sum()


def test_the_movie_plays_in_real_time_and_shows_every_acquired_frame(exported):
    dataset = pydicom.dcmread(exported / "movie.dcm")
    assert dataset.NumberOfFrames == len(TIMES_S)
    assert float(dataset.FrameTime) == pytest.approx(1000 * np.diff(TIMES_S).mean(), rel=1e-9)
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    frames = dataset.pixel_array
    assert frames.shape == (len(TIMES_S), 24, 32)
    assert frames.min() < 60
    assert frames.max() == 255


def test_uneven_frame_times_become_a_frame_time_vector():
    from DSAReconLib.dicom.results.secondary_capture import movie_object

    times = np.array([0.0, 0.1, 0.4])
    dataset = movie_object(np.zeros((3, 4, 5), np.uint8), times, _identity())
    np.testing.assert_allclose(np.cumsum([float(step) for step in dataset.FrameTimeVector]), 1000 * times)
    assert "FrameTime" not in dataset


def test_key_views_are_colored_by_arrival_and_say_their_angles(exported):
    dataset = pydicom.dcmread(exported / "key_views.dcm")
    pictures = dataset.pixel_array
    assert pictures.shape[0] == 6
    assert pictures.shape[3] == 3
    assert dataset.PhotometricInterpretation == "RGB"
    spread = np.ptp(pictures.astype(int), axis=-1)
    assert (spread[:, :, :400] > 50).sum(axis=(1, 2)).min() > 50
    assert "LAO 90 CRA 0" in dataset.ImageComments
    assert "RAO 45 CRA 0" in dataset.ImageComments


def test_a_result_without_time_has_one_grey_volume_and_no_arrival_map(tmp_path):
    result = write_small_result(tmp_path / "result", volume=static_volume(), method="fdk")
    progress = SilentProgress()
    job = DicomExport(result=result, sources=(write_sources(tmp_path / "source"),), out=tmp_path / "dicom")
    export_dicom(job, progress)
    assert len(list((tmp_path / "dicom" / "attenuation").iterdir())) == 1
    assert not (tmp_path / "dicom" / "arrival_time.dcm").exists()
    assert [code for code, _ in progress.warnings] == ["export.left_out"]
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        assert complaints(path) == []
    _, voxels = _upright(
        highdicom.seg.segread(tmp_path / "dicom" / "vessel_mask.dcm").get_volume(combine_segments=True)
    )
    np.testing.assert_array_equal(voxels > 0, dynamic_volume().at(1.0) >= 0.02)
    volume = pydicom.dcmread(tmp_path / "dicom" / "attenuation" / "time_000.dcm", stop_before_pixels=True)
    assert volume.XRay3DReconstructionSequence[0].AlgorithmType == "FILTER_BACK_PROJ"


def test_an_empty_result_exports_its_volumes_and_says_what_is_missing(tmp_path):
    from dataclasses import replace

    empty = replace(dynamic_volume(), coefficients=np.zeros_like(dynamic_volume().coefficients))
    result = write_small_result(tmp_path / "result", volume=empty)
    progress = SilentProgress()
    job = DicomExport(result=result, sources=(write_sources(tmp_path / "source"),), out=tmp_path / "dicom")
    written = export_dicom(job, progress)
    assert [path.name for path in written][:3] == ["time_000.dcm", "time_001.dcm", "time_002.dcm"]
    assert len(progress.warnings) == 3
    assert [complaint for path in written for complaint in complaints(path)] == []


def test_the_surface_names_both_source_runs(exported):
    dataset = pydicom.dcmread(exported / "vessel_surface.dcm")
    named = [source.ReferencedSOPInstanceUID for source in dataset.SourceInstanceSequence]
    assert named == [MASK_UID, FILL_UID]


def _upright(volume):
    """Affine (x, y, z) to LPS mm and voxels (z, y, x) of a highdicom volume, whatever order it keeps its axes in."""
    assert volume.array.ndim == 3
    ascending = volume.affine[2, 0] > 0
    voxels = volume.array if ascending else volume.array[::-1]
    affine = volume.affine[:, [2, 1, 0, 3]]
    if not ascending:
        affine[:3, 3] += (len(voxels) - 1) * affine[:3, 2]
        affine[:3, 2] *= -1
    return affine, voxels


def _identity():
    import datetime as dt

    from DSAReconLib.dicom.results.identity import ResultIdentity
    from DSAReconLib.dicom.results.sources import SourceRuns

    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.12.1", FILL_UID
    return ResultIdentity(
        sources=SourceRuns(headers=(header,)),
        key="",
        frame_key="",
        method="Double",
        views=1,
        frames=1,
        version="0",
        finished=dt.datetime(2026, 3, 1),
        derivation="Made up",
    )
