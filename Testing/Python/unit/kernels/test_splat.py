"""X-ray splatting against quadrature, the torch reference and its autograd."""

import numpy as np
import pytest
from helpers.splats import assert_gradients_agree, oblique_geometry, random_gaussians, reference_images

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.splat import splat_xray, splat_xray_adjoint, voxelize

torch = pytest.importorskip("torch")
from DSAReconLib.kernels.splat import reference  # noqa: E402


def rotation(quat):
    return reference.rotation_matrices(torch.tensor(np.asarray(quat, float))[None])[0].numpy()


def test_one_gaussian_equals_the_numerical_line_integral():
    geometry = oblique_geometry()
    mean, scale, quat = np.array([4.0, -3.0, 6.0]), np.array([3.0, 1.0, 2.0]), np.array([0.3, -0.5, 0.7, 0.2])
    images = splat_xray(mean[None], scale[None], quat[None], np.full(1, 0.04), geometry)
    whitening = rotation(quat).T / scale[:, None]
    rows, columns = geometry.detector_shape
    for view in range(3):
        row, column = np.unravel_index(images[view].argmax(), (rows, columns))
        for pixel in ((row, column), (row + 1, column + 2), (row - 2, column - 1)):
            target = (
                geometry.detector_center_mm[view]
                + (pixel[1] - (columns - 1) / 2) * geometry.detector_u_mm[view]
                + (pixel[0] - (rows - 1) / 2) * geometry.detector_v_mm[view]
            )
            path = target - geometry.source_mm[view]
            length = np.linalg.norm(path)
            s = np.linspace(250, 350, 20001)
            points = geometry.source_mm[view] + s[:, None] * path / length
            density = 0.04 * np.exp(-0.5 * (((points - mean) @ whitening.T) ** 2).sum(1))
            assert images[view][pixel] == pytest.approx(np.trapezoid(density, s), rel=2e-5)


@pytest.mark.parametrize("pixel_box", [False, True])
def test_the_fast_images_equal_the_reference(pixel_box):
    rng = np.random.default_rng(1)
    geometry = oblique_geometry()
    gaussians = random_gaussians(rng)
    fast = splat_xray(*gaussians, geometry, pixel_box=pixel_box)
    exact = reference_images(*(torch.tensor(g, dtype=torch.float64) for g in gaussians), geometry, pixel_box=pixel_box)
    # a pixel exactly on the cut may fall on either side of it
    difference = np.abs(fast - exact.numpy())
    assert np.percentile(difference, 99.9) < 2e-6 * fast.max()


@pytest.mark.parametrize("pixel_box", [False, True])
def test_the_fast_gradients_equal_autograd(pixel_box):
    rng = np.random.default_rng(2)
    geometry = oblique_geometry()
    gaussians = random_gaussians(rng)
    weights = rng.normal(size=(3, *geometry.detector_shape)).astype(np.float32)
    tensors = [torch.tensor(g, dtype=torch.float64, requires_grad=True) for g in gaussians]
    images = reference_images(*tensors, geometry, pixel_box=pixel_box)
    (images * torch.tensor(weights, dtype=torch.float64)).sum().backward()
    fast = splat_xray_adjoint(*gaussians, geometry, weights, pixel_box=pixel_box)
    assert_gradients_agree(fast, [tensor.grad.numpy() for tensor in tensors])


