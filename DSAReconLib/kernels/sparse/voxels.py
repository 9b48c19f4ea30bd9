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

_BLOCK = 4096
"""Voxels per task of the gather: small enough to balance two to sixteen threads."""


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


@njit(parallel=True, fastmath=True, cache=True)
def _splat(points, values, volume, records, rows, columns, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    last_column, last_row = np.float32(columns - 1), np.float32(rows - 1)
    for view in prange(values.shape[0]):
        image = images[view]
        record = records[view]
        image[:] = 0
        for n in range(values.shape[1]):
            value = values[view, n]
            if value == 0:
                continue
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


@njit(parallel=True, fastmath=True, cache=True)
def _gather(points, images, volume, records, rows, columns, block, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, count = values.shape
    blocks = (count + block - 1) // block
    last_column, last_row = np.float32(columns - 1), np.float32(rows - 1)
    for task in prange(views * blocks):
        view = task // blocks
        start = (task - view * blocks) * block
        image = images[view]
        record = records[view]
        for n in range(start, min(start + block, count)):
            column, row, mass = _locate(record, points[0, n], points[1, n], points[2, n])
            if not (column >= 0 and row >= 0 and column < last_column and row < last_row):
                values[view, n] = 0
                continue
            column_index, row_index = np.int32(column), np.int32(row)
            share_u, share_v = column - np.float32(column_index), row - np.float32(row_index)
            base = np.uint32(row_index * columns + column_index)
            upper = image[base] + share_u * (image[base + np.uint32(1)] - image[base])
            first, second = image[base + np.uint32(columns)], image[base + np.uint32(columns + 1)]
            lower = first + share_u * (second - first)
            values[view, n] = mass * volume * (upper + share_v * (lower - upper))


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
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            raise TypeError(f"{name} must be a contiguous float32 array")
