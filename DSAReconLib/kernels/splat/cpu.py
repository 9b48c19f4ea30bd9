"""X-ray splatting and voxelizing of Gaussians on the CPU (numba, float32 pixels)."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numba
import numpy as np
from numba import float32, njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.lanes import MARGIN, OPTIONS
from DSAReconLib.kernels.splat.cpu_adjoint import gaussian_adjoint
from DSAReconLib.kernels.splat.cpu_ellipse import add_ellipse, sum_ellipse
from DSAReconLib.kernels.splat.cpu_footprint import (
    BOX_VARIANCE,
    column,
    dot3,
    fast_exp,
    footprint,
    rotation,
    whiten,
    whitening,
)
from DSAReconLib.kernels.threads import kernel_launch

FloatArray = NDArray[np.float32]

_CHUNK = 256  # Gaussians per task of the adjoint: their sums stay in the core's cache
_BLOCK = 64  # Gaussians that a thread takes at a time: neighbors in the list are neighbors in the picture


def splat_forward(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    amplitudes: FloatArray,
    views: NDArray[np.float64],
    ray_lengths: FloatArray,
    *,
    cutoff_sigma: float,
    pixel_box: bool,
    affine: bool = False,
    out: FloatArray | None = None,
) -> FloatArray:
    """Images (V, R, C) of Gaussians; see :func:`DSAReconLib.kernels.splat.splat_xray`.

    Parameters
    ----------
    views
        Packed view constants (V, 22), see ``cpu_footprint``.
    ray_lengths
        |D| per pixel (V, R, C), float32: source to pixel, mm. The affine form uses its shape only.
    out
        Array (V, R, C) to fill.
    """
    count, (rows, columns) = len(views), ray_lengths.shape[1:]
    threads = numba.get_num_threads()
    # Enough views: one per thread; few views: private images per thread, then a sum.
    parts = 1 if count >= 2 * threads else threads
    private = np.zeros((count, parts, rows * (columns + MARGIN)), np.float32)
    images = np.empty((count, rows, columns), np.float32) if out is None else out
    cut = float32(cutoff_sigma**2)
    with kernel_launch():
        _splat(means, scales, quats, amplitudes, views, _variance(pixel_box), affine, cut, images.shape, private)
        _collect(private, ray_lengths, affine, images)
    return images


def splat_adjoint(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    amplitudes: FloatArray,
    views: NDArray[np.float64],
    ray_lengths: FloatArray,
    gradients: FloatArray,
    *,
    cutoff_sigma: float,
    pixel_box: bool,
    affine: bool = False,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gradients from image gradients, and how much each center is pulled.

    Returns
    -------
    shape : (N, 10)
        Of mean, scale and quaternion.
    amplitude : (V, N)
    pull : (V, N)
        Length of the gradient of the projected center, per pixel; -1 where no pixel sees the Gaussian.
    """
    shape_grads = np.zeros((len(means), 10))
    amplitude_grads = np.zeros(amplitudes.shape, np.float32)
    pulls = np.full(amplitudes.shape, -1, np.float32)
    cut = float32(cutoff_sigma**2)
    count, rows, columns = gradients.shape
    weighted = np.zeros((count, rows, columns + MARGIN), np.float32)
    np.multiply(gradients, 1 if affine else ray_lengths, out=weighted[:, :, :columns], casting="same_kind")
    images, variance = weighted.reshape(count, -1), _variance(pixel_box)
    outputs = (shape_grads, amplitude_grads, pulls)
    with kernel_launch(chunk_size=1):
        _gather(
            means, scales, quats, amplitudes, views, variance, affine, cut, gradients.shape, images, *outputs
        )  # fmt: skip
    return shape_grads.astype(np.float32), amplitude_grads, pulls


def voxelize(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    amplitudes: FloatArray,
    origin: NDArray[np.float64],
    spacing: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    cutoff_sigma: float,
) -> FloatArray:
    """Sum of Gaussians at voxel centers (K, Z, Y, X) for amplitudes (K, N)."""
    volume = np.zeros((len(amplitudes), *shape), np.float32)
    slabs = min(shape[0], 8 * numba.get_num_threads())
    with kernel_launch(chunk_size=1):
        _voxelize(means, scales, quats, amplitudes, origin, spacing, float32(cutoff_sigma**2), slabs, volume)
    return volume


