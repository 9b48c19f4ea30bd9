"""Chain rule from pixel sums to the parameters of one Gaussian (numba scalars and tuples, float64)."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from numba import njit

from DSAReconLib.kernels.lanes import OPTIONS
from DSAReconLib.kernels.splat.cpu_footprint import conic_of, dot3, moved3, widen

_ROOT_2PI = math.sqrt(2.0 * math.pi)
NOTHING = (0.0, 0.0, 0.0)
"""Sums of vectors begin here."""


@njit(**OPTIONS)
def _conic_adjoint(wide, exact, grad, peak_grad):
    """Gradient of the exact conic from that of the widened one (``grad``: uu, uv counted once, vv).

    ``peak_grad`` is the gradient with respect to the logarithm of the peak, through which the
    mass-keeping factor sqrt(det wide / det exact) acts.
    """
    quu, quv, qvv = wide
    inverse = 0.5 * peak_grad / (quu * qvv - quv * quv)
    guu, guv, gvv = grad[0] + inverse * qvv, 0.5 * grad[1] - inverse * quv, grad[2] + inverse * quu
    # covariance gradient = - Q G Q, the same for the exact covariance; back with - C (.) C
    wuu, wuv = quu * guu + quv * guv, quu * guv + quv * gvv
    wvu, wvv = quv * guu + qvv * guv, quv * guv + qvv * gvv
    suu, suv, svv = wuu * quu + wuv * quv, wuu * quv + wuv * qvv, wvu * quv + wvv * qvv
    quu, quv, qvv = exact
    inverse = 1.0 / (quu * qvv - quv * quv)
    cuu, cuv, cvv = qvv * inverse, -quv * inverse, quu * inverse
    wuu, wuv = cuu * suu + cuv * suv, cuu * suv + cuv * svv
    wvu, wvv = cuv * suu + cvv * suv, cuv * suv + cvv * svv
    guu, guv, gvv = wuu * cuu + wuv * cuv, wuu * cuv + wuv * cvv, wvu * cuv + wvv * cvv
    return guu - 0.5 * peak_grad * cuu, 2 * (guv - 0.5 * peak_grad * cuv), gvv - 0.5 * peak_grad * cvv


@njit(**OPTIONS)
def quaternion_adjoint(quat, length, g, out):
    """Add to ``out`` (4,) the gradient of an unnormalized quaternion from that of its matrix.

    ``g`` holds the columns of the matrix' gradient.
    """
    inverse = 1.0 / length
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    d0, d1, d2 = g[1][2] - g[2][1], g[2][0] - g[0][2], g[0][1] - g[1][0]  # matrix [2, 1] - [1, 2] ...
    s0, s1, s2 = g[1][2] + g[2][1], g[2][0] + g[0][2], g[0][1] + g[1][0]
    gw = 2 * (x * d0 + y * d1 + z * d2)
    gx = 2 * (y * s2 + z * s1 + w * d0) - 4 * x * (g[1][1] + g[2][2])
    gy = 2 * (x * s2 + z * s0 + w * d1) - 4 * y * (g[0][0] + g[2][2])
    gz = 2 * (x * s1 + y * s0 + w * d2) - 4 * z * (g[0][0] + g[1][1])
    along = gw * w + gx * x + gy * y + gz * z
    out[0] += (gw - along * w) * inverse
    out[1] += (gx - along * x) * inverse
    out[2] += (gy - along * y) * inverse
    out[3] += (gz - along * z) * inverse


@njit(**OPTIONS)
def _vectors_adjoint(a, b, c, t, conic_grad, bend_grad, peak_grad):
    """Gradients of a, b, c (3-vectors) and of t."""
    inverse = 1.0 / dot3(c, c)
    ac, bc = dot3(a, c) * inverse, dot3(b, c) * inverse
    guu, guv, gvv = conic_grad
    square, linear = t * t, 2 * t * inverse
    across_a, across_b = moved3(a, -ac, c), moved3(b, -bc, c)
    a_grad = moved3(moved3(NOTHING, 2 * square * guu, across_a), square * guv, across_b)
    a_grad = moved3(moved3(a_grad, linear * bend_grad[0], c), linear * t * bend_grad[2], a)
    a_grad = moved3(a_grad, linear * t * bend_grad[3], b)
    b_grad = moved3(moved3(NOTHING, 2 * square * gvv, across_b), square * guv, across_a)
    b_grad = moved3(moved3(b_grad, linear * bend_grad[1], c), linear * t * bend_grad[4], b)
    b_grad = moved3(b_grad, linear * t * bend_grad[3], a)
    c_grad = moved3(NOTHING, -square * (2 * guu * ac + guv * bc), across_a)
    c_grad = moved3(c_grad, -square * (2 * gvv * bc + guv * ac), across_b)
    c_grad = moved3(moved3(c_grad, linear * bend_grad[0], a), linear * bend_grad[1], b)
    quadratic = bend_grad[2] * dot3(a, a) + 2 * bend_grad[3] * dot3(a, b) + bend_grad[4] * dot3(b, b)
    tilt = 2 * (bend_grad[0] * ac + bend_grad[1] * bc)
    c_grad = moved3(c_grad, -inverse * (2 * square * inverse * quadratic + peak_grad) - linear * tilt, c)
    quu, quv, qvv = conic_of(a, b, c, t)
    t_grad = (2 * (guu * quu + guv * quv + gvv * qvv) + peak_grad) / t + tilt + linear * quadratic
    return a_grad, b_grad, c_grad, t_grad


@njit(**OPTIONS)
def _center_adjoint(peak, conic, bend, sums):
    """Gradient of u and v."""
    quu, quv, qvv = conic
    e_u, e_v, h0, h_u, h_v = sums[1], sums[2], sums[6], sums[7], sums[8]
    along_u = quu * e_u + quv * e_v - 0.5 * (bend[0] * h0 + 2 * bend[2] * h_u + bend[3] * h_v)
    along_v = quv * e_u + qvv * e_v - 0.5 * (bend[1] * h0 + 2 * bend[4] * h_v + bend[3] * h_u)
    return peak * along_u, peak * along_v


@njit(**OPTIONS)
def _shape_adjoint(scale, quat, length, rows, row_grads, out):
    """Add to ``out`` (10,) the gradients of scale and quaternion from those of the rows of K."""
    s0, s1, s2 = 1.0 / scale[0], 1.0 / scale[1], 1.0 / scale[2]
    g0, g1, g2 = row_grads
    out[3] -= dot3(g0, rows[0]) * s0
    out[4] -= dot3(g1, rows[1]) * s1
    out[5] -= dot3(g2, rows[2]) * s2
    columns = (moved3(NOTHING, s0, g0), moved3(NOTHING, s1, g1), moved3(NOTHING, s2, g2))
    quaternion_adjoint(quat, length, columns, out[6:])


@njit(**OPTIONS)
def gaussian_adjoint(whitened, scale, quat, length, amplitude, view, variance, affine, pixels, sums, out):
    """Add gradients to ``out`` (10,) = mean, scale, quaternion (of that ``length``).

    ``whitened`` is from :func:`~.cpu_footprint.whiten`, ``pixels`` are conic and bend of
    :func:`~.cpu_footprint.footprint`, ``sums`` those of :func:`~.cpu_ellipse.sum_ellipse`.
    Returns the gradient of the amplitude, and the length of that of the projected center
    (per pixel).
    """
    rows, a, b, c, offset, point = whitened
    u, v, depth = point
    t, distance = depth * view[21], math.sqrt(dot3(offset, offset))
    unit = _ROOT_2PI * t / math.sqrt(dot3(c, c))
    if affine:  # |D_c| = distance / t replaces the pixel's |D|
        unit *= distance / t
    exact = conic_of(a, b, c, t)
    if variance > 0:
        wide, factor = widen(exact, variance)
        unit *= factor
    peak = amplitude * unit
    peak_grad, half = peak * sums[0], 0.0 if affine else 0.5 * peak
    conic_grad = (-0.5 * peak * sums[3], -peak * sums[4], -0.5 * peak * sums[5])
    if variance > 0:
        conic_grad = _conic_adjoint(wide, exact, conic_grad, peak_grad)
    bend_grad = (half * sums[7], half * sums[8], half * sums[9], half * sums[10], half * sums[11])
    a_grad, b_grad, c_grad, t_grad = _vectors_adjoint(a, b, c, t, conic_grad, bend_grad, peak_grad)
    u_grad, v_grad = _center_adjoint(peak, pixels[0], pixels[1], sums)
    mean_grad, inverse = NOTHING, 1.0 / depth
    if affine:
        t_grad -= peak_grad / t
        mean_grad = moved3(mean_grad, peak_grad / (distance * distance), offset)
    mean_grad = moved3(mean_grad, c_grad[0], rows[0])
    mean_grad = moved3(moved3(mean_grad, c_grad[1], rows[1]), c_grad[2], rows[2])
    mean_grad = moved3(mean_grad, t_grad * view[21] - (u_grad * u + v_grad * v) * inverse, view[17:20])
    mean_grad = moved3(moved3(mean_grad, u_grad * inverse, view[9:12]), v_grad * inverse, view[13:16])
    out[0] += mean_grad[0]
    out[1] += mean_grad[1]
    out[2] += mean_grad[2]
    step_u, step_v = view[3:6], view[6:9]
    row_grads = (
        moved3(moved3(moved3(NOTHING, a_grad[0], step_u), b_grad[0], step_v), c_grad[0], offset),
        moved3(moved3(moved3(NOTHING, a_grad[1], step_u), b_grad[1], step_v), c_grad[1], offset),
        moved3(moved3(moved3(NOTHING, a_grad[2], step_u), b_grad[2], step_v), c_grad[2], offset),
    )
    _shape_adjoint(scale, quat, length, rows, row_grads, out)
    return sums[0] * unit, math.sqrt(u_grad * u_grad + v_grad * v_grad)
