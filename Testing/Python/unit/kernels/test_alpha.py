"""Alpha compositing against the torch reference and its autograd."""

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.alpha import AlphaComposite, composite_alpha, packed_views

torch = pytest.importorskip("torch")
pytest.importorskip("numba")
from DSAReconLib.kernels.alpha import reference  # noqa: E402


def oblique_geometry(views=2, size=40):
    return ConeBeamGeometry.from_angles(
        np.linspace(-70, 60, views), np.linspace(-15, 20, views), sod_mm=300.0, sdd_mm=500.0,
        detector_shape=(size, size + 6), detector_spacing_mm=(1.1, 1.2), principal_point_px=(18.0, 24.5), roll_deg=7.0,
    )  # fmt: skip


def random_gaussians(rng, count=40, views=2, reach=12.0):
    arrays = (
        rng.uniform(-reach, reach, (count, 3)),
        rng.uniform(0.3, 3.0, (count, 3)),
        rng.normal(size=(count, 4)),
        rng.uniform(0.005, 1.6, (views, count)),
        rng.uniform(-0.2, 1.2, (views, count)),
    )
    return tuple(array.astype(np.float32) for array in arrays)


def reference_images(means, scales, quats, opacities, colors, geometry, background=1.0):
    images = []
    for view in range(len(geometry)):
        matrix = torch.tensor(geometry.projection_matrices[view], dtype=means.dtype)
        centers, conics, depths = reference.project(means, scales, quats, matrix, geometry.detector_shape)
        images.append(
            reference.composite_view(
                centers, conics, depths, opacities[view], colors[view], shape=geometry.detector_shape,
                background=background, block=300,
            )
        )  # fmt: skip
    return torch.stack(images)


def exact(arrays, grad=False):
    return [torch.tensor(array, dtype=torch.float64, requires_grad=grad) for array in arrays]


# --------------------------------------------------------------------------- images
@pytest.mark.parametrize("count", [1, 40, 300])
def test_the_fast_images_equal_the_reference(count):
    gaussians = random_gaussians(np.random.default_rng(count), count)
    geometry = oblique_geometry()
    fast = composite_alpha(*gaussians, geometry, background=0.7)
    slow = reference_images(*exact(gaussians), geometry, background=0.7).numpy()
    difference = np.abs(fast - slow)
    # a footprint at exactly 1/255 of opacity may fall on either side of the cut
    assert np.percentile(difference, 99.9) < 2e-6
    assert difference.max() < 1.2 / 255


def test_gaussians_out_of_the_view_use_the_affine_map_at_its_edge():
    gaussians = random_gaussians(np.random.default_rng(3), 60, reach=40.0)
    gaussians[1][:] *= 6
    geometry = oblique_geometry()
    fast = composite_alpha(*gaussians, geometry)
    slow = reference_images(*exact(gaussians), geometry).numpy()
    assert np.percentile(np.abs(fast - slow), 99.9) < 5e-6
    centers = geometry.project_points(gaussians[0])[0][0]
    assert (np.abs(centers - 20) > 30).any()


def test_an_opaque_gaussian_in_front_hides_the_one_behind():
    geometry = oblique_geometry(views=1)
    direction = geometry.source_mm[0] / np.linalg.norm(geometry.source_mm[0])
    means = np.stack([-5 * direction, 5 * direction])  # the second is nearer to the source
    image = composite_alpha(
        means, np.full((2, 3), 4.0), np.tile([1.0, 0, 0, 0], (2, 1)), [0.9, 0.9], [0.2, 0.8], geometry
    )
    middle = image[0][tuple(np.rint(geometry.project_points(means[1:])[0][0, 0]).astype(int))]
    assert middle == pytest.approx(0.9 * 0.8 + 0.1 * 0.9 * 0.2 + 0.01, abs=0.01)


def test_opacity_is_capped_and_a_pixel_ends_at_the_smallest_transmittance():
    geometry = oblique_geometry(views=1)
    count = 6
    shape = (np.zeros((count, 3)), np.full((count, 3), 5.0), np.tile([1.0, 0, 0, 0], (count, 1)))
    composite = AlphaComposite(*shape, np.full(count, 2.0), np.zeros(count), geometry, background=1.0)
    middle = composite.transmittance[0][tuple(np.rint(geometry.project_points(np.zeros((1, 3)))[0][0, 0]).astype(int))]
    # the first takes all but 1 %, the second would take the rest to 1e-4 and is not used
    assert middle == pytest.approx(0.01, rel=1e-5)
    assert composite.transmittance.min() > 1e-4
    np.testing.assert_allclose(composite.images, composite.transmittance, atol=1e-7)


def test_nothing_behind_the_source_or_outside_shows():
    geometry = oblique_geometry(views=1)
    behind = 1.5 * geometry.source_mm
    far = np.array([[0.0, 0.0, 4000.0]])
    means = np.concatenate([behind, far])
    composite = AlphaComposite(means, np.ones((2, 3)), np.tile([1.0, 0, 0, 0], (2, 1)), [0.9, 0.9], [0, 0], geometry)
    np.testing.assert_array_equal(composite.images, 1.0)
    np.testing.assert_array_equal(composite.radii_px, 0.0)


