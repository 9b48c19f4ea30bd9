"""The hash encoding of numpy arrays by the torch reference, where numba is missing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from DSAReconLib.kernels.hashgrid import reference
from DSAReconLib.kernels.hashgrid.spec import HashGrid

Array = NDArray[np.float32]


def encode(points: Array, table: Array, grid: HashGrid, active_levels: int) -> Array:
    """Features (N, L * F) of points (N, D)."""
    with torch.no_grad():
        out: Array = reference.encode(torch.from_numpy(points), torch.from_numpy(table), grid, active_levels).numpy()
    return out


def encode_adjoint(points: Array, gradients: Array, grid: HashGrid, active_levels: int) -> Array:
    """Gradient (P, F) with respect to the table."""
    table = torch.zeros(grid.table_shape, requires_grad=True)
    return _gradient(torch.from_numpy(points), table, gradients, grid, active_levels, table)


def encode_points_adjoint(points: Array, table: Array, gradients: Array, grid: HashGrid, active_levels: int) -> Array:
    """Gradient (N, D) with respect to the points."""
    variable = torch.from_numpy(points).requires_grad_()
    return _gradient(variable, torch.from_numpy(table), gradients, grid, active_levels, variable)


def _gradient(
    points: torch.Tensor, table: torch.Tensor, gradients: Array, grid: HashGrid, levels: int, of: torch.Tensor
) -> Array:
    with torch.enable_grad():
        features = reference.encode(points, table, grid, levels)
        (slope,) = torch.autograd.grad(features, of, torch.from_numpy(gradients), allow_unused=True)
    result: Array = (torch.zeros_like(of) if slope is None else slope).detach().numpy()
    return result
