"""Line integrals of isotropic Gaussians, their gradients, and Gaussians on voxels.

A Gaussian of amplitude a (1/mm) and standard deviation sigma (mm) whose center projects
to (u, v) at depth w has, blurred by the pixel aperture, the line integrals

    a sigma sqrt(2 pi) sqrt(p_u p_v / (s_u s_v)) exp(-(du^2 / s_u + dv^2 / s_v) / 2),
    p_u = (sigma f_u / w)^2 (1 + tan^2 theta_u),  s_u = p_u + aperture,

the separable form of the local affine approximation of perspective (Zwicker et al. 2001,
EWA splatting); the term du dv is left out: below 0.5 % of the width within a C-arm's fan.
Footprints end at 2.8 standard deviations and at the edge of the pixel array.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels import lanes
from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.lanes import LANES, MARGIN, OPTIONS
from DSAReconLib.kernels.threads import kernel_launch

CUT = 2.8
"""Footprints end at this many standard deviations (2 % of the peak)."""
MAX_HALF_WIDTH_PX = 40
_ROOT_TWO_PI = np.float32(math.sqrt(2 * math.pi))
_WIDEST = 2 * MAX_HALF_WIDTH_PX + 2 + MARGIN
_BLOCK = 256
"""Gaussians whose footprints are computed before the first is drawn: in vector registers."""


@njit(cache=True, **OPTIONS)
def _locate(points, sigmas, start, stop, record, rows, columns, aperture, found, spans):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Footprints of the Gaussians start ... stop - 1.

    Writes u, v, 1/depth, variance u, v without and with aperture, peak factor (8, n), and the first and last
    column and row within the array (4, n); the last lies before the first if there is none.
    """
    x, y, z, width = points[0, start:stop], points[1, start:stop], points[2, start:stop], sigmas[start:stop]
    focal_u, focal_v = np.float32(1) / record[14], np.float32(1) / record[15]
    last_column, last_row = np.float32(columns - 1), np.float32(rows - 1)
    for m in range(stop - start):
        inverse_depth = np.float32(1) / (record[8] * x[m] + record[9] * y[m] + record[10] * z[m] + record[11])
        u = (record[0] * x[m] + record[1] * y[m] + record[2] * z[m] + record[3]) * inverse_depth
        v = (record[4] * x[m] + record[5] * y[m] + record[6] * z[m] + record[7]) * inverse_depth
        tangent_u, tangent_v = (u - record[12]) * record[14], (v - record[13]) * record[15]
        scaled_u, scaled_v = width[m] * inverse_depth * focal_u, width[m] * inverse_depth * focal_v
        pure_u = scaled_u * scaled_u * (np.float32(1) + tangent_u * tangent_u)
        pure_v = scaled_v * scaled_v * (np.float32(1) + tangent_v * tangent_v)
        seen_u, seen_v = pure_u + aperture, pure_v + aperture
        found[0, m], found[1, m], found[2, m] = u, v, inverse_depth
        found[3, m], found[4, m], found[5, m], found[6, m] = pure_u, pure_v, seen_u, seen_v
        found[7, m] = width[m] * _ROOT_TWO_PI * math.sqrt(pure_u * pure_v / (seen_u * seen_v))
        half_u = min(np.float32(CUT) * math.sqrt(seen_u), np.float32(MAX_HALF_WIDTH_PX))
        half_v = min(np.float32(CUT) * math.sqrt(seen_v), np.float32(MAX_HALF_WIDTH_PX))
        # bounded before they become integers: Gaussians may lie far beyond the array
        spans[0, m] = np.int32(min(max(np.ceil(u - half_u), np.float32(0)), last_column + np.float32(1)))
        spans[1, m] = np.int32(min(max(np.floor(u + half_u), np.float32(-1)), last_column))
        spans[2, m] = np.int32(min(max(np.ceil(v - half_v), np.float32(0)), last_row + np.float32(1)))
        spans[3, m] = np.int32(min(max(np.floor(v + half_v), np.float32(-1)), last_row))