def voxelize_supported(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    coefficients: FloatArray,
    origin: NDArray[np.float64],
    spacing: NDArray[np.float64],
    index: NDArray[np.int32],
    *,
    cutoff_sigma: float,
) -> FloatArray:
    """Sum of Gaussians with coefficients (N, K) at the centers of listed voxels: (M, K).

    ``index`` (Z, Y, X) holds the position of a voxel in the result, -1 for those not wanted.
    """
    values = np.zeros((int(index.max(initial=-1)) + 1, coefficients.shape[1]), np.float32)
    slabs = min(index.shape[0], 8 * numba.get_num_threads())
    cut = float32(cutoff_sigma**2)
    with kernel_launch(chunk_size=1):
        _voxelize_supported(means, scales, quats, coefficients, origin, spacing, cut, slabs, index, values)
    return values


def _variance(pixel_box: bool) -> float:
    return BOX_VARIANCE if pixel_box else 0.0


@njit(parallel=True, cache=True, **OPTIONS)
def _splat(means, scales, quats, amplitudes, views, variance, affine, cut, shape, private):
    count, parts = private.shape[:2]
    n = means.shape[0]
    for task in prange(count * parts):
        view, part = task // parts, task % parts
        constants, image = views[view], private[view, part]
        for block in range(part * _BLOCK, n, parts * _BLOCK):
            for i in range(block, min(n, block + _BLOCK)):
                amplitude = amplitudes[view, i]
                if amplitude == 0:
                    continue
                _, rot = rotation(quats[i])
                whitened = whiten(means[i], scales[i], rot, constants)
                depth, center, conic, bend, peak = footprint(whitened, amplitude, constants, variance, affine)
                if depth > 0:
                    add_ellipse(image, shape[1], shape[2], center, conic, bend, peak, cut)


@njit(parallel=True, cache=True, **OPTIONS)
def _collect(private, ray_lengths, affine, images):
    """Sum of the private images, times the distance from the source to the pixels (1 if ``affine``)."""
    count, rows, columns = images.shape
    for task in prange(count * rows):
        view, row = task // rows, task % rows
        start = row * (columns + MARGIN)
        line = images[view, row]
        line[:] = private[view, 0, start : start + columns]
        for part in range(1, private.shape[1]):
            line += private[view, part, start : start + columns]
        if not affine:
            line *= ray_lengths[view, row]


