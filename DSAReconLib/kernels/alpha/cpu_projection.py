"""Affine (EWA) footprint of one Gaussian on one view, and its adjoint (numba scalars, float64).

With the projection matrix P (third row: depth), image point (u, v) and its value (u', v')
clamped to the field of view widened by 15 % on every side,

    a = (P_0 - u' P_2) / depth,   b = (P_1 - v' P_2) / depth,   M = R S
    covariance = [[|M'a|^2, a'MM'b], [., |M'b|^2]] + low pass I      (Zwicker et al. 2001; 3DGS)

which equals J W Sigma W' J' of 3DGS and gsplat for a pinhole camera, and serves any
projection matrix (tilted or shifted detectors) unchanged.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from numba import njit

from DSAReconLib.kernels.splat.cpu_adjoint import quaternion_adjoint
from DSAReconLib.kernels.splat.cpu_footprint import OPTIONS, dot3

VIEW_SIZE = 18  # projection matrix (12), clamps of u (2) and v (2), nearest depth, low pass (px^2)
RECORD_SIZE = 7  # u, v, conic uu, uv, vv, depth, half extent in v (set when tiles are assigned)
FRAME_SIZE = 5  # a, b, and M' = rows s_k R[:, k]


@njit(**OPTIONS)
def image_point(mean, view):
    """u, v, depth of a point."""
    h0 = view[0] * mean[0] + view[1] * mean[1] + view[2] * mean[2] + view[3]
    h1 = view[4] * mean[0] + view[5] * mean[1] + view[6] * mean[2] + view[7]
    depth = view[8] * mean[0] + view[9] * mean[1] + view[10] * mean[2] + view[11]
    return h0 / depth, h1 / depth, depth


@njit(**OPTIONS)
def fill_frame(scale, rot, view, u, v, depth, frame):
    """Fill ``frame`` (5, 3) = a, b, M' and return the covariance uu, uv, vv with the low pass."""
    near_u, near_v = min(max(u, view[12]), view[13]), min(max(v, view[14]), view[15])
    inverse = 1.0 / depth
    for j in range(3):
        frame[0, j] = (view[j] - near_u * view[8 + j]) * inverse
        frame[1, j] = (view[4 + j] - near_v * view[8 + j]) * inverse
        for k in range(3):
            frame[2 + k, j] = scale[k] * rot[j, k]
    suu = suv = svv = 0.0
    for k in range(3):
        along_u, along_v = dot3(frame[2 + k], frame[0]), dot3(frame[2 + k], frame[1])
        suu += along_u * along_u
        suv += along_u * along_v
        svv += along_v * along_v
    return suu + view[17], suv, svv + view[17]


@njit(**OPTIONS)
def footprint(mean, scale, rot, view, frame, record):
    """Fill ``record`` (float32) for one Gaussian on one view; False if it lies too near or behind the source."""
    u, v, depth = image_point(mean, view)
    if not depth > view[16]:
        return False
    suu, suv, svv = fill_frame(scale, rot, view, u, v, depth, frame)
    inverse = 1.0 / (suu * svv - suv * suv)
    record[0], record[1] = u, v
    record[2], record[3], record[4] = svv * inverse, -suv * inverse, suu * inverse
    record[5] = depth
    return True


@njit(**OPTIONS)
def covariance_adjoint(suu, suv, svv, grad):
    """Gradient of covariance uu, uv, vv from that of the conic (``grad[2:5]``; uv counted once in both)."""
    inverse = 1.0 / (suu * svv - suv * suv)
    quu, quv, qvv = svv * inverse, -suv * inverse, suu * inverse
    guu, guv, gvv = grad[2], 0.5 * grad[3], grad[4]
    wuu, wuv = quu * guu + quv * guv, quu * guv + quv * gvv
    wvu, wvv = quv * guu + qvv * guv, quv * guv + qvv * gvv
    return -(wuu * quu + wuv * quv), -2.0 * (wuu * quv + wuv * qvv), -(wvu * quv + wvv * qvv)


@njit(**OPTIONS)
def footprint_adjoint(mean, scale, quat, length, rot, view, grad, frame, work, out):
    """Add to ``out`` (10,) = mean, scale, quaternion the gradient from ``grad`` (5,) = u, v, conic uu, uv, vv.

    ``frame`` (5, 3) and ``work`` (3, 3) are scratch space; ``length`` is that of the quaternion.
    """
    u, v, depth = image_point(mean, view)
    suu, suv, svv = fill_frame(scale, rot, view, u, v, depth, frame)
    guu, guv, gvv = covariance_adjoint(suu, suv, svv, grad)
    inverse = 1.0 / depth
    a_sums = b_sums = depth_grad = 0.0  # a_sums, b_sums: gradients of a and b along P_2
    for k in range(3):
        along_u, along_v = dot3(frame[2 + k], frame[0]), dot3(frame[2 + k], frame[1])
        grad_u, grad_v = 2 * guu * along_u + guv * along_v, guv * along_u + 2 * gvv * along_v
        along_depth = dot3(frame[2 + k], view[8:11])
        a_sums += grad_u * along_depth
        b_sums += grad_v * along_depth
        depth_grad -= (grad_u * along_u + grad_v * along_v) * inverse
        along = 0.0
        for j in range(3):
            m_grad = grad_u * frame[0, j] + grad_v * frame[1, j]
            along += m_grad * rot[j, k]
            work[j, k] = m_grad * scale[k]
        out[3 + k] += along
    u_grad, v_grad = grad[0], grad[1]
    if view[12] <= u <= view[13]:
        u_grad -= a_sums * inverse
    if view[14] <= v <= view[15]:
        v_grad -= b_sums * inverse
    for j in range(3):
        out[j] += u_grad * (view[j] - u * view[8 + j]) * inverse
        out[j] += v_grad * (view[4 + j] - v * view[8 + j]) * inverse
        out[j] += depth_grad * view[8 + j]
    quaternion_adjoint(quat, length, work, out[6:])


@njit(**OPTIONS)
def reach(record, cut):
    """Half extents in u and v (px) of the ellipse on which the conic equals ``cut``."""
    inverse = cut / (record[2] * record[4] - record[3] * record[3])
    return math.sqrt(inverse * record[4]), math.sqrt(inverse * record[2])
