"""Marching along rays on the CPU: the numba twin of :func:`DSAReconLib.fitting.ray_sampling.march`."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
import torch
from numba import float32, int32, njit, prange

from DSAReconLib.kernels.threads import kernel_launch

_OPTIONS = {"parallel": True, "cache": True, "nogil": True, "error_model": "numpy"}
"""No fastmath: counting and filling must round alike, else a ray has more or fewer points than places."""
_BLOCK = 256  # rays per task


def march(rays, times, spacing, occupied, offsets):
    """Points (M, 4) and their rays (M,), as tensors."""
    arrays = [np.ascontiguousarray(part.numpy()) for part in (*rays, offsets)]
    cells = occupied.numpy()
    counts = np.empty(len(times) + 1, np.int64)
    counts[0] = 0
    with kernel_launch(chunk_size=1):
        _count(*arrays, np.float32(spacing), cells, counts)
        ends = np.cumsum(counts)
        points, index = np.empty((ends[-1], 4), np.float32), np.empty(ends[-1], np.int64)
        _fill(*arrays, np.float32(spacing), cells, np.ascontiguousarray(times.numpy()), ends, points, index)
    return torch.from_numpy(points), torch.from_numpy(index)


def count(rays, spacing, occupied, offsets):
    """Number of points (N,) on each ray, as tensor."""
    arrays = [np.ascontiguousarray(part.numpy()) for part in (*rays, offsets)]
    counts = np.zeros(len(offsets) + 1, np.int64)
    with kernel_launch(chunk_size=1):
        _count(*arrays, np.float32(spacing), occupied.numpy(), counts)
    return torch.from_numpy(counts[1:])


@njit(inline="always")
def _cell(origin, step, distance, count):
    """Coordinate in [0, 1] and cell along one axis."""
    unit = min(max(origin + distance * step, float32(0)), float32(1))
    return unit, min(int32(unit * float32(count)), int32(count - 1))


@njit(**_OPTIONS)
def _count(origin, step, near, far, offsets, spacing, occupied, counts):
    nz, ny, nx = occupied.shape
    rays = near.shape[0]
    for block in prange((rays + _BLOCK - 1) // _BLOCK):
        for ray in range(block * _BLOCK, min(rays, (block + 1) * _BLOCK)):
            found = 0
            interval = 0
            distance = near[ray] + offsets[ray] * spacing
            while distance < far[ray]:
                _, ix = _cell(origin[ray, 0], step[ray, 0], distance, nx)
                _, iy = _cell(origin[ray, 1], step[ray, 1], distance, ny)
                _, iz = _cell(origin[ray, 2], step[ray, 2], distance, nz)
                if occupied[iz, iy, ix]:
                    found += 1
                interval += 1
                distance = near[ray] + (float32(interval) + offsets[ray]) * spacing
            counts[ray + 1] = found


@njit(**_OPTIONS)
def _fill(origin, step, near, far, offsets, spacing, occupied, times, ends, points, index):
    nz, ny, nx = occupied.shape
    rays = near.shape[0]
    for block in prange((rays + _BLOCK - 1) // _BLOCK):
        for ray in range(block * _BLOCK, min(rays, (block + 1) * _BLOCK)):
            position = ends[ray]
            interval = 0
            distance = near[ray] + offsets[ray] * spacing
            while distance < far[ray]:
                x, ix = _cell(origin[ray, 0], step[ray, 0], distance, nx)
                y, iy = _cell(origin[ray, 1], step[ray, 1], distance, ny)
                z, iz = _cell(origin[ray, 2], step[ray, 2], distance, nz)
                if occupied[iz, iy, ix]:
                    points[position, 0] = x
                    points[position, 1] = y
                    points[position, 2] = z
                    points[position, 3] = times[ray]
                    index[position] = ray
                    position += 1
                interval += 1
                distance = near[ray] + (float32(interval) + offsets[ray]) * spacing
