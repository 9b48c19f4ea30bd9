"""The affine X-ray splatting of R2-Gaussian and 4DRGS beside the exact integrals."""

import numpy as np
import pytest
from helpers.splats import assert_gradients_agree, oblique_geometry, random_gaussians, reference_images

from DSAReconLib.kernels.splat import splat_xray, splat_xray_adjoint

torch = pytest.importorskip("torch")


def tensors(gaussians, **options):
    return [torch.tensor(values, dtype=torch.float64, **options) for values in gaussians]


@pytest.mark.parametrize("pixel_box", [False, True])
def test_affine_images_equal_the_formulas_of_the_paper(pixel_box):
    geometry, gaussians = oblique_geometry(), random_gaussians(np.random.default_rng(1))
    fast = splat_xray(*gaussians, geometry, affine=True, pixel_box=pixel_box)
    expected = reference_images(*tensors(gaussians), geometry, affine=True, pixel_box=pixel_box).numpy()
    assert np.percentile(np.abs(fast - expected), 99.9) < 2e-6 * fast.max()


@pytest.mark.parametrize("pixel_box", [False, True])
def test_affine_gradients_equal_autograd_through_the_paper(pixel_box):
    rng = np.random.default_rng(2)
    geometry, gaussians = oblique_geometry(), random_gaussians(rng)
    weights = rng.normal(size=(3, *geometry.detector_shape)).astype(np.float32)
    parameters = tensors(gaussians, requires_grad=True)
    images = reference_images(*parameters, geometry, affine=True, pixel_box=pixel_box)
    (images * torch.tensor(weights, dtype=torch.float64)).sum().backward()
    fast = splat_xray_adjoint(*gaussians, geometry, weights, affine=True, pixel_box=pixel_box)
    assert_gradients_agree(fast, [parameter.grad.numpy() for parameter in parameters])


def test_both_forms_agree_at_the_center_and_differ_by_little_beside_it():
    geometry, mean = oblique_geometry(views=1), np.array([[3.0, -2.0, 4.0]])
    row, column = np.rint(geometry.project_points(mean)[0][0, 0]).astype(int)
    shape = (mean, np.full((1, 3), 2.5), np.array([[1.0, 0, 0, 0]]), np.ones(1))
    exact, affine = (splat_xray(*shape, geometry, affine=form)[0] for form in (False, True))
    assert affine[row, column] == pytest.approx(exact[row, column], rel=1e-3)
    inside = exact > 0.1 * exact.max()
    assert np.abs(affine / np.where(inside, exact, 1) - 1)[inside].max() < 0.05
    assert np.abs(affine - exact).max() > 1e-4 * exact.max(), "the forms are not the same thing"


def test_the_affine_reference_passes_gradcheck():
    rng = np.random.default_rng(3)
    geometry = oblique_geometry(views=1, size=12)
    parameters = tensors(random_gaussians(rng, count=2, views=1), requires_grad=True)

    def loss(*arguments):
        images = reference_images(*arguments, geometry, affine=True, pixel_box=True)
        return (images * torch.linspace(-1, 1, images.numel(), dtype=torch.float64).view_as(images)).sum()

    assert torch.autograd.gradcheck(loss, parameters, eps=1e-6, atol=1e-6, rtol=1e-4)
