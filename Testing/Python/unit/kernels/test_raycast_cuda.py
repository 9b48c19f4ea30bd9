"""The CUDA kernels: compiled for every architecture, and the same text run on the CPU."""

import numpy as np
import pytest
from helpers.projection import ANISOTROPIC_GRID, GEOMETRIES, random_arrays
from helpers.requires import requires_cuda, requires_host_compiler, requires_nvrtc

from DSAReconLib.errors import DependencyError
from DSAReconLib.kernels.cuda import nvrtc
from DSAReconLib.kernels.cuda import raycast as cuda_raycast
from DSAReconLib.kernels.cuda.launch import source_text
from DSAReconLib.kernels.raycast import RaySetup, reference

torch = pytest.importorskip("torch")
OPERATIONS = ["project", "backproject", "backproject_fdk"]


def relative_error(result, expected):
    return float((result.double().cpu() - expected).abs().max() / expected.abs().max())


def case(kind, operation):
    geometry = GEOMETRIES[kind]()
    volume, projections = random_arrays(ANISOTROPIC_GRID, geometry)
    argument = torch.from_numpy(volume if operation == "project" else projections)
    setup = RaySetup.of(ANISOTROPIC_GRID, geometry)
    return argument, setup, getattr(reference, operation)(argument.double(), setup)


@requires_nvrtc
@pytest.mark.parametrize("capability", [75, 80, 86, 89, 90, 100, 120])
def test_kernels_compile_for_architecture(capability):
    code = nvrtc.load_nvrtc().compile(source_text("raycast.cu"), capability)
    assert code[:4] == b"\x7fELF"
    assert b"project_joseph" in code


@requires_nvrtc
def test_newer_device_than_nvrtc_gets_portable_code():
    assert b".target" in nvrtc.load_nvrtc().compile(source_text("raycast.cu"), 999)


@requires_nvrtc
def test_kernel_that_does_not_compile_reports_the_log():
    with pytest.raises(DependencyError, match="undefined_name"):
        nvrtc.load_nvrtc().compile('extern "C" __global__ void f(float* a) { a[0] = undefined_name; }', 86)


@requires_nvrtc
def test_compiled_kernels_are_cached_by_source(tmp_path, monkeypatch):
    monkeypatch.setenv("DSARECON_CACHE_DIR", str(tmp_path))
    source = 'extern "C" __global__ void f(float* a) { a[0] = 1.f; }'
    code = nvrtc.compile_cached(source, 86)
    assert nvrtc.compile_cached(source, 86) == code
    assert len(list(tmp_path.rglob("*.cubin"))) == 1
    nvrtc.compile_cached(source.replace("1.f", "2.f"), 86)
    assert len(list(tmp_path.rglob("*.cubin"))) == 2


@requires_nvrtc
def test_cache_folder_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSARECON_CACHE_DIR", str(tmp_path / "file"))
    assert nvrtc.compile_cached('extern "C" __global__ void f() {}', 86)


def test_missing_nvrtc_is_a_dependency_error_with_a_hint(monkeypatch):
    monkeypatch.setattr(nvrtc, "find_libraries", list)
    with pytest.raises(DependencyError, match="not found") as caught:
        nvrtc.load_nvrtc.__wrapped__()
    assert "torch" in caught.value.hint


@requires_host_compiler
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", GEOMETRIES)
def test_cuda_text_on_the_cpu_equals_the_reference(kind, operation):
    from helpers.cuda_on_cpu import cpu_launcher

    argument, setup, expected = case(kind, operation)
    result = getattr(cuda_raycast, operation)(argument, setup, cpu_launcher("raycast.cu"))
    assert relative_error(result, expected) < 1e-4


@requires_host_compiler
@pytest.mark.parametrize("kind", GEOMETRIES)
def test_cuda_text_is_an_adjoint_pair(kind):
    from helpers.cuda_on_cpu import cpu_launcher

    launch = cpu_launcher("raycast.cu")
    volume, setup, _ = case(kind, "project")
    projections, _, _ = case(kind, "backproject")
    ax = cuda_raycast.project(volume, setup, launch).double()
    aty = cuda_raycast.backproject(projections, setup, launch).double()
    difference = (ax * projections).sum() - (volume * aty).sum()
    assert abs(difference) < 1e-6 * ax.norm() * projections.double().norm()


@requires_cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", GEOMETRIES)
def test_gpu_equals_the_reference(kind, operation):
    argument, setup, expected = case(kind, operation)
    assert relative_error(getattr(cuda_raycast, operation)(argument.cuda(), setup), expected) < 1e-4


@requires_cuda
def test_projector_moves_numpy_arrays_to_the_gpu_and_back():
    from DSAReconLib.operators import ConeBeamProjector

    geometry = GEOMETRIES["oblique"]()
    volume, _ = random_arrays(ANISOTROPIC_GRID, geometry)
    on_gpu = ConeBeamProjector(ANISOTROPIC_GRID, geometry, device="cuda")(volume)
    on_cpu = ConeBeamProjector(ANISOTROPIC_GRID, geometry)(volume)
    assert isinstance(on_gpu, np.ndarray)
    assert np.abs(on_gpu - on_cpu).max() < 1e-4 * np.abs(on_cpu).max()
