"""Chain rule from pixel sums to the parameters of one Gaussian (numba scalars, float64)."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from numba import njit

from DSAReconLib.kernels.splat.cpu_footprint import OPTIONS, conic, dot3, whiten, widen

_ROOT_2PI = math.sqrt(2.0 * math.pi)


@njit(**OPTIONS)
def _conic_adjoint(conic_wide, conic_exact, grad, peak_grad):
    """Gradient of the exact conic from that of the widened one (``grad``: uu, uv counted once, vv).

    ``peak_grad`` is the gradient with respect to the logarithm of the peak, through which the
    mass-keeping factor sqrt(det wide / det exact) acts.
    """
    quu, quv, qvv = conic_wide
    det = quu * qvv - quv * quv
    guu = grad[0] + 0.5 * peak_grad * qvv / det
    guv = 0.5 * grad[1] - 0.5 * peak_grad * quv / det
    gvv = grad[2] + 0.5 * peak_grad * quu / det
    # covariance gradient = - Q G Q, the same for the exact covariance; back with - C (.) C
    wuu, wuv = quu * guu + quv * guv, quu * guv + quv * gvv
    wvu, wvv = quv * guu + qvv * guv, quv * guv + qvv * gvv
    suu, suv, svv = wuu * quu + wuv * quv, wuu * quv + wuv * qvv, wvu * quv + wvv * qvv
    quu, quv, qvv = conic_exact
    det = quu * qvv - quv * quv
    cuu, cuv, cvv = qvv / det, -quv / det, quu / det
    wuu, wuv = cuu * suu + cuv * suv, cuu * suv + cuv * svv
    wvu, wvv = cuv * suu + cvv * suv, cuv * suv + cvv * svv
    guu, guv, gvv = wuu * cuu + wuv * cuv, wuu * cuv + wuv * cvv, wvu * cuv + wvv * cvv
    return guu - 0.5 * peak_grad * cuu, 2 * (guv - 0.5 * peak_grad * cuv), gvv - 0.5 * peak_grad * cvv


@njit(**OPTIONS)
def quaternion_adjoint(quat, length, rot_grad, out):
    """Add to ``out`` (4,) the gradient of an unnormalized quaternion from that of its matrix (3, 3)."""
    w, x, y, z = quat[0] / length, quat[1] / length, quat[2] / length, quat[3] / length
    g = rot_grad
    gw = 2 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    gx = 2 * (y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) + w * (g[2, 1] - g[1, 2])) - 4 * x * (g[1, 1] + g[2, 2])
    gy = 2 * (x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) + w * (g[0, 2] - g[2, 0])) - 4 * y * (g[0, 0] + g[2, 2])
    gz = 2 * (x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) + w * (g[1, 0] - g[0, 1])) - 4 * z * (g[0, 0] + g[1, 1])
    along = gw * w + gx * x + gy * y + gz * z
    out[0] += (gw - along * w) / length
    out[1] += (gx - along * x) / length
    out[2] += (gy - along * y) / length
    out[3] += (gz - along * z) / length


@njit(**OPTIONS)
def _vectors_adjoint(frame, t, length, conic_grad, r_grad, peak_grad, grads):
    """Gradients ``grads`` (3, 3) of a, b, c and (returned) of t."""
    a, b, c = frame[3], frame[4], frame[5]
    inverse = 1.0 / length**2
    ac, bc = dot3(a, c) * inverse, dot3(b, c) * inverse
    guu, guv, gvv = conic_grad
    square = t * t
    for i in range(3):
        across_a, across_b = a[i] - ac * c[i], b[i] - bc * c[i]
        grads[0, i] = square * (2 * guu * across_a + guv * across_b) + 2 * t * inverse * (
            r_grad[0] * c[i] + t * (r_grad[2] * a[i] + r_grad[3] * b[i])
        )
        grads[1, i] = square * (2 * gvv * across_b + guv * across_a) + 2 * t * inverse * (
            r_grad[1] * c[i] + t * (r_grad[4] * b[i] + r_grad[3] * a[i])
        )
        grads[2, i] = -square * (across_a * (2 * guu * ac + guv * bc) + across_b * (2 * gvv * bc + guv * ac))
        grads[2, i] += 2 * t * inverse * (r_grad[0] * (a[i] - 2 * ac * c[i]) + r_grad[1] * (b[i] - 2 * bc * c[i]))
    quadratic = r_grad[2] * dot3(a, a) + 2 * r_grad[3] * dot3(a, b) + r_grad[4] * dot3(b, b)
    for i in range(3):
        grads[2, i] -= c[i] * inverse * (2 * square * inverse * quadratic + peak_grad)
    quu, quv, qvv = conic(frame, t, length)
    linear = 2 * (r_grad[0] * ac + r_grad[1] * bc)
    return (2 * (guu * quu + guv * quv + gvv * qvv) + peak_grad) / t + linear + 2 * t * inverse * quadratic


@njit(**OPTIONS)
def gaussian_adjoint(mean, scale, quat, rot, quat_length, view, variance, affine, record, sums, work, out):
    """Add gradients to ``out`` (10,) = mean, scale, quaternion.

    ``work`` (12, 3) is scratch space. ``sums`` are those of :func:`add_row_sums`. Returns the
    gradient of the amplitude, and the length of that of the projected center (per pixel).
    """
    frame, grads, rot_grad = work[:6], work[6:9], work[9:12]
    t, length, u0, v0, depth = whiten(mean, scale, rot, view, frame)
    peak = float(record[5])
    peak_grad = peak * sums[0]
    conic_grad = (-0.5 * peak * sums[3], -peak * sums[4], -0.5 * peak * sums[5])
    half, bend = 0.5 * peak, 0.0 if affine else 0.5 * peak
    r_grad = (bend * sums[7], bend * sums[8], bend * sums[9], bend * sums[10], bend * sums[11])
    quu, quv, qvv = record[2], record[3], record[4]
    u_grad = peak * (quu * sums[1] + quv * sums[2]) - half * (
        record[6] * sums[6] + 2 * record[8] * sums[7] + record[9] * sums[8]
    )
    v_grad = peak * (quv * sums[1] + qvv * sums[2]) - half * (
        record[7] * sums[6] + 2 * record[10] * sums[8] + record[9] * sums[7]
    )
    unit = _ROOT_2PI * t / length
    if variance > 0:
        exact = conic(frame, t, length)
        wuu, wuv, wvv, factor = widen(exact[0], exact[1], exact[2], variance)
        conic_grad = _conic_adjoint((wuu, wuv, wvv), exact, conic_grad, peak_grad)
        unit *= factor
    t_grad = _vectors_adjoint(frame, t, length, conic_grad, r_grad, peak_grad, grads)
    if affine:  # |D_c| = distance / t replaces the pixel's |D|
        distance = math.sqrt((mean[0] - view[0]) ** 2 + (mean[1] - view[1]) ** 2 + (mean[2] - view[2]) ** 2)
        unit *= distance / t
        t_grad -= peak_grad / t
        for j in range(3):
            out[j] += peak_grad * (mean[j] - view[j]) / (distance * distance)
    for j in range(3):
        out[j] += grads[2, 0] * frame[0, j] + grads[2, 1] * frame[1, j] + grads[2, 2] * frame[2, j]
        out[j] += t_grad * view[21] * view[17 + j]
        out[j] += (u_grad * (view[9 + j] - u0 * view[17 + j]) + v_grad * (view[13 + j] - v0 * view[17 + j])) / depth
    for i in range(3):
        along = 0.0
        for j in range(3):
            k_grad = grads[0, i] * view[3 + j] + grads[1, i] * view[6 + j] + grads[2, i] * (mean[j] - view[j])
            along += k_grad * frame[i, j]
            rot_grad[j, i] = k_grad / scale[i]
        out[3 + i] -= along / scale[i]
    quaternion_adjoint(quat, quat_length, rot_grad, out[6:])
    return sums[0] * unit, math.sqrt(u_grad * u_grad + v_grad * v_grad)
