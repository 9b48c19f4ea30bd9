"""Cone-beam ray casting on the CPU, against its float64 reference and against closed forms."""

import dataclasses

import numpy as np
import pytest
from helpers.projection import (
    ANISOTROPIC_GRID,
    GEOMETRIES,
    ellipsoid_chords,
    gaussian_line_integrals,
    oblique_geometry,
    random_arrays,
    ray_points,
    rotational_geometry,
    wide_geometry,
)

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels import threads
from DSAReconLib.kernels.raycast import RaySetup, backproject, backproject_fdk, project, reference

torch = pytest.importorskip("torch")
every_geometry = pytest.mark.parametrize("geometry", [make() for make in GEOMETRIES.values()], ids=list(GEOMETRIES))


def adjoint_mismatch(x, ax, y, aty):
    x, ax, y, aty = (np.asarray(values, np.float64) for values in (x, ax, y, aty))
    return abs(np.vdot(ax, y) - np.vdot(x, aty)) / (np.linalg.norm(ax) * np.linalg.norm(y))


def relative_error(result, expected):
    return np.abs(result - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max()


# ---------------------------------------------------------------- algebra
@every_geometry
def test_backprojection_is_the_adjoint_in_float32(geometry):
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    ax, aty = project(x, ANISOTROPIC_GRID, geometry), backproject(y, geometry, ANISOTROPIC_GRID)
    assert ax.dtype == aty.dtype == np.float32
    assert adjoint_mismatch(x, ax, y, aty) < 1e-7


@every_geometry
def test_backprojection_is_the_adjoint_for_every_view_alone(geometry):
    for view in range(len(geometry)):
        one = geometry[view]
        x, y = random_arrays(ANISOTROPIC_GRID, one, seed=view)
        ax, aty = project(x, ANISOTROPIC_GRID, one), backproject(y, one, ANISOTROPIC_GRID)
        assert adjoint_mismatch(x, ax, y, aty) < 1e-6


@every_geometry
def test_reference_is_an_adjoint_pair_in_float64(geometry):
    x, y = (torch.from_numpy(each).double() for each in random_arrays(ANISOTROPIC_GRID, geometry))
    setup = RaySetup.of(ANISOTROPIC_GRID, geometry)
    assert adjoint_mismatch(x, reference.project(x, setup), y, reference.backproject(y, setup)) < 1e-14


@every_geometry
def test_fast_kernels_equal_the_reference(geometry):
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    setup = RaySetup.of(ANISOTROPIC_GRID, geometry)
    x64, y64 = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    assert relative_error(project(x, ANISOTROPIC_GRID, geometry), reference.project(x64, setup)) < 1e-4
    assert relative_error(backproject(y, geometry, ANISOTROPIC_GRID), reference.backproject(y64, setup)) < 1e-4
    assert relative_error(backproject_fdk(y, geometry, ANISOTROPIC_GRID), reference.backproject_fdk(y64, setup)) < 1e-4


@every_geometry
def test_projection_is_linear(geometry):
    x1, _ = random_arrays(ANISOTROPIC_GRID, geometry, seed=1)
    x2, _ = random_arrays(ANISOTROPIC_GRID, geometry, seed=2)
    combined = project(2 * x1 - 3 * x2, ANISOTROPIC_GRID, geometry)
    parts = 2 * project(x1, ANISOTROPIC_GRID, geometry) - 3 * project(x2, ANISOTROPIC_GRID, geometry)
    assert relative_error(combined, parts) < 1e-5


def test_thick_volumes_are_projected_slab_by_slab():
    grid = VolumeGrid.centered((20, 520, 520), 0.25)  # more voxels than one slab
    geometry = oblique_geometry(views=3, shape=(10, 12))
    x, _ = random_arrays(grid, geometry)
    expected = reference.project(torch.from_numpy(x).double(), RaySetup.of(grid, geometry))
    # white noise, source 3000 voxels away: float32 positions are good to 2e-4 voxels
    assert relative_error(project(x, grid, geometry), expected) < 1e-3


def test_results_do_not_depend_on_the_number_of_threads():
    import numba

    geometry = oblique_geometry()
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    results = []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        threads.set_num_threads(count)
        results.append((project(x, ANISOTROPIC_GRID, geometry), backproject(y, geometry, ANISOTROPIC_GRID)))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


# ---------------------------------------------------------------- tiles
def test_c_arm_views_keep_one_main_axis_each():
    geometry = rotational_geometry(views=133, shape=(256, 256)).binned(1)
    setup = RaySetup.of(VolumeGrid.centered(16, 8.0), dataclasses.replace(geometry, detector_shape=(60, 60)))
    assert sum(len(group.tiles) for group in setup.groups) == 133
    assert {group.axis for group in setup.groups} == {0, 1}


def test_wide_views_are_divided_into_tiles_that_cover_every_pixel_once():
    geometry = wide_geometry()
    setup = RaySetup.of(ANISOTROPIC_GRID, geometry)
    covered = np.zeros(setup.range_shape, int)
    for group in setup.groups:
        for view, row0, row1, column0, column1, *_ in group.tiles:
            covered[view, row0:row1, column0:column1] += 1
    assert np.all(covered == 1)
    assert {group.axis for group in setup.groups} == {0, 1, 2}


def test_subset_equals_the_setup_of_the_selected_geometry():
    geometry = wide_geometry()
    x, _ = random_arrays(ANISOTROPIC_GRID, geometry)
    whole = RaySetup.of(ANISOTROPIC_GRID, geometry)
    for views in (slice(1, 3), [3, 0, 0], np.array([False, True, False, True]), 2):
        direct = reference.project(torch.from_numpy(x), RaySetup.of(ANISOTROPIC_GRID, geometry[views]))
        assert torch.equal(reference.project(torch.from_numpy(x), whole.subset(views)), direct)


def test_no_views_give_empty_projections_and_a_zero_volume():
    none = rotational_geometry()[:0]
    x, y = random_arrays(ANISOTROPIC_GRID, none)
    assert project(x, ANISOTROPIC_GRID, none).shape == (0, 20, 24)
    assert not backproject(y, none, ANISOTROPIC_GRID).any()
    assert not backproject_fdk(y, none, ANISOTROPIC_GRID).any()


# ---------------------------------------------------------------- closed forms
def sampled(grid, function):
    return function(grid.points_mm()).reshape(grid.shape_zyx).astype(np.float32)


@every_geometry
def test_gaussian_integrals_converge_with_second_order(geometry):
    center, sigma = np.array([4.0, -3.0, 2.0]), np.array([7.0, 9.0, 8.0])
    exact = gaussian_line_integrals(geometry, center, sigma)
    errors = []
    for spacing in (4.0, 2.0):
        grid = VolumeGrid.centered(int(72 / spacing), (spacing, 1.25 * spacing, 1.25 * spacing))
        volume = sampled(grid, lambda p: np.exp(-0.5 * (((p - center) / sigma) ** 2).sum(-1)))
        errors.append(np.abs(project(volume, grid, geometry) - exact).max() / exact.max())
    assert errors[1] < 0.025
    assert errors[0] / errors[1] > 3


def test_ellipsoid_chords_converge():
    geometry = oblique_geometry(shape=(30, 36))
    center, axes = np.array([3.0, 5.0, -4.0]), np.array([20.0, 25.0, 22.0])
    exact = ellipsoid_chords(geometry, center, axes)
    errors = []
    for spacing in (4.0, 2.0, 1.0):
        grid = VolumeGrid.centered(int(64 / spacing), spacing)
        volume = sampled(grid, lambda p: ((((p - center) / axes) ** 2).sum(-1) <= 1).astype(float))
        errors.append(np.abs(project(volume, grid, geometry) - exact).mean() / exact.max())
    assert errors[2] < 0.006
    assert errors[0] > 1.6 * errors[1] > 2.5 * errors[2]


def box_chords(geometry, grid):
    """Exact chord lengths (V, R, C), mm, through the box of whole voxels."""
    source, direction = ray_points(geometry)
    half = grid.size_mm / 2
    near, far = ((sign * half + grid.center_mm - source) / direction for sign in (-1, 1))
    entry, leaving = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    return np.clip(leaving - np.maximum(entry, 0), 0, None)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 3.0)])
