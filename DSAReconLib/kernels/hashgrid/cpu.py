"""The hash encoding by numba: checked float32 arrays in, filled arrays out.

Forward: tasks of a few thousand points and one level, so that a level's entries stay in
the cache. Adjoint: one level per task, which owns its part of the table: no atomics, and
the same bits for any number of threads.
"""
# numba functions carry no annotations: their types are inferred at the call
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange, uint32, uint64
from numpy.typing import NDArray

from DSAReconLib.kernels.hashgrid import cpu_levels as levels
from DSAReconLib.kernels.hashgrid.spec import HashGrid
from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.threads import kernel_launch

_BLOCK = 4096
"""Points per task."""


def encode(
    points: NDArray[np.float32], table: NDArray[np.float32], grid: HashGrid, active_levels: int
) -> NDArray[np.float32]:
    """Features (N, L * F) of points (N, D)."""
    out = np.empty((len(points), grid.width), np.float32)
    out[:, active_levels * grid.features :] = 0
    kernel = _forward_3d if grid.dimensions == 3 else _forward_4d
    with kernel_launch(chunk_size=1):
        kernel(points, table.reshape(-1), *_levels(grid, active_levels), _zeros(grid), out)
    return out


def encode_adjoint(
    points: NDArray[np.float32], gradients: NDArray[np.float32], grid: HashGrid, active_levels: int
) -> NDArray[np.float32]:
    """Gradient (P, F) with respect to the table."""
    table = np.zeros(grid.table_shape, np.float32)
    kernel = _adjoint_3d if grid.dimensions == 3 else _adjoint_4d
    with kernel_launch(chunk_size=1):
        kernel(points, table.reshape(-1), *_levels(grid, active_levels), _zeros(grid), gradients)
    return table


def encode_points_adjoint(
    points: NDArray[np.float32],
    table: NDArray[np.float32],
    gradients: NDArray[np.float32],
    grid: HashGrid,
    active_levels: int,
) -> NDArray[np.float32]:
    """Gradient (N, D) with respect to the points."""
    out = np.zeros_like(points)
    kernel = _points_3d if grid.dimensions == 3 else _points_4d
    with kernel_launch(chunk_size=1):
        kernel(points, table.reshape(-1), *_levels(grid, active_levels), _zeros(grid), gradients, out)
    return out


def _levels(grid: HashGrid, active_levels: int) -> tuple[Any, ...]:
    """Start in the flat table, scale, resolution, size and kind of the active levels."""
    part = slice(0, active_levels)
    base = (grid.offsets[:-1][part] * grid.features).astype(np.uint64)
    numbers = grid.resolutions[part].astype(np.uint32), grid.sizes[part].astype(np.uint32)
    return base, grid.scales[part], *numbers, grid.dense[part]


def _zeros(grid: HashGrid) -> tuple[np.float32, ...]:
    return (np.float32(0),) * grid.features


@njit(parallel=True, **JIT_OPTIONS)
def _forward_3d(points, table, base, scale, resolution, size, dense, zeros, out):
    blocks = (points.shape[0] + _BLOCK - 1) // _BLOCK
    for task in prange(blocks * len(base)):
        n, start = task // blocks, (task % blocks) * _BLOCK
        stop, column = min(start + _BLOCK, points.shape[0]), n * len(zeros)
        level = uint64(base[n]), scale[n], uint32(resolution[n]), uint32(size[n])
        if dense[n]:
            levels.forward_3d(points, table, *level, 1, zeros, out, column, start, stop)
        else:
            levels.forward_3d(points, table, *level, None, zeros, out, column, start, stop)


@njit(parallel=True, **JIT_OPTIONS)
def _forward_4d(points, table, base, scale, resolution, size, dense, zeros, out):
    blocks = (points.shape[0] + _BLOCK - 1) // _BLOCK
    for task in prange(blocks * len(base)):
        n, start = task // blocks, (task % blocks) * _BLOCK
        stop, column = min(start + _BLOCK, points.shape[0]), n * len(zeros)
        level = uint64(base[n]), scale[n], uint32(resolution[n]), uint32(size[n])
        if dense[n]:
            levels.forward_4d(points, table, *level, 1, zeros, out, column, start, stop)
        else:
            levels.forward_4d(points, table, *level, None, zeros, out, column, start, stop)


@njit(parallel=True, **JIT_OPTIONS)
def _adjoint_3d(points, table, base, scale, resolution, size, dense, zeros, gradients):
    count = len(base)
    for task in prange(count):
        n = count - 1 - task  # the finest levels take longest
        column = n * len(zeros)
        level = uint64(base[n]), scale[n], uint32(resolution[n]), uint32(size[n])
        if dense[n]:
            levels.adjoint_3d(points, table, *level, 1, zeros, gradients, column, 0, points.shape[0])
        else:
            levels.adjoint_3d(points, table, *level, None, zeros, gradients, column, 0, points.shape[0])


@njit(parallel=True, **JIT_OPTIONS)
def _adjoint_4d(points, table, base, scale, resolution, size, dense, zeros, gradients):
    count = len(base)
    for task in prange(count):
        n = count - 1 - task  # the finest levels take longest
        column = n * len(zeros)
        level = uint64(base[n]), scale[n], uint32(resolution[n]), uint32(size[n])
        if dense[n]:
            levels.adjoint_4d(points, table, *level, 1, zeros, gradients, column, 0, points.shape[0])
        else:
            levels.adjoint_4d(points, table, *level, None, zeros, gradients, column, 0, points.shape[0])


@njit(parallel=True, **JIT_OPTIONS)
def _points_3d(points, table, base, scale, resolution, size, dense, zeros, gradients, out):
    blocks = (points.shape[0] + _BLOCK - 1) // _BLOCK
    for block in prange(blocks):
        start = block * _BLOCK
        stop = min(start + _BLOCK, points.shape[0])
        for n in range(len(base)):
            column = n * len(zeros)
            level = uint64(base[n]), scale[n], uint32(resolution[n]), uint32(size[n])
            if dense[n]:
                levels.points_3d(points, table, *level, 1, zeros, gradients, column, out, start, stop)
            else:
                levels.points_3d(points, table, *level, None, zeros, gradients, column, out, start, stop)


@njit(parallel=True, **JIT_OPTIONS)
def _points_4d(points, table, base, scale, resolution, size, dense, zeros, gradients, out):
    blocks = (points.shape[0] + _BLOCK - 1) // _BLOCK
    for block in prange(blocks):
        start = block * _BLOCK
        stop = min(start + _BLOCK, points.shape[0])
        for n in range(len(base)):
            column = n * len(zeros)
            level = uint64(base[n]), scale[n], uint32(resolution[n]), uint32(size[n])
            if dense[n]:
                levels.points_4d(points, table, *level, 1, zeros, gradients, column, out, start, stop)
            else:
                levels.points_4d(points, table, *level, None, zeros, gradients, column, out, start, stop)
