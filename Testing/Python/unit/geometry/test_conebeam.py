import numpy as np
import pytest

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.geometry.angles import PATIENT_FROM_TABLE, patient_angles_from_equipment

C_ARM = {"sod_mm": 750.0, "sdd_mm": 1200.0, "detector_shape": (64, 80), "detector_spacing_mm": (1.1, 1.2)}


def c_arm(primary, secondary=0.0, **changes) -> ConeBeamGeometry:
    return ConeBeamGeometry.from_angles(primary, secondary, **{**C_ARM, **changes})


@pytest.mark.parametrize(
    ("primary", "secondary", "towards"),
    [(0, 0, (0, -1, 0)), (90, 0, (1, 0, 0)), (-90, 0, (-1, 0, 0)), (0, 90, (0, 0, 1)), (0, -90, (0, 0, -1))],
)
def test_detector_lies_anterior_left_right_head_feet_for_the_named_angles(primary, secondary, towards):
    geometry = c_arm(primary, secondary)
    np.testing.assert_allclose(geometry.detector_center_mm[0], 450 * np.array(towards, float), atol=1e-9)
    np.testing.assert_allclose(geometry.source_mm[0], -750 * np.array(towards, float), atol=1e-9)


def test_frontal_image_shows_patients_left_on_the_right_and_head_up():
    pixels, depth = c_arm(0).project_points([[10, 0, 0], [0, 0, 10], [0, 30, 0]])
    magnification = 1200 / 750
    np.testing.assert_allclose(pixels[0, 0], [31.5, 39.5 + 10 * magnification / 1.2])
    np.testing.assert_allclose(pixels[0, 1], [31.5 - 10 * magnification / 1.1, 39.5])
    np.testing.assert_allclose(depth[0], [750, 750, 720])


def test_positive_roll_turns_the_image_clockwise():
    pixels, _ = c_arm(0, roll_deg=10.0).project_points([[0, 0, 10]])
    assert pixels[0, 0, 1] > 39.5


@pytest.mark.parametrize("position", PATIENT_FROM_TABLE)
def test_equipment_angles_give_the_same_beam_in_the_patient_for_every_position(position):
    primary, secondary = np.array([-30.0, 0, 75]), np.array([10.0, -20, 5])
    in_patient = c_arm(primary, secondary).rotated(PATIENT_FROM_TABLE[position])
    angles = patient_angles_from_equipment(primary, secondary, position)
    np.testing.assert_allclose(c_arm(*angles).source_mm, in_patient.source_mm, atol=1e-9)
    head = PATIENT_FROM_TABLE[position][:, 2]
    assert np.all(in_patient.detector_v_mm @ head < 0), "rows must grow towards the foot end of the table"


def test_feet_first_supine_turns_the_image_upside_down_and_swaps_lao_and_cranial():
    primary, secondary = patient_angles_from_equipment([30.0], [10.0], "FFS")
    np.testing.assert_allclose([primary[0], secondary[0]], [-30, -10], atol=1e-9)
    upright = c_arm(-30.0, -10.0)
    turned = c_arm(30.0, 10.0).rotated(PATIENT_FROM_TABLE["FFS"])
    np.testing.assert_allclose(turned.detector_v_mm, -upright.detector_v_mm, atol=1e-9)


def test_an_unknown_patient_position_is_named():
    with pytest.raises(ValueError, match="HFX"):
        patient_angles_from_equipment([0], [0], "HFX")


def test_equality_is_by_tolerance_at_the_detector_corners():
    geometry = c_arm([0, 10])
    near = ConeBeamGeometry(
        geometry.source_mm + 4e-7,
        geometry.detector_center_mm,
        geometry.detector_u_mm,
        geometry.detector_v_mm,
        geometry.detector_shape,
    )
    assert near == geometry
    stretched = ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        geometry.detector_u_mm * (1 + 5e-7),
        geometry.detector_v_mm,
        geometry.detector_shape,
    )
    assert stretched != geometry, "40 columns from the center the pixels are 2e-5 mm apart"
    assert geometry != c_arm([0, 10, 20])
    assert geometry != "geometry"


def test_vectors_are_frozen():
    geometry = c_arm([0, 10])
    with pytest.raises(ValueError, match="read-only"):
        geometry.source_mm[0] = 0
    with pytest.raises(AttributeError):
        geometry.source_mm = geometry.source_mm


def test_iterating_over_the_views_ends():
    assert len(list(c_arm([0, 10, 20]))) == 3
    with pytest.raises(IndexError):
        c_arm([0, 10])[2]


def test_no_views_are_still_a_geometry():
    empty = c_arm([0, 10])[[]]
    assert len(empty) == 0
    assert eval(repr(empty)) == empty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sod_mm": 1300.0}, "sod_mm must lie between 0 and sdd_mm"),
        ({"sod_mm": [750.0, -1.0]}, "view 1"),
        ({"detector_spacing_mm": (1.0, 0.0)}, "detector_spacing_mm must be positive"),
        ({"detector_shape": (0, 5)}, "detector_shape"),
        ({"primary": [0.0, np.nan]}, "finite"),
    ],
)
def test_impossible_descriptions_are_refused_with_the_reason(change, message):
    primary = change.pop("primary", [0.0, 10.0])
    with pytest.raises(GeometryError, match=message):
        c_arm(primary, **change)


def test_a_source_in_the_detector_plane_is_refused():
    geometry = c_arm([0, 10])
    with pytest.raises(GeometryError, match="view 0"):
        ConeBeamGeometry(
            geometry.detector_center_mm,
            geometry.detector_center_mm,
            geometry.detector_u_mm,
            geometry.detector_v_mm,
            (4, 4),
        )


def test_a_tiny_but_regular_projection_matrix_is_accepted_and_a_singular_one_refused():
    geometry = c_arm([0, 10])
    matrices = geometry.projection_matrices * 1e-9
    again = ConeBeamGeometry.from_projection_matrices(matrices, geometry.detector_shape, sdd_mm=1200)
    assert again.isclose(geometry, 1e-9)
    matrices[1, 0] = matrices[1, 1]
    with pytest.raises(GeometryError, match="singular"):
        ConeBeamGeometry.from_projection_matrices(matrices, geometry.detector_shape, sdd_mm=1200)


def test_scan_arc_sums_the_turn_in_either_direction():
    assert c_arm(np.linspace(-100, 100, 21)).scan_arc_deg == pytest.approx(200)
    assert c_arm(np.linspace(100, -100, 21)).scan_arc_deg == pytest.approx(200)


def test_rotating_refuses_a_mirror():
    with pytest.raises(ValueError, match="proper rotation"):
        c_arm([0]).rotated(np.diag([1, 1, -1]))


def test_binning_by_more_than_the_detector_is_refused():
    with pytest.raises(ValueError, match="factor"):
        c_arm([0]).binned(65)


def test_field_of_view_grid_covers_the_detector_at_the_isocenter():
    grid = c_arm([0]).field_of_view_grid(shape=48)
    assert grid.shape_zyx == (48, 48, 48)
    assert grid.size_mm[0] == pytest.approx(80 * 1.2 * 750 / 1200)
    np.testing.assert_allclose(grid.center_mm, 0, atol=1e-12)
