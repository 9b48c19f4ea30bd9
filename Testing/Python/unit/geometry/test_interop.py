import sys

import numpy as np
import pytest

from DSAReconLib.errors import DependencyError, GeometryError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.geometry.interop import rtk, tigre, transforms_json

GRID = VolumeGrid.centered((4, 5, 6), (1.0, 2.0, 3.0))


def c_arm(primary, secondary=0.0, **changes) -> ConeBeamGeometry:
    values = {"sod_mm": 750.0, "sdd_mm": 1200.0, "detector_shape": (64, 80), "detector_spacing_mm": (1.1, 1.2)}
    return ConeBeamGeometry.from_angles(primary, secondary, **{**values, **changes})


def project(geometry: ConeBeamGeometry, points_mm: np.ndarray) -> np.ndarray:
    return geometry.project_points(points_mm)[0]


# ---------------------------------------------------------------- RTK
@pytest.mark.rtk
def test_rtk_finds_gantry_angle_primary_plus_180_and_out_of_plane_angle_secondary():
    pytest.importorskip("itk")
    itk_geometry = rtk.to_rtk(c_arm([-100.0, 20.0], [5.0, -20.0]))
    np.testing.assert_allclose(np.rad2deg(itk_geometry.GetGantryAngles()), [80, 200], atol=1e-9)
    np.testing.assert_allclose(np.rad2deg(itk_geometry.GetOutOfPlaneAngles()), [5, 340], atol=1e-9)
    np.testing.assert_allclose(itk_geometry.GetSourceToIsocenterDistances(), 750)
    np.testing.assert_allclose(itk_geometry.GetSourceToDetectorDistances(), 1200)


def test_rtk_matrices_have_minus_the_depth_and_detector_millimeters():
    point = np.array([[10.0, 20.0, 30.0]])
    geometry = c_arm([25.0], [-10.0], principal_point_px=(20, 50))
    pixels, depth = geometry.project_points(point)
    u, v, w = rtk.rtk_matrices(geometry)[0] @ np.append(rtk.RTK_FROM_LPS @ point[0], 1)
    assert w == pytest.approx(-depth[0, 0])
    assert u / w == pytest.approx((pixels[0, 0, 1] - 39.5) * 1.2)
    assert v / w == pytest.approx((pixels[0, 0, 0] - 31.5) * 1.1)


def test_rtk_refuses_skewed_detectors_and_changing_pixels():
    geometry = c_arm([0.0, 10.0])
    skewed = ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        geometry.detector_u_mm + 0.1 * geometry.detector_v_mm,
        geometry.detector_v_mm,
        (4, 4),
    )
    with pytest.raises(GeometryError, match="perpendicular"):
        rtk.rtk_vectors(skewed)
    changing = ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        geometry.detector_u_mm * [[1.0], [1.1]],
        geometry.detector_v_mm,
        (4, 4),
    )
    with pytest.raises(GeometryError, match="spacing"):
        rtk.rtk_vectors(changing)


def test_missing_rtk_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(DependencyError, match=r"dsarecon\[rtk\]"):
        rtk.to_rtk(c_arm([0.0]))


def test_volume_goes_to_rtk_axes_and_back():
    volume = np.random.default_rng(0).normal(size=GRID.shape_zyx).astype(np.float32)
    array, spacing, origin = rtk.volume_to_rtk(volume, GRID)
    np.testing.assert_array_equal(rtk.volume_from_rtk(array), volume)
    flat = 37
    position = rtk.RTK_FROM_LPS @ GRID.points_mm([flat])[0]
    index = np.rint((position - origin) / spacing).astype(int)
    assert array[tuple(index[::-1])] == volume.flat[flat]


# ---------------------------------------------------------------- TIGRE
def test_tigre_angle_is_minus_the_primary_angle_and_the_rest_is_plain():
    described = tigre.geometry_to_tigre(c_arm([-100.0, 30.0]), GRID)
    np.testing.assert_allclose(described["angles"], np.deg2rad([[100, 0, 0], [-30, 0, 0]]), atol=1e-12)
    np.testing.assert_allclose(described["rotDetector"], 0, atol=1e-12)
    np.testing.assert_allclose(described["offDetector"], 0, atol=1e-9)
    np.testing.assert_allclose(described["DSO"], 750)
    np.testing.assert_allclose(described["DSD"], 1200)
    assert described["nDetector"].tolist() == [64, 80]
    assert described["nVoxel"].tolist() == [4, 6, 5]
    assert described["dVoxel"].tolist() == [3.0, 1.0, 2.0]


