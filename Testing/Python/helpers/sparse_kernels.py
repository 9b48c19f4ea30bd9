"""What tests of the sparse kernels share: views, and the CUDA kernels on a GPU or built for the CPU."""

import shutil

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry


def oblique_views():
    """Five views in which nothing is symmetric: tilted, rolled, off center, at different distances."""
    return ConeBeamGeometry.from_angles(
        np.array([-97.0, -31.0, 3.0, 40.0, 88.0]),
        np.array([5.0, -12.0, 0.0, 20.0, 3.0]),
        sod_mm=np.array([750.0, 760.0, 740.0, 750.0, 755.0]),
        sdd_mm=1200.0,
        detector_shape=(48, 60),
        detector_spacing_mm=(1.1, 1.3),
        principal_point_px=(20.0, 33.0),
        roll_deg=np.array([0.0, 3.0, -2.0, 1.0, 0.0]),
    )


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