def test_box_of_ones_gives_chord_lengths(spacing):
    geometry = oblique_geometry()
    grid = VolumeGrid.centered(48, spacing, (3.0, -5.0, 2.0))
    error = project(np.ones(grid.shape_zyx), grid, geometry) - box_chords(geometry, grid)
    through = box_chords(geometry, grid) > 0.9 * box_chords(geometry, grid).max((1, 2), keepdims=True)
    assert np.median(np.abs(error[through])) < 1e-3  # entry and exit through the faces across the main axis
    assert np.abs(error).mean() < 0.2 * max(spacing)  # beside the edges the attenuation tapers over one voxel


def test_central_rays_along_each_axis_measure_the_box_exactly():
    geometry = ConeBeamGeometry.from_angles(
        [0, 90, 0], [0, 0, 90], sod_mm=750, sdd_mm=1200, detector_shape=(1, 1), detector_spacing_mm=(1, 1)
    )
    grid = VolumeGrid.centered((10, 12, 14), (1.0, 2.0, 3.0))
    lengths = project(np.ones(grid.shape_zyx), grid, geometry).ravel()
    np.testing.assert_allclose(lengths, grid.size_mm[[1, 0, 2]], rtol=1e-6)


def test_voxels_behind_the_source_are_not_seen():
    geometry = ConeBeamGeometry(
        np.zeros((1, 3)), np.array([[0, -100.0, 0]]), np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0]]), (1, 1)
    )
    grid = VolumeGrid.centered((8, 40, 8), 1.0)
    volume = np.ones(grid.shape_zyx, np.float32)
    assert project(volume, grid, geometry)[0, 0, 0] == pytest.approx(20, abs=1e-4)
    half = backproject(np.ones((1, 1, 1)), geometry, grid)
    assert half[:, :20].sum() == pytest.approx(20, abs=1e-3)
    assert not half[:, 20:].any()
    assert not backproject_fdk(np.ones((1, 1, 1)), geometry, grid)[:, 21:].any()


