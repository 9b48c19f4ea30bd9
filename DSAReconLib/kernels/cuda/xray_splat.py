"""X-ray splatting and voxelizing of torch tensors by the CUDA kernels of ``xray_splat.cu``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.cuda.launch import Launch, gpu_launcher

if TYPE_CHECKING:
    from torch import Tensor

_SOURCE = "xray_splat.cu"
_RECORD_SIZE = 11
_LANES, _GAUSSIANS_PER_BLOCK, _THREADS = 32, 8, 128
_BOX_VARIANCE = 1 / 12


class DeviceViews(NamedTuple):
    """Constants of V views on the device: (V, 22) float64 and source to pixel (V, R, C) float32, mm."""

    constants: Tensor
    ray_lengths: Tensor

    @classmethod
    def of(cls, constants: NDArray[np.float64], ray_lengths: NDArray[np.float32], device: str) -> DeviceViews:
        """From ``kernels.splat.packed_views``."""
        import torch

        return cls(torch.from_numpy(constants).to(device), torch.from_numpy(ray_lengths).to(device))


def splat_forward(
    means: Tensor, scales: Tensor, quats: Tensor, amplitudes: Tensor, views: DeviceViews, *, cutoff_sigma: float,
    pixel_box: bool, affine: bool, launch: Launch | None = None,
) -> Tensor:  # fmt: skip
    """Images (V, R, C) of Gaussians (contiguous float32); arguments as ``kernels.splat.splat_xray``."""
    launch = launch or gpu_launcher(_SOURCE, means.device)
    count, (number, rows, columns) = len(means), views.ray_lengths.shape
    images = means.new_zeros((number, rows, columns))
    if not count:
        return images
    records = means.new_empty((number, count, _RECORD_SIZE))
    arguments = [means, scales, quats, amplitudes, count, views.constants, *_form(pixel_box, affine), records]
    launch("prepare_footprints", (-(-count // _THREADS), number, 1), (_THREADS, 1, 1), arguments)
    grid, block = (-(-count // _GAUSSIANS_PER_BLOCK), number, 1), (_LANES, _GAUSSIANS_PER_BLOCK, 1)
    launch("add_footprints", grid, block, [records, count, float(cutoff_sigma**2), images, rows, columns])
    return images if affine else images.mul_(views.ray_lengths)


def splat_adjoint(
    means: Tensor, scales: Tensor, quats: Tensor, amplitudes: Tensor, views: DeviceViews, gradients: Tensor, *,
    cutoff_sigma: float, pixel_box: bool, affine: bool, launch: Launch | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients (N, 10), (V, N) and pulls (V, N) as ``kernels.splat.cpu.splat_adjoint``. Deterministic."""
    launch = launch or gpu_launcher(_SOURCE, means.device)
    count, (number, rows, columns) = len(means), views.ray_lengths.shape
    weighted = (gradients if affine else gradients * views.ray_lengths).contiguous()
    shapes, by_amplitude = means.new_empty((count, 10)), means.new_empty((number, count))
    pulls = means.new_empty((number, count))
    if count:
        inputs = [means, scales, quats, amplitudes, count, views.constants, number, *_form(pixel_box, affine)]
        pixels = [float(cutoff_sigma**2), weighted, rows, columns]
        grid = (-(-count // _THREADS), 1, 1)
        launch("gather_gradients", grid, (_THREADS, 1, 1), [*inputs, *pixels, shapes, by_amplitude, pulls])
    return shapes, by_amplitude, pulls


def voxelize(
    means: Tensor, scales: Tensor, quats: Tensor, amplitudes: Tensor, origin: Tensor, spacing: Tensor,
    shape_zyx: tuple[int, int, int], *, cutoff_sigma: float, launch: Launch | None = None,
) -> Tensor:  # fmt: skip
    """Sum of Gaussians at voxel centers (K, Z, Y, X) for amplitudes (K, N); origin and spacing (3,) float32, mm."""
    launch = launch or gpu_launcher(_SOURCE, means.device)
    count, volumes = len(means), len(amplitudes)
    out = means.new_zeros((volumes, *shape_zyx))
    if count:
        grid, block = (-(-count // _GAUSSIANS_PER_BLOCK), 1, 1), (_LANES, _GAUSSIANS_PER_BLOCK, 1)
        inputs = [means, scales, quats, amplitudes, count, volumes, origin, spacing, float(cutoff_sigma**2)]
        launch("add_to_voxels", grid, block, [*inputs, out, *shape_zyx])
    return out


def _form(pixel_box: bool, affine: bool) -> list[float | int]:
    """Pixel variance and form as kernel arguments."""
    return [_BOX_VARIANCE if pixel_box else 0.0, int(affine)]
