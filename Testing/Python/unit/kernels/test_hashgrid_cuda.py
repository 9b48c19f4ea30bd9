"""The CUDA text of the hash encoding: compiled for every architecture, run on the CPU, run on a GPU if there is one."""

import numpy as np
import pytest
from helpers.requires import requires_cuda, requires_host_compiler, requires_nvrtc

from DSAReconLib.kernels import hashgrid
from DSAReconLib.kernels.cuda import hashgrid as cuda_hashgrid
from DSAReconLib.kernels.cuda import nvrtc
from DSAReconLib.kernels.cuda.launch import source_text
from DSAReconLib.kernels.hashgrid import HashGrid

torch = pytest.importorskip("torch")
KINDS = [(3, 2), (3, 8), (4, 2), (4, 8)]


def case(dimensions, features, count=300):
    grid = HashGrid(dimensions, levels=5, features=features, log2_entries=9, base_resolution=3, growth=1.7)
    rng = np.random.default_rng(1)
    points = rng.random((count, dimensions)).astype(np.float32)
    table = rng.normal(size=grid.table_shape).astype(np.float32)
    return grid, points, table, rng.normal(size=(count, grid.width)).astype(np.float32)


def compare(dimensions, features, device, launch=None):
    grid, points, table, slopes = case(dimensions, features)
    place, entries, gradient = (torch.from_numpy(array).to(device) for array in (points, table, slopes))
    results = (
        cuda_hashgrid.encode(place, entries, grid, 4, launch),
        cuda_hashgrid.encode_adjoint(place, gradient, grid, 4, launch),
        cuda_hashgrid.encode_points_adjoint(place, entries, gradient, grid, 4, launch),
    )
    expected = (
        hashgrid.encode(points, table, grid, active_levels=4),
        hashgrid.encode_adjoint(points, slopes, grid, active_levels=4),
        hashgrid.encode_points_adjoint(points, table, slopes, grid, active_levels=4),
    )
    for result, wanted in zip(results, expected, strict=True):
        assert np.linalg.norm(result.cpu().numpy() - wanted) < 1e-4 * np.linalg.norm(wanted)


@requires_nvrtc
@pytest.mark.parametrize("capability", [75, 80, 86, 89, 90, 100, 120])
def test_kernels_compile_for_architecture(capability):
    code = nvrtc.load_nvrtc().compile(source_text("hashgrid.cu"), capability)
    assert code[:4] == b"\x7fELF"
    for dimensions, features in KINDS:
        assert f"encode_points_adjoint_{dimensions}d_{features}".encode() in code


@requires_host_compiler
@pytest.mark.parametrize(("dimensions", "features"), KINDS)
def test_cuda_text_on_the_cpu_equals_the_numba_kernels(dimensions, features):
    from helpers.cuda_on_cpu import cpu_launcher

    compare(dimensions, features, "cpu", cpu_launcher("hashgrid.cu"))


@requires_cuda
@pytest.mark.parametrize(("dimensions", "features"), KINDS)
def test_gpu_equals_the_numba_kernels(dimensions, features):
    compare(dimensions, features, "cuda")


@requires_cuda
def test_tensors_on_the_gpu_have_gradients():
    from DSAReconLib.kernels.hashgrid.autograd import encode

    grid, points, table, slopes = case(4, 2)
    entries = torch.tensor(table, device="cuda", requires_grad=True)
    encode(torch.from_numpy(points).cuda(), entries, grid).backward(torch.from_numpy(slopes).cuda())
    expected = hashgrid.encode_adjoint(points, slopes, grid)
    assert np.linalg.norm(entries.grad.cpu().numpy() - expected) < 1e-4 * np.linalg.norm(expected)
