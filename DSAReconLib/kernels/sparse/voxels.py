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

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS, i32add, ld
from DSAReconLib.kernels.threads import kernel_launch

_BLOCK = 1024
"""Voxels mixed or gathered at a time: long rows are streamed well, and all views of them stay cached."""
_CHUNK = 1 << 16
"""Voxels mixed before they are splatted."""


@njit(**JIT_OPTIONS)
def _locate(points, start, stop, record, rows, columns, volume, corner, place):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where the voxels start ... stop - 1 lie in one view: a loop that LLVM vectorizes.

    Writes the flat index of their first pixel (n,), shares of the next column and row, and mass (3, n); voxels
    that miss the pixel array get no mass.
    """
    x, y, z = points[0, start:stop], points[1, start:stop], points[2, start:stop]
    last_column, last_row = np.float32(columns - 1), np.float32(rows - 1)
    scale, zero, one = record[16] * volume, np.float32(0), np.float32(1)
    for m in range(stop - start):
        inverse_depth = one / (record[8] * x[m] + record[9] * y[m] + record[10] * z[m] + record[11])
        column = (record[0] * x[m] + record[1] * y[m] + record[2] * z[m] + record[3]) * inverse_depth
        row = (record[4] * x[m] + record[5] * y[m] + record[6] * z[m] + record[7]) * inverse_depth
        tangent_u, tangent_v = (column - record[12]) * record[14], (row - record[13]) * record[15]
        slant = math.sqrt(one + tangent_u * tangent_u + tangent_v * tangent_v)
        inside = (column >= zero) & (row >= zero) & (column < last_column) & (row < last_row)
        column, row = (column, row) if inside else (zero, zero)
        whole_column, whole_row = np.floor(column), np.floor(row)
        corner[m] = np.int32(whole_row) * np.int32(columns) + np.int32(whole_column)
        place[0, m], place[1, m] = column - whole_column, row - whole_row
        place[2, m] = scale * inverse_depth * inverse_depth * slant if inside else zero


@njit(**JIT_OPTIONS)
def _splat_block(points, start, values, volume, record, rows, columns, corner, place, image):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add the line integrals of the voxels start ... start + len(values) to a flat image."""
    _locate(points, start, start + values.shape[0], record, rows, columns, volume, corner, place)
    for m in range(values.shape[0]):
        value = values[m] * place[2, m]
        if value == 0:
            continue
        base = np.uint32(corner[m])
        lower = value * place[1, m]
        upper = value - lower
        upper_right, lower_right = upper * place[0, m], lower * place[0, m]
        image[base] += upper - upper_right
        image[base + np.uint32(1)] += upper_right
        image[base + np.uint32(columns)] += lower - lower_right
        image[base + np.uint32(columns + 1)] += lower_right