@njit(parallel=True, cache=True, **OPTIONS)
def _gather(
    means, scales, quats, amplitudes, views, variance, affine, cut, shape, images, shape_grads, amplitude_grads, pulls
):
    n = means.shape[0]
    for chunk in prange((n + _CHUNK - 1) // _CHUNK):
        for view in range(shape[0]):
            constants, image = views[view], images[view]
            for i in range(chunk * _CHUNK, min(n, (chunk + 1) * _CHUNK)):
                length, rot = rotation(quats[i])
                # A unit amplitude keeps the amplitude's own gradient where the amplitude is zero.
                whitened = whiten(means[i], scales[i], rot, constants)
                depth, center, conic, bend, _ = footprint(whitened, 1.0, constants, variance, affine)
                if not depth > 0:
                    continue
                seen, sums = sum_ellipse(image, shape[1], shape[2], center, conic, bend, cut)
                if seen:
                    amplitude_grads[view, i], pulls[view, i] = gaussian_adjoint(
                        whitened, scales[i], quats[i], length, amplitudes[view, i], constants, variance, affine,
                        (conic, bend), sums, shape_grads[i],
                    )  # fmt: skip


@njit(**OPTIONS)
def _precision(scale, rot):
    """Upper triangle xx, xy, xz, yy, yz, zz of the inverse covariance."""
    rows = whitening(scale, rot)
    x, y, z = column(rows, 0), column(rows, 1), column(rows, 2)
    return dot3(x, x), dot3(x, y), dot3(x, z), dot3(y, y), dot3(y, z), dot3(z, z)


@njit(**OPTIONS)
def _box(center, half, step, count):
    """First and last voxel index within ``half`` (mm) of ``center`` (mm from the first voxel)."""
    return max(0, math.ceil((center - half) / step)), min(count - 1, math.floor((center + half) / step))


@njit(**OPTIONS)
def _add_voxel_row(volume, amplitudes, i, precision, cut, plane, y, z, center_x, spacing_x, span):
    """Add Gaussian ``i`` to the voxels of one row; y, z are offsets (mm) from its center."""
    constant = precision[3] * y * y + 2 * precision[4] * y * z + precision[5] * z * z
    linear = 2 * (precision[1] * y + precision[2] * z)
    for x_index in range(span[0], span[1] + 1):
        x = x_index * spacing_x - center_x
        q = float32(constant + x * (linear + precision[0] * x))
        if q <= cut:
            weight = fast_exp(float32(-0.5) * q)
            for k in range(volume.shape[0]):
                volume[k, plane[0], plane[1], x_index] += amplitudes[k, i] * weight


@njit(**OPTIONS)
def _extent(row, scale, root):
    """Half an edge of the box around a Gaussian's ellipsoid, mm, along the axis of a row of its rotation."""
    return root * math.sqrt((row[0] * scale[0]) ** 2 + (row[1] * scale[1]) ** 2 + (row[2] * scale[2]) ** 2)


@njit(parallel=True, cache=True, **OPTIONS)
def _voxelize(means, scales, quats, amplitudes, origin, spacing, cut, slabs, volume):
    nz, ny, nx = volume.shape[1:]
    root = math.sqrt(cut)
    for slab in prange(slabs):
        low, high = nz * slab // slabs, nz * (slab + 1) // slabs - 1
        for i in range(means.shape[0]):
            _, rot = rotation(quats[i])
            x0, y0, z0 = means[i, 0] - origin[0], means[i, 1] - origin[1], means[i, 2] - origin[2]
            z_first, z_last = _box(z0, _extent(rot[2], scales[i], root), spacing[2], nz)
            z_first, z_last = max(z_first, low), min(z_last, high)
            if z_last < z_first:
                continue
            precision = _precision(scales[i], rot)
            y_first, y_last = _box(y0, _extent(rot[1], scales[i], root), spacing[1], ny)
            span = _box(x0, _extent(rot[0], scales[i], root), spacing[0], nx)
            for z in range(z_first, z_last + 1):
                for y in range(y_first, y_last + 1):
                    _add_voxel_row(
                        volume, amplitudes, i, precision, cut, (z, y),
                        y * spacing[1] - y0, z * spacing[2] - z0, x0, spacing[0], span,
                    )  # fmt: skip


@njit(**OPTIONS)
def _add_listed_row(values, coefficients, i, precision, cut, members, y, z, center_x, spacing_x, span):
    """As :func:`_add_voxel_row` for the voxels of one row that ``members`` (nx,) lists."""
    constant = precision[3] * y * y + 2 * precision[4] * y * z + precision[5] * z * z
    linear = 2 * (precision[1] * y + precision[2] * z)
    for x_index in range(span[0], span[1] + 1):
        member = members[x_index]
        if member < 0:
            continue
        x = x_index * spacing_x - center_x
        q = float32(constant + x * (linear + precision[0] * x))
        if q <= cut:
            weight = fast_exp(float32(-0.5) * q)
            for k in range(values.shape[1]):
                values[member, k] += coefficients[i, k] * weight


@njit(parallel=True, cache=True, **OPTIONS)
def _voxelize_supported(means, scales, quats, coefficients, origin, spacing, cut, slabs, index, values):
    nz, ny, nx = index.shape
    root = math.sqrt(cut)
    for slab in prange(slabs):
        low, high = nz * slab // slabs, nz * (slab + 1) // slabs - 1
        for i in range(means.shape[0]):
            _, rot = rotation(quats[i])
            x0, y0, z0 = means[i, 0] - origin[0], means[i, 1] - origin[1], means[i, 2] - origin[2]
            z_first, z_last = _box(z0, _extent(rot[2], scales[i], root), spacing[2], nz)
            z_first, z_last = max(z_first, low), min(z_last, high)
            if z_last < z_first:
                continue
            precision = _precision(scales[i], rot)
            y_first, y_last = _box(y0, _extent(rot[1], scales[i], root), spacing[1], ny)
            span = _box(x0, _extent(rot[0], scales[i], root), spacing[0], nx)
            for z in range(z_first, z_last + 1):
                for y in range(y_first, y_last + 1):
                    _add_listed_row(
                        values, coefficients, i, precision, cut, index[z, y],
                        y * spacing[1] - y0, z * spacing[2] - z0, x0, spacing[0], span,
                    )  # fmt: skip
