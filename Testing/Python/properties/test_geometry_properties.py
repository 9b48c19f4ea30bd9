import numpy as np
import pytest
from helpers.poses import c_arm_geometries, random_rotations, vector_geometries
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.geometry.angles import angles_from_beam, positioner_axes
from DSAReconLib.geometry.interop import rtk, tigre

geometries = st.one_of(c_arm_geometries(), vector_geometries())
points = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(-120, 120, (7, 3)))
repeatable = settings(derandomize=True, deadline=None, max_examples=30)


def pixel_positions(geometry: ConeBeamGeometry) -> np.ndarray:
    rows, columns = geometry.detector_shape
    row, column = np.mgrid[:rows, :columns].astype(float)
    return (
        geometry.detector_center_mm[:, None, None]
        + (row - (rows - 1) / 2)[..., None] * geometry.detector_v_mm[:, None, None]
        + (column - (columns - 1) / 2)[..., None] * geometry.detector_u_mm[:, None, None]
    )


@repeatable
@given(geometries, points)
def test_a_projected_point_lies_on_the_line_from_source_through_its_pixel(geometry, points_mm):
    pixels, depth = geometry.project_points(points_mm)
    rows, columns = geometry.detector_shape
    on_detector = (
        geometry.detector_center_mm[:, None]
        + (pixels[..., :1] - (rows - 1) / 2) * geometry.detector_v_mm[:, None]
        + (pixels[..., 1:] - (columns - 1) / 2) * geometry.detector_u_mm[:, None]
    )
    source = geometry.source_mm[:, None]
    expected = source + (on_detector - source) * (depth / geometry.sdd_mm[:, None])[..., None]
    np.testing.assert_allclose(expected, np.broadcast_to(points_mm, expected.shape), atol=1e-8)


@repeatable
@given(geometries)
def test_pixels_project_onto_themselves(geometry):
    rows, columns = geometry.detector_shape
    expected = np.stack(np.mgrid[:rows, :columns], -1).reshape(-1, 2)
    for view in range(len(geometry)):
        pixels, depth = geometry[view].project_points(pixel_positions(geometry)[view].reshape(-1, 3))
        np.testing.assert_allclose(pixels[0], expected, atol=1e-9)
        np.testing.assert_allclose(depth[0], geometry.sdd_mm[view], atol=1e-9)


@repeatable
@given(geometries, st.floats(-6, 6), st.sampled_from([-1.0, 1.0]))
def test_projection_matrices_of_any_scale_and_sign_give_the_geometry_back(geometry, exponent, sign):
    assume(np.all(geometry.sod_mm > 1))  # the isocenter must lie in front of the source
    again = ConeBeamGeometry.from_projection_matrices(
        sign * 10**exponent * geometry.projection_matrices, geometry.detector_shape, sdd_mm=geometry.sdd_mm
    )
    assert again.isclose(geometry, 1e-9)


@repeatable
@given(geometries)
def test_repr_can_be_evaluated_and_dict_is_lossless(geometry):
    assert eval(repr(geometry)).isclose(geometry, 0.0)
    assert ConeBeamGeometry.from_dict(geometry.to_dict()).isclose(geometry, 0.0)


@repeatable
@given(geometries, st.integers(0, 3))
def test_slices_and_indices_pick_the_same_views(geometry, start):
    mask = np.arange(len(geometry)) >= start
    assert geometry[start:] == geometry[mask] == geometry[np.flatnonzero(mask)]
    assert [view.source_mm[0].tolist() for view in geometry] == geometry.source_mm.tolist()


@repeatable
@given(geometries, points, st.integers(1, 2))
def test_binning_moves_points_to_the_block_average_coordinate(geometry, points_mm, factor):
    pixels, _ = geometry.project_points(points_mm)
    binned, _ = geometry.binned(factor).project_points(points_mm)
    np.testing.assert_allclose(binned, (pixels + 0.5) / factor - 0.5, atol=1e-8)


