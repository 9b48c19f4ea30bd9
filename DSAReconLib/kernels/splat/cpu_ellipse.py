"""The pixels of one footprint: add it to an image, or sum an image over it (numba, lanes of float32).

A row of the ellipse Q <= cut lies inside the parallelogram whose width is that of the widest
row and whose middle follows the ellipse: this needs no square root per row, and rows of most
vessel-sized footprints fit into one group of lanes. Pixels outside of the ellipse are
computed and dropped. Images are flat, their rows ``lanes.MARGIN`` longer than they show.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from numba import float32, njit

from DSAReconLib.kernels import lanes
from DSAReconLib.kernels.lanes import LANES, MARGIN, OPTIONS

SUM_SIZE = 12  # see sum_ellipse
LOG2_E = math.log2(math.e)
LOWEST_EXPONENT = float32(-100)  # subnormal numbers are slow, even where they are not used
_HALF_LOG2_E = float32(0.5 * LOG2_E)
_TO_Q = float32(2.0 / LOG2_E)
_ZERO, _ONE, _TWO = float32(0), float32(1), float32(2)


@njit(**OPTIONS)
def box(center, conic, cut, rows, columns):
    """First and last row, first and last column of the ellipse Q <= ``cut`` in the image; empty if last < first."""
    det = conic[0] * conic[2] - conic[1] * conic[1]
    if not det > 0:
        return 0, -1, 0, -1
    inverse = cut / det
    half_u, half_v = math.sqrt(inverse * conic[2]), math.sqrt(inverse * conic[0])
    u, v = center
    if u + half_u < 0 or u - half_u > columns - 1 or v + half_v < 0 or v - half_v > rows - 1:
        return 0, -1, 0, -1
    return (
        max(0, math.ceil(v - half_v)),
        min(rows - 1, math.floor(v + half_v)),
        max(0, math.ceil(u - half_u)),
        min(columns - 1, math.floor(u + half_u)),
    )


@njit(inline="always", **OPTIONS)
def row_shape(conic, cut):
    """Half width of the widest row, and the shift of the middle per row."""
    inverse = _ONE / conic[0]
    return math.sqrt(cut * inverse), conic[1] * inverse


@njit(**OPTIONS)
def add_ellipse(image, rows, columns, center, conic, bend, peak, cut):
    """Add a footprint to a flat image (rows * (columns + MARGIN),); see ``cpu_footprint.footprint``."""
    first, last, left, right = box(center, conic, cut, rows, columns)
    half, shear = row_shape(conic, cut)
    wide = right - left >= 2 * LANES
    quu, quv, qvv = -_HALF_LOG2_E * conic[0], -_TWO * _HALF_LOG2_E * conic[1], -_HALF_LOG2_E * conic[2]
    least = -_HALF_LOG2_E * cut
    for row in range(first, last + 1):
        dv = float32(row) - center[1]
        start, stop = left, right
        if wide:
            middle = center[0] - shear * dv
            start, stop = max(left, math.ceil(middle - half)), min(right, math.floor(middle + half))
        q0, q1 = qvv * dv * dv, quv * dv
        r0, r1 = _ONE + dv * (bend[1] + bend[4] * dv), bend[0] + bend[3] * dv
        for place in range(start, stop + 1, LANES):
            du = lanes.counting(float32(place) - center[0])
            q = q0 + du * (q1 + quu * du)
            inverse = _ONE / (r0 + du * (r1 + bend[2] * du))
            value = peak * lanes.sqrt(inverse) * lanes.exp2(lanes.larger(q * inverse, LOWEST_EXPONENT))
            at = row * (columns + MARGIN) + place
            lanes.store(image, at, lanes.load(image, at) + lanes.where_le(least, q, value, _ZERO))


@njit(**OPTIONS)
def sum_ellipse(image, rows, columns, center, conic, bend, cut):
    """Whether a footprint shows in a flat image, and the sums that its adjoint needs.

    With weight e = g r^-1/2 exp(-Q/2r) (g: the image, a gradient) these are sum e; sum e/r
    {du, dv, du^2, du dv, dv^2}; sum e (Q/r - 1)/r {1, du, dv, du^2, du dv, dv^2}.
    """
    first, last, left, right = box(center, conic, cut, rows, columns)
    half, shear = row_shape(conic, cut)
    wide = right - left >= 2 * LANES
    quu, quv, qvv = -_HALF_LOG2_E * conic[0], -_TWO * _HALF_LOG2_E * conic[1], -_HALF_LOG2_E * conic[2]
    least, zero = -_HALF_LOG2_E * cut, lanes.spread(_ZERO)
    all_e, h0 = zero, zero
    e_u, e_v, e_uu, e_uv, e_vv = zero, zero, zero, zero, zero
    h_u, h_v, h_uu, h_uv, h_vv = zero, zero, zero, zero, zero
    for row in range(first, last + 1):
        dv = float32(row) - center[1]
        start, stop = left, right
        if wide:
            middle = center[0] - shear * dv
            start, stop = max(left, math.ceil(middle - half)), min(right, math.floor(middle + half))
        q0, q1 = qvv * dv * dv, quv * dv
        r0, r1 = _ONE + dv * (bend[1] + bend[4] * dv), bend[0] + bend[3] * dv
        for place in range(start, stop + 1, LANES):
            du = lanes.counting(float32(place) - center[0])
            q = q0 + du * (q1 + quu * du)
            slope = lanes.where_le(least, q, lanes.load(image, row * (columns + MARGIN) + place), _ZERO)
            inverse = _ONE / (r0 + du * (r1 + bend[2] * du))
            q = lanes.larger(q * inverse, LOWEST_EXPONENT)
            e = slope * lanes.sqrt(inverse) * lanes.exp2(q)
            all_e += e
            e = e * inverse
            along_u, along_v = e * du, e * dv
            e_u, e_v, e_uu = e_u + along_u, e_v + along_v, e_uu + along_u * du
            e_uv, e_vv = e_uv + along_u * dv, e_vv + along_v * dv
            h = -e * (_TO_Q * q + _ONE)
            along_u, along_v = h * du, h * dv
            h0, h_u, h_v, h_uu = h0 + h, h_u + along_u, h_v + along_v, h_uu + along_u * du
            h_uv, h_vv = h_uv + along_u * dv, h_vv + along_v * dv
    of_e = _totals(all_e, e_u, e_v, e_uu, e_uv, e_vv)
    return last >= first, of_e + _totals(h0, h_u, h_v, h_uu, h_uv, h_vv)


@njit(inline="always", **OPTIONS)
def _totals(x0, x1, x2, x3, x4, x5):
    return (
        lanes.total(x0), lanes.total(x1), lanes.total(x2), lanes.total(x3), lanes.total(x4), lanes.total(x5),
    )  # fmt: skip
