"""The hash encoding in plain torch: the oracle of the fast kernels, and what runs where they cannot.

Any float dtype and device; differentiable by autograd in the table and, almost everywhere,
in the points.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from DSAReconLib.kernels.hashgrid.spec import PRIMES, HashGrid

if TYPE_CHECKING:
    from torch import Tensor

_UINT32 = 0xFFFFFFFF


def encode(points: Tensor, table: Tensor, grid: HashGrid, active_levels: int) -> Tensor:
    """Features (N, L * F) of points (N, D); those of levels from ``active_levels`` on are 0."""
    import torch

    columns = []
    for level in range(active_levels):
        scale = float(grid.scales[level])
        position = points.clamp(0, 1) * scale + 0.5
        cell = position.detach().floor()
        fraction = position - cell
        entries = table[int(grid.offsets[level]) : int(grid.offsets[level + 1])]
        total = points.new_zeros(len(points), grid.features)
        for corner in product((0, 1), repeat=grid.dimensions):
            upper = torch.tensor(corner, dtype=torch.bool, device=points.device)
            weight = torch.where(upper, fraction, 1 - fraction).prod(-1, keepdim=True)
            vertex = cell.long() + upper.long()
            total = total + weight * entries[_entry(vertex, grid, level)]
        columns.append(total)
    columns.append(points.new_zeros(len(points), (grid.levels - active_levels) * grid.features))
    return torch.cat(columns, 1)


def _entry(vertex: Tensor, grid: HashGrid, level: int) -> Tensor:
    """Entry (N,) within the level's part of the table of each vertex (N, D)."""
    size, resolution = int(grid.sizes[level]), int(grid.resolutions[level])
    if grid.dense[level]:
        return sum(vertex[:, axis] * resolution**axis for axis in range(grid.dimensions)) % size
    result = vertex[:, 0] * PRIMES[0]
    for axis in range(1, grid.dimensions):
        result = result ^ ((vertex[:, axis] * PRIMES[axis]) & _UINT32)
    return result % size