# ---------------------------------------------------------------- symmetries
def moved(geometry, rotation, shift):
    """Geometry after a rigid motion of the world."""
    return ConeBeamGeometry(
        geometry.source_mm @ rotation.T + shift,
        geometry.detector_center_mm @ rotation.T + shift,
        geometry.detector_u_mm @ rotation.T,
        geometry.detector_v_mm @ rotation.T,
        geometry.detector_shape,
    )


def test_moving_grid_and_geometry_together_changes_nothing():
    geometry = oblique_geometry()
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    shift = np.array([30.0, -12.0, 7.0])
    grid = dataclasses.replace(ANISOTROPIC_GRID, origin_mm=tuple(ANISOTROPIC_GRID.origin_mm + shift))
    away = moved(geometry, np.eye(3), shift)
    assert relative_error(project(x, grid, away), project(x, ANISOTROPIC_GRID, geometry)) < 1e-4
    assert relative_error(backproject(y, away, grid), backproject(y, geometry, ANISOTROPIC_GRID)) < 1e-4
    assert relative_error(backproject_fdk(y, away, grid), backproject_fdk(y, geometry, ANISOTROPIC_GRID)) < 1e-4


@pytest.mark.parametrize("turn", [(0, 1), (0, 2), (1, 2)])
def test_turning_grid_and_geometry_by_90_degrees_turns_the_volume(turn):
    geometry = oblique_geometry()
    grid = VolumeGrid.centered(20, 3.0)
    x, y = random_arrays(grid, geometry)
    first, second = turn  # world axes: first goes to second, second to -first
    rotation = np.eye(3)
    rotation[[first, second]] = np.eye(3)[[second, first]]
    rotation[first] *= -1
    turned = moved(geometry, rotation, 0)
    axes = (2 - first, 2 - second)
    assert relative_error(project(np.rot90(x, axes=axes), grid, turned), project(x, grid, geometry)) < 1e-4
    expected = np.rot90(backproject_fdk(y, geometry, grid), axes=axes)
    assert relative_error(backproject_fdk(y, turned, grid), expected) < 1e-4


