"""numba kernels of Joseph's projector and its exact adjoint.

Volumes come zero padded by one voxel below and two above in the slice plane, so that no
sample needs a bounds test: positions are clamped to the padding, where everything is 0.
The adjoint is owned by volume slice: no atomics, no private copies, the same sums in the
same order for any number of threads.
"""
# numba functions carry no annotations: their types are inferred at the call
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np
from numba import float32, int32, njit, prange

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS, acc_add, addto, i32add, i32mul, ld, ldc

PADDING = 3
"""Zero voxels added to each line and column of a slice: one below, two above."""

_SLAB_VOXELS = 1 << 21
"""Voxels (8 MB) that all rays pass before the next slab: they stay in the last-level cache, which
halves the time of a 256^3 volume."""
_MIN_SLAB = 8
"""Slices per slab at least, so that setting up the rays of a row pays."""


@njit(parallel=True, **JIT_OPTIONS)
def pad_volume(volume, permutation, padded):
    """Copy (z, y, x) into the inner part of ``padded`` (m, b+3, a+3); its border stays as it is."""
    nz, ny, nx = volume.shape
    moved = padded[:, 1:-2, 1:-2]
    for z in prange(nz):
        if permutation == 0:
            for x in range(nx):
                for y in range(ny):
                    moved[x, z, y] = volume[z, y, x]
        elif permutation == 1:
            for y in range(ny):
                for x in range(nx):
                    moved[y, z, x] = volume[z, y, x]
        else:
            for y in range(ny):
                for x in range(nx):
                    moved[z, y, x] = volume[z, y, x]


@njit(parallel=True, **JIT_OPTIONS)
def add_unpadded(padded, permutation, volume):
    """Add the inner part of ``padded`` (m, b+3, a+3) to the volume (z, y, x)."""
    nz, ny, nx = volume.shape
    moved = padded[:, 1:-2, 1:-2]
    for z in prange(nz):
        if permutation == 0:
            for y in range(ny):
                for x in range(nx):
                    volume[z, y, x] += moved[x, z, y]
        elif permutation == 1:
            for y in range(ny):
                for x in range(nx):
                    volume[z, y, x] += moved[y, z, x]
        else:
            for y in range(ny):
                for x in range(nx):
                    volume[z, y, x] += moved[z, y, x]


@njit(inline="always", **JIT_OPTIONS)
def bilinear(plane, offset, pitch, along, across):
    """Interpolate in a padded plane; ``offset`` is the flat index of the lower corner."""
    low = ld(plane, offset)
    low += along * (ld(plane, i32add(offset, int32(1))) - low)
    above = i32add(offset, pitch)
    high = ld(plane, above)
    high += along * (ld(plane, i32add(above, int32(1))) - high)
    return low + across * (high - low)


@njit(inline="always", **JIT_OPTIONS)
def _positive_columns(value, slope, first, end):
    """Part of [first, end) where ``value + column * slope`` > 0, at most one column too wide."""
    at_first = value + float32(first) * slope
    at_last = value + float32(end - 1) * slope
    if end <= first or (at_first > 0 and at_last > 0):
        return first, end
    if at_first <= 0 and at_last <= 0:
        return first, first
    crossing = int32(float32(end - 1 - first) * (at_first / (at_first - at_last)))
    if at_first <= 0:
        return first + crossing, end
    return first, min(end, first + crossing + int32(2))


@njit(inline="always", **JIT_OPTIONS)
def _columns_inside(depth, origin, main0, main1, side0, side1, count, first, end):
    """Columns whose rays cross the slice between index -1 and ``count`` of one in-plane axis.

    The crossing is ``origin + depth * (side0 + side1 * column) / (main0 + main1 * column)``
    with a positive denominator, so both limits are half-lines of columns.
    """
    low, high = origin + float32(1), float32(count) - origin
    first, end = _positive_columns(low * main0 + depth * side0, low * main1 + depth * side1, first, end)
    return _positive_columns(high * main0 - depth * side0, high * main1 - depth * side1, first, end)


