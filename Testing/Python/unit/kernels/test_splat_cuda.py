"""The CUDA kernels of X-ray splatting: compiled for every architecture, and the same text run on the CPU."""

import numpy as np
import pytest
from helpers.requires import requires_cuda, requires_host_compiler, requires_nvrtc
from helpers.splats import assert_gradients_agree, oblique_geometry, random_gaussians, reference_images

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels import splat
from DSAReconLib.kernels.cuda import nvrtc, xray_splat
from DSAReconLib.kernels.cuda.launch import source_text
from DSAReconLib.kernels.splat import SplatGradients, cpu, packed_views

torch = pytest.importorskip("torch")
FORMS = [(False, False), (True, False), (True, True)]


def launcher(device):
    if device != "cpu":
        return None
    from helpers.cuda_on_cpu import cpu_launcher

    return cpu_launcher("xray_splat.cu")


def setting(pixel_box, affine):
    return {"cutoff_sigma": 3.0, "pixel_box": pixel_box, "affine": affine}


def assert_images_and_gradients_agree(device, pixel_box, affine):
    rng = np.random.default_rng(1)
    geometry, gaussians = oblique_geometry(), random_gaussians(rng, count=70)
    weights = rng.normal(size=(3, *geometry.detector_shape)).astype(np.float32)
    exact = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in gaussians]
    expected = reference_images(*exact, geometry, pixel_box=pixel_box, affine=affine)
    (expected * torch.tensor(weights, dtype=torch.float64)).sum().backward()
    arguments = [torch.tensor(values, device=device) for values in gaussians]
    views = xray_splat.DeviceViews.of(*packed_views(geometry), device)
    options = setting(pixel_box, affine) | {"launch": launcher(device)}
    images = xray_splat.splat_forward(*arguments, views, **options).cpu().numpy()
    difference = np.abs(images - expected.detach().numpy())
    assert np.percentile(difference, 99.9) < 3e-6 * images.max()
    gradients = torch.tensor(weights, device=device)
    shapes, by_amplitude, pulls = xray_splat.splat_adjoint(*arguments, views, gradients, **options)
    shapes = shapes.cpu().numpy()
    found = SplatGradients(shapes[:, :3], shapes[:, 3:6], shapes[:, 6:], by_amplitude.cpu().numpy())
    assert_gradients_agree(found, [tensor.grad.numpy() for tensor in exact], error=5e-4)
    _, _, on_cpu = cpu.splat_adjoint(*gaussians, *packed_views(geometry), weights, **setting(pixel_box, affine))
    np.testing.assert_allclose(pulls.cpu().numpy(), on_cpu, rtol=1e-3, atol=1e-4 * on_cpu.max())


def assert_volumes_agree(device):
    means, scales, quats, amplitudes = random_gaussians(np.random.default_rng(5), views=2)
    grid = VolumeGrid((40, 38, 42), (0.9, 1.0, 1.1), (-20.0, -19.0, -18.0))
    tensors = [torch.tensor(values, device=device) for values in (means, scales, quats, amplitudes)]
    place = [torch.tensor(values, dtype=torch.float32, device=device) for values in (grid.origin_mm, grid.spacing_mm)]
    found = xray_splat.voxelize(*tensors, *place, grid.shape_zyx, cutoff_sigma=4.0, launch=launcher(device))
    expected = splat.voxelize(means, scales, quats, amplitudes, grid)
    np.testing.assert_allclose(found.cpu().numpy(), expected, atol=4e-4 * expected.max())
    assert np.percentile(np.abs(found.cpu().numpy() - expected), 99.9) < 2e-6 * expected.max()


@requires_nvrtc
@pytest.mark.parametrize("capability", [75, 86, 90, 120])
def test_splat_kernels_compile_for_architecture(capability):
    code = nvrtc.load_nvrtc().compile(source_text("xray_splat.cu"), capability)
    assert b"gather_gradients" in code


@requires_host_compiler
@pytest.mark.parametrize(("pixel_box", "affine"), FORMS)
def test_splat_cuda_text_on_the_cpu_equals_the_reference(pixel_box, affine):
    assert_images_and_gradients_agree("cpu", pixel_box, affine)


@requires_host_compiler
def test_voxelizing_cuda_text_on_the_cpu_equals_the_cpu_kernel():
    assert_volumes_agree("cpu")


@requires_host_compiler
def test_no_gaussians_give_an_empty_image_and_no_gradients():
    views = xray_splat.DeviceViews.of(*packed_views(oblique_geometry()), "cpu")
    none = [torch.zeros(shape) for shape in ((0, 3), (0, 3), (0, 4), (3, 0))]
    options = setting(False, False) | {"launch": launcher("cpu")}
    assert not xray_splat.splat_forward(*none, views, **options).any()
    assert xray_splat.splat_adjoint(*none, views, views.ray_lengths, **options)[0].shape == (0, 10)


@requires_cuda
@pytest.mark.parametrize(("pixel_box", "affine"), FORMS)
def test_splatting_on_the_gpu_equals_the_reference(pixel_box, affine):
    assert_images_and_gradients_agree("cuda", pixel_box, affine)


@requires_cuda
def test_voxelizing_on_the_gpu_equals_the_cpu_kernel():
    assert_volumes_agree("cuda")


@requires_host_compiler
def test_a_splatter_gives_the_same_on_both_backends():
    from DSAReconLib.kernels.splat.splatter import Shapes, XraySplatter

    rng = np.random.default_rng(2)
    geometry, (*shape, amplitudes) = oblique_geometry(), random_gaussians(rng)
    views, weights = np.array([2, 0]), rng.normal(size=(2, *geometry.detector_shape)).astype(np.float32)
    numba_splatter = XraySplatter(geometry, pixel_box=True)
    cuda_splatter = XraySplatter(geometry, pixel_box=True, launch=launcher("cpu"))
    chosen = (Shapes(*shape), np.ascontiguousarray(amplitudes[views]), views)
    images = [splatter.images(*chosen) for splatter in (numba_splatter, cuda_splatter)]
    assert np.percentile(np.abs(images[0] - images[1]), 99.9) < 3e-6 * images[0].max()
    np.testing.assert_array_equal(images[0], splat.splat_xray(*shape, chosen[1], geometry[views], pixel_box=True))
    gradients = [splatter.gradients(*chosen, weights) for splatter in (numba_splatter, cuda_splatter)]
    for ours, theirs in zip(*gradients, strict=True):
        assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(ours)