def test_the_reference_passes_gradcheck():
    rng = np.random.default_rng(3)
    geometry = oblique_geometry(views=1, size=12)
    gaussians = random_gaussians(rng, count=2, views=1)
    tensors = [torch.tensor(g, dtype=torch.float64, requires_grad=True) for g in gaussians]

    def loss(*arguments):
        images = reference_images(*arguments, geometry, pixel_box=True)
        return (images * torch.linspace(-1, 1, images.numel(), dtype=torch.float64).view_as(images)).sum()

    assert torch.autograd.gradcheck(loss, tensors, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_few_and_many_views_give_the_same_image():
    rng = np.random.default_rng(4)
    geometry = oblique_geometry(views=9)
    gaussians = random_gaussians(rng, views=9)
    together = splat_xray(*gaussians, geometry)
    alone = np.concatenate([splat_xray(*gaussians[:3], gaussians[3][v : v + 1], geometry[v]) for v in range(9)])
    np.testing.assert_allclose(together, alone, atol=1e-6 * together.max())


def test_the_pixel_box_keeps_the_mass_and_lowers_the_peak():
    geometry = oblique_geometry(views=1)
    narrow = (np.zeros((1, 3)), np.full((1, 3), 0.6), np.array([[1.0, 0, 0, 0]]), np.ones(1))
    sharp = splat_xray(*narrow, geometry, cutoff_sigma=6.0)
    wide = splat_xray(*narrow, geometry, cutoff_sigma=6.0, pixel_box=True)
    assert wide.sum() == pytest.approx(sharp.sum(), rel=5e-3)
    assert wide.max() < 0.97 * sharp.max()


def test_gaussians_behind_the_source_and_outside_the_image_give_nothing():
    geometry = oblique_geometry(views=1)
    behind = 2 * geometry.source_mm[:1]
    beside = geometry.detector_u_mm[:1] * 500
    means = np.concatenate([behind, beside])
    images = splat_xray(means, np.ones((2, 3)), np.tile([1.0, 0, 0, 0], (2, 1)), np.ones(2), geometry)
    assert not images.any()


def test_the_amplitude_gradient_of_a_dark_gaussian_is_not_lost():
    geometry = oblique_geometry(views=1)
    one = (np.zeros((1, 3)), np.ones((1, 3)), np.array([[1.0, 0, 0, 0]]))
    ones = np.ones((1, *geometry.detector_shape))
    dark = splat_xray_adjoint(*one, np.zeros((1, 1)), geometry, ones)
    mass = splat_xray(*one, np.ones((1, 1)), geometry).sum()
    assert dark.amplitudes[0, 0] == pytest.approx(mass, rel=1e-5)


def test_voxelizing_equals_the_reference_and_keeps_the_mass():
    rng = np.random.default_rng(5)
    means, scales, quats, amplitudes = random_gaussians(rng, views=2)
    grid = VolumeGrid((40, 38, 42), (0.9, 1.0, 1.1), (-20.0, -19.0, -18.0))
    fast = voxelize(means, scales, quats, amplitudes, grid)
    tensors = (torch.tensor(a, dtype=torch.float64) for a in (means, scales, quats, amplitudes))
    exact = reference.voxelize(*tensors, torch.tensor(grid.points_mm()), cutoff_sigma=4.0).numpy()
    np.testing.assert_allclose(fast.reshape(2, -1), exact, atol=4e-6 * exact.max())
    mass = (amplitudes[0] * (2 * np.pi) ** 1.5 * scales.prod(1)).sum()
    assert fast[0].sum() * np.prod(grid.spacing_mm) == pytest.approx(mass, rel=5e-3)


def test_static_amplitudes_serve_every_view_and_every_voxel():
    rng = np.random.default_rng(6)
    geometry = oblique_geometry()
    means, scales, quats, amplitudes = random_gaussians(rng)
    grid = VolumeGrid.centered(8, 2.0)
    repeated = np.tile(amplitudes[0], (3, 1))
    np.testing.assert_array_equal(
        splat_xray(means, scales, quats, amplitudes[0], geometry), splat_xray(means, scales, quats, repeated, geometry)
    )
    flat = voxelize(means, scales, quats, amplitudes[0], grid)
    np.testing.assert_array_equal(flat, voxelize(means, scales, quats, amplitudes[:1], grid)[0])


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (1, np.zeros((2, 3)), "scales_mm must be positive"),
        (1, np.ones((2, 2)), "scales_mm must have shape"),
        (2, np.zeros((2, 4)), "quats_wxyz must not be zero"),
        (3, np.ones((5, 2)), "amplitudes must have shape"),
    ],
)
def test_bad_arguments_are_named(position, value, message):
    arguments = [np.zeros((2, 3)), np.ones((2, 3)), np.ones((2, 4)), np.ones(2)]
    arguments[position] = value
    with pytest.raises(ValueError, match=message):
        splat_xray(*arguments, oblique_geometry())