def test_tigre_rays_are_ours_in_tigres_world():
    """TIGRE's detector: columns along +y, rows along +z, source on +x, turned by Rz(angle)."""
    geometry = c_arm([40.0], principal_point_px=(10.0, 60.0))
    described = tigre.geometry_to_tigre(geometry, GRID)
    angle, row, column = described["angles"][0, 0], 3, 70
    flat_panel = np.array(
        [
            described["DSO"][0] - described["DSD"][0],
            (column - 39.5) * 1.2 + described["offDetector"][0, 1],
            (row - 31.5) * 1.1 + described["offDetector"][0, 0],
        ]
    )
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    pixel_lps = tigre.TIGRE_FROM_LPS.T @ turn @ flat_panel
    np.testing.assert_allclose(project(geometry, pixel_lps[None])[0, 0], [row, column], atol=1e-9)


def test_tigre_defaults_of_one_angle_per_view_are_understood():
    simple = {"DSO": 750.0, "DSD": 1200.0, "nDetector": [64, 80], "dDetector": [1.1, 1.2]}
    assert tigre.geometry_from_tigre(simple, angles=-np.deg2rad([0.0, 33.0])) == c_arm([0.0, 33.0])
    with pytest.raises(GeometryError, match="COR"):
        tigre.geometry_from_tigre(simple | {"COR": 1.0}, angles=[0.0])


def test_volume_goes_to_tigre_axes_and_back():
    volume = np.random.default_rng(0).normal(size=GRID.shape_zyx).astype(np.float32)
    array = tigre.volume_to_tigre(volume)
    np.testing.assert_array_equal(tigre.volume_from_tigre(array), volume)
    described = tigre.geometry_to_tigre(c_arm([0.0]), GRID)
    assert array.shape == tuple(described["nVoxel"])
    flat = 37
    position = (tigre.TIGRE_FROM_LPS @ GRID.points_mm([flat])[0])[::-1] - described["offOrigin"]
    index = np.rint(position / described["dVoxel"] + (described["nVoxel"] - 1) / 2).astype(int)
    assert array[tuple(index)] == volume.flat[flat]


# ---------------------------------------------------------------- transforms.json
def test_transforms_round_trip_with_secondary_angle():
    geometry, grid = c_arm(np.linspace(-100, 99, 7), 12.0), GRID
    again, grid_again = transforms_json.geometry_from_transforms(transforms_json.geometry_to_transforms(geometry, grid))
    assert again.isclose(geometry, 1e-9)
    assert grid_again.isclose(grid, 1e-9)


def test_transforms_rays_are_those_of_the_published_formula_in_the_mirrored_world():
    geometry = c_arm([25.0], 10.0)
    data = transforms_json.geometry_to_transforms(geometry, GRID)
    a, b = data["frames"][0]["PrimaryAngle"], -data["frames"][0]["SecondaryAngle"]
    direction = np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
    u = 1.2 * np.array([-np.sin(a), np.cos(a), 0])
    v = 1.1 * np.array([np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), -np.cos(b)])
    pixel = -450 * direction + (70 - 39.5) * u + (3 - 31.5) * v
    pixel_lps, source_lps = transforms_json.LAYOUT_FROM_LPS @ pixel, transforms_json.LAYOUT_FROM_LPS @ (750 * direction)
    np.testing.assert_allclose(source_lps, geometry.source_mm[0], atol=1e-9)
    np.testing.assert_allclose(project(geometry, pixel_lps[None])[0, 0], [3, 70], atol=1e-9)


def test_transforms_secondary_angle_can_be_ignored_as_the_published_code_does():
    data = transforms_json.geometry_to_transforms(c_arm([25.0], 10.0), GRID)
    geometry, _ = transforms_json.geometry_from_transforms(data, use_secondary=False)
    assert geometry == c_arm([25.0])


@pytest.mark.parametrize("change", [{"roll_deg": 2.0}, {"principal_point_px": (30, 40)}, {"sod_mm": [750.0, 751.0]}])
def test_transforms_refuse_what_they_cannot_hold(change):
    with pytest.raises(GeometryError, match="centered, unrolled"):
        transforms_json.geometry_to_transforms(c_arm([0.0, 10.0], **change), GRID)


def test_transforms_name_the_missing_key():
    data = transforms_json.geometry_to_transforms(c_arm([0.0]), GRID)
    del data["sad"]
    with pytest.raises(GeometryError, match="sad"):
        transforms_json.geometry_from_transforms(data)


def test_volume_goes_to_the_layout_axes_and_back():
    volume = np.random.default_rng(0).normal(size=GRID.shape_zyx).astype(np.float32)
    array = transforms_json.volume_to_layout(volume)
    assert list(array.shape[::-1]) == transforms_json.geometry_to_transforms(c_arm([0.0]), GRID)["volume_resolution"]
    np.testing.assert_array_equal(transforms_json.volume_to_layout(array), volume)