@njit(**JIT_OPTIONS)
def _gather_block(points, start, image, volume, record, rows, columns, corner, place, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weighted bilinear samples of a flat image at the voxels start ... start + len(values)."""
    _locate(points, start, start + values.shape[0], record, rows, columns, volume, corner, place)
    right, below = np.int32(1), np.int32(columns)
    for m in range(values.shape[0]):
        base, share = corner[m], place[0, m]
        first, second = ld(image, base), ld(image, i32add(base, below))
        upper = first + share * (ld(image, i32add(base, right)) - first)
        lower = second + share * (ld(image, i32add(i32add(base, below), right)) - second)
        values[m] = place[2, m] * (upper + place[1, m] * (lower - upper))


@njit(parallel=True, **JIT_OPTIONS)
def _splat(points, values, volume, records, rows, columns, block, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for view in prange(values.shape[0]):
        images[view][:] = 0
        corner, place = np.empty(block, np.int32), np.empty((3, block), np.float32)
        for start in range(0, values.shape[1], block):
            part = values[view, start : min(start + block, values.shape[1])]
            _splat_block(points, start, part, volume, records[view], rows, columns, corner, place, images[view])


@njit(parallel=True, **JIT_OPTIONS)
def _gather(points, images, volume, records, rows, columns, block, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, count = values.shape
    blocks = (count + block - 1) // block
    for task in prange(views * blocks):
        view = task // blocks
        start = (task - view * blocks) * block
        corner, place = np.empty(block, np.int32), np.empty((3, block), np.float32)
        part = values[view, start : min(start + block, count)]
        _gather_block(points, start, images[view], volume, records[view], rows, columns, corner, place, part)


@njit(**JIT_OPTIONS)
def _mix(weights, rows, start, mixed):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weighted sum of rows (K, N), from column ``start`` on, to mixed (n,)."""
    mixed[:] = 0
    for k in range(rows.shape[0]):
        weight = weights[k]
        if weight != 0:
            row = rows[k, start : start + mixed.shape[0]]
            for m in range(mixed.shape[0]):
                mixed[m] += weight * row[m]


@njit(parallel=True, **JIT_OPTIONS)
def _project(points, basis, coefficients, volume, records, rows, columns, block, chunk, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, count = basis.shape[0], coefficients.shape[1]
    images[:] = 0
    mixed = np.empty((views, min(chunk, count)), np.float32)
    for first in range(0, count, chunk):
        last = min(first + chunk, count)
        # the coefficients, the largest array by far, are read once for all views
        for task in prange((last - first + block - 1) // block):
            start = first + task * block
            stop = min(start + block, last)
            for view in range(views):
                _mix(basis[view], coefficients, start, mixed[view, start - first : stop - first])
        for view in prange(views):
            corner, place = np.empty(block, np.int32), np.empty((3, block), np.float32)
            for start in range(first, last, block):
                part = mixed[view, start - first : min(start + block, last) - first]
                _splat_block(points, start, part, volume, records[view], rows, columns, corner, place, images[view])


@njit(parallel=True, **JIT_OPTIONS)
def _backproject(points, basis, images, volume, records, rows, columns, block, result):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    functions, count = result.shape
    for task in prange((count + block - 1) // block):
        start, stop = task * block, min((task + 1) * block, count)
        gathered = np.empty((basis.shape[0], stop - start), np.float32)
        corner, place = np.empty(block, np.int32), np.empty((3, block), np.float32)
        for view in range(basis.shape[0]):
            _gather_block(
                points, start, images[view], volume, records[view], rows, columns, corner, place, gathered[view]
            )
        for k in range(functions):
            _mix(basis[:, k], gathered, 0, result[k, start:stop])


@njit(parallel=True, **JIT_OPTIONS)
def _descend(points, basis, images, volume, records, rows, columns, block, state, majorizer, scale, momentum):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    (point, current), (curvature, penalty) = state, majorizer
    functions, count = point.shape
    for task in prange((count + block - 1) // block):
        start, stop = task * block, min((task + 1) * block, count)
        gathered, slope = np.empty((basis.shape[0], stop - start), np.float32), np.empty(stop - start, np.float32)
        corner, place = np.empty(block, np.int32), np.empty((3, block), np.float32)
        for view in range(basis.shape[0]):
            _gather_block(
                points, start, images[view], volume, records[view], rows, columns, corner, place, gathered[view]
            )
        for k in range(functions):
            _mix(basis[:, k], gathered, 0, slope)
            ahead, here = point[k, start:stop], current[k, start:stop]
            steepness, price = curvature[k, start:stop], penalty[k, start:stop]
            for m in range(stop - start):
                after = max(ahead[m] - (scale * slope[m] + price[m]) / steepness[m], np.float32(0))
                ahead[m] = after + momentum * (after - here[m])
                here[m] = after


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
        _splat(points, values, np.float32(volume_mm3), records, rows, columns, _BLOCK, images.reshape(views, -1))


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
        _project(points, basis, coefficients, np.float32(volume_mm3), records, rows, columns, _BLOCK, _CHUNK, flat)


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


def descend(
    points: NDArray[np.float32],
    basis: NDArray[np.float32],
    images: NDArray[np.float32],
    volume_mm3: float,
    records: NDArray[np.float32],
    state: tuple[NDArray[np.float32], NDArray[np.float32]],
    majorizer: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    gradient_scale: float,
    momentum: float,
) -> None:
    """Accelerated proximal step in place, with the gradient that :func:`backproject_curves` gives.

    The gradient is used block by block, and never written to memory as a whole.

    Parameters
    ----------
    points, basis, images, volume_mm3, records
        As in :func:`backproject_curves`; the images are the derivative of the data term by the line integrals.
    state
        Point and the result before it (K, N). The latter becomes ``max(point - (gradient_scale * gradient +
        penalty) / curvature, 0)``, the former moves on from there by ``momentum`` times the change.
    majorizer
        Curvature and penalty (K, N).
    """
    _check(points, np.broadcast_to(np.float32(0), (len(basis), state[0].shape[1])), records, images)
    views, rows, columns = images.shape
    place = (points, basis, images.reshape(views, -1), np.float32(volume_mm3), records, rows, columns, _BLOCK)
    with kernel_launch(1):
        _descend(*place, state, majorizer, np.float32(gradient_scale), np.float32(momentum))


def pixel_shares(
    points: NDArray[np.float32], volume_mm3: float, record: NDArray[np.float32], detector_shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Which pixels of one view see each voxel, and how much of it: what :func:`splat_voxels` adds up.

    Parameters
    ----------
    points, volume_mm3
        As in :func:`splat_voxels`.
    record
        Of the view (17,).
    detector_shape
        Rows and columns.

    Returns
    -------
    pixels : (N, 4)
        Flat index of the four pixels.
    shares : (N, 4)
        Line integral there of a voxel of attenuation 1/mm; 0 for voxels that miss the pixel array.
    """
    (rows, columns), count = detector_shape, points.shape[1]
    corner, place = np.empty(count, np.int32), np.empty((3, count), np.float32)
    _locate(points, 0, count, record, rows, columns, np.float32(volume_mm3), corner, place)
    right, down, mass = place
    low, high = mass * (1 - down), mass * down
    shares = np.stack([low * (1 - right), low * right, high * (1 - right), high * right], 1)
    return corner[:, None] + np.array([0, 1, columns, columns + 1], np.int32), shares


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
    if min(images.shape[1:]) < 2:
        raise ValueError(f"images need at least 2 x 2 pixels, found {images.shape[1]} x {images.shape[2]}")
    for name, array in {"points": points, "values": values, "records": records, "images": images}.items():
        if array.dtype != np.float32 or not (array.flags.c_contiguous or name == "values"):
            raise TypeError(f"{name} must be a contiguous float32 array")