@njit(inline="always", **JIT_OPTIONS)
def _row_start(ray, row, column):
    """Direction (m, a, b) of the ray through pixel (row, column)."""
    r, c = float32(row), float32(column)
    return (
        ray[3] + c * ray[6] + r * ray[9],
        ray[4] + c * ray[7] + r * ray[10],
        ray[5] + c * ray[8] + r * ray[11],
    )


@njit(**JIT_OPTIONS)
def _row_rays(start, ray, spacing, slope_a, slope_b, step_mm):
    """Slopes per slice of the rays of one detector row, and their length per slice in mm."""
    main0, a0, b0 = start
    for column in range(slope_a.shape[0]):
        c = float32(column)
        inverse = float32(1) / (main0 + c * ray[6])
        slope_a[column] = (a0 + c * ray[7]) * inverse
        slope_b[column] = (b0 + c * ray[8]) * inverse
        along, across = slope_a[column] * spacing[1], slope_b[column] * spacing[2]
        step_mm[column] = math.sqrt(spacing[0] * spacing[0] + along * along + across * across)


@njit(**JIT_OPTIONS)
def _sample_row(plane, pitch, slope_a, slope_b, depth, origin_a, origin_b, last_a, last_b, sums):
    for column in range(sums.shape[0]):
        a = min(max(origin_a + depth * ldc(slope_a, column), float32(0)), last_a)
        b = min(max(origin_b + depth * ldc(slope_b, column), float32(0)), last_b)
        ia, ib = int32(a), int32(b)
        offset = i32add(i32mul(ib, pitch), ia)
        acc_add(sums, column, bilinear(plane, offset, pitch, a - float32(ia), b - float32(ib)))


@njit(**JIT_OPTIONS)
def _project_row(volume, count_b, count_a, tile, ray, spacing, row, slices, scratch, out):
    """Add the part of one row's line integrals that lies in the slices [slices[0], slices[1])."""
    pitch = count_a + PADDING
    plane = pitch * (count_b + PADDING)
    slope_a, slope_b, step_mm, sums = scratch
    main0, a0, b0 = _row_start(ray, row, tile[3])
    _row_rays((main0, a0, b0), ray, spacing, slope_a, slope_b, step_mm)
    sums[:] = float32(0)
    for k in range(max(slices[0], tile[5]), min(slices[1], tile[6])):
        depth = float32(k) - ray[0]
        first, end = int32(0), int32(sums.shape[0])
        first, end = _columns_inside(depth, ray[1], main0, ray[6], a0, ray[7], count_a, first, end)
        first, end = _columns_inside(depth, ray[2], main0, ray[6], b0, ray[8], count_b, first, end)
        if end > first:
            _sample_row(
                volume[k * plane : (k + 1) * plane],
                int32(pitch),
                slope_a[first:end],
                slope_b[first:end],
                depth,
                ray[1] + float32(1),
                ray[2] + float32(1),
                float32(count_a + 1),
                float32(count_b + 1),
                sums[first:end],
            )
    for column in range(sums.shape[0]):
        out[column] += sums[column] * step_mm[column]