def test_mirrored_detector_gives_mirrored_images():
    geometry = oblique_geometry()
    x, _ = random_arrays(ANISOTROPIC_GRID, geometry)
    mirrored = dataclasses.replace(geometry, detector_u_mm=-geometry.detector_u_mm)
    flipped = project(x, ANISOTROPIC_GRID, geometry)[:, :, ::-1]
    assert relative_error(project(x, ANISOTROPIC_GRID, mirrored), flipped) < 1e-4


# ---------------------------------------------------------------- voxel-driven backprojection
def test_fdk_backprojection_of_ones_is_the_sum_of_inverse_squared_depths():
    geometry = rotational_geometry(shape=(60, 60))
    grid = VolumeGrid.centered(12, 4.0, (5.0, 0.0, -6.0))
    _, depth = geometry.project_points(grid.points_mm())
    expected = (1 / depth**2).sum(0).reshape(grid.shape_zyx)
    result = backproject_fdk(np.ones((len(geometry), 60, 60)), geometry, grid)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_fdk_backprojection_interpolates_linear_images_exactly():
    geometry = oblique_geometry(views=3, shape=(60, 60))
    grid = VolumeGrid.centered(10, 4.0)
    rows, columns = np.meshgrid(np.arange(60.0), np.arange(60.0), indexing="ij")
    images = np.broadcast_to(2 * rows - 3 * columns + 5, (3, 60, 60))
    position, depth = geometry.project_points(grid.points_mm())
    inside = np.all((position > 0) & (position < 59), axis=(0, 2))
    expected = ((2 * position[..., 0] - 3 * position[..., 1] + 5) / depth**2).sum(0)
    result = backproject_fdk(images, geometry, grid).ravel()
    assert inside.sum() > 500
    np.testing.assert_allclose(result[inside], expected[inside], rtol=1e-3, atol=1e-8)


def test_fdk_backprojection_ignores_voxels_outside_the_detector():
    geometry = rotational_geometry(views=1, shape=(4, 4))
    grid = VolumeGrid.centered(20, 4.0)
    position, _ = geometry.project_points(grid.points_mm())
    outside = np.any((position[0] <= -1) | (position[0] >= 4), axis=1)
    assert not backproject_fdk(np.ones((1, 4, 4)), geometry, grid).ravel()[outside].any()


# ---------------------------------------------------------------- the public edge
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_position(value):
    geometry = rotational_geometry()
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    x[3, 4, 5] = y[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"volume must be finite; got -?(nan|inf) at \(3, 4, 5\)"):
        project(x, ANISOTROPIC_GRID, geometry)
    with pytest.raises(ValueError, match=r"projections must be finite.*\(1, 2, 3\)"):
        backproject(y, geometry, ANISOTROPIC_GRID)
    with pytest.raises(ValueError, match=r"filtered must be finite.*\(1, 2, 3\)"):
        backproject_fdk(y, geometry, ANISOTROPIC_GRID)


def test_wrong_shapes_are_refused_with_the_expected_one():
    geometry = rotational_geometry()
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    with pytest.raises(ValueError, match=r"volume must have shape \(18, 22, 20\); got \(20, 22, 18\)"):
        project(x.T, ANISOTROPIC_GRID, geometry)
    with pytest.raises(ValueError, match=r"projections must have shape \(7, 20, 24\)"):
        backproject(y[:3], geometry, ANISOTROPIC_GRID)


def test_out_takes_the_result():
    geometry = rotational_geometry()
    x, y = random_arrays(ANISOTROPIC_GRID, geometry)
    image, volume = np.full_like(y, 7), np.full_like(x, 7)
    assert project(x, ANISOTROPIC_GRID, geometry, out=image) is image
    assert np.array_equal(image, project(x, ANISOTROPIC_GRID, geometry))
    assert backproject(y, geometry, ANISOTROPIC_GRID, out=volume) is volume
    assert np.array_equal(volume, backproject(y, geometry, ANISOTROPIC_GRID))
    with pytest.raises(ValueError, match="out must be"):
        project(x, ANISOTROPIC_GRID, geometry, out=image.astype(float))
