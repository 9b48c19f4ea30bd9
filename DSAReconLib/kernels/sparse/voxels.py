"""Projection of a list of voxels: splat to the four nearest pixels, and its exact adjoint.

The line integrals of a voxel of volume h^3 and attenuation mu sum up, over the pixels that
it reaches, to ``mu h^3 f_column f_row / (depth^2 cos(theta))`` with theta the angle between
ray and detector normal; bilinear weights share this mass among the four pixels around the
projected center. Pixel positions are recomputed in both directions, so that no index
table (16 bytes per voxel and view) is kept. Voxels that miss the pixel array by any of the
four pixels do not contribute, in either direction.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.threads import kernel_launch

_BLOCK = 1024
"""Voxels mixed or gathered at a time: their coefficients stay in the second-level cache."""


@njit(inline="always")
def _locate(record, x, y, z):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Column, row (pixels) and mass factor (pixels^2/mm^2) of a point in one view."""
    inverse_depth = np.float32(1) / (record[8] * x + record[9] * y + record[10] * z + record[11])
    column = (record[0] * x + record[1] * y + record[2] * z + record[3]) * inverse_depth
    row = (record[4] * x + record[5] * y + record[6] * z + record[7]) * inverse_depth
    tangent_u = (column - record[12]) * record[14]
    tangent_v = (row - record[13]) * record[15]
    slant = math.sqrt(np.float32(1) + tangent_u * tangent_u + tangent_v * tangent_v)
    return column, row, record[16] * inverse_depth * inverse_depth * slant


@njit(fastmath=True, cache=True)
def _splat_block(points, start, values, volume, record, rows, columns, image):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add the line integrals of the voxels start ... start + len(values) to a flat image."""
    last_column, last_row = np.float32(columns - 1), np.float32(rows - 1)
    for m in range(values.shape[0]):
        value = values[m]
        if value == 0:
            continue
        n = start + m
        column, row, mass = _locate(record, points[0, n], points[1, n], points[2, n])
        if not (column >= 0 and row >= 0 and column < last_column and row < last_row):
            continue
        column_index, row_index = np.int32(column), np.int32(row)
        share_u, share_v = column - np.float32(column_index), row - np.float32(row_index)
        base = np.uint32(row_index * columns + column_index)
        value *= mass * volume
        lower = value * share_v
        upper = value - lower
        image[base] += upper * (np.float32(1) - share_u)
        image[base + np.uint32(1)] += upper * share_u
        image[base + np.uint32(columns)] += lower * (np.float32(1) - share_u)
        image[base + np.uint32(columns + 1)] += lower * share_u


@njit(fastmath=True, cache=True)
def _gather_block(points, start, image, volume, record, rows, columns, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weighted bilinear samples of a flat image at the voxels start ... start + len(values)."""
    last_column, last_row = np.float32(columns - 1), np.float32(rows - 1)
    for m in range(values.shape[0]):
        n = start + m
        column, row, mass = _locate(record, points[0, n], points[1, n], points[2, n])
        if not (column >= 0 and row >= 0 and column < last_column and row < last_row):
            values[m] = 0
            continue
        column_index, row_index = np.int32(column), np.int32(row)
        share_u, share_v = column - np.float32(column_index), row - np.float32(row_index)
        base = np.uint32(row_index * columns + column_index)
        upper = image[base] + share_u * (image[base + np.uint32(1)] - image[base])
        first, second = image[base + np.uint32(columns)], image[base + np.uint32(columns + 1)]
        lower = first + share_u * (second - first)
        values[m] = mass * volume * (upper + share_v * (lower - upper))


