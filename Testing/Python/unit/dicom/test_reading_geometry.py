import numpy as np
import pytest
from helpers.xa_objects import COLUMNS, FRAMES, ROWS, START_DEG, offsets, stored_frames, write_xa

from DSAReconLib.dicom import read_run
from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry import ConeBeamGeometry

MIDDLE = ((ROWS - 1) / 2, (COLUMNS - 1) / 2)


def _read(tmp_path, pixels=None, **attributes):
    return read_run(write_xa(tmp_path / "run.dcm", pixels, **attributes))


def _codes(run):
    return {code for code, _ in run.warnings}


def _isocenter(run):
    pixels, _ = run.geometry.project_points(np.zeros((1, 3)))
    return pixels[:, 0]


def test_poses_follow_from_angles_distances_and_spacing(tmp_path):
    expected = ConeBeamGeometry.from_angles(
        START_DEG + np.array(offsets()),
        0.0,
        sod_mm=750,
        sdd_mm=1200,
        detector_shape=(ROWS, COLUMNS),
        detector_spacing_mm=(0.8, 0.5),
    )
    run = _read(tmp_path)
    assert run.geometry.isclose(expected, 1e-9)
    assert _codes(run) == set()


@pytest.mark.parametrize(
    ("attributes", "sod", "sdd", "code"),
    [
        (
            {"DistanceSourceToPatient": None, "EstimatedRadiographicMagnificationFactor": 1.5},
            800,
            1200,
            "geometry.sod_from_magnification",
        ),
        (
            {"DistanceSourceToDetector": -1.0, "EstimatedRadiographicMagnificationFactor": 1.5},
            750,
            1125,
            "geometry.sdd_from_magnification",
        ),
        (
            {"DistanceSourceToDetector": None, "DistanceSourceToPatient": 0.0, "Manufacturer": "SIEMENS"},
            785,
            1200,
            "geometry.vendor_distances",
        ),
        (
            {
                "DistanceSourceToDetector": 1180.0,
                "DistanceSourceToPatient": None,
                "Manufacturer": "Philips Medical Systems",
            },
            810,
            1180,
            "geometry.vendor_distances",
        ),
        (
            {"DistanceSourceToPatient": None, "Manufacturer": "GE MEDICAL SYSTEMS"},
            720,
            1200,
            "geometry.vendor_distances",
        ),
    ],
)
def test_missing_distances_have_fall_backs_that_are_named(tmp_path, attributes, sod, sdd, code):
    run = _read(tmp_path, **attributes)
    np.testing.assert_allclose(run.geometry.sod_mm, sod)
    np.testing.assert_allclose(run.geometry.sdd_mm, sdd)
    assert code in _codes(run)


def test_distances_of_an_unknown_manufacturer_are_refused_and_can_be_given(tmp_path):
    path = write_xa(tmp_path / "run.dcm", DistanceSourceToPatient=None)
    with pytest.raises(GeometryError) as caught:
        read_run(path)
    assert caught.value.code == "geometry.distances"
    assert "Nobody" in caught.value.message
    run = read_run(path, overrides={"DistanceSourceToPatient": 700})
    np.testing.assert_allclose(run.geometry.sod_mm, 700)


def test_a_magnification_that_contradicts_the_distances_is_reported(tmp_path):
    assert "geometry.magnification" in _codes(_read(tmp_path, EstimatedRadiographicMagnificationFactor=1.2))


def test_a_source_behind_the_detector_is_refused(tmp_path):
    with pytest.raises(GeometryError):
        _read(tmp_path, DistanceSourceToPatient=1250.0)


def test_pixel_spacing_comes_from_the_field_of_view_if_the_imager_spacing_is_missing(tmp_path):
    run = _read(tmp_path, ImagerPixelSpacing=None, FieldOfViewDimensions=[24, 16], PixelSpacing=[0.1, 0.1])
    assert run.geometry.detector_spacing_mm == pytest.approx((1.0, 0.5))
    assert "geometry.spacing_from_field_of_view" in _codes(run)
    with pytest.raises(GeometryError) as caught:
        _read(tmp_path, ImagerPixelSpacing=None, PixelSpacing=[0.1, 0.1])
    assert caught.value.code == "geometry.spacing"


def test_the_isocenter_falls_on_the_middle_by_default(tmp_path):
    np.testing.assert_allclose(_isocenter(_read(tmp_path)), [MIDDLE] * FRAMES, atol=1e-9)


