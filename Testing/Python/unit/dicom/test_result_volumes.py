"""X-Ray 3D objects: what readers get is what the result holds, at the right place and time."""

import numpy as np
import pydicom
import pytest
from helpers.result_exports import (
    FILL_UID,
    GRID,
    MASK_UID,
    SEQUENCE_TIMES_S,
    STUDY_UID,
    complaints,
    dynamic_volume,
    write_small_result,
    write_sources,
)

from DSAReconLib.dicom.results.scale import StoredScale
from DSAReconLib.jobs.export import DicomExport, export_dicom
from DSAReconLib.progress import SilentProgress

pytest.importorskip("highdicom")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """All objects of a small result."""
    base = tmp_path_factory.mktemp("volumes")
    job = DicomExport(
        result=write_small_result(base / "result"), sources=(write_sources(base / "source"),), out=base / "dicom"
    )
    export_dicom(job, SilentProgress())
    return base / "dicom"


@pytest.fixture(scope="module")
def volumes(exported):
    return sorted((exported / "attenuation").iterdir())


def test_there_is_one_valid_object_per_time_point(volumes):
    assert [path.name for path in volumes] == ["time_000.dcm", "time_001.dcm", "time_002.dcm"]
    assert [complaint for path in volumes for complaint in complaints(path)] == []


def test_simpleitk_reads_attenuation_in_1_per_mm_where_the_result_has_it(volumes):
    sitk = pytest.importorskip("SimpleITK")
    truth = dynamic_volume()
    for path, time in zip(volumes, SEQUENCE_TIMES_S):
        image = sitk.ReadImage(str(path))
        np.testing.assert_allclose(image.GetSpacing(), GRID.spacing_mm, rtol=1e-9)
        np.testing.assert_allclose(image.GetOrigin(), GRID.origin_mm, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(image.GetDirection(), np.eye(3).ravel())
        attenuation = sitk.GetArrayFromImage(image)
        np.testing.assert_allclose(attenuation, truth.at(time), rtol=0, atol=1e-6)


def test_the_center_of_contrast_lies_where_the_result_has_it(volumes):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(volumes[1]))
    weights = np.maximum(sitk.GetArrayFromImage(image), 0)
    index = np.array([axis.ravel() @ weights.ravel() for axis in np.indices(weights.shape)]) / weights.sum()
    read = image.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
    truth = np.maximum(dynamic_volume().at(SEQUENCE_TIMES_S[1]), 0).ravel()
    expected = (GRID.points_mm() * truth[:, None]).sum(0) / truth.sum()
    np.testing.assert_allclose(read, expected, rtol=0, atol=1e-3)


def test_every_frame_says_where_it_lies(volumes):
    dataset = pydicom.dcmread(volumes[0])
    frames = dataset.PerFrameFunctionalGroupsSequence
    positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    x, y, z = GRID.origin_mm
    np.testing.assert_allclose(positions, [(x, y, z + k * GRID.spacing_mm[2]) for k in range(9)], atol=1e-9)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.8, 0.7]


def test_times_are_found_in_every_place_where_readers_look(volumes):
    for number, (path, time) in enumerate(zip(volumes, SEQUENCE_TIMES_S)):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        shared = dataset.SharedFunctionalGroupsSequence[0]
        content = dataset.PerFrameFunctionalGroupsSequence[4].FrameContentSequence[0]
        assert shared.TemporalPositionSequence[0].TemporalPositionTimeOffset == pytest.approx(time, abs=1e-12)
        assert content.TemporalPositionIndex == number + 1 == dataset.InstanceNumber
        clock = f"1200{30.25 + time:09.6f}"
        assert dataset.ContentDate + dataset.ContentTime == f"20260101{clock}"
        assert content.FrameReferenceDateTime == f"20260101{clock}"
        assert f"{time:.3f} s" in dataset.ImageComments


def test_time_points_share_series_frame_of_reference_and_scale(volumes):
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in volumes]
    for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID", "StudyInstanceUID", "SeriesNumber"):
        assert len({str(dataset[keyword].value) for dataset in datasets}) == 1, keyword
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 3
    slopes = {
        str(d.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleSlope) for d in datasets
    }
    assert len(slopes) == 1


