"""Sparse projection kernels: adjointness, physics and gradients."""

import numpy as np
import pytest
from helpers.sparse_kernels import oblique_views

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.sparse.clouds import PointCloud
from DSAReconLib.kernels.sparse.descent import (
    GaussianStep,
    adam_step,
    extrapolate,
    gaussian_step,
    huber_slopes,
    proximal_step,
)
from DSAReconLib.kernels.sparse.gaussians import gaussian_gradients, render_gaussians, voxelize_gaussians
from DSAReconLib.kernels.sparse.movement import movement_sums
from DSAReconLib.kernels.sparse.neighborhoods import (
    gaussian_weights,
    line_means,
    neighborhood_maxima,
    neighborhood_sums,
)
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.kernels.sparse.voxels import pixel_shares
from DSAReconLib.kernels.sparse.windows import OUTSIDE, window_scores
from DSAReconLib.operators.sparse import SparseProjector

APERTURE = 1 / 12


@pytest.fixture(name="geometry", scope="module")
def views_without_symmetry():
    return oblique_views()


@pytest.fixture(name="generator")
def seeded_generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_adjoint_of_the_voxel_splat_is_exact(geometry, generator):
    points = generator.uniform(-30, 30, (5000, 3))
    projector = SparseProjector(points, 0.7, geometry)
    values = generator.random(projector.domain_shape, dtype=np.float32)
    images = generator.random(projector.range_shape, dtype=np.float32)
    forward, backward = projector(values), projector.T(images)
    left, right = np.vdot(forward.astype(float), images), np.vdot(values.astype(float), backward)
    assert abs(left - right) < 1e-6 * np.linalg.norm(forward) * np.linalg.norm(images)


def test_adjoint_with_a_temporal_basis_is_exact_for_every_subset_of_views(geometry, generator):
    projector = SparseProjector(generator.uniform(-25, 25, (3000, 3)), 0.7, geometry)[1::2]
    basis = generator.random((2, 4), dtype=np.float32)
    coefficients = generator.random((4, 3000), dtype=np.float32)
    images = generator.random(projector.range_shape, dtype=np.float32)
    forward = projector.project(basis, coefficients)
    backward = projector.backproject(basis, images)
    left, right = np.vdot(forward.astype(float), images), np.vdot(coefficients.astype(float), backward)
    assert abs(left - right) < 1e-6 * np.linalg.norm(forward) * np.linalg.norm(images)


