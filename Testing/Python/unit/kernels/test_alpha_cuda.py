"""The CUDA kernels of alpha compositing: compiled for every architecture, and the same text run on the CPU."""

import numpy as np
import pytest
from helpers.requires import requires_cuda, requires_host_compiler, requires_nvrtc

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.alpha import AlphaComposite, composite_alpha
from DSAReconLib.kernels.cuda import nvrtc
from DSAReconLib.kernels.cuda.launch import source_text

torch = pytest.importorskip("torch")
pytest.importorskip("numba")
from DSAReconLib.kernels.cuda import alpha as cuda_alpha  # noqa: E402

GEOMETRY = ConeBeamGeometry.from_angles(
    [25.0], [-10.0], sod_mm=300.0, sdd_mm=500.0, detector_shape=(37, 50), detector_spacing_mm=(1.1, 1.2),
    principal_point_px=(18.0, 24.5), roll_deg=7.0,
)  # fmt: skip


def gaussians(count=150, seed=1):
    rng = np.random.default_rng(seed)
    arrays = (
        rng.uniform(-14, 14, (count, 3)), rng.uniform(0.3, 3.0, (count, 3)), rng.normal(size=(count, 4)),
        rng.uniform(0.002, 1.5, count), rng.uniform(0, 1.2, count),
    )  # fmt: skip
    return [array.astype(np.float32) for array in arrays]


def composited(arrays, launch, device="cpu"):
    tensors = [torch.tensor(array, device=device, requires_grad=True) for array in arrays]
    matrix = torch.tensor(GEOMETRY.projection_matrices[0], dtype=torch.float32, device=device)
    image, records = cuda_alpha.composite(*tensors, matrix, GEOMETRY.detector_shape, background=0.8, launch=launch)
    return image, records, tensors


@requires_nvrtc
@pytest.mark.parametrize("capability", [75, 80, 86, 89, 90, 100, 120])
def test_kernels_compile_for_architecture(capability):
    code = nvrtc.load_nvrtc().compile(source_text("alpha.cu"), capability)
    assert code[:4] == b"\x7fELF"
    assert b"alpha_composite_adjoint" in code


@requires_host_compiler
def test_the_kernel_text_gives_the_images_of_the_cpu_kernels():
    from helpers.cuda_on_cpu import cpu_launcher

    arrays = gaussians()
    image, _, _ = composited(arrays, cpu_launcher("alpha.cu"))
    expected = composite_alpha(*arrays, GEOMETRY, background=0.8)[0]
    difference = np.abs(image.detach().numpy() - expected)
    # the projection is float32 there and float64 here
    assert np.percentile(difference, 99.9) < 2e-5
    assert difference.max() < 1.2 / 255


@requires_host_compiler
def test_the_kernel_text_gives_the_gradients_of_the_cpu_kernels():
    from helpers.cuda_on_cpu import cpu_launcher

    arrays = gaussians(80, seed=2)
    weights = np.random.default_rng(3).normal(size=(1, *GEOMETRY.detector_shape)).astype(np.float32)
    image, records, tensors = composited(arrays, cpu_launcher("alpha.cu"))
    records.retain_grad()
    (image * torch.tensor(weights[0])).sum().backward()
    fast = AlphaComposite(*arrays, GEOMETRY, background=0.8).adjoint(weights)
    ours = [fast.means_mm, fast.scales_mm, fast.quats_wxyz, fast.opacities[0], fast.colors[0]]
    for expected, tensor in zip(ours, tensors, strict=True):
        assert np.linalg.norm(tensor.grad.numpy() - expected) < 2e-3 * np.linalg.norm(expected)
    centers = fast.centers_px[0]
    assert np.linalg.norm(records.grad[:, :2].numpy() - centers) < 2e-3 * np.linalg.norm(centers)


def test_radii_equal_those_of_the_cpu_kernels():
    arrays = gaussians()
    arrays[0][0] = 200.0  # far out of the view
    expected = AlphaComposite(*arrays, GEOMETRY).radii_px[0]
    tensors = [torch.tensor(array) for array in arrays]
    matrix = torch.tensor(GEOMETRY.projection_matrices[0], dtype=torch.float32)
    centers, conics, depths = cuda_alpha.reference.project(*tensors[:3], matrix, GEOMETRY.detector_shape)
    records = torch.cat([centers, conics, tensors[3][:, None], tensors[4][:, None]], 1)
    _, lists = cuda_alpha.tile_lists(records, depths, GEOMETRY.detector_shape)
    assert expected[0] == 0
    np.testing.assert_allclose(cuda_alpha.footprint_radii(records, lists).numpy(), expected, rtol=1e-3)


def test_tiles_list_their_gaussians_nearest_first():
    records = torch.tensor([[8.0, 8, 1, 0, 1, 0.9, 0], [16.0, 8, 1, 0, 1, 0.9, 0], [40.0, 30, 1, 0, 1, 0.001, 0]])
    offsets, lists = cuda_alpha.tile_lists(records, torch.tensor([5.0, 3.0, 1.0]), (32, 48))
    assert offsets.tolist() == [0, 2, 3, 3, 3, 3, 3]
    assert lists.tolist() == [1, 0, 1]


@requires_cuda
def test_the_device_gives_the_images_and_gradients_of_the_cpu_kernels():
    arrays = gaussians()
    image, _, tensors = composited(arrays, None, "cuda")
    image.sum().backward()
    expected = AlphaComposite(*arrays, GEOMETRY, background=0.8)
    assert np.percentile(np.abs(image.detach().cpu().numpy() - expected.images[0]), 99.9) < 1e-4
    slope = expected.adjoint(np.ones_like(expected.images))
    for ours, tensor in zip(slope[:3], tensors, strict=False):
        assert np.linalg.norm(tensor.grad.cpu().numpy() - ours) < 1e-2 * np.linalg.norm(ours)