@njit(inline="always")
def _profile(center, variance, first, last, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Samples of a Gaussian of height 1 at the pixels first ... last, zeros up to the next full group of lanes."""
    rate = np.float32(-0.5 * 1.4426950408889634) / variance
    for place in range(first, last + 1, LANES):
        pixel = lanes.counting(np.float32(place))
        offset = pixel - center
        sample = lanes.exp2(rate * offset * offset)
        lanes.store(values, place - first, lanes.where_le(pixel, np.float32(last), sample, np.float32(0)))


@njit(parallel=True, cache=True, **OPTIONS)
def _render(points, sigmas, amplitudes, records, aperture, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, rows, columns = images.shape
    for view in prange(views):
        image = np.zeros(rows * columns + MARGIN, np.float32)
        across, down = np.empty(_WIDEST, np.float32), np.empty(_WIDEST, np.float32)
        found, spans = np.empty((8, _BLOCK), np.float32), np.empty((4, _BLOCK), np.int32)
        for start in range(0, points.shape[1], _BLOCK):
            stop = min(start + _BLOCK, points.shape[1])
            _locate(points, sigmas, start, stop, records[view], rows, columns, aperture, found, spans)
            for m in range(stop - start):
                height = amplitudes[view, start + m] * found[7, m]
                if not height > 0:
                    continue
                first_u, last_u, first_v, last_v = spans[0, m], spans[1, m], spans[2, m], spans[3, m]
                _profile(found[0, m], found[5, m], first_u, last_u, across)
                _profile(found[1, m], found[6, m], first_v, last_v, down)
                for i in range(first_v, last_v + 1):
                    along = height * down[i - first_v]
                    for j in range(first_u, last_u + 1, LANES):
                        at = i * columns + j
                        lanes.store(image, at, lanes.load(image, at) + along * lanes.load(across, j - first_u))
        images[view] = image[: rows * columns].reshape(rows, columns)


@njit(inline="always")
def _moments(image, columns, u, v, spans, across, down):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Sums of image * footprint * (1, du, dv, du^2, dv^2)."""
    first_u, last_u, first_v, last_v = spans
    zero = lanes.spread(np.float32(0))
    total = moment_u = moment_v = moment_uu = moment_vv = zero
    for j in range(first_u, last_u + 1, LANES):
        column = column_v = column_vv = zero
        for i in range(first_v, last_v + 1):
            dv = np.float32(i) - v
            value = down[i - first_v] * lanes.load(image, i * columns + j)
            column += value
            column_v += dv * value
            column_vv += dv * dv * value
        weight, du = lanes.load(across, j - first_u), lanes.counting(np.float32(j)) - u
        column = column * weight
        total += column
        moment_u += du * column
        moment_uu += du * du * column
        moment_v += weight * column_v
        moment_vv += weight * column_vv
    return (
        lanes.total(total),
        lanes.total(moment_u),
        lanes.total(moment_v),
        lanes.total(moment_uu),
        lanes.total(moment_vv),
    )


@njit(cache=True, **OPTIONS)
def _chain(record, found, moments, amplitudes, by_shape, by_amplitude):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """From sums over footprints (5, n) to gradients by amplitude (n,) and, added to others, by shape (4, n)."""
    for m in range(amplitudes.shape[0]):
        u, v, inverse_depth, peak = found[0, m], found[1, m], found[2, m], found[7, m]
        over_u, over_v, total = np.float32(1) / found[5, m], np.float32(1) / found[6, m], moments[0, m]
        by_amplitude[m] = peak * total
        scale = max(amplitudes[m], np.float32(0)) * peak
        by_u, by_v = scale * moments[1, m] * over_u * inverse_depth, scale * moments[2, m] * over_v * inverse_depth
        spread = (moments[3, m] * over_u - total) * found[3, m] * over_u
        spread += (moments[4, m] * over_v - total) * found[4, m] * over_v
        spread = scale * (spread + total + total)
        by_depth = -u * by_u - v * by_v - spread * inverse_depth
        by_shape[0, m] += by_u * record[0] + by_v * record[4] + by_depth * record[8]
        by_shape[1, m] += by_u * record[1] + by_v * record[5] + by_depth * record[9]
        by_shape[2, m] += by_u * record[2] + by_v * record[6] + by_depth * record[10]
        by_shape[3, m] += spread + scale * total


@njit(parallel=True, cache=True, **OPTIONS)
def _gradients(points, sigmas, amplitudes, records, aperture, images, rows, columns, shape_out, amplitude_out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    count = points.shape[1]
    for task in prange((count + _BLOCK - 1) // _BLOCK):
        start, stop = task * _BLOCK, min((task + 1) * _BLOCK, count)
        across, down = np.empty(_WIDEST, np.float32), np.empty(_WIDEST, np.float32)
        found, spans = np.empty((8, _BLOCK), np.float32), np.empty((4, _BLOCK), np.int32)
        moments, by_shape = np.empty((5, _BLOCK), np.float32), np.zeros((4, _BLOCK), np.float32)
        for view in range(records.shape[0]):
            _locate(points, sigmas, start, stop, records[view], rows, columns, aperture, found, spans)
            for m in range(stop - start):
                inside = (spans[0, m], spans[1, m], spans[2, m], spans[3, m])
                _profile(found[0, m], found[5, m], inside[0], inside[1], across)
                _profile(found[1, m], found[6, m], inside[2], inside[3], down)
                sums = _moments(images[view], columns, found[0, m], found[1, m], inside, across, down)
                moments[0, m], moments[1, m], moments[2, m], moments[3, m], moments[4, m] = sums
            heights = amplitudes[view, start:stop]
            _chain(records[view], found, moments, heights, by_shape, amplitude_out[view, start:stop])
        shape_out[start:stop] = by_shape[:, : stop - start].T


@njit(parallel=True, **JIT_OPTIONS)
def _voxelize(means, sigmas, coefficients, order, slices, origin, spacing, index, members, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = index.shape
    for k in prange(depth):
        z = origin[2] + k * spacing
        for position in range(slices[k, 0], slices[k, 1]):
            n = order[position]
            variance = sigmas[n] * sigmas[n] + spacing * spacing / np.float32(12)
            ratio = sigmas[n] * sigmas[n] / variance
            reach = np.float32(CUT) * math.sqrt(variance)
            dz = z - means[n, 2]
            if abs(dz) > reach:
                continue
            factor = ratio * math.sqrt(ratio) * math.exp(np.float32(-0.5) * dz * dz / variance)
            j0 = max(0, math.ceil((means[n, 1] - reach - origin[1]) / spacing))
            j1 = min(height - 1, math.floor((means[n, 1] + reach - origin[1]) / spacing))
            i0 = max(0, math.ceil((means[n, 0] - reach - origin[0]) / spacing))
            i1 = min(width - 1, math.floor((means[n, 0] + reach - origin[0]) / spacing))
            for j in range(j0, j1 + 1):
                dy = origin[1] + j * spacing - means[n, 1]
                for i in range(i0, i1 + 1):
                    member = index[k, j, i]
                    if member < 0:
                        continue
                    dx = origin[0] + i * spacing - means[n, 0]
                    weight = factor * math.exp(np.float32(-0.5) * (dx * dx + dy * dy) / variance)
                    for q in range(coefficients.shape[1]):
                        values[member, q] += weight * coefficients[n, q]


def render_gaussians(
    means: NDArray[np.float32],
    sigmas: NDArray[np.float32],
    amplitudes: NDArray[np.float32],
    records: NDArray[np.float32],
    images: NDArray[np.float32],
    aperture_px2: float,
) -> None:
    """Line integrals of isotropic Gaussians, written to ``images``.

    Parameters
    ----------
    means, sigmas
        Centers (N, 3) and standard deviations (N,), mm.
    amplitudes
        Central attenuation per view (V, N), 1/mm; values <= 0 draw nothing.
    records
        View records (V, 17).
    images
        Output (V, R, C).
    aperture_px2
        Variance that the pixel aperture adds, pixels^2 (1/12 for a full square pixel).
    """
    with kernel_launch(1):
        _render(np.ascontiguousarray(means.T), sigmas, amplitudes, records, np.float32(aperture_px2), images)


def gaussian_gradients(
    means: NDArray[np.float32],
    sigmas: NDArray[np.float32],
    amplitudes: NDArray[np.float32],
    records: NDArray[np.float32],
    image_gradients: NDArray[np.float32],
    aperture_px2: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gradients of a loss whose derivative by the images (V, R, C) is ``image_gradients``.

    Returns
    -------
    shapes : (N, 4)
        By the center (x, y, z; per mm) and by log(sigma).
    amplitudes : (V, N)
        By the central attenuation; also where the amplitude itself is 0.
    """
    views, rows, columns = image_gradients.shape
    count = means.shape[0]
    images = np.zeros((views, rows * columns + MARGIN), np.float32)
    images[:, : rows * columns] = image_gradients.reshape(views, -1)
    shapes, by_amplitude = np.empty((count, 4), np.float32), np.empty((views, count), np.float32)
    points, aperture = np.ascontiguousarray(means.T), np.float32(aperture_px2)
    with kernel_launch(1):
        _gradients(points, sigmas, amplitudes, records, aperture, images, rows, columns, shapes, by_amplitude)
    return shapes, by_amplitude


def voxelize_gaussians(
    means: NDArray[np.float32],
    sigmas: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    origin_mm: tuple[float, float, float],
    spacing_mm: float,
    index: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Mean over each voxel of a sum of Gaussians.

    Parameters
    ----------
    means, sigmas, coefficients
        Centers (N, 3) mm, standard deviations (N,) mm, coefficients (N, K) 1/mm.
    origin_mm, spacing_mm
        Center of voxel (0, 0, 0) as (x, y, z) and edge of the cubic voxels.
    index
        (Z, Y, X): position of a voxel in the result, -1 for voxels that are not wanted.

    Returns
    -------
    (M, K), float32
        Coefficients of the M wanted voxels, 1/mm.
    """
    order = np.argsort(means[:, 2], kind="stable").astype(np.int32)
    reach = CUT * float(np.sqrt(sigmas.max(initial=0.0) ** 2 + spacing_mm**2 / 12))
    heights = origin_mm[2] + spacing_mm * np.arange(index.shape[0])
    sorted_z = means[order, 2]
    slices = np.stack([np.searchsorted(sorted_z, heights - reach), np.searchsorted(sorted_z, heights + reach)], 1)
    values = np.zeros((int(index.max(initial=-1)) + 1, coefficients.shape[1]), np.float32)
    members = len(values)
    with kernel_launch(1):
        _voxelize(
            means,
            sigmas,
            coefficients,
            order,
            slices.astype(np.int64),
            np.asarray(origin_mm, np.float32),
            np.float32(spacing_mm),
            index,
            members,
            values,
        )
    return values
