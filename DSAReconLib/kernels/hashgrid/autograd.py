"""The hash encoding of torch tensors with gradients, on the CPU and on CUDA.

Imports torch: import it inside functions only.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from DSAReconLib.kernels import hashgrid
from DSAReconLib.kernels.hashgrid import reference
from DSAReconLib.kernels.hashgrid.spec import HashGrid


def encode(points: Tensor, table: Tensor, grid: HashGrid, *, active_levels: int | None = None) -> Tensor:
    """Features (N, L * F) of points (N, D), differentiable in both.

    float32 tensors on the CPU run the numba kernels, on CUDA the CUDA kernels; any other
    dtype or device runs the torch reference. On the CPU the gradients have the same bits
    for any number of threads; on CUDA they are summed atomically.

    Raises
    ------
    ValueError
        Wrong shape.
    """
    if points.ndim != 2 or points.shape[1] != grid.dimensions:
        raise ValueError(f"points must have shape (N, {grid.dimensions}); got {tuple(points.shape)}")
    if tuple(table.shape) != grid.table_shape:
        raise ValueError(f"table must have shape {grid.table_shape}; got {tuple(table.shape)}")
    active = hashgrid.active_count(grid, active_levels)
    fast = points.dtype == table.dtype == torch.float32 and points.device.type in ("cpu", "cuda")
    if not fast:
        return reference.encode(points, table, grid, active)
    result: Tensor = _Encode.apply(points, table, grid, active)
    return result


class _Encode(torch.autograd.Function):
    """Fast kernels behind autograd; differentiable once."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grid: HashGrid, active: int) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.grid, ctx.active = grid, active
        return _kernels(points).encode(points, table, grid, active)  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        points, table = ctx.saved_tensors
        kernels, gradient = _kernels(points), gradient.contiguous()
        of_points = of_table = None
        if ctx.needs_input_grad[0]:
            of_points = kernels.encode_points_adjoint(points, table, gradient, ctx.grid, ctx.active)
        if ctx.needs_input_grad[1]:
            of_table = kernels.encode_adjoint(points, gradient, ctx.grid, ctx.active)
        return of_points, of_table, None, None


def _kernels(like: Tensor) -> Any:
    """Functions of tensors of the device of ``like``."""
    if like.device.type == "cuda":
        return importlib.import_module("DSAReconLib.kernels.cuda.hashgrid")
    return _OnCpu


class _OnCpu:
    """The CPU kernels for tensors; they share memory with numpy."""

    @staticmethod
    def encode(points: Tensor, table: Tensor, grid: HashGrid, active: int) -> Tensor:
        return torch.from_numpy(hashgrid.backend().encode(*_arrays(points, table), grid, active))

    @staticmethod
    def encode_adjoint(points: Tensor, gradient: Tensor, grid: HashGrid, active: int) -> Tensor:
        return torch.from_numpy(hashgrid.backend().encode_adjoint(*_arrays(points, gradient), grid, active))

    @staticmethod
    def encode_points_adjoint(points: Tensor, table: Tensor, gradient: Tensor, grid: HashGrid, active: int) -> Tensor:
        arrays = _arrays(points, table, gradient)
        return torch.from_numpy(hashgrid.backend().encode_points_adjoint(*arrays, grid, active))


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)
