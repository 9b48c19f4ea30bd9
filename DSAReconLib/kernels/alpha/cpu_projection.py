"""Affine (EWA) footprint of one Gaussian on one view, and its adjoint (numba scalars and tuples, float64).

With the projection matrix P (third row: depth), image point (u, v) and its value (u', v')
clamped to the field of view widened by 15 % on every side,

    a = (P_0 - u' P_2) / depth,   b = (P_1 - v' P_2) / depth,   M = R S
    covariance = [[|M'a|^2, a'MM'b], [., |M'b|^2]] + low pass I      (Zwicker et al. 2001; 3DGS)

which equals J W Sigma W' J' of 3DGS and gsplat for a pinhole camera, and serves any
projection matrix (tilted or shifted detectors) unchanged.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from numba import njit

from DSAReconLib.kernels.lanes import OPTIONS
from DSAReconLib.kernels.splat.cpu_adjoint import NOTHING, quaternion_adjoint
from DSAReconLib.kernels.splat.cpu_footprint import dot3, moved3

VIEW_SIZE = 18  # projection matrix (12), clamps of u (2) and v (2), nearest depth, low pass (px^2)


@njit(**OPTIONS)
def image_point(mean, view):
    """u, v, depth of a point."""
    h0 = view[0] * mean[0] + view[1] * mean[1] + view[2] * mean[2] + view[3]
    h1 = view[4] * mean[0] + view[5] * mean[1] + view[6] * mean[2] + view[7]
    depth = view[8] * mean[0] + view[9] * mean[1] + view[10] * mean[2] + view[11]
    inverse = 1.0 / depth
    return h0 * inverse, h1 * inverse, depth


@njit(inline="always", **OPTIONS)
def _across(rot, x):
    """Products of a vector with the axes (columns of ``rot``) of a Gaussian."""
    return (
        rot[0][0] * x[0] + rot[1][0] * x[1] + rot[2][0] * x[2],
        rot[0][1] * x[0] + rot[1][1] * x[1] + rot[2][1] * x[2],
        rot[0][2] * x[0] + rot[1][2] * x[1] + rot[2][2] * x[2],
    )


@njit(inline="always", **OPTIONS)
def _stretched(scale, x):
    return scale[0] * x[0], scale[1] * x[1], scale[2] * x[2]


@njit(**OPTIONS)
def local_map(view, u, v, depth):
    """The vectors a and b."""
    near_u, near_v = min(max(u, view[12]), view[13]), min(max(v, view[14]), view[15])
    inverse = 1.0 / depth
    a, b = moved3(view[0:3], -near_u, view[8:11]), moved3(view[4:7], -near_v, view[8:11])
    return moved3(NOTHING, inverse, a), moved3(NOTHING, inverse, b)


@njit(**OPTIONS)
def _covariance(along_u, along_v, low_pass):
    """Covariance uu, uv, vv (px^2) from M'a and M'b."""
    return dot3(along_u, along_u) + low_pass, dot3(along_u, along_v), dot3(along_v, along_v) + low_pass


@njit(**OPTIONS)
def footprint(mean, scale, rot, view):
    """u, v, depth, and the covariance uu, uv, vv with the low pass; meaningless at depths below ``view[16]``."""
    u, v, depth = image_point(mean, view)
    a, b = local_map(view, u, v, depth)
    along_u, along_v = _stretched(scale, _across(rot, a)), _stretched(scale, _across(rot, b))
    return u, v, depth, _covariance(along_u, along_v, view[17])


@njit(**OPTIONS)
def _covariance_adjoint(covariance, grad):
    """Gradient of covariance uu, uv, vv from that of the conic (``grad[2:5]``; uv counted once in both)."""
    suu, suv, svv = covariance
    inverse = 1.0 / (suu * svv - suv * suv)
    quu, quv, qvv = svv * inverse, -suv * inverse, suu * inverse
    guu, guv, gvv = grad[2], 0.5 * grad[3], grad[4]
    wuu, wuv = quu * guu + quv * guv, quu * guv + quv * gvv
    wvu, wvv = quv * guu + qvv * guv, quv * guv + qvv * gvv
    return -(wuu * quu + wuv * quv), -2.0 * (wuu * quv + wuv * qvv), -(wvu * quv + wvv * qvv)


@njit(**OPTIONS)
def footprint_adjoint(mean, scale, quat, length, rot, view, grad, out):
    """Write to ``out`` (10,) = mean, scale, quaternion the gradient from ``grad`` (5,) = u, v, conic uu, uv, vv.

    ``length`` is that of the quaternion.
    """
    u, v, depth = image_point(mean, view)
    a, b = local_map(view, u, v, depth)
    across_u, across_v = _across(rot, a), _across(rot, b)
    along_u, along_v = _stretched(scale, across_u), _stretched(scale, across_v)
    guu, guv, gvv = _covariance_adjoint(_covariance(along_u, along_v, view[17]), grad)
    grad_u = moved3(moved3(NOTHING, 2 * guu, along_u), guv, along_v)
    grad_v = moved3(moved3(NOTHING, guv, along_u), 2 * gvv, along_v)
    inverse = 1.0 / depth
    along_depth = _stretched(scale, _across(rot, view[8:11]))
    u_grad, v_grad = float(grad[0]), float(grad[1])
    if view[12] <= u <= view[13]:
        u_grad -= dot3(grad_u, along_depth) * inverse
    if view[14] <= v <= view[15]:
        v_grad -= dot3(grad_v, along_depth) * inverse
    depth_grad = -(dot3(grad_u, along_u) + dot3(grad_v, along_v)) * inverse
    depth_grad -= (u_grad * u + v_grad * v) * inverse
    mean_grad = moved3(moved3(NOTHING, u_grad * inverse, view[0:3]), v_grad * inverse, view[4:7])
    out[0], out[1], out[2] = moved3(mean_grad, depth_grad, view[8:11])
    out[3] = grad_u[0] * across_u[0] + grad_v[0] * across_v[0]
    out[4] = grad_u[1] * across_u[1] + grad_v[1] * across_v[1]
    out[5] = grad_u[2] * across_u[2] + grad_v[2] * across_v[2]
    columns = (
        moved3(moved3(NOTHING, scale[0] * grad_u[0], a), scale[0] * grad_v[0], b),
        moved3(moved3(NOTHING, scale[1] * grad_u[1], a), scale[1] * grad_v[1], b),
        moved3(moved3(NOTHING, scale[2] * grad_u[2], a), scale[2] * grad_v[2], b),
    )
    out[6:10] = 0
    quaternion_adjoint(quat, length, columns, out[6:10])
