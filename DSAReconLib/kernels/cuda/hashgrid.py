"""Hash encoding of torch tensors by the CUDA kernels of ``hashgrid.cu``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from DSAReconLib.kernels.cuda.launch import Launch, gpu_launcher
from DSAReconLib.kernels.hashgrid.spec import HashGrid

if TYPE_CHECKING:
    from torch import Tensor

_SOURCE = "hashgrid.cu"
_BLOCK = (256, 1, 1)


def encode(points: Tensor, table: Tensor, grid: HashGrid, active_levels: int, launch: Launch | None = None) -> Tensor:
    """Features (N, L * F) of contiguous float32 points (N, D) on their device."""
    out = points.new_zeros(len(points), grid.width)
    if active_levels and len(points):
        run = launch or gpu_launcher(_SOURCE, points.device)
        arguments = [*_points(points), table.contiguous(), *_levels(grid, points), out, grid.width]
        run(_name("encode", grid), (_blocks(points), active_levels, 1), _BLOCK, arguments)
    return out


def encode_adjoint(
    points: Tensor, gradients: Tensor, grid: HashGrid, active_levels: int, launch: Launch | None = None
) -> Tensor:
    """Gradient (P, F) with respect to the table; atomic sums, in no fixed order."""
    table = points.new_zeros(grid.table_shape)
    if active_levels and len(points):
        run = launch or gpu_launcher(_SOURCE, points.device)
        arguments = [*_points(points), table, *_levels(grid, points), gradients.contiguous(), grid.width]
        run(_name("encode_adjoint", grid), (_blocks(points), active_levels, 1), _BLOCK, arguments)
    return table


def encode_points_adjoint(
    points: Tensor, table: Tensor, gradients: Tensor, grid: HashGrid, active_levels: int, launch: Launch | None = None
) -> Tensor:
    """Gradient (N, D) with respect to the points."""
    out = points.new_zeros(points.shape)
    if len(points):
        run = launch or gpu_launcher(_SOURCE, points.device)
        shared = [*_points(points), table.contiguous(), *_levels(grid, points), active_levels]
        arguments = [*shared, gradients.contiguous(), grid.width, out]
        run(_name("encode_points_adjoint", grid), (_blocks(points), 1, 1), _BLOCK, arguments)
    return out


def _name(operation: str, grid: HashGrid) -> str:
    return f"{operation}_{grid.dimensions}d_{grid.features}"


def _blocks(points: Tensor) -> int:
    return -(-len(points) // _BLOCK[0])


def _points(points: Tensor) -> list[Tensor | int]:
    return [points.contiguous(), len(points)]


def _levels(grid: HashGrid, like: Tensor) -> list[Tensor]:
    """Whole numbers (L, 4) and scales (L,) of the levels on the device of ``like``."""
    import torch

    numbers = np.stack([grid.offsets[:-1], grid.resolutions, grid.sizes, grid.dense], 1).astype(np.int32)
    return [torch.from_numpy(array).to(like.device) for array in (numbers, grid.scales)]
