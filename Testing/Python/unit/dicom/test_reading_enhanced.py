import numpy as np
import pydicom
import pytest
from helpers.xa_objects import COLUMNS, FRAMES, ROWS, START_DEG, enhanced_dataset, offsets, stored_frames
from pydicom.dataset import Dataset

from DSAReconLib.dicom import read_run
from DSAReconLib.errors import DicomRunError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.geometry.angles import PATIENT_FROM_TABLE, patient_angles_from_equipment

PRIMARY = START_DEG + np.array(offsets())
SECONDARY = 8 * np.sin(np.arange(FRAMES))


def _write(tmp_path, **options):
    path = tmp_path / "enhanced.dcm"
    enhanced_dataset(**options).save_as(path, enforce_file_format=True)
    return path


def _edit(path, change):
    ds = pydicom.dcmread(path)
    change(ds)
    ds.save_as(path)
    return path


def test_patient_based_angles_distances_spacing_and_pixels_are_read(tmp_path):
    run = read_run(_write(tmp_path, patient_angles=(PRIMARY, SECONDARY)))
    expected = ConeBeamGeometry.from_angles(
        PRIMARY, SECONDARY, sod_mm=750, sdd_mm=1200, detector_shape=(ROWS, COLUMNS), detector_spacing_mm=(0.8, 0.5)
    )
    assert run.geometry.isclose(expected, 1e-3)
    np.testing.assert_array_equal(run.intensity, stored_frames())


@pytest.mark.parametrize("position", list(PATIENT_FROM_TABLE))
def test_equipment_angles_follow_the_patient_position(tmp_path, position):
    run = read_run(_write(tmp_path, equipment_angles=(PRIMARY, SECONDARY), PatientPosition=position))
    primary, secondary = patient_angles_from_equipment(PRIMARY, SECONDARY, position)
    difference = (run.geometry.primary_angle_deg - primary + 180) % 360 - 180
    np.testing.assert_allclose(difference, 0, atol=1e-4)
    np.testing.assert_allclose(run.geometry.secondary_angle_deg, secondary, atol=1e-4)
    # The image stays upright on the equipment, whatever side of the patient that shows.
    head_of_table = PATIENT_FROM_TABLE[position][:, 2]
    assert np.all(-run.geometry.detector_v_mm @ head_of_table > 0)


def test_the_patient_position_may_come_as_codes(tmp_path):
    def code(meaning):
        item = Dataset()
        item.CodeMeaning = meaning
        return item

    def change(ds):
        orientation = code("recumbent")
        orientation.PatientOrientationModifierCodeSequence = [code("prone")]
        ds.PatientOrientationCodeSequence = [orientation]
        ds.PatientGantryRelationshipCodeSequence = [code("headfirst")]

    coded = read_run(_edit(_write(tmp_path, equipment_angles=(PRIMARY, SECONDARY)), change)).geometry
    assert coded == read_run(_write(tmp_path, equipment_angles=(PRIMARY, SECONDARY), PatientPosition="HFP")).geometry


def test_equipment_angles_without_a_patient_position_are_refused(tmp_path):
    with pytest.raises(DicomRunError) as caught:
        read_run(_write(tmp_path, equipment_angles=(PRIMARY, SECONDARY)))
    assert caught.value.code == "dicom.angles_missing"
    assert "Patient Position" in caught.value.message


def test_patient_based_angles_win_where_a_rotated_table_makes_both_disagree(tmp_path):
    run = read_run(
        _write(
            tmp_path,
            patient_angles=(PRIMARY, SECONDARY),
            equipment_angles=(PRIMARY + 10, SECONDARY),
            PatientPosition="HFS",
        )
    )
    np.testing.assert_allclose(run.geometry.primary_angle_deg, PRIMARY, atol=1e-3)
    assert "geometry.angles_disagree" in {code for code, _ in run.warnings}


def test_the_detector_rotation_turns_the_image(tmp_path):
    roll = np.full(FRAMES, 90.0)
    run = read_run(_write(tmp_path, equipment_angles=(PRIMARY, np.zeros(FRAMES), roll), PatientPosition="HFS"))
    along = run.geometry.detector_u_mm / np.linalg.norm(run.geometry.detector_u_mm, axis=1, keepdims=True)
    np.testing.assert_allclose(along, [[0, 0, 1]] * FRAMES, atol=1e-6)


def test_a_turned_field_of_view_turns_axes_and_isocenter(tmp_path):
    def change(ds):
        view = ds.SharedFunctionalGroupsSequence[0].FieldOfViewSequence[0]
        view.FieldOfViewRotation, view.FieldOfViewHorizontalFlip = "90", "NO"
        ds.PositionOfIsocenterProjection = [10.5, 4.5]
        ds.DetectorElementSpacing = [0.5, 0.8]

    run = read_run(_edit(_write(tmp_path, patient_angles=(PRIMARY, 0 * PRIMARY)), change))
    along = run.geometry.detector_u_mm / np.linalg.norm(run.geometry.detector_u_mm, axis=1, keepdims=True)
    np.testing.assert_allclose(along, [[0, 0, 1]] * FRAMES, atol=1e-6)  # clockwise: the head lies at the right
    pixel, _ = run.geometry.project_points(np.zeros((1, 3)))
    # Detector of 32 rows x 24 columns; its pixel (10, 4) lands on stored row 4, column 31 - 10.
    np.testing.assert_allclose(pixel[0, 0], [4, 21], atol=1e-6)


def test_frame_times_come_from_the_frame_date_times(tmp_path):
    seconds = np.cumsum([0.0] + [0.03 + 0.001 * k for k in range(FRAMES - 1)])
    run = read_run(_write(tmp_path, patient_angles=(PRIMARY, SECONDARY), seconds=seconds))
    np.testing.assert_allclose(run.times_s, seconds, atol=2e-6)


def test_missing_frame_date_times_fall_back_to_the_cine_attributes(tmp_path):
    def change(ds):
        for item in ds.PerFrameFunctionalGroupsSequence:
            del item.FrameContentSequence
        ds.FrameTime = 50.0

    run = read_run(_edit(_write(tmp_path, patient_angles=(PRIMARY, SECONDARY)), change))
    np.testing.assert_allclose(run.times_s, 0.05 * np.arange(FRAMES))


def test_groups_of_fewer_frames_are_refused(tmp_path):
    path = _edit(
        _write(tmp_path, patient_angles=(PRIMARY, SECONDARY)), lambda ds: ds.PerFrameFunctionalGroupsSequence.pop()
    )
    with pytest.raises(DicomRunError) as caught:
        read_run(path)
    assert caught.value.code == "dicom.functional_groups"


def test_distances_may_change_from_frame_to_frame(tmp_path):
    def change(ds):
        for k, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
            geometry = Dataset()
            geometry.DistanceSourceToIsocenter, geometry.DistanceSourceToDetector = 750.0, 1200.0 + k
            item.XRayGeometrySequence = [geometry]

    run = read_run(_edit(_write(tmp_path, patient_angles=(PRIMARY, SECONDARY)), change))
    np.testing.assert_allclose(run.geometry.sdd_mm, 1200 + np.arange(FRAMES))