def test_position_of_isocenter_projection_moves_the_principal_point(tmp_path):
    run = _read(
        tmp_path,
        DetectorElementSpacing=[0.4, 0.25],
        PositionOfIsocenterProjection=[30.0, 50.0],
        FieldOfViewOrigin=[4.0, 6.0],
    )
    np.testing.assert_allclose(_isocenter(run), [[13 - 0.5, 22 - 0.5]] * FRAMES, atol=1e-9)
    assert "geometry.isocenter_offset" in _codes(run)


def test_a_field_of_view_off_the_middle_of_the_detector_moves_the_principal_point(tmp_path):
    run = _read(
        tmp_path,
        DetectorElementSpacing=[0.8, 0.5],
        DetectorActiveDimensions=[32.0, 20.0],
        DetectorActiveOrigin=[0.0, 0.0],
        FieldOfViewOrigin=[5.0, 4.0],
    )
    np.testing.assert_allclose(_isocenter(run), [[20 - 5 - 0.5, 20 - 4 - 0.5]] * FRAMES, atol=1e-9)


@pytest.mark.parametrize(("rotation", "flip"), [(r, f) for r in ("0", "90", "180", "270") for f in ("NO", "YES")])
def test_rotation_and_flip_of_the_field_of_view_carry_the_isocenter_along(tmp_path, rotation, flip):
    stored = np.zeros((ROWS, COLUMNS), int)
    detector_shape = (COLUMNS, ROWS) if rotation in ("90", "270") else (ROWS, COLUMNS)
    detector = np.zeros(detector_shape)
    detector[5, 7] = 1
    stored = np.rot90(detector, -int(rotation) // 90)
    stored = stored[:, ::-1] if flip == "YES" else stored
    run = _read(
        tmp_path,
        ImagerPixelSpacing=[0.5, 0.5],
        PositionOfIsocenterProjection=[5.5, 7.5],
        FieldOfViewOrigin=[0.0, 0.0],
        FieldOfViewRotation=rotation,
        FieldOfViewHorizontalFlip=flip,
    )
    np.testing.assert_allclose(_isocenter(run)[0], np.argwhere(stored)[0], atol=1e-9)


def test_an_isocenter_far_outside_the_image_is_ignored(tmp_path):
    run = _read(tmp_path, PositionOfIsocenterProjection=[9000.0, 0.0])
    np.testing.assert_allclose(_isocenter(run), [MIDDLE] * FRAMES, atol=1e-9)
    assert "geometry.isocenter_implausible" in _codes(run)


def test_pixels_behind_shutter_and_collimator_do_not_count(tmp_path):
    run = _read(
        tmp_path,
        ShutterShape="RECTANGULAR",
        ShutterUpperHorizontalEdge=3,
        ShutterLowerHorizontalEdge=ROWS - 2,
        ShutterLeftVerticalEdge=1,
        ShutterRightVerticalEdge=COLUMNS,
        CollimatorShape="RECTANGULAR",
        CollimatorUpperHorizontalEdge=0,
        CollimatorLowerHorizontalEdge=ROWS + 1,
        CollimatorLeftVerticalEdge=5,
        CollimatorRightVerticalEdge=COLUMNS - 4,
    )
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[2 : ROWS - 2, 4 : COLUMNS - 4] = True
    np.testing.assert_array_equal(run.valid, expected)
    np.testing.assert_allclose(_isocenter(run), [MIDDLE] * FRAMES, atol=1e-9)


def test_a_round_shutter_hides_the_corners(tmp_path):
    run = _read(
        tmp_path,
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[12, 16],
        RadiusOfCircularShutter=11,
    )
    assert not run.valid[0, 0]
    assert run.valid[11, 15]
    assert run.valid.sum() == pytest.approx(np.pi * 11**2, rel=0.05)


def test_a_polygonal_shutter_is_filled(tmp_path):
    run = _read(tmp_path, ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[3, 3, 3, 20, 20, 20, 20, 3])
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[2:19, 2:19] = True
    np.testing.assert_array_equal(run.valid, expected)


def test_nonsense_shutter_edges_are_ignored(tmp_path):
    run = _read(
        tmp_path,
        ShutterShape="RECTANGULAR",
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=1,
        ShutterLeftVerticalEdge=1,
        ShutterRightVerticalEdge=1,
    )
    assert run.valid is None


def test_black_borders_do_not_count(tmp_path):
    pixels = stored_frames()
    pixels[:, :6], pixels[:, :, -3:] = 0, 0
    run = _read(tmp_path, pixels)
    assert not run.valid[:6].any()
    assert not run.valid[:, -3:].any()
    assert run.valid[6:, :-3].all()
    assert "dicom.hidden_pixels" in _codes(run)


def test_the_pixel_padding_value_does_not_count(tmp_path):
    pixels = stored_frames()
    pixels[:, 20:] = 4000
    assert not _read(tmp_path, pixels, PixelPaddingValue=4000).valid[20:].any()
    assert _read(tmp_path, pixels).valid is None


def test_a_field_of_view_of_the_size_inside_the_shutters_carries_the_isocenter(tmp_path):
    shutter = {
        "ShutterShape": "RECTANGULAR",
        "ShutterUpperHorizontalEdge": 7,
        "ShutterLowerHorizontalEdge": ROWS,
        "ShutterLeftVerticalEdge": 1,
        "ShutterRightVerticalEdge": 22,
    }
    spacing = {"ImagerPixelSpacing": [1.0, 1.0]}
    run = _read(tmp_path, **shutter, **spacing, FieldOfViewDimensions=[ROWS - 6, 22], FieldOfViewShape="RECTANGLE")
    np.testing.assert_allclose(_isocenter(run)[0], [(6 + ROWS - 1) / 2, 21 / 2], atol=1e-9)
    run = _read(tmp_path, **shutter, **spacing, FieldOfViewDimensions=[ROWS, COLUMNS], FieldOfViewShape="RECTANGLE")
    np.testing.assert_allclose(_isocenter(run)[0], MIDDLE, atol=1e-9)
    assert "geometry.isocenter_uncertain" not in _codes(run)
    run = _read(tmp_path, **shutter, **spacing)
    np.testing.assert_allclose(_isocenter(run)[0], MIDDLE, atol=1e-9)
    assert "geometry.isocenter_uncertain" not in _codes(run), "there is image behind the shutter"


def test_a_field_of_view_pasted_into_a_black_frame_carries_the_isocenter(tmp_path):
    pixels = stored_frames()
    pixels[:, :6], pixels[:, :, 22:] = 0, 0
    spacing = {"ImagerPixelSpacing": [1.0, 1.0]}
    run = _read(tmp_path, pixels, **spacing, FieldOfViewDimensions=[ROWS - 6, 22], FieldOfViewShape="RECTANGLE")
    np.testing.assert_allclose(_isocenter(run), [[(6 + ROWS - 1) / 2, 21 / 2]] * FRAMES, atol=1e-9)
    assert "geometry.isocenter_offset" in _codes(run)
    run = _read(
        tmp_path,
        pixels,
        **spacing,
        FieldOfViewDimensions=[ROWS - 6, 22],
        DetectorElementSpacing=[1.0, 1.0],
        PositionOfIsocenterProjection=[ROWS / 2, COLUMNS / 2],
    )
    np.testing.assert_allclose(_isocenter(run), [MIDDLE] * FRAMES, atol=1e-9)


def test_an_image_with_the_head_down_is_turned_by_180_degrees(tmp_path):
    upright = _read(tmp_path, PatientOrientation=["L", "F"]).geometry
    turned = _read(tmp_path, PatientOrientation=["R", "H"]).geometry
    np.testing.assert_allclose(turned.detector_u_mm, -upright.detector_u_mm, atol=1e-9)
    np.testing.assert_allclose(turned.detector_v_mm, -upright.detector_v_mm, atol=1e-9)


def test_an_image_with_the_head_at_the_right_is_turned_by_a_quarter(tmp_path):
    geometry = _read(tmp_path, PatientOrientation=["H", "L"]).geometry
    head = geometry.detector_u_mm / np.linalg.norm(geometry.detector_u_mm, axis=1, keepdims=True)
    np.testing.assert_allclose(head, [[0, 0, 1]] * FRAMES, atol=1e-9)
    assert geometry.detector_shape == (ROWS, COLUMNS)
    assert geometry.detector_spacing_mm == pytest.approx((0.8, 0.5))


def test_a_constant_left_foot_orientation_never_mirrors_a_spin(tmp_path):
    plain = _read(tmp_path).geometry
    assert _read(tmp_path, PatientOrientation=["R", "F"]).geometry == plain
    assert _read(tmp_path, PatientOrientation=["L", "F"]).geometry == plain
