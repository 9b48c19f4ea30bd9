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
from DSAReconLib.kernels.lanes import LANES, MARGIN, OPTIONS
from DSAReconLib.kernels.threads import kernel_launch

CUT = 2.8
"""Footprints end at this many standard deviations (2 % of the peak)."""
MAX_HALF_WIDTH_PX = 40
_ROOT_TWO_PI = np.float32(math.sqrt(2 * math.pi))
_COVERAGE = np.float32(math.erf(CUT / math.sqrt(2)) ** 3)


@njit(inline="always")
def _footprint(record, x, y, z, sigma, aperture):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(u, v, 1/depth, variance u, v without and with aperture, peak factor)."""
    inverse_depth = np.float32(1) / (record[8] * x + record[9] * y + record[10] * z + record[11])
    u = (record[0] * x + record[1] * y + record[2] * z + record[3]) * inverse_depth
    v = (record[4] * x + record[5] * y + record[6] * z + record[7]) * inverse_depth
    tangent_u = (u - record[12]) * record[14]
    tangent_v = (v - record[13]) * record[15]
    scaled_u = sigma * inverse_depth / record[14]
    scaled_v = sigma * inverse_depth / record[15]
    pure_u = scaled_u * scaled_u * (np.float32(1) + tangent_u * tangent_u)
    pure_v = scaled_v * scaled_v * (np.float32(1) + tangent_v * tangent_v)
    seen_u, seen_v = pure_u + aperture, pure_v + aperture
    peak = sigma * _ROOT_TWO_PI * math.sqrt(pure_u * pure_v / (seen_u * seen_v))
    return u, v, inverse_depth, pure_u, pure_v, seen_u, seen_v, peak


@njit(inline="always")
def _span(center, variance, size):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """First and last pixel of the footprint along one axis, within the array."""
    half = min(np.float32(2.8) * math.sqrt(variance), np.float32(40))
    if not (center > -half - 1 and center < size + half):
        return np.int32(0), np.int32(-1)
    return max(np.int32(math.ceil(center - half)), np.int32(0)), min(
        np.int32(math.floor(center + half)), np.int32(size - 1)
    )


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
def _render(means, sigmas, amplitudes, records, aperture, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, rows, columns = images.shape
    for view in prange(views):
        record = records[view]
        image = np.zeros(rows * columns + MARGIN, np.float32)
        across, down = np.empty(2 * 40 + 2 + MARGIN, np.float32), np.empty(2 * 40 + 2 + MARGIN, np.float32)
        for n in range(means.shape[0]):
            amplitude = amplitudes[view, n]
            if amplitude <= 0:
                continue
            u, v, _, _, _, seen_u, seen_v, peak = _footprint(
                record, means[n, 0], means[n, 1], means[n, 2], sigmas[n], aperture
            )
            first_u, last_u = _span(u, seen_u, columns)
            first_v, last_v = _span(v, seen_v, rows)
            _profile(u, seen_u, first_u, last_u, across)
            _profile(v, seen_v, first_v, last_v, down)
            for i in range(first_v, last_v + 1):
                along = amplitude * peak * down[i - first_v]
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


@njit(parallel=True, cache=True, **OPTIONS)
def _gradients(means, sigmas, amplitudes, records, aperture, images, rows, columns, shape_out, amplitude_out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    block = 512
    for task in prange((means.shape[0] + block - 1) // block):
        across, down = np.empty(2 * 40 + 2 + MARGIN, np.float32), np.empty(2 * 40 + 2 + MARGIN, np.float32)
        start, stop = task * block, min((task + 1) * block, means.shape[0])
        shape_out[start:stop] = 0
        for view in range(records.shape[0]):
            image, record = images[view], records[view]
            for n in range(start, stop):
                u, v, inverse_depth, pure_u, pure_v, seen_u, seen_v, peak = _footprint(
                    record, means[n, 0], means[n, 1], means[n, 2], sigmas[n], aperture
                )
                first_u, last_u = _span(u, seen_u, columns)
                first_v, last_v = _span(v, seen_v, rows)
                _profile(u, seen_u, first_u, last_u, across)
                _profile(v, seen_v, first_v, last_v, down)
                total, moment_u, moment_v, moment_uu, moment_vv = _moments(
                    image, columns, u, v, (first_u, last_u, first_v, last_v), across, down
                )
                over_u, over_v = np.float32(1) / seen_u, np.float32(1) / seen_v
                amplitude_out[view, n] = peak * total
                scale = amplitudes[view, n] * peak
                if scale <= 0:
                    continue
                by_u, by_v = scale * moment_u * over_u, scale * moment_v * over_v
                share_u, share_v = pure_u * over_u, pure_v * over_v
                spread = (moment_uu * over_u - total) * share_u + (moment_vv * over_v - total) * share_v
                spread = scale * (spread + total + total)
                for axis in range(3):
                    shape_out[n, axis] += inverse_depth * (
                        by_u * (record[axis] - u * record[8 + axis])
                        + by_v * (record[4 + axis] - v * record[8 + axis])
                        - spread * record[8 + axis]
                    )
                shape_out[n, 3] += spread + scale * total


@njit(parallel=True, fastmath=True, cache=True)
def _voxelize(means, sigmas, coefficients, order, slices, origin, spacing, index, members, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = index.shape
    for k in prange(depth):
        z = origin[2] + k * spacing
        for position in range(slices[k, 0], slices[k, 1]):
            n = order[position]
            variance = sigmas[n] * sigmas[n] + spacing * spacing / np.float32(12)
            ratio = sigmas[n] * sigmas[n] / variance
            reach = np.float32(2.8) * math.sqrt(variance)
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
        _render(means, sigmas, amplitudes, records, np.float32(aperture_px2), images)


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
    aperture = np.float32(aperture_px2)
    with kernel_launch(1):
        _gradients(means, sigmas, amplitudes, records, aperture, images, rows, columns, shapes, by_amplitude)
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