@njit(parallel=True, **JIT_OPTIONS)
def project_joseph(volume, count_b, count_a, tiles, rays, spacing, row_blocks, out):
    """Add the line integrals of the tiles to ``out`` (V, R, C), from the flat padded volume."""
    plane = (count_a + PADDING) * (count_b + PADDING)
    count = volume.shape[0] // plane
    slab = max(_MIN_SLAB, _SLAB_VOXELS // plane)
    for start in range(0, count, slab):
        for block in prange(row_blocks.shape[0]):
            t = row_blocks[block, 0]
            tile = tiles[t]
            scratch = np.empty((4, tile[4] - tile[3]), np.float32)
            for row in range(row_blocks[block, 1], row_blocks[block, 2]):
                line = out[tile[0], row, tile[3] : tile[4]]
                slices = (start, min(start + slab, count))
                _project_row(volume, count_b, count_a, tile, rays[t], spacing, row, slices, scratch, line)


@njit(**JIT_OPTIONS)
def _prepare_row(values, ray, start, spacing, depth, first, pitch, last_a, last_b, along, across, offsets):
    """Weights and flat indices of the samples of one row in one slice; ``values`` are scaled into ``along``."""
    main0, a0, b0 = start
    origin_a, origin_b = ray[1] + float32(1), ray[2] + float32(1)
    for i in range(values.shape[0]):
        c = float32(i) + first
        inverse = float32(1) / (main0 + c * ray[6])
        slope_a = (a0 + c * ray[7]) * inverse
        slope_b = (b0 + c * ray[8]) * inverse
        a = min(max(origin_a + depth * slope_a, float32(0)), last_a)
        b = min(max(origin_b + depth * slope_b, float32(0)), last_b)
        ia, ib = int32(a), int32(b)
        u, v = slope_a * spacing[1], slope_b * spacing[2]
        along[0, i] = values[i] * math.sqrt(spacing[0] * spacing[0] + u * u + v * v)
        along[1, i] = a - float32(ia)
        across[i] = b - float32(ib)
        offsets[i] = i32add(i32mul(ib, pitch), ia)


@njit(**JIT_OPTIONS)
def _scatter_row(plane, pitch, count, along, across, offsets):
    for i in range(count):
        value, weight, offset = along[0, i], along[1, i], offsets[i]
        high = value * across[i]
        low = value - high
        low_next, high_next = low * weight, high * weight
        addto(plane, offset, low - low_next)
        addto(plane, i32add(offset, int32(1)), low_next)
        above = i32add(offset, pitch)
        addto(plane, above, high - high_next)
        addto(plane, i32add(above, int32(1)), high_next)


@njit(**JIT_OPTIONS)
def _scatter_tile(plane, k, count_b, count_a, tile, ray, spacing, image, along, across, offsets):
    """Add one tile's rows to slice ``k``."""
    pitch = int32(count_a + PADDING)
    depth = float32(k) - ray[0]
    for row in range(tile[1], tile[2]):
        start = _row_start(ray, row, tile[3])
        first, end = int32(0), int32(tile[4] - tile[3])
        first, end = _columns_inside(depth, ray[1], start[0], ray[6], start[1], ray[7], count_a, first, end)
        first, end = _columns_inside(depth, ray[2], start[0], ray[6], start[2], ray[8], count_b, first, end)
        if end > first:
            values = image[row, tile[3] + first : tile[3] + end]
            last_a, last_b = float32(count_a + 1), float32(count_b + 1)
            _prepare_row(
                values, ray, start, spacing, depth, float32(first), pitch, last_a, last_b, along, across, offsets
            )
            _scatter_row(plane, pitch, end - first, along, across, offsets)


@njit(parallel=True, **JIT_OPTIONS)
def backproject_joseph(volume, count_b, count_a, tiles, rays, spacing, projections):
    """Adjoint of :func:`project_joseph` into the flat padded volume, which is overwritten."""
    plane = (count_a + PADDING) * (count_b + PADDING)
    width = projections.shape[2]
    for k in prange(volume.shape[0] // plane):
        along = np.empty((2, width), np.float32)
        across = np.empty(width, np.float32)
        offsets = np.empty(width, np.int32)
        section = volume[k * plane : (k + 1) * plane]
        section[:] = float32(0)
        for t in range(tiles.shape[0]):
            tile = tiles[t]
            if tile[5] <= k < tile[6]:
                image = projections[tile[0]]
                _scatter_tile(section, k, count_b, count_a, tile, rays[t], spacing, image, along, across, offsets)
