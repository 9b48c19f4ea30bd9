"""Pictures of Gaussians, one view at a time, by the CUDA kernels of ``splat.cu``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.cuda.launch import Launch, gpu_launcher

_SOURCE = "splat.cu"
_WARP, _GAUSSIANS_PER_BLOCK = 32, 8
_BOX_VARIANCE = 1.0 / 12.0


class DeviceScene:
    """Gaussians that stay on a CUDA device.

    Parameters
    ----------
    kernels
        (N, 12), see ``kernels.splat.scene``.
    device
        Device of torch.
    launch
        How kernels start; default on this device.
    """

    def __init__(self, kernels: NDArray[np.float32], device: str, launch: Launch | None = None) -> None:
        import torch

        self._launch = launch or gpu_launcher(_SOURCE, torch.device(device))
        self._kernels = torch.from_numpy(np.ascontiguousarray(kernels)).to(device)
        self._source: NDArray[np.float32] | None = None
        self._amplitudes = self._kernels.new_empty(0)

    def splat(
        self, amplitudes: NDArray[np.float32], view: NDArray[np.float64], cut: float, out: NDArray[np.float32]
    ) -> None:
        """Fill ``out`` (R, C); ``amplitudes`` (N,) are sent to the device when another array comes."""
        import torch

        device = self._kernels.device
        if amplitudes is not self._source:
            self._amplitudes = torch.from_numpy(np.ascontiguousarray(amplitudes)).to(device)
            self._source = amplitudes
        constants = torch.from_numpy(view).to(device)
        rows, columns = out.shape
        picture = self._kernels.new_zeros(out.shape)
        count = len(self._kernels)
        if count:
            arguments = [self._kernels, self._amplitudes, count, constants, cut, _BOX_VARIANCE, picture, rows, columns]
            grid = (-(-count // _GAUSSIANS_PER_BLOCK), 1, 1)
            self._launch("splat_view", grid, (_WARP, _GAUSSIANS_PER_BLOCK, 1), arguments)
        grid = (-(-columns // 32), -(-rows // 8), 1)
        self._launch("scale_by_ray_lengths", grid, (32, 8, 1), [picture, constants, rows, columns])
        torch.from_numpy(out).copy_(picture)