@repeatable
@given(geometries, points, st.tuples(*[st.integers(-3, 5)] * 2))
def test_cropping_moves_the_pixel_origin(geometry, points_mm, start):
    rows, columns = geometry.detector_shape
    cropped = geometry.cropped_detector((start[0], rows + 7), (start[1], columns + 7))
    pixels, _ = geometry.project_points(points_mm)
    moved, _ = cropped.project_points(points_mm)
    np.testing.assert_allclose(moved, pixels - start, atol=1e-8)
    assert cropped.detector_shape == (rows + 7 - start[0], columns + 7 - start[1])


@repeatable
@given(geometries, points, st.tuples(*[st.floats(-9, 9)] * 2))
def test_a_shifted_detector_shifts_the_image(geometry, points_mm, shift):
    pixels, depth = geometry.project_points(points_mm)
    moved, same_depth = geometry.shifted_detector(shift).project_points(points_mm)
    np.testing.assert_allclose(moved, pixels + shift, atol=1e-8)
    np.testing.assert_allclose(depth, same_depth, atol=1e-9)


@repeatable
@given(geometries, points, st.integers(0, 2**32 - 1))
def test_turning_world_and_points_together_changes_no_image(geometry, points_mm, seed):
    rotation = random_rotations(np.random.default_rng(seed), 1)[0]
    pixels, _ = geometry.project_points(points_mm)
    turned, _ = geometry.rotated(rotation).project_points(points_mm @ rotation.T)
    np.testing.assert_allclose(turned, pixels, atol=1e-7)


@repeatable
@given(c_arm_geometries())
def test_angles_and_distances_are_read_back_from_the_vectors(geometry):
    rebuilt_beam, _, _ = positioner_axes(geometry.primary_angle_deg, geometry.secondary_angle_deg)
    np.testing.assert_allclose(rebuilt_beam, geometry.detector_normal, atol=1e-12)
    np.testing.assert_allclose(-geometry.sod_mm[:, None] * rebuilt_beam, geometry.source_mm, atol=1e-9)


@repeatable
@given(st.floats(-179.9, 179.9), st.floats(-89, 89), st.floats(-180, 180))
def test_positioner_axes_are_perpendicular_unit_vectors(primary, secondary, roll):
    axes = np.stack([a[0] for a in positioner_axes(primary, secondary, roll)])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(
        np.concatenate(angles_from_beam(axes[:1])), [primary, secondary], atol=1e-9 * 180 / np.pi / np.cos(1.55)
    )


@repeatable
@given(vector_geometries())
def test_tigre_round_trip_is_exact_for_any_rectangular_detector(geometry):
    grid = VolumeGrid.centered((4, 5, 6), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0))
    assert tigre.geometry_from_tigre(tigre.geometry_to_tigre(geometry, grid)).isclose(geometry, 1e-9)


@repeatable
@given(vector_geometries())
def test_rtk_round_trips_are_exact(geometry):
    shape, spacing = geometry.detector_shape, geometry.detector_spacing_mm
    assert rtk.geometry_from_rtk_vectors(rtk.rtk_vectors(geometry), shape, spacing).isclose(geometry, 1e-9)
    again = rtk.geometry_from_rtk_matrices(rtk.rtk_matrices(geometry), shape, spacing, sdd_mm=geometry.sdd_mm)
    assert again.isclose(geometry, 1e-9)


@pytest.mark.rtk
@repeatable
@given(c_arm_geometries())
def test_the_matrices_of_rtk_itself_are_the_same(geometry):
    pytest.importorskip("itk")
    itk_geometry = rtk.to_rtk(geometry)
    expected = rtk.rtk_matrices(geometry)
    corners = np.random.default_rng(0).uniform(-120, 120, (20, 3)) @ rtk.RTK_FROM_LPS.T
    for view in range(len(geometry)):
        matrix = itk_geometry.GetMatrix(view)
        theirs = np.array([[matrix(i, j) for j in range(4)] for i in range(3)])
        np.testing.assert_allclose(_detector_mm(theirs, corners), _detector_mm(expected[view], corners), atol=1e-9)


def _detector_mm(matrix: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    projected = points_mm @ matrix[:, :3].T + matrix[:, 3]
    return projected[:, :2] / projected[:, 2:]