@njit(parallel=True, fastmath=True, cache=True)
def _splat(points, values, volume, records, rows, columns, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for view in prange(values.shape[0]):
        images[view][:] = 0
        _splat_block(points, 0, values[view], volume, records[view], rows, columns, images[view])


@njit(parallel=True, fastmath=True, cache=True)
def _gather(points, images, volume, records, rows, columns, block, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, count = values.shape
    blocks = (count + block - 1) // block
    for task in prange(views * blocks):
        view = task // blocks
        start = (task - view * blocks) * block
        part = values[view, start : min(start + block, count)]
        _gather_block(points, start, images[view], volume, records[view], rows, columns, part)


@njit(parallel=True, fastmath=True, cache=True)
def _project(points, basis, coefficients, volume, records, rows, columns, block, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    functions, count = coefficients.shape
    for view in prange(basis.shape[0]):
        images[view][:] = 0
        mixed = np.empty(block, np.float32)
        for start in range(0, count, block):
            stop = min(start + block, count)
            part = mixed[: stop - start]
            part[:] = 0
            for k in range(functions):
                weight = basis[view, k]
                if weight != 0:
                    row = coefficients[k, start:stop]
                    for m in range(stop - start):
                        part[m] += weight * row[m]
            _splat_block(points, start, part, volume, records[view], rows, columns, images[view])


@njit(parallel=True, fastmath=True, cache=True)
def _backproject(points, basis, images, volume, records, rows, columns, block, result):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    functions, count = result.shape
    for task in prange((count + block - 1) // block):
        start = task * block
        stop = min(start + block, count)
        gathered = np.empty(stop - start, np.float32)
        result[:, start:stop] = 0
        for view in range(basis.shape[0]):
            _gather_block(points, start, images[view], volume, records[view], rows, columns, gathered)
            for k in range(functions):
                weight = basis[view, k]
                if weight != 0:
                    row = result[k, start:stop]
                    for m in range(stop - start):
                        row[m] += weight * gathered[m]


def splat_voxels(
    points: NDArray[np.float32],
    values: NDArray[np.float32],
    volume_mm3: float,
    records: NDArray[np.float32],
    images: NDArray[np.float32],
) -> None:
    """Line integrals of voxels, written to ``images``.

    Parameters
    ----------
    points
        Voxel centers (3, N), mm.
    values
        Attenuation per view and voxel (V, N), 1/mm.
    volume_mm3
        Volume of a voxel.
    records
        :func:`DSAReconLib.kernels.sparse.views.view_records` (V, 17).
    images
        Output (V, R, C).
    """
    _check(points, values, records, images)
    views, rows, columns = images.shape
    with kernel_launch(1):
        _splat(points, values, np.float32(volume_mm3), records, rows, columns, images.reshape(views, -1))


def gather_voxels(
    points: NDArray[np.float32],
    images: NDArray[np.float32],
    volume_mm3: float,
    records: NDArray[np.float32],
    values: NDArray[np.float32],
) -> None:
    """Adjoint of :func:`splat_voxels`: ``values`` (V, N) from ``images`` (V, R, C)."""
    _check(points, values, records, images)
    views, rows, columns = images.shape
    with kernel_launch(4):
        _gather(points, images.reshape(views, -1), np.float32(volume_mm3), records, rows, columns, _BLOCK, values)


def project_curves(
    points: NDArray[np.float32],
    basis: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    volume_mm3: float,
    records: NDArray[np.float32],
    images: NDArray[np.float32],
) -> None:
    """Line integrals of ``basis @ coefficients``, mixed and splatted block by block.

    Parameters
    ----------
    points
        Voxel centers (3, N), mm.
    basis, coefficients
        Temporal functions (V, K) and their coefficients (K, N), 1/mm.
    volume_mm3, records, images
        As in :func:`splat_voxels`.
    """
    _check(points, np.broadcast_to(np.float32(0), (len(basis), coefficients.shape[1])), records, images)
    views, rows, columns = images.shape
    flat = images.reshape(views, -1)
    with kernel_launch(1):
        _project(points, basis, coefficients, np.float32(volume_mm3), records, rows, columns, _BLOCK, flat)


def backproject_curves(
    points: NDArray[np.float32],
    basis: NDArray[np.float32],
    images: NDArray[np.float32],
    volume_mm3: float,
    records: NDArray[np.float32],
    coefficients: NDArray[np.float32],
) -> None:
    """Adjoint of :func:`project_curves` for a fixed basis; overwrites ``coefficients`` (K, N)."""
    _check(points, np.broadcast_to(np.float32(0), (len(basis), coefficients.shape[1])), records, images)
    views, rows, columns = images.shape
    flat = images.reshape(views, -1)
    with kernel_launch(1):
        _backproject(points, basis, flat, np.float32(volume_mm3), records, rows, columns, _BLOCK, coefficients)


def _check(
    points: NDArray[np.float32],
    values: NDArray[np.float32],
    records: NDArray[np.float32],
    images: NDArray[np.float32],
) -> None:
    """Refuse what the kernels would read or write out of bounds."""
    if values.shape != (len(images), points.shape[1]) or len(records) != len(images) or len(points) != 3:
        raise ValueError(
            f"points (3, N), values (V, N), records (V, 17) and images (V, R, C) do not match: "
            f"{points.shape}, {values.shape}, {records.shape}, {images.shape}"
        )
    for name, array in {"points": points, "values": values, "records": records, "images": images}.items():
        if array.dtype != np.float32 or not (array.flags.c_contiguous or name == "values"):
            raise TypeError(f"{name} must be a contiguous float32 array")
