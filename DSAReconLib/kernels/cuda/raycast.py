"""Ray casting of torch tensors by the CUDA kernels of ``raycast.cu``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.cuda.launch import Launch, gpu_launcher
from DSAReconLib.kernels.raycast import reference
from DSAReconLib.kernels.raycast.setup import AXES_MAB, AxisGroup, RaySetup

if TYPE_CHECKING:
    from torch import Tensor

_SOURCE = "raycast.cu"
_BLOCK = (32, 8, 1)
_MAX_GRID_Z = 65535


def project(volume: Tensor, setup: RaySetup, launch: Launch | None = None) -> Tensor:
    """Line integrals (V, R, C) of a contiguous float32 volume (z, y, x) on its device."""
    launch = launch or gpu_launcher(_SOURCE, volume.device)
    _, rows, columns = setup.range_shape
    out = volume.new_empty(setup.range_shape)
    for group in setup.groups:
        padded = _padded(volume.permute(group.permutation))
        _, count_b, count_a = group.shape_mba
        for start in range(0, len(group.tiles), _MAX_GRID_Z):
            tiles = group.tiles[start : start + _MAX_GRID_Z]
            arrays = _on_device(volume, tiles, group.rays_f32[start : start + _MAX_GRID_Z])
            arguments = [padded, count_b, count_a, *arrays, *_spacing(group), out, rows, columns]
            launch("project_joseph", _grid(columns, rows, len(tiles)), _BLOCK, arguments)
    return out


def backproject(projections: Tensor, setup: RaySetup, launch: Launch | None = None) -> Tensor:
    """Exact adjoint of :func:`project`: volume (z, y, x). Deterministic."""
    launch = launch or gpu_launcher(_SOURCE, projections.device)
    _, rows, columns = setup.range_shape
    nz, ny, nx = setup.grid.shape_zyx
    out = projections.new_zeros(setup.grid.shape_zyx)
    for group in setup.groups:
        tiles, rays, matrices = _on_device(projections, group.tiles, group.rays_f32, setup.matrices_f32)
        shape = [nz, ny, nx, *AXES_MAB[group.axis]]
        records = [tiles, rays, len(group.tiles), matrices, *_spacing(group)]
        arguments = [out, *shape, *records, projections, rows, columns]
        launch("backproject_joseph", _grid(nx, ny, nz), _BLOCK, arguments)
    return out


def backproject_fdk(filtered: Tensor, setup: RaySetup, launch: Launch | None = None) -> Tensor:
    """Sum over views of filtered(projection of the voxel) / depth^2, (z, y, x)."""
    launch = launch or gpu_launcher(_SOURCE, filtered.device)
    views, rows, columns = setup.range_shape
    nz, ny, nx = setup.grid.shape_zyx
    out = filtered.new_empty(setup.grid.shape_zyx)
    (matrices,) = _on_device(filtered, setup.matrices_f32)
    arguments = [out, nz, ny, nx, _padded(filtered), matrices, views, rows, columns]
    launch("backproject_voxels", _grid(nx, ny, nz), _BLOCK, arguments)
    return out


def project_dynamic(
    coefficients: Tensor, weights: NDArray[np.float32], setup: RaySetup, launch: Launch | None = None
) -> Tensor:
    """Line integrals (V, R, C); view v sees sum_k weights[v, k] coefficients[k], (K, z, y, x)."""
    return reference.project_dynamic(coefficients, weights, setup, partial(project, launch=launch))


def backproject_dynamic(
    projections: Tensor, weights: NDArray[np.float32], setup: RaySetup, launch: Launch | None = None
) -> Tensor:
    """Adjoint of :func:`project_dynamic` in the coefficients: (K, z, y, x)."""
    return reference.backproject_dynamic(projections, weights, setup, partial(backproject, launch=launch))


def _padded(stack: Tensor) -> Tensor:
    """(n, b+3, a+3) contiguous with one zero below and two above in each plane."""
    import torch

    return torch.nn.functional.pad(stack, (1, 2, 1, 2)).contiguous()


def _on_device(like: Tensor, *arrays: NDArray[np.generic]) -> list[Tensor]:
    import torch

    return [torch.from_numpy(np.ascontiguousarray(array)).to(like.device) for array in arrays]


def _spacing(group: AxisGroup) -> list[float]:
    return [float(s) for s in group.spacing_mm]


def _grid(x: int, y: int, z: int) -> Sequence[int]:
    return -(-x // _BLOCK[0]), -(-y // _BLOCK[1]), z
