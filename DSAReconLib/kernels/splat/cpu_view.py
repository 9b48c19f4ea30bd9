"""Line integrals of Gaussians on one view as fast as a screen wants them (numba, float32 pixels).

The mathematics is that of ``cpu_footprint``. What differs: whitening matrices are computed
once per scene, eight pixels of a row are evaluated at a time, and adding up the threads'
private pictures applies the ray lengths and leaves the pictures empty for the next view.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numba
import numpy as np
from numba import float32, njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.splat.cpu_footprint import BOX_VARIANCE, OPTIONS, fast_exp
from DSAReconLib.kernels.threads import kernel_launch

FloatArray = NDArray[np.float32]

_LANES = 8
_BLOCK = 64  # Gaussians that a thread takes at a time: neighbors in the list are neighbors in the picture
_MAX_PARTS = 16
_ROOT_2PI = float32(math.sqrt(2.0 * math.pi))
_BOX = float32(BOX_VARIANCE)
_FAR = float32(100)
_ZERO, _HALF, _ONE, _TWO = float32(0), float32(0.5), float32(1), float32(2)


def private_width(columns: int) -> int:
    """Columns of a private picture: whole groups of lanes."""
    return columns + _LANES


def private_pictures(shape: tuple[int, int]) -> FloatArray:
    """Empty pictures (threads, R, C + margin) for :func:`splat_view`."""
    parts = min(numba.get_num_threads(), _MAX_PARTS)
    return np.zeros((parts, shape[0], private_width(shape[1])), np.float32)


def splat_view(
    kernels: FloatArray,
    amplitudes: FloatArray,
    view: NDArray[np.float64],
    cut: float,
    work: FloatArray,
    out: FloatArray,
) -> None:
    """Fill ``out`` (R, C) with line integrals averaged over the pixels' areas.

    Parameters
    ----------
    kernels
        (N, 12): rows of the whitening matrices, 1/mm, and centers, mm.
    amplitudes
        Central attenuation (N,), 1/mm.
    view
        Constants (25,), see ``kernels.splat.scene``.
    cut
        Squared radius of the footprints in standard deviations.
    work
        From :func:`private_pictures` for this shape.
    """
    with kernel_launch():
        _splat_view(kernels, amplitudes, view, float32(cut), work, out)


@njit(parallel=True, cache=True, **OPTIONS)
def _splat_view(kernels, amplitudes, view, cut, work, out):
    parts = work.shape[0]
    count = kernels.shape[0]
    for part in prange(parts):
        for block in range(part * _BLOCK, count, parts * _BLOCK):
            for i in range(block, min(count, block + _BLOCK)):
                if amplitudes[i] != 0:
                    _add_gaussian(work[part], out.shape, kernels, i, amplitudes[i], view, cut)
    for row in prange(out.shape[0]):
        _collect_row(work, row, view, out[row])


@njit(**OPTIONS)
def _add_gaussian(picture, shape, kernels, i, amplitude, view, cut):
    """Place one Gaussian: in float64, because the source can be very far away."""
    k = kernels[i]
    x, y, z = k[9] - view[0], k[10] - view[1], k[11] - view[2]
    depth = view[15] * x + view[16] * y + view[17] * z
    if depth <= 0:
        return
    inverse = 1.0 / depth
    u = float32((view[9] * x + view[10] * y + view[11] * z) * inverse)
    v = float32((view[12] * x + view[13] * y + view[14] * z) * inverse)
    a = _times(k, float32(view[3]), float32(view[4]), float32(view[5]))
    b = _times(k, float32(view[6]), float32(view[7]), float32(view[8]))
    c = _times(k, float32(x), float32(y), float32(z))
    _add_footprint(picture, shape, (u, v), float32(depth * view[18]), (a, b, c), amplitude, cut)


@njit(inline="always", **OPTIONS)
def _times(k, x, y, z):
    return k[0] * x + k[1] * y + k[2] * z, k[3] * x + k[4] * y + k[5] * z, k[6] * x + k[7] * y + k[8] * z


@njit(inline="always", **OPTIONS)
def _dot(x, y):
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]


@njit(**OPTIONS)
def _add_footprint(picture, shape, center, t, frame, amplitude, cut):
    """Conic and perspective terms of ``cpu_footprint`` from the whitened frame a, b, c, then the pixels."""
    a, b, c = frame
    cc = _dot(c, c)
    if cc <= cut:  # the source is inside the kernel: the integral over the whole line would mean nothing
        return
    inverse = _ONE / cc
    ac, bc = _dot(a, c) * inverse, _dot(b, c) * inverse
    across_a = (a[0] - ac * c[0], a[1] - ac * c[1], a[2] - ac * c[2])
    across_b = (b[0] - bc * c[0], b[1] - bc * c[1], b[2] - bc * c[2])
    square = t * t
    quu, quv, qvv = (
        square * _dot(across_a, across_a),
        square * _dot(across_a, across_b),
        square * _dot(across_b, across_b),
    )
    det = quu * qvv - quv * quv
    if not det > 0:
        return
    inverse_det = _ONE / det
    cuu, cuv, cvv = qvv * inverse_det + _BOX, -quv * inverse_det, quu * inverse_det + _BOX
    wide = _ONE / (cuu * cvv - cuv * cuv)
    peak = amplitude * _ROOT_2PI * t * math.sqrt(inverse * wide * inverse_det)
    square *= inverse
    perspective = (
        _TWO * t * ac,
        _TWO * t * bc,
        square * _dot(a, a),
        _TWO * square * _dot(a, b),
        square * _dot(b, b),
    )
    _add_ellipse(picture, shape, center, (cvv * wide, -cuv * wide, cuu * wide), (cuu, cvv), perspective, peak, cut)


@njit(**OPTIONS)
def _add_ellipse(picture, shape, center, conic, variances, perspective, peak, cut):
    """Add the footprint to the pixels of its ellipse, rows in steps of eight pixels."""
    u, v = center
    half_u, half_v = math.sqrt(cut * variances[0]), math.sqrt(cut * variances[1])
    if u + half_u < 0 or v + half_v < 0 or u - half_u > shape[1] - 1 or v - half_v > shape[0] - 1:
        return
    left, right = max(0, math.ceil(u - half_u)), min(shape[1] - 1, math.floor(u + half_u))
    for row in range(max(0, math.ceil(v - half_v)), min(shape[0] - 1, math.floor(v + half_v)) + 1):
        dv = float32(row) - v
        start, stop = left, right
        if right - left >= 2 * _LANES:
            start, stop = _row_span(conic, u, dv, cut, left, right)
        for begin in range(start, stop + 1, _LANES):
            _add_lanes(picture, row, begin, float32(begin) - u, dv, conic, perspective, peak, cut)


@njit(inline="always", **OPTIONS)
def _row_span(conic, u, dv, cut, left, right):
    """First and last column of the ellipse in a row; empty if last < first."""
    root = conic[1] * conic[1] * dv * dv - conic[0] * (conic[2] * dv * dv - cut)
    if root <= 0:
        return 0, -1
    inverse = _ONE / conic[0]
    middle, half = u - conic[1] * dv * inverse, math.sqrt(root) * inverse
    return max(left, math.ceil(middle - half)), min(right, math.floor(middle + half))


@njit(inline="always", **OPTIONS)
def _add_lanes(picture, row, begin, first_du, dv, conic, perspective, peak, cut):
    """Add to eight pixels what lies inside the ellipse.

    Unsigned indices: with signed ones the wrap-around of negative indices keeps the loop
    from being vectorized, and a slice costs more than the eight pixels.
    """
    line, first = np.uint64(row), np.uint64(begin)
    q0, q1 = conic[2] * dv * dv, _TWO * conic[1] * dv
    r0, r1 = _ONE + dv * (perspective[1] + perspective[4] * dv), perspective[0] + perspective[3] * dv
    for lane in range(_LANES):
        du = float32(lane) + first_du
        inverse = _ONE / (r0 + du * (r1 + perspective[2] * du))
        q = q0 + du * (q1 + conic[0] * du)
        exponent = min(q * inverse, _FAR)  # subnormal numbers are slow, even where they are not used
        value = peak * math.sqrt(inverse) * fast_exp(-_HALF * exponent)
        picture[line, first + np.uint64(lane)] += value if q <= cut else _ZERO


@njit(**OPTIONS)
def _collect_row(work, row, view, line):
    """Sum of the private rows times the distance from the source to the pixels; empties them."""
    r0 = float32(view[19] + row * (view[20] + row * view[21]))
    r1, r2 = float32(view[22] + row * view[23]), float32(view[24])
    for column in range(line.shape[0]):
        x = float32(column)
        line[column] = math.sqrt(r0 + x * (r1 + x * r2))
    total = work[0, row]
    for part in range(1, work.shape[0]):
        private = work[part, row]
        for column in range(line.shape[0]):
            total[column] += private[column]
        private[:] = 0
    for column in range(line.shape[0]):
        line[column] *= total[column]
    total[:] = 0
