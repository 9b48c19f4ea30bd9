"""The sparse CUDA kernels: compiled for every architecture, and the same text run on the CPU."""

import numpy as np
import pytest
from helpers.requires import requires_nvrtc
from helpers.sparse_kernels import cuda_kernels, oblique_views

from DSAReconLib.errors import DependencyError
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels import backend
from DSAReconLib.kernels.cuda import nvrtc
from DSAReconLib.kernels.cuda.launch import source_text
from DSAReconLib.kernels.sparse.backend import CPU_KERNELS, sparse_kernels
from DSAReconLib.kernels.sparse.descent import GaussianStep
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.kernels.sparse.windows import OUTSIDE
from DSAReconLib.operators.sparse import SparseProjector

torch = pytest.importorskip("torch")
APERTURE = 1 / 12
VOLUME_MM3 = 0.7**3


@pytest.fixture(name="kernels", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def kernels_of_each_device(request):
    return cuda_kernels(request.param)


@pytest.fixture(name="rng")
def seeded_generator():
    return np.random.default_rng(11)


@pytest.fixture(name="geometry", scope="module")
def views_without_symmetry():
    return oblique_views()


def random_points(rng, count=3000, reach=30.0):
    """(3, N), some of them beyond the detector."""
    return rng.uniform(-reach, reach, (3, count)).astype(np.float32)


def random_gaussians(rng, views, count=400):
    """Shapes (N, 4) and amplitudes (V, N): narrow and wide ones, some across the edge, some without amplitude."""
    shapes = rng.uniform(-30, 30, (count, 4)).astype(np.float32)
    shapes[:, 3] = np.log(rng.uniform(0.2, 2.0, count))
    shapes[:3, 3] = np.log(30.0)
    amplitudes = rng.uniform(-0.05, 0.2, (views, count)).astype(np.float32)
    return shapes, amplitudes


def relative_error(found, expected):
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


def inner(a, b):
    return float(np.vdot(np.asarray(a).astype(float), np.asarray(b).astype(float)))


@requires_nvrtc
@pytest.mark.parametrize("capability", [70, 75, 80, 86, 89, 90, 120])
def test_sparse_kernels_compile_for_architecture(capability):
    library = nvrtc.load_nvrtc()
    if capability < min(library.supported()):
        pytest.skip(f"NVRTC {library.version} no longer compiles for sm_{capability}")
    code = library.compile(source_text("sparse.cu"), capability)
    assert b"splat_voxels" in code
    assert b"gaussian_gradients" in code


def test_window_scores_equal_those_of_the_cpu(kernels, geometry, rng):
    images = rng.random((5, *geometry.detector_shape), dtype=np.float32)
    images[rng.random(images.shape) < 0.1] = OUTSIDE
    stops = np.array([3, 4, 5], np.int32)
    arguments = (random_points(rng), images, view_records(geometry), stops, 0.15)
    found, expected = kernels.window_scores(*arguments), CPU_KERNELS.window_scores(*arguments)
    assert (expected > 0).mean() > 0.2
    assert np.mean(np.abs(found - expected) > 1e-4) < 2e-3  # points on the edge of a pixel round to either side


def test_points_of_slices_equal_those_of_the_cpu(kernels):
    grid = VolumeGrid((6, 5, 7), (0.7, 0.7, 0.7), (-3.1, 12.4, 0.3))
    expected = CPU_KERNELS.slice_points(grid, 2, 5)
    np.testing.assert_allclose(kernels.host(kernels.slice_points(grid, 2, 5)), expected, rtol=1e-6)
    first = np.array(grid.origin_mm) + 0.7 * np.array([1, 0, 2])
    np.testing.assert_allclose(expected[:, 1], first, rtol=1e-6)


@pytest.mark.parametrize("views_together", [1, 2, 5])
def test_projection_and_its_adjoint_equal_those_of_the_cpu(kernels, geometry, rng, monkeypatch, views_together):
    from DSAReconLib.kernels.cuda import sparse

    points, records = random_points(rng), view_records(geometry)
    monkeypatch.setattr(sparse, "_MIXED_VALUES", views_together * points.shape[1])
    basis, coefficients = rng.random((5, 4), dtype=np.float32), rng.random((4, 3000), dtype=np.float32)
    images = rng.normal(size=(5, *geometry.detector_shape)).astype(np.float32)
    forward = (points, basis, coefficients, VOLUME_MM3, records, geometry.detector_shape)
    backward = (points, basis, images, VOLUME_MM3, records)
    assert relative_error(kernels.project_curves(*forward), CPU_KERNELS.project_curves(*forward)) < 2e-5
    assert relative_error(kernels.backproject_curves(*backward), CPU_KERNELS.backproject_curves(*backward)) < 2e-5


def test_unmixed_projection_and_its_adjoint_equal_those_of_the_cpu(kernels, geometry, rng):
    points, records = random_points(rng), view_records(geometry)
    values = rng.normal(size=(5, 3000)).astype(np.float32)
    images = rng.normal(size=(5, *geometry.detector_shape)).astype(np.float32)
    forward = (points, values, VOLUME_MM3, records, geometry.detector_shape)
    backward = (points, images, VOLUME_MM3, records)
    assert relative_error(kernels.splat_voxels(*forward), CPU_KERNELS.splat_voxels(*forward)) < 2e-5
    assert relative_error(kernels.gather_voxels(*backward), CPU_KERNELS.gather_voxels(*backward)) < 2e-5


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_projection_and_backprojection_are_an_adjoint_pair(kernels, geometry, rng, scale):
    projector = SparseProjector(random_points(rng).T, 0.7, geometry, kernels)[1::2]
    basis = rng.random((2, 4), dtype=np.float32)
    coefficients = rng.random((4, 3000), dtype=np.float32) * np.float32(scale)
    images = rng.normal(size=projector.range_shape).astype(np.float32)
    forward, backward = projector.project(basis, coefficients), projector.backproject(basis, images)
    difference = inner(forward, images) - inner(coefficients, backward)
    assert abs(difference) < 1e-6 * np.linalg.norm(forward.astype(float)) * np.linalg.norm(images)
    values = rng.random(projector.domain_shape, dtype=np.float32)
    forward, backward = projector(values), projector.T(images)
    difference = inner(forward, images) - inner(values, backward)
    assert abs(difference) < 1e-6 * np.linalg.norm(forward) * np.linalg.norm(images)


def test_arrays_of_the_device_stay_there(kernels, geometry, rng):
    projector = SparseProjector(random_points(rng, 50).T, 0.7, geometry, kernels)
    values = rng.random(projector.domain_shape, dtype=np.float32)
    resident = projector(kernels.array(values))
    assert isinstance(resident, torch.Tensor)
    assert isinstance(projector(values), np.ndarray)
    np.testing.assert_array_equal(kernels.host(resident), projector(values))


def test_gaussian_images_equal_those_of_the_cpu(kernels, geometry, rng):
    shapes, amplitudes = random_gaussians(rng, 5)
    arguments = (shapes, amplitudes, view_records(geometry), geometry.detector_shape, APERTURE)
    assert relative_error(kernels.render_gaussians(*arguments), CPU_KERNELS.render_gaussians(*arguments)) < 1e-4


def test_gaussian_gradients_equal_those_of_the_cpu(kernels, geometry, rng):
    shapes, amplitudes = random_gaussians(rng, 5)
    weights = rng.normal(size=(5, *geometry.detector_shape)).astype(np.float32)
    arguments = (shapes, amplitudes, view_records(geometry), weights, APERTURE)
    found, expected = kernels.gaussian_gradients(*arguments), CPU_KERNELS.gaussian_gradients(*arguments)
    assert relative_error(found[0], expected[0]) < 1e-3
    assert relative_error(found[1], expected[1]) < 1e-4
    assert not found[0][(amplitudes <= 0).all(0)].any()


def test_gaussian_gradients_are_those_of_the_images(kernels, geometry, rng):
    records, (shapes, amplitudes) = view_records(geometry), random_gaussians(rng, 5, count=6)
    shapes[:, :3] *= 0.3
    shapes[:, 3] = np.log(1.2)
    amplitudes = np.abs(amplitudes) + np.float32(0.05)
    row, column = np.mgrid[:48, :60]
    weights = np.stack([np.sin(0.2 * row + v) + np.cos(0.15 * column - v) for v in range(5)]).astype(np.float32)
    by_shape, by_amplitude = kernels.gaussian_gradients(shapes, amplitudes, records, weights, APERTURE)

    def loss(moved, heights):
        return inner(kernels.render_gaussians(moved, heights, records, geometry.detector_shape, APERTURE), weights)

    numeric = np.empty((6, 4))
    for n, axis in np.ndindex(6, 4):
        step = np.zeros_like(shapes)
        step[n, axis] = 0.05
        numeric[n, axis] = (loss(shapes + step, amplitudes) - loss(shapes - step, amplitudes)) / 0.1
    assert relative_error(by_shape, numeric) < 0.1  # footprints end at 2.8 sigma, with 2 % of the peak
    # the images are linear in the amplitudes
    assert inner(by_amplitude, amplitudes) == pytest.approx(loss(shapes, amplitudes), rel=1e-4)


def test_the_same_images_come_out_whatever_the_order(kernels, geometry, rng):
    points, (shapes, amplitudes) = random_points(rng), random_gaussians(rng, 5)
    values, records, shape = rng.random((5, 3000), dtype=np.float32), view_records(geometry), geometry.detector_shape
    order, turn = rng.permutation(3000), rng.permutation(len(shapes))
    splat = kernels.splat_voxels(points, values, VOLUME_MM3, records, shape)
    shuffled = kernels.splat_voxels(points[:, order], values[:, order], VOLUME_MM3, records, shape)
    np.testing.assert_array_equal(splat, shuffled)
    drawn = kernels.render_gaussians(shapes, amplitudes, records, shape, APERTURE)
    turned = kernels.render_gaussians(shapes[turn], amplitudes[:, turn], records, shape, APERTURE)
    np.testing.assert_array_equal(drawn, turned)


def test_update_steps_equal_those_of_the_cpu(kernels, rng):
    start = [rng.random((3, 500), dtype=np.float32) for _ in range(5)]
    results = []
    for each in (CPU_KERNELS, kernels):
        point, current, gradient, curvature, penalty = (each.copy_of(values) for values in start)
        curvature += 1.0
        gradient -= 0.5
        uphill = each.proximal_step(point, current, gradient, curvature, penalty)
        each.extrapolate(point, current, 0.4)
        results.append([each.host(values) for values in (point, current)] + [np.array(uphill)])
    for found, expected in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_a_step_of_the_solver_equals_that_of_the_cpu(kernels, geometry, rng):
    points, records = random_points(rng, 700, 20.0), view_records(geometry)
    basis, images = rng.random((5, 3), dtype=np.float32), rng.normal(size=(5, *geometry.detector_shape))
    start = [rng.random((3, 700), dtype=np.float32) for _ in range(4)]
    results = []
    for each in (CPU_KERNELS, kernels):
        point, current, curvature, penalty = (each.copy_of(values) for values in start)
        place = (each.array(points), each.array(basis), each.array(images.astype(np.float32)), VOLUME_MM3, records)
        each.descend(*place, (point, current), (curvature, penalty), gradient_scale=3.0, momentum=0.6)
        results.append([each.host(values) for values in (point, current)])
    for found, expected in zip(*reversed(results), strict=True):
        assert relative_error(found, expected) < 1e-5
    gradient = CPU_KERNELS.backproject_curves(points, basis, images.astype(np.float32), VOLUME_MM3, records)
    after = np.maximum(start[0] - (3 * gradient + start[3]) / start[2], 0)
    assert relative_error(results[0][1], after) < 1e-5
    assert relative_error(results[0][0], after + 0.6 * (after - start[1])) < 1e-5


def test_steps_of_gaussians_equal_those_of_the_cpu(kernels, rng):
    start = [rng.normal(size=(300, size)).astype(np.float32) for size in (4, 7) * 2]
    start[1] = np.abs(start[1])
    results = []
    for each in (CPU_KERNELS, kernels):
        shapes, coefficients, *gradients = (each.copy_of(values) for values in start)
        moments = tuple(each.copy_of(np.zeros_like(start[n])) for n in (0, 0, 1, 1))
        for number in (1, 2):
            rates, mass = np.array([0.1, 0.1, 0.1, 0.02], np.float32), np.linspace(0, 0.2, 7)
            step = GaussianStep(number, (0.9, 0.98), rates, (-1.0, 0.5), 0.03, 0.4, mass)
            each.gaussian_step((shapes, coefficients), tuple(gradients), moments, step)
        results.append([each.host(values) for values in (shapes, coefficients, *moments)])
    for found, expected in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)
    assert results[0][1].min() == 0
    assert (results[0][0][:, 3].min(), results[0][0][:, 3].max()) == (-1.0, 0.5)


