"""Footprint of one Gaussian on one view (numba scalars and tuples, which stay in registers).

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

from DSAReconLib.kernels.lanes import OPTIONS

VIEW_SIZE = 22  # source (3), D_u (3), D_v (3), projection matrix (12), 1/sdd
BOX_VARIANCE = 1.0 / 12.0  # of a pixel-wide box, px^2
_ROOT_2PI = math.sqrt(2.0 * math.pi)
_ONE, _HALF, _ZERO = float32(1), float32(0.5), float32(0)


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


@njit(inline="always", **OPTIONS)
def dot3(x, y):
    """Scalar product of two 3-vectors."""
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]


@njit(inline="always", **OPTIONS)
def moved3(x, share, y):
    """``x`` + ``share`` ``y`` of two 3-vectors."""
    return x[0] + share * y[0], x[1] + share * y[1], x[2] + share * y[2]


@njit(**OPTIONS)
def rotation(quat):
    """Length of a quaternion (w, x, y, z), and the rows of its rotation matrix."""
    length = math.sqrt(float(quat[0]) ** 2 + float(quat[1]) ** 2 + float(quat[2]) ** 2 + float(quat[3]) ** 2)
    inverse = 1.0 / length
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    row0 = (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y))
    row1 = (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x))
    row2 = (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return length, (row0, row1, row2)


@njit(inline="always", **OPTIONS)
def column(rot, k):
    """Column ``k`` of a matrix given as rows: an axis of the Gaussian."""
    return rot[0][k], rot[1][k], rot[2][k]


@njit(**OPTIONS)
def whitening(scale, rot):
    """Rows of K = S^-1 R^T."""
    s0, s1, s2 = 1.0 / scale[0], 1.0 / scale[1], 1.0 / scale[2]
    return (
        (rot[0][0] * s0, rot[1][0] * s0, rot[2][0] * s0),
        (rot[0][1] * s1, rot[1][1] * s1, rot[2][1] * s1),
        (rot[0][2] * s2, rot[1][2] * s2, rot[2][2] * s2),
    )


@njit(inline="always", **OPTIONS)
def times3(rows, x):
    """Matrix (given as rows) times a 3-vector."""
    return dot3(rows[0], x), dot3(rows[1], x), dot3(rows[2], x)


@njit(**OPTIONS)
def image_point(mean, view):
    """u, v and depth of a point."""
    u = view[9] * mean[0] + view[10] * mean[1] + view[11] * mean[2] + view[12]
    v = view[13] * mean[0] + view[14] * mean[1] + view[15] * mean[2] + view[16]
    depth = view[17] * mean[0] + view[18] * mean[1] + view[19] * mean[2] + view[20]
    inverse = 1.0 / depth
    return u * inverse, v * inverse, depth


@njit(**OPTIONS)
def whiten(mean, scale, rot, view):
    """Rows of K, the vectors a, b, c, the vector from the source to the center; u, v and depth of the center."""
    offset = (mean[0] - view[0], mean[1] - view[1], mean[2] - view[2])
    rows = whitening(scale, rot)
    a, b = times3(rows, (view[3], view[4], view[5])), times3(rows, (view[6], view[7], view[8]))
    return rows, a, b, times3(rows, offset), offset, image_point(mean, view)


@njit(**OPTIONS)
def conic_of(a, b, c, t):
    """Quu, Quv, Qvv: t^2 times products of a and b across the ray."""
    inverse = 1.0 / dot3(c, c)
    across_a, across_b = moved3(a, -dot3(a, c) * inverse, c), moved3(b, -dot3(b, c) * inverse, c)
    square = t * t
    return square * dot3(across_a, across_a), square * dot3(across_a, across_b), square * dot3(across_b, across_b)


@njit(**OPTIONS)
def widen(conic, variance):
    """Conic whose covariance is larger by ``variance`` (px^2) in u and v, and the factor that keeps the mass."""
    quu, quv, qvv = conic
    inverse = 1.0 / (quu * qvv - quv * quv)
    cuu, cuv, cvv = qvv * inverse + variance, -quv * inverse, quu * inverse + variance
    det_wide = 1.0 / (cuu * cvv - cuv * cuv)
    return (cvv * det_wide, -cuv * det_wide, cuu * det_wide), math.sqrt(det_wide * inverse)


@njit(**OPTIONS)
def footprint(whitened, amplitude, view, variance, affine):
    """What the pixels of one Gaussian on one view depend on; ``whitened`` is from :func:`whiten`.

    Returns
    -------
    depth : float
        Not positive behind the source; the rest then means nothing.
    center, conic, bend : tuple of float32
        u, v; Quu, Quv, Qvv; and the factors of du, dv, du^2, du dv, dv^2 in r (0 if ``affine``).
    peak : float32
        Line integral at the center, without |D| unless ``affine``.
    """
    _, a, b, c, offset, point = whitened
    u, v, depth = point
    t, inverse = depth * view[21], 1.0 / dot3(c, c)
    conic = conic_of(a, b, c, t)
    peak = amplitude * _ROOT_2PI * t * math.sqrt(inverse)
    if variance > 0:
        conic, factor = widen(conic, variance)
        peak *= factor
    bend = (_ZERO, _ZERO, _ZERO, _ZERO, _ZERO)
    if affine:
        peak *= math.sqrt(dot3(offset, offset)) / t
    else:
        linear, square = 2 * t * inverse, t * t * inverse
        bend = (
            float32(linear * dot3(a, c)),
            float32(linear * dot3(b, c)),
            float32(square * dot3(a, a)),
            float32(2 * square * dot3(a, b)),
            float32(square * dot3(b, b)),
        )
    pixel_conic = (float32(conic[0]), float32(conic[1]), float32(conic[2]))
    return depth, (float32(u), float32(v)), pixel_conic, bend, float32(peak)