def test_both_source_runs_are_named_with_their_part(volumes):
    dataset = pydicom.dcmread(volumes[0], stop_before_pixels=True)
    images = dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    purposes = {image.ReferencedSOPInstanceUID: image.PurposeOfReferenceCodeSequence[0].CodeValue for image in images}
    assert purposes == {MASK_UID: "121321", FILL_UID: "121322"}
    contributing = [
        source.ContributingSOPInstancesReferenceSequence[0] for source in dataset.ContributingSourcesSequence
    ]
    assert [study.StudyInstanceUID for study in contributing] == [STUDY_UID, STUDY_UID]
    assert [study.ReferencedSeriesSequence[0].SeriesNumber for study in contributing] == [3, 4]


def test_a_radiologist_reads_method_views_and_that_it_is_research(volumes):
    dataset = pydicom.dcmread(volumes[0], stop_before_pixels=True)
    assert dataset.SeriesDescription == "Double 6 views, 4D volume (research, not for diagnosis)"
    assert dataset.SeriesNumber == 401
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.LossyImageCompression == "00"
    assert dataset.SoftwareVersions


def test_real_world_values_and_rescale_agree(volumes):
    shared = pydicom.dcmread(volumes[0]).SharedFunctionalGroupsSequence[0]
    rescale, mapping = shared.PixelValueTransformationSequence[0], shared.RealWorldValueMappingSequence[0]
    assert mapping.RealWorldValueSlope == float(rescale.RescaleSlope)
    assert mapping.RealWorldValueIntercept == float(rescale.RescaleIntercept)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "/mm"


@pytest.mark.parametrize("compression", ["jpeg-ls", "rle"])
def test_lossless_compression_changes_no_value(volumes, exported, tmp_path, compression):
    if compression == "jpeg-ls":
        pytest.importorskip("jpeg_ls")
    sitk = pytest.importorskip("SimpleITK")
    result = exported.parent / "result"
    job = DicomExport(
        result=result, sources=(exported.parent / "source",), out=tmp_path / "packed", compression=compression
    )
    export_dicom(job, SilentProgress())
    packed = tmp_path / "packed" / "attenuation" / "time_001.dcm"
    plain, small = sitk.ReadImage(str(volumes[1])), sitk.ReadImage(str(packed))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(small), sitk.GetArrayFromImage(plain))
    assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID.is_compressed
    assert complaints(packed) == []


@pytest.mark.mrml
def test_slicer_reads_the_volume_with_its_place_and_values(volumes):
    slicer = pytest.importorskip("slicer")
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(volumes[1]))
    storage.SetSingleFile(1)
    assert storage.ReadData(node) == 1
    np.testing.assert_allclose(node.GetSpacing(), GRID.spacing_mm, rtol=1e-6)
    x, y, z = GRID.origin_mm
    np.testing.assert_allclose(node.GetOrigin(), (-x, -y, z), rtol=0, atol=1e-4)
    image = node.GetImageData()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    np.testing.assert_allclose(values, dynamic_volume().at(SEQUENCE_TIMES_S[1]), rtol=0, atol=1e-6)
    scene.Clear(True)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.17), (-0.03, 0.05), (0.0, 0.0), (-1e-7, 3.0), (-0.2, 0.0)])
def test_the_scale_holds_zero_exactly_and_everything_within_half_a_step(low, high):
    scale = StoredScale.covering(low, high)
    values = np.linspace(low, high, 1001)
    np.testing.assert_allclose(scale.attenuation(scale.store(values)), values, rtol=0, atol=0.51 * scale.slope)
    assert scale.attenuation(scale.store(0.0)) == pytest.approx(0, abs=1e-12)
    assert scale.slope <= max((high - low) / 65000, 1e-9)


def test_the_scale_survives_its_decimal_strings(volumes):
    rescale = pydicom.dcmread(volumes[0]).SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    truth = np.concatenate([dynamic_volume().at(time).ravel() for time in SEQUENCE_TIMES_S])
    expected = StoredScale.covering(float(truth.min()), float(truth.max()))
    assert float(rescale.RescaleSlope) == expected.slope
    assert float(rescale.RescaleIntercept) == expected.intercept
