"""The one place that decides which optional things a test may count on."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest


def _has_cuda() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _has_nvrtc() -> bool:
    from DSAReconLib.kernels.cuda.nvrtc import find_libraries

    return bool(find_libraries())


def requires_cuda(test):
    """Mark a test as ``gpu`` and skip it without a CUDA device."""
    return pytest.mark.gpu(pytest.mark.skipif(not _has_cuda(), reason="needs a CUDA device")(test))


def requires_nvrtc(test):
    """Skip without NVRTC (pip package nvidia-cuda-nvrtc, or a CUDA build of torch)."""
    return pytest.mark.skipif(not _has_nvrtc(), reason="needs NVRTC")(test)


def requires_host_compiler(test):
    """Skip without g++, which compiles CUDA text for the CPU."""
    return pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")(test)


def requires_package(name: str):
    """Skip without an importable package."""
    return pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}")