def test_slopes_of_the_huber_loss_equal_those_of_the_cpu(kernels, rng):
    model, data, weights = (rng.normal(size=(3, 20, 30)).astype(np.float32) for _ in range(3))
    slopes = [CPU_KERNELS.copy_of(model), kernels.copy_of(model)]
    squares = [
        each.huber_slopes(slope, data, weights, 0.8) for each, slope in zip((CPU_KERNELS, kernels), slopes, strict=True)
    ]
    np.testing.assert_allclose(kernels.host(slopes[1]), slopes[0], rtol=1e-5, atol=1e-6)
    assert squares[1] == pytest.approx(squares[0], rel=1e-4)


def test_curves_read_at_their_own_times_equal_those_of_the_cpu(kernels, rng):
    coefficients, table = rng.random((300, 7), dtype=np.float32), rng.random((4, 11, 7), dtype=np.float32)
    place = rng.uniform(0, 9.999, (4, 300)).astype(np.float32)
    gradient = rng.normal(size=place.shape).astype(np.float32)
    found = [kernels.host(each) for each in kernels.warped_curves(coefficients, table, place)]
    for ours, expected in zip(found, CPU_KERNELS.warped_curves(coefficients, table, place), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    back = kernels.host(kernels.warped_gradient(table, place, gradient))
    np.testing.assert_allclose(back, CPU_KERNELS.warped_gradient(table, place, gradient), rtol=1e-4, atol=1e-5)
    assert inner(back, coefficients) == pytest.approx(inner(gradient, found[0]), rel=1e-5)


def test_fields_on_a_lattice_equal_those_of_the_cpu(kernels, rng):
    place = (np.array([-20.0, -15.0, -31.0]), 11.0, (4, 3, 5))
    points = rng.uniform(-35, 35, (400, 4)).astype(np.float32)  # some beyond the lattice
    nodes, values = rng.random((3, 60), dtype=np.float32), rng.normal(size=(3, 400)).astype(np.float32)
    on_cpu, on_device = CPU_KERNELS.lattice(points, *place), kernels.lattice(points, *place)
    np.testing.assert_allclose(kernels.host(on_device.read(nodes)), on_cpu.read(nodes), atol=1e-5)
    np.testing.assert_allclose(on_device.spread(values), on_cpu.spread(values), rtol=1e-4, atol=1e-4)
    forward, backward = kernels.host(on_device.read(nodes)), on_device.spread(values)
    scale = np.linalg.norm(forward) * np.linalg.norm(values)
    assert abs(inner(forward, values) - inner(nodes, backward)) < 1e-6 * scale


def test_nothing_to_draw_gives_empty_images(kernels, geometry):
    records, shape = view_records(geometry), geometry.detector_shape
    nothing = np.empty((3, 0), np.float32)
    assert not kernels.splat_voxels(nothing, np.empty((5, 0), np.float32), 1.0, records, shape).any()
    assert kernels.gather_voxels(nothing, np.ones((5, *shape), np.float32), 1.0, records).shape == (5, 0)
    none = (np.empty((0, 4), np.float32), np.empty((5, 0), np.float32), records)
    assert not kernels.render_gaussians(*none, shape, APERTURE).any()
    assert kernels.gaussian_gradients(*none, np.ones((5, *shape), np.float32), APERTURE)[0].shape == (0, 4)
    dark = kernels.splat_voxels(np.zeros((3, 4), np.float32), np.zeros((5, 4), np.float32), 1.0, records, shape)
    assert not dark.any()


def test_arrays_that_do_not_match_are_refused(kernels, geometry):
    projector = SparseProjector(np.zeros((4, 3)), 1.0, geometry, kernels)
    with pytest.raises(ValueError, match="do not match"):
        projector(np.ones((5, 3), np.float32))
    with pytest.raises(ValueError, match="do not match"):
        projector.T(np.ones((4, *geometry.detector_shape), np.float32))


def test_the_cpu_takes_the_numba_kernels_and_a_missing_gpu_is_an_error(monkeypatch):
    assert sparse_kernels("cpu") is CPU_KERNELS
    monkeypatch.setattr(backend, "cuda_problem", lambda: "there is none")
    with pytest.raises(DependencyError, match="there is none"):
        sparse_kernels("cuda")
