"""Choosing devices and kernels."""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.projection import ANISOTROPIC_GRID, oblique_geometry, random_arrays
from helpers.requires import requires_package

from DSAReconLib.errors import DependencyError
from DSAReconLib.kernels import available_backends, backend, raycast, resolve_device, selftest, threads


def test_cpu_needs_no_torch():
    code = (
        "import sys; from DSAReconLib.kernels import resolve_device as r; r('cpu'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_projecting_arrays_needs_no_torch():
    code = (
        "import sys, numpy as np; from helpers.projection import *; from DSAReconLib.operators import *;"
        "A = ConeBeamProjector(ANISOTROPIC_GRID, oblique_geometry()); A.T(A(np.ones(A.domain_shape)));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize(("wanted", "found"), [({}, "18"), ({"OPENBLAS_THREAD_TIMEOUT": "26"}, "26")])
def test_threads_of_blas_are_told_not_to_spin_before_numpy_loads(wanted, found):
    code = (
        "import os, sys, DSAReconLib; assert 'numpy' not in sys.modules;"
        f"assert os.environ['OPENBLAS_THREAD_TIMEOUT'] == '{found}'"
    )
    settings = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"} | wanted
    subprocess.run([sys.executable, "-c", code], check=True, env=settings | {"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize("word", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_unknown_device_word_is_refused_with_the_choices(word):
    with pytest.raises(ValueError, match=r"'auto', 'cpu', 'cuda'"):
        resolve_device(word)


def test_cuda_without_cuda_says_why(monkeypatch):
    monkeypatch.setattr(backend, "cuda_problem", lambda: "torch is not installed")
    with pytest.raises(DependencyError, match="torch is not installed") as caught:
        resolve_device("cuda:1")
    assert "cpu" in caught.value.hint


@requires_package("torch")
def test_auto_takes_the_gpu_only_if_nothing_stands_in_the_way(monkeypatch):
    monkeypatch.setattr(backend, "cuda_problem", lambda: "no driver")
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr(backend, "cuda_problem", lambda: None)
    assert resolve_device("auto") == "cuda:0"


@requires_package("torch")
def test_device_number_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "cuda_problem", lambda: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(DependencyError, match="2 CUDA devices"):
        resolve_device("cuda:2")


def test_backends_are_described_for_bug_reports():
    assert set(available_backends()) == {"cpu", "cuda"}
    assert "numba" in available_backends()["cpu"]


def test_self_test_passes_here():
    assert selftest.self_test_report("cpu") == "ok"


def test_self_test_notices_wrong_kernels(monkeypatch):
    right = raycast.project
    monkeypatch.setattr(selftest.raycast, "project", lambda *args: 1.1 * right(*args))
    assert "wrong" in selftest.self_test_report("cpu")


@requires_package("torch")
@pytest.mark.parametrize("operation", ["project", "backproject", "backproject_fdk"])
def test_torch_takes_over_where_numba_is_missing(monkeypatch, operation):
    geometry = oblique_geometry()
    volume, projections = random_arrays(ANISOTROPIC_GRID, geometry)
    if operation == "project":
        arguments = (volume, ANISOTROPIC_GRID, geometry)
    else:
        arguments = (projections, geometry, ANISOTROPIC_GRID)
    fast = getattr(raycast, operation)(*arguments)
    monkeypatch.setenv("DSARECON_CPU_KERNELS", "torch")
    slow = getattr(raycast, operation)(*arguments)
    assert slow.dtype == np.float32
    assert np.abs(slow - fast).max() < 1e-4 * np.abs(fast).max()


def test_unknown_forced_kernels_are_refused(monkeypatch):
    monkeypatch.setenv("DSARECON_CPU_KERNELS", "fortran")
    with pytest.raises(DependencyError, match="fortran"):
        backend.cpu_kernels()


def test_thread_count_out_of_range_is_refused():
    with pytest.raises(ValueError, match="count must lie between 1 and"):
        threads.set_num_threads(0)


@pytest.mark.slow
def test_plain_functions_replace_broken_intrinsics(tmp_path):
    code = (
        "from DSAReconLib.kernels.intrinsics import PLAIN_KERNELS; assert PLAIN_KERNELS;"
        "from DSAReconLib.kernels.selftest import self_test; self_test('cpu')"
    )
    settings = {"DSARECON_PLAIN_KERNELS": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | settings)
