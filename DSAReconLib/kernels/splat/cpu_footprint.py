"""Footprint of one Gaussian on one view, its adjoint, and sums over its pixels (numba scalars).

With the ray through pixel (u, v) written as D = D_c + du D_u + dv D_v (D_c: from the source
through the Gaussian's center to the detector, du = u - u_0) and whitened vectors a = K D_u,
b = K D_v, c = K (m - source), K = S^-1 R^T, t = depth / sdd, the cone-beam line integral of
rho exp(-1/2 |K (x - m)|^2) is exactly

    rho sqrt(2 pi) t / |c| * |D| * r^-1/2 * exp(-1/2 Q / r)

    Q(du, dv) = t^2 (|w|^2 - (w.c)^2 / |c|^2),   w = du a + dv b
    r(du, dv) = 1 + 2 t (w.c) / |c|^2 + t^2 |w|^2 / |c|^2

Q is the conic of the projected covariance (what affine splatting uses alone), r carries the
perspective inside the kernel. |D| depends on the pixel only and is applied to whole images.
The form has no differences of large numbers, so the pixel loops can run in float32.

The affine form of EWA splatting, R2-Gaussian and 4DRGS (eq. 4.5 there) is the same with
r = 1 and |D| = |D_c|: the perspective frozen at the kernel's center.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np
from numba import float32, int32, njit

OPTIONS = {
    "fastmath": {"reassoc", "contract", "arcp", "nsz", "afn", "nnan", "ninf"},
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
}
VIEW_SIZE = 22  # source (3), D_u (3), D_v (3), projection matrix (12), 1/sdd
RECORD_SIZE = 11  # u0, v0, Quu, Quv, Qvv, amplitude, r_u, r_v, r_uu, r_uv, r_vv
SUM_SIZE = 12  # see add_row_sums
BOX_VARIANCE = 1.0 / 12.0  # of a pixel-wide box, px^2
_ROOT_2PI = math.sqrt(2.0 * math.pi)
_ONE, _HALF = float32(1), float32(0.5)


@njit(inline="always", **OPTIONS)
def fast_exp(x):
    """exp(x) for x <= 0 in float32: power of 2 times the 6th-order series of 2^f, |f| <= 1/2 (rel. error 2e-7)."""
    scaled = max(x, float32(-87)) * float32(1.44269504)
    whole = np.floor(scaled + _HALF)  # math.floor gives an int64, which would make the rest float64
    f = scaled - whole
    poly = float32(0.00133335581) + f * float32(0.000154353)
    poly = float32(0.240226507) + f * (float32(0.0555041087) + f * (float32(0.00961812911) + f * poly))
    poly = _ONE + f * (float32(0.693147182) + f * poly)
    bits = (int32(whole) + int32(127)) << int32(23)
    return np.int32(bits).view(np.float32) * poly


@njit(**OPTIONS)
def rotation_rows(quat, rot):
    """Rotation matrix ``rot`` (3, 3) of a quaternion (w, x, y, z) of any length; returns its length."""
    length = math.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2)
    inverse = 1.0 / length
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    rot[0, 0], rot[0, 1], rot[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    rot[1, 0], rot[1, 1], rot[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    rot[2, 0], rot[2, 1], rot[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return length


@njit(**OPTIONS)
def whiten(mean, scale, rot, view, frame):
    """Fill ``frame`` (6, 3) = K rows, a, b, c; returns t, |c|, u0, v0, depth."""
    for i in range(3):
        inverse = 1.0 / scale[i]
        for j in range(3):
            frame[i, j] = rot[j, i] * inverse
    offset0, offset1, offset2 = mean[0] - view[0], mean[1] - view[1], mean[2] - view[2]
    for i in range(3):
        frame[3, i] = frame[i, 0] * view[3] + frame[i, 1] * view[4] + frame[i, 2] * view[5]
        frame[4, i] = frame[i, 0] * view[6] + frame[i, 1] * view[7] + frame[i, 2] * view[8]
        frame[5, i] = frame[i, 0] * offset0 + frame[i, 1] * offset1 + frame[i, 2] * offset2
    u = view[9] * mean[0] + view[10] * mean[1] + view[11] * mean[2] + view[12]
    v = view[13] * mean[0] + view[14] * mean[1] + view[15] * mean[2] + view[16]
    depth = view[17] * mean[0] + view[18] * mean[1] + view[19] * mean[2] + view[20]
    length = math.sqrt(frame[5, 0] ** 2 + frame[5, 1] ** 2 + frame[5, 2] ** 2)
    inverse = 1.0 / depth
    return depth * view[21], length, u * inverse, v * inverse, depth


@njit(inline="always", **OPTIONS)
def dot3(x, y):
    """Scalar product of two 3-vectors."""
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]


@njit(**OPTIONS)
def conic(frame, t, length):
    """Quu, Quv, Qvv of a whitened frame: t^2 times products of a and b across the ray."""
    inverse = 1.0 / (length * length)
    ac, bc = dot3(frame[3], frame[5]) * inverse, dot3(frame[4], frame[5]) * inverse
    quu = quv = qvv = 0.0
    for i in range(3):
        across_a, across_b = frame[3, i] - ac * frame[5, i], frame[4, i] - bc * frame[5, i]
        quu += across_a * across_a
        quv += across_a * across_b
        qvv += across_b * across_b
    return t * t * quu, t * t * quv, t * t * qvv


@njit(**OPTIONS)
def widen(quu, quv, qvv, variance):
    """Conic whose covariance is larger by ``variance`` (px^2) in u and v, and the factor that keeps the mass."""
    det = quu * qvv - quv * quv
    cuu, cuv, cvv = qvv / det + variance, -quv / det, quu / det + variance
    det_wide = 1.0 / (cuu * cvv - cuv * cuv)
    return cvv * det_wide, -cuv * det_wide, cuu * det_wide, math.sqrt(det_wide / det)


@njit(**OPTIONS)
def footprint(mean, scale, rot, amplitude, view, variance, frame, record):
    """Fill ``record`` (float32) for one Gaussian on one view; False if it lies behind the source."""
    t, length, u0, v0, depth = whiten(mean, scale, rot, view, frame)
    if depth <= 0:
        return False
    quu, quv, qvv = conic(frame, t, length)
    peak = amplitude * _ROOT_2PI * t / length
    if variance > 0:
        quu, quv, qvv, factor = widen(quu, quv, qvv, variance)
        peak *= factor
    inverse = t / (length * length)
    square = t * inverse
    record[0], record[1] = u0, v0
    record[2], record[3], record[4] = quu, quv, qvv
    record[5] = peak
    record[6] = 2 * inverse * dot3(frame[3], frame[5])
    record[7] = 2 * inverse * dot3(frame[4], frame[5])
    record[8] = square * dot3(frame[3], frame[3])
    record[9] = 2 * square * dot3(frame[3], frame[4])
    record[10] = square * dot3(frame[4], frame[4])
    return True


@njit(**OPTIONS)
def freeze_perspective(mean, view, record):
    """Turn the exact ``record`` into the affine one, whose images need no factor |D|."""
    depth = view[17] * mean[0] + view[18] * mean[1] + view[19] * mean[2] + view[20]
    distance = math.sqrt((mean[0] - view[0]) ** 2 + (mean[1] - view[1]) ** 2 + (mean[2] - view[2]) ** 2)
    record[5] *= distance / (depth * view[21])
    record[6:] = 0


@njit(inline="always", **OPTIONS)
def row_span(record, cut, rows, columns):
    """First and last row of the ellipse Q <= ``cut`` inside the image; empty if last < first."""
    det = record[2] * record[4] - record[3] * record[3]
    if not det > 0:
        return 0, -1
    half_rows, half_columns = math.sqrt(cut * record[2] / det), math.sqrt(cut * record[4] / det)
    if record[0] + half_columns < 0 or record[0] - half_columns > columns - 1:
        return 0, -1
    if record[1] + half_rows < 0 or record[1] - half_rows > rows - 1:
        return 0, -1
    return max(0, math.ceil(record[1] - half_rows)), min(rows - 1, math.floor(record[1] + half_rows))


@njit(inline="always", **OPTIONS)
def column_span(record, dv, cut, columns):
    """First and last column of the ellipse Q <= ``cut`` in the row at ``dv``; empty if last < first."""
    root = record[3] * record[3] * dv * dv - record[2] * (record[4] * dv * dv - cut)
    if root <= 0:
        return 0, -1
    middle, half = record[0] - record[3] * dv / record[2], math.sqrt(root) / record[2]
    return max(0, math.ceil(middle - half)), min(columns - 1, math.floor(middle + half))


@njit(**OPTIONS)
def add_row(row, record, start, dv):
    """Add the footprint to the pixels ``row`` that begin at column ``start``."""
    quu, two_quv, constant = record[2], float32(2) * record[3] * dv, record[4] * dv * dv
    ruu, ru, r0 = record[8], record[6] + record[9] * dv, _ONE + dv * (record[7] + record[10] * dv)
    left, peak = float32(start) - record[0], record[5]
    for k in range(row.shape[0]):
        du = float32(k) + left
        inverse = _ONE / (r0 + du * (ru + ruu * du))
        q = constant + du * (two_quv + quu * du)
        row[k] += peak * math.sqrt(inverse) * fast_exp(-_HALF * q * inverse)


@njit(**OPTIONS)
def add_row_sums(row, record, start, dv, sums):
    """Add one row to the twelve weighted pixel sums that the adjoint needs.

    With weight e = g r^-1/2 exp(-Q/2r) (g: gradient image): sums[0] = sum e; sums[1:6] =
    sum e/r {du, dv, du^2, du dv, dv^2}; sums[6:12] = sum e (Q/r - 1)/r {1, du, dv, du^2, du dv, dv^2}.
    """
    quu, two_quv, constant = record[2], float32(2) * record[3] * dv, record[4] * dv * dv
    ruu, ru, r0 = record[8], record[6] + record[9] * dv, _ONE + dv * (record[7] + record[10] * dv)
    left = float32(start) - record[0]
    total = e0 = e1 = e2 = h0 = h1 = h2 = float32(0)
    for k in range(row.shape[0]):
        du = float32(k) + left
        inverse = _ONE / (r0 + du * (ru + ruu * du))
        q = (constant + du * (two_quv + quu * du)) * inverse
        weight = row[k] * math.sqrt(inverse) * fast_exp(-_HALF * q)
        total += weight
        weight *= inverse
        e0 += weight
        e1 += weight * du
        e2 += weight * du * du
        weight *= q - _ONE
        h0 += weight
        h1 += weight * du
        h2 += weight * du * du
    sums[0] += total
    sums[1] += e1
    sums[2] += e0 * dv
    sums[3] += e2
    sums[4] += e1 * dv
    sums[5] += e0 * dv * dv
    sums[6] += h0
    sums[7] += h1
    sums[8] += h0 * dv
    sums[9] += h2
    sums[10] += h1 * dv
    sums[11] += h0 * dv * dv