def test_the_order_of_the_arrays_does_not_matter():
    gaussians = random_gaussians(np.random.default_rng(5), 80)
    order = np.random.default_rng(6).permutation(80)
    geometry = oblique_geometry()
    shuffled = [array[order] for array in gaussians[:3]] + [array[:, order] for array in gaussians[3:]]
    np.testing.assert_allclose(composite_alpha(*shuffled, geometry), composite_alpha(*gaussians, geometry), atol=1e-6)


def test_radii_are_three_standard_deviations_of_the_footprint():
    geometry = oblique_geometry(views=1)
    composite = AlphaComposite(np.zeros((1, 3)), np.full((1, 3), 2.0), [[1, 0, 0, 0]], [0.9], [0.0], geometry)
    expected = 3 * np.sqrt((2.0 * 500 / 300 / 1.1) ** 2 + 0.3)
    assert composite.radii_px[0, 0] == pytest.approx(expected, rel=0.02)


# --------------------------------------------------------------------------- gradients
def test_the_fast_gradients_equal_autograd():
    rng = np.random.default_rng(2)
    geometry = oblique_geometry()
    gaussians = random_gaussians(rng, 60)
    weights = rng.normal(size=(2, *geometry.detector_shape)).astype(np.float32)
    tensors = exact(gaussians, grad=True)
    (reference_images(*tensors, geometry) * torch.tensor(weights)).sum().backward()
    fast = AlphaComposite(*gaussians, geometry).adjoint(weights)
    for name, ours, tensor in zip(fast._fields[:5], fast, tensors, strict=False):
        theirs = tensor.grad.numpy()
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        cosine = (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs)
        bias = abs((ours - theirs).mean()) / np.abs(theirs).mean()
        assert error < 3e-5, f"{name}: relative L2 error {error:.2e}"
        assert cosine > 1 - 1e-6, name
        assert bias < 1e-5, f"{name}: bias {bias:.2e}"


def test_the_gradient_of_the_centers_is_that_of_a_shifted_image_point():
    rng = np.random.default_rng(7)
    geometry = oblique_geometry(views=1)
    gaussians = random_gaussians(rng, 30, views=1)
    weights = rng.normal(size=(1, *geometry.detector_shape)).astype(np.float32)
    means, scales, quats, opacities, colors = exact(gaussians)
    matrix = torch.tensor(geometry.projection_matrices[0])
    centers, conics, depths = reference.project(means, scales, quats, matrix, geometry.detector_shape)
    centers = centers.detach().requires_grad_()
    image = reference.composite_view(
        centers, conics, depths, opacities[0], colors[0], shape=geometry.detector_shape, background=1.0
    )
    (image * torch.tensor(weights[0])).sum().backward()
    ours = AlphaComposite(*gaussians, geometry).adjoint(weights).centers_px[0]
    np.testing.assert_allclose(ours, centers.grad.numpy(), atol=2e-5 * np.abs(ours).max())


def test_the_reference_passes_gradcheck():
    rng = np.random.default_rng(4)
    geometry = oblique_geometry(views=1, size=10)
    means, scales, quats, opacities, colors = random_gaussians(rng, 3, views=1, reach=3.0)
    # wide and in the middle of the opacities: no pixel lies on one of the cuts
    tensors = exact((means, scales + 6, quats, 0.3 + 0.1 * opacities, colors), grad=True)

    def loss(*arguments):
        images = reference_images(*arguments, geometry)
        return (images * torch.linspace(-1, 1, images.numel(), dtype=torch.float64).view_as(images)).sum()

    assert torch.autograd.gradcheck(loss, tensors, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_gradients_do_not_depend_on_the_number_of_threads():
    import numba

    rng = np.random.default_rng(8)
    geometry = oblique_geometry()
    gaussians = random_gaussians(rng, 200)
    weights = rng.normal(size=(2, *geometry.detector_shape)).astype(np.float32)
    before, results = numba.get_num_threads(), []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            results.append(AlphaComposite(*gaussians, geometry).adjoint(weights))
    finally:
        numba.set_num_threads(before)
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)


# --------------------------------------------------------------------------- arguments
def test_wrong_arguments_are_named():
    geometry = oblique_geometry(views=1)
    means, scales, quats, opacities, colors = random_gaussians(np.random.default_rng(9), 4, views=1)
    with pytest.raises(ValueError, match=r"scales_mm must have shape \(4, 3\)"):
        composite_alpha(means, scales[:3], quats, opacities, colors, geometry)
    with pytest.raises(ValueError, match="scales_mm must be positive"):
        composite_alpha(means, 0 * scales, quats, opacities, colors, geometry)
    with pytest.raises(ValueError, match="quats_wxyz must not be zero"):
        composite_alpha(means, scales, 0 * quats, opacities, colors, geometry)
    with pytest.raises(ValueError, match="colors must have shape"):
        composite_alpha(means, scales, quats, opacities, colors[:, :2], geometry)
    with pytest.raises(ValueError, match="gradients must have shape"):
        AlphaComposite(means, scales, quats, opacities, colors, geometry).adjoint(np.zeros((1, 3, 3)))


def test_no_gaussians_leave_the_background():
    nothing = np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    geometry = oblique_geometry(views=1)
    np.testing.assert_array_equal(composite_alpha(*nothing, geometry, background=0.25), 0.25)
    assert packed_views(geometry).shape == (1, 18)