def test_projection_with_a_basis_equals_projection_of_the_mixed_values(geometry, generator):
    projector = SparseProjector(generator.uniform(-25, 25, (2500, 3)), 0.7, geometry)
    basis, coefficients = generator.random((5, 3), dtype=np.float32), generator.random((3, 2500), dtype=np.float32)
    basis[2, 1] = 0
    images = projector(basis @ coefficients)
    np.testing.assert_allclose(projector.project(basis, coefficients), images, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(projector.backproject(basis, images), basis.T @ projector.T(images), rtol=1e-4)


def test_shares_of_the_pixels_add_up_to_the_splat(geometry, generator):
    points = generator.uniform(-60, 60, (2000, 3)).astype(np.float32)  # many miss the pixel array
    values = generator.random(2000, dtype=np.float32)
    images = SparseProjector(points, 0.7, geometry)(np.tile(values, (len(geometry), 1)))
    for image, record in zip(images, view_records(geometry)):
        pixels, shares = pixel_shares(np.ascontiguousarray(points.T), 0.7**3, record, geometry.detector_shape)
        summed = np.bincount(pixels.ravel(), (shares * values[:, None]).ravel(), image.size)
        np.testing.assert_allclose(summed, image.ravel(), rtol=1e-4, atol=1e-6)


def test_voxels_outside_the_detector_contribute_in_neither_direction(geometry):
    projector = SparseProjector([[0.0, 0.0, 400.0], [300.0, 300.0, 0.0]], 1.0, geometry)
    assert not projector(np.ones((5, 2), np.float32)).any()
    assert not projector.T(np.ones(projector.range_shape, np.float32)).any()


def test_line_integral_through_a_box_of_ones_is_the_chord_length(geometry):
    axis = np.arange(-9.75, 10, 0.5)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    images = SparseProjector(points, 0.5, geometry)(np.ones((5, len(points)), np.float32))
    row, column = np.rint(geometry.project_points([[0.0, 0.0, 0.0]])[0][2, 0]).astype(int)
    block = images[2, row - 3 : row + 4, column - 3 : column + 4]
    assert block.mean() == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize("shape", [(1, 64), (64, 1)])
def test_images_without_four_neighboring_pixels_are_refused(shape):
    geometry = ConeBeamGeometry.from_angles(
        np.zeros(1), sod_mm=750, sdd_mm=1200, detector_shape=shape, detector_spacing_mm=(1.0, 1.0)
    )
    projector = SparseProjector(np.zeros((1, 3)), 0.7, geometry)
    with pytest.raises(ValueError, match="at least 2 x 2 pixels"):
        projector.T(np.ones(projector.range_shape, np.float32))


def test_splat_refuses_arrays_that_do_not_match(geometry):
    projector = SparseProjector(np.zeros((4, 3)), 1.0, geometry)
    with pytest.raises(ValueError, match="do not match"):
        projector(np.ones((5, 3), np.float32))
    with pytest.raises(TypeError, match="float32"):
        projector(np.ones((5, 4)))


def test_gaussian_line_integrals_match_quadrature(geometry):
    mean, sigma = np.array([[6.0, -4.0, 5.0]], np.float32), np.array([1.4], np.float32)
    images = np.empty((5, *geometry.detector_shape), np.float32)
    render_gaussians(mean, sigma, np.full((5, 1), 0.1, np.float32), view_records(geometry), images, 0.0)
    for view in range(5):
        row, column = np.rint(geometry.project_points(mean)[0][view, 0]).astype(int)
        for i, j in [(row, column), (row + 1, column), (row, column - 2)]:
            pixel = (
                geometry.detector_center_mm[view]
                + (i - 23.5) * geometry.detector_v_mm[view]
                + (j - 29.5) * geometry.detector_u_mm[view]
            )
            ray = pixel - geometry.source_mm[view]
            offset = np.cross(mean[0] - geometry.source_mm[view], ray / np.linalg.norm(ray))
            expected = 0.1 * 1.4 * np.sqrt(2 * np.pi) * np.exp(-0.5 * (offset @ offset) / 1.4**2)
            assert images[view, i, j] == pytest.approx(expected, rel=0.01)


def test_pixel_aperture_conserves_the_mass_of_a_gaussian(geometry):
    mean, sigma = np.array([[2.0, 1.0, -3.0]], np.float32), np.array([0.9], np.float32)
    images = np.empty((2, 5, *geometry.detector_shape), np.float32)
    for image, aperture in zip(images, (0.0, 0.5), strict=True):
        render_gaussians(mean, sigma, np.ones((5, 1), np.float32), view_records(geometry), image, aperture)
    np.testing.assert_allclose(images[0].sum((1, 2)), images[1].sum((1, 2)), rtol=0.02)


def test_gaussian_gradients_match_finite_differences(geometry, generator):
    records = view_records(geometry)
    means = generator.uniform(-12, 12, (20, 3)).astype(np.float32)
    sigmas = generator.uniform(0.7, 1.6, 20).astype(np.float32)
    amplitudes = generator.uniform(0.05, 0.2, (5, 20)).astype(np.float32)
    row, column = np.mgrid[:48, :60]
    weights = np.stack([np.sin(0.2 * row + v) + np.cos(0.15 * column - v) for v in range(5)]).astype(np.float32)

    def loss(means, log_sigmas, amplitudes):
        images = np.empty(weights.shape, np.float32)
        render_gaussians(means, np.exp(log_sigmas), amplitudes, records, images, APERTURE)
        return np.vdot(images.astype(float), weights)

    shapes, by_amplitude = gaussian_gradients(means, sigmas, amplitudes, records, weights, APERTURE)
    log_sigmas = np.log(sigmas)
    for n in (0, 7, 13):
        numeric = []
        for axis in range(3):
            step = np.zeros_like(means)
            step[n, axis] = 0.1
            numeric.append(
                (loss(means + step, log_sigmas, amplitudes) - loss(means - step, log_sigmas, amplitudes)) / 0.2
            )
        step = np.zeros_like(log_sigmas)
        step[n] = 0.05
        numeric.append((loss(means, log_sigmas + step, amplitudes) - loss(means, log_sigmas - step, amplitudes)) / 0.1)
        scale = np.abs(numeric).max()
        np.testing.assert_allclose(shapes[n], numeric, atol=0.04 * scale)
        bump = np.zeros_like(amplitudes)
        bump[3, n] = 0.02
        slope = (loss(means, log_sigmas, amplitudes + bump) - loss(means, log_sigmas, amplitudes - bump)) / 0.04
        assert by_amplitude[3, n] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_footprints_across_the_edge_are_drawn_where_they_are_visible(geometry):
    corner = geometry.source_mm[2] + 0.63 * (
        geometry.detector_center_mm[2] - 30 * geometry.detector_u_mm[2] - geometry.source_mm[2]
    )
    image = np.empty((1, *geometry.detector_shape), np.float32)
    render_gaussians(
        corner[None].astype(np.float32),
        np.full(1, 1.5, np.float32),
        np.ones((1, 1), np.float32),
        view_records(geometry[2]),
        image,
        APERTURE,
    )
    assert image[0, :, 0].max() > 1
    assert image[0, :, -1].max() == 0


def test_voxelized_gaussians_keep_their_mass(generator):
    index = np.arange(20**3, dtype=np.int32).reshape(20, 20, 20)
    means = generator.uniform(-2, 2, (30, 3)).astype(np.float32)
    sigmas = generator.uniform(0.3, 0.8, 30).astype(np.float32)
    coefficients = generator.random((30, 2), dtype=np.float32)
    values = voxelize_gaussians(means, sigmas, coefficients, (-5.7, -5.7, -5.7), 0.6, index)
    expected = ((2 * np.pi) ** 1.5 * sigmas.astype(float) ** 3) @ coefficients
    np.testing.assert_allclose(values.sum(0) * 0.6**3, expected, rtol=0.03)


def test_window_score_is_the_second_smallest_sample_of_the_best_window(geometry):
    levels = np.array([0.1, 0.5, 0.3, 0.4, 0.2], np.float32)
    images = np.ones((5, *geometry.detector_shape), np.float32) * levels[:, None, None]
    origin = np.zeros((3, 1), np.float32)
    stops = np.array([3, 4, 5], np.int32)
    assert window_scores(origin, images, view_records(geometry), stops, 0.05)[0] == pytest.approx(0.4)
    assert window_scores(origin, images, view_records(geometry), stops, 0.45)[0] == 0


def test_window_with_too_many_missing_views_scores_zero(geometry):
    images = np.ones((5, *geometry.detector_shape), np.float32)
    images[1] = OUTSIDE
    stops = np.array([5], np.int32)
    records, origin = view_records(geometry), np.zeros((3, 1), np.float32)
    assert window_scores(origin, images, records, stops, 0.0)[0] == pytest.approx(1.0)
    images[4] = OUTSIDE
    assert window_scores(origin, images, records, stops, 0.0)[0] == 0


def test_neighborhood_sums_and_maxima_see_only_listed_voxels():
    index = np.array([[0, 0, 0], [0, 0, 1], [4, 4, 4]], np.int32)
    values = np.array([1.0, 5.0, 2.0], np.float32)
    ones = np.ones(3, np.float32)
    np.testing.assert_allclose(neighborhood_sums(values, index, (5, 5, 5), ones), [6, 6, 2])
    np.testing.assert_allclose(neighborhood_maxima(values, index, (5, 5, 5)), [5, 5, 2])
    assert gaussian_weights(1.0).sum() == pytest.approx(1)


def test_neighborhood_sums_of_several_values_are_those_of_each(generator):
    index = generator.permutation(np.argwhere(generator.random((6, 7, 8)) < 0.4)).astype(np.int32)
    values = generator.normal(size=(3, len(index))).astype(np.float32)
    weights = gaussian_weights(0.8)
    each = [neighborhood_sums(np.ascontiguousarray(row), index, (6, 7, 8), weights) for row in values]
    np.testing.assert_allclose(neighborhood_sums(values, index, (6, 7, 8), weights), each, rtol=1e-5, atol=1e-6)


def test_neighbors_in_a_cloud_are_all_within_reach_and_no_others(generator):
    points, mass = generator.uniform(-4, 5, (400, 3)), generator.uniform(0.5, 2, 400)
    direction = generator.normal(size=(400, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    cloud = PointCloud(points, mass, 1.3)
    offset = points[None] - points[:, None]
    distance2 = (offset**2).sum(-1)
    near = np.where(distance2 <= 1.3**2, mass, 0)
    weight = near * np.exp(-0.5 * distance2 / 0.6**2)
    sums = cloud.moments(0.6)
    np.testing.assert_allclose(sums[0], weight.sum(1), rtol=1e-9)
    np.testing.assert_allclose(sums[1:4], np.einsum("nm,nma->an", weight, offset), atol=1e-9)
    products = np.einsum("nm,nma,nmb->abn", weight, offset, offset)
    np.testing.assert_allclose(sums[4:], products[np.triu_indices(3)], atol=1e-9)
    along = np.einsum("nma,na->nm", offset, direction)
    counted = near * np.exp(-0.5 * (along / 0.6) ** 2) * (distance2 - along**2 < 0.8**2)
    np.testing.assert_allclose(cloud.mass_along(direction, 0.6, 0.8), counted.sum(1), rtol=1e-9)


def test_a_line_may_bend_and_ends_count_half():
    straight = np.array([[5, 5, x] for x in range(5, 22)], np.int32)
    bent = np.array([[5, 20 + abs(x - 13), x] for x in range(5, 22)], np.int32)
    corner = np.array([[5, 20, x] for x in range(5, 14)] + [[5, y, 13] for y in range(21, 29)], np.int32)

    def middle_and_end(index: np.ndarray) -> np.ndarray:
        return line_means(np.ones(len(index), np.float32), index, (12, 40, 40), 4)[[8, 0]]

    np.testing.assert_allclose(middle_and_end(straight), [1, 0.5], rtol=1e-6)
    obtuse = np.array([[5, 20 + max(x - 13, 0), x] for x in range(5, 22)], np.int32)
    np.testing.assert_allclose(middle_and_end(obtuse), [1, 0.5], rtol=1e-6)
    for sharp in (bent, corner):
        assert middle_and_end(sharp)[0] < 0.8
    alone = np.array([[5, 5, 5]], np.int32)
    assert line_means(np.ones(1, np.float32), alone, (12, 40, 40), 4) == 0


def test_proximal_step_solves_a_diagonal_problem_in_one_step(generator):
    curvature = generator.uniform(1, 2, (2, 50)).astype(np.float32)
    target = generator.normal(size=(2, 50)).astype(np.float32)
    start = generator.random((2, 50), dtype=np.float32)
    penalty = np.full((2, 50), 0.1, np.float32)
    estimate, current = start.copy(), start.copy()
    proximal_step(estimate, current, curvature * (start - target), curvature, penalty)
    np.testing.assert_allclose(estimate, np.maximum(target - penalty / curvature, 0), atol=1e-5)
    extrapolate(estimate, current, 0.5)
    np.testing.assert_allclose(estimate, 1.5 * current - 0.5 * start, atol=1e-5)


def test_adam_step_moves_by_the_rate_at_first():
    parameters, moments = np.zeros((3, 2), np.float32), (np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32))
    gradient = np.array([[1, -1], [5, 2], [-3, 1e-3]], np.float32)
    adam_step(parameters, gradient, moments, np.full((3, 2), 0.1, np.float32), step=1, betas=(0.9, 0.98))
    np.testing.assert_allclose(parameters, -0.1 * np.sign(gradient), rtol=1e-3)


def test_gaussians_move_by_their_rates_within_their_bounds():
    shapes, coefficients = np.zeros((2, 4), np.float32), np.array([[0.5, 0.01, 0.3], [0.0, 0.0, 0.0]], np.float32)
    gradients = np.array([[1, -1, 2, -5], [3, 3, 3, 5]], np.float32), np.array([[1, 1, -1], [0, -1, -3]], np.float32)
    moments = tuple(np.zeros_like(array) for array in (shapes, shapes, coefficients, coefficients))
    rates = np.array([0.1, 0.1, 0.2, 0.3], np.float32)
    step = GaussianStep(1, (0.9, 0.98), rates, (-0.05, 0.25), 0.1, 0.2, np.array([0, 2, 2]))
    gaussian_step((shapes, coefficients), gradients, moments, step)
    np.testing.assert_allclose(shapes, [[-0.1, 0.1, -0.2, 0.25], [-0.1, -0.1, -0.2, -0.05]], rtol=1e-4)
    # the penalty on mass turns the slope of -1 around, and what would fall below 0 stays there
    np.testing.assert_allclose(coefficients, [[0.45, 0, 0.25], [0, 0, 0.02]], rtol=1e-4)


def test_slopes_of_the_huber_loss_end_at_the_weights(generator):
    model, data, weights = (generator.normal(size=(2, 3, 50)).astype(np.float32) for _ in range(3))
    weights = np.abs(weights)
    missed, slope = model - data, model.copy()
    square = huber_slopes(slope, data, weights, 0.7)
    np.testing.assert_allclose(slope, weights * np.clip(missed / 0.7, -1, 1), atol=1e-6)
    assert square == pytest.approx(float((weights * missed**2).mean()), rel=1e-5)


def test_movement_sums_are_the_normal_equations_of_shift_and_turn(generator):
    model = np.cumsum(generator.normal(size=(2, 12, 15)), 1).astype(np.float32)
    data, weights = model + generator.normal(size=model.shape).astype(np.float32), np.float32(model > 0)
    centers, radius, limit = generator.uniform(0, 12, (2, 2)), 4.0, 0.7
    sums = movement_sums(model, data, weights, limit=limit, centers_px=centers, radius_px=radius)
    row, column = np.indices(model.shape[1:])
    for view in range(2):
        along, across = np.gradient(model[view].astype(float))
        turn = ((column - centers[view, 1]) * along - (row - centers[view, 0]) * across) / radius
        slopes, residual = np.stack([along, across, turn]).reshape(3, -1), (data - model)[view].ravel()
        trust = weights[view].ravel() / np.maximum(1, np.abs(residual) / limit)
        np.testing.assert_allclose(sums.information[view], (slopes * trust) @ slopes.T, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sums.right[view], slopes @ (trust * residual), rtol=1e-4, atol=1e-4)
        misfit = (slopes[:2] ** 2).sum(0) @ (trust * residual**2)
        np.testing.assert_allclose(sums.misfit[view], misfit, rtol=1e-5)
