"""The sparse CUDA kernels as a test can have them: on a GPU, or their text built for the CPU."""

import shutil

import pytest


def cuda_kernels(device):
    """The CUDA kernels on ``"cuda"``, or their text on ``"cpu"``; skips what this machine cannot run."""
    torch = pytest.importorskip("torch")
    if device == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
        from DSAReconLib.kernels.sparse.backend import sparse_kernels

        return sparse_kernels(device)
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    from helpers.cuda_on_cpu import cpu_launcher

    from DSAReconLib.kernels.cuda.sparse import CudaSparseKernels

    return CudaSparseKernels("cpu", cpu_launcher("sparse.cu"))
