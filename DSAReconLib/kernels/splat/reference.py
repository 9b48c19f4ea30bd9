"""The same splatting in plain torch, any device, float64 on demand: the oracle of the tests and the GPU path."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BOX_VARIANCE = 1.0 / 12.0


def rotation_matrices(quats: Tensor) -> Tensor:
    """Rotation matrices (N, 3, 3) of quaternions (N, 4) = w, x, y, z of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def splat_view(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    amplitudes: Tensor,
    *,
    source: Tensor,
    pixel00: Tensor,
    step_u: Tensor,
    step_v: Tensor,
    shape: tuple[int, int],
    cutoff_sigma: float,
    pixel_box: bool = False,
    affine: bool = False,
    chunk: int = 256,
) -> Tensor:
    """Exact cone-beam line integrals (R, C) of Gaussians on one view.

    Equal to rho sqrt(2 pi / d'Pd) exp(-1/2 (e'Pe - (d'Pe)^2 / d'Pd)) for rays source + s d, |d| = 1,
    e = source - mean, P the inverse covariance, but written around each kernel's center (see
    ``cpu_footprint``). Zero where the conic Q of the projected covariance exceeds cutoff_sigma^2.
    ``pixel_box`` widens the conic by 1/12 px^2 and keeps its mass. ``affine`` gives the form of
    R2-Gaussian and 4DRGS: the same with the perspective frozen at each center. Differentiable in means, scales,
    quats and amplitudes, except for the cut.
    """
    image = means.new_zeros(shape)
    splat = _affine_block if affine else _splat_block
    for start in range(0, len(means), chunk):
        block = slice(start, start + chunk)
        image = image + splat(
            means[block], scales[block], quats[block], amplitudes[block],
            (source, pixel00, step_u, step_v), shape, cutoff_sigma, pixel_box,
        )  # fmt: skip
    return image


def _splat_block(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    amplitudes: Tensor,
    view: tuple[Tensor, Tensor, Tensor, Tensor],
    shape: tuple[int, int],
    cutoff_sigma: float,
    pixel_box: bool,
) -> Tensor:
    """Sum (R, C) of the line integrals of one block of Gaussians."""
    source, pixel00, step_u, step_v = view
    rows = torch.arange(shape[0], dtype=means.dtype, device=means.device)
    columns = torch.arange(shape[1], dtype=means.dtype, device=means.device)
    rays = (pixel00 - source) + rows[:, None, None] * step_v + columns[None, :, None] * step_u
    whitening = rotation_matrices(quats).transpose(1, 2) / scales[:, :, None]
    offset = means - source
    frame = torch.stack([step_u, step_v, pixel00 - source], -1)
    homogeneous = torch.linalg.solve(frame, offset.T).T
    t = homogeneous[:, 2]
    center_u, center_v = homogeneous[:, 0] / t, homogeneous[:, 1] / t
    du, dv = torch.broadcast_tensors(
        columns[None, None, :] - center_u[:, None, None], rows[None, :, None] - center_v[:, None, None]
    )
    a, b, c = whitening @ step_u, whitening @ step_v, torch.einsum("nij,nj->ni", whitening, offset)
    cc = (c * c).sum(-1)
    across_a, across_b = a - ((a * c).sum(-1) / cc)[:, None] * c, b - ((b * c).sum(-1) / cc)[:, None] * c
    quu, quv, qvv = (
        t * t * (x * y).sum(-1) for x, y in ((across_a, across_a), (across_a, across_b), (across_b, across_b))
    )
    factor = torch.ones_like(t)
    if pixel_box:
        quu, quv, qvv, factor = _widened(quu, quv, qvv)

    q = torch.einsum("kn,knrc->nrc", torch.stack([quu, 2 * quv, qvv]), torch.stack([du * du, du * dv, dv * dv]))
    direction = torch.einsum("nij,rcj->nrci", whitening, rays)
    r = (direction * direction).sum(-1) * (t * t / cc)[:, None, None]
    length = rays.norm(dim=-1)
    peak = amplitudes * factor * math.sqrt(2 * math.pi) * t / cc.sqrt()
    visible = (q <= cutoff_sigma**2) & (t > 0)[:, None, None]
    values = peak[:, None, None] * length / r.sqrt() * torch.exp(-0.5 * q / r)
    return torch.where(visible, values, torch.zeros_like(values)).sum(0)


def _affine_block(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    amplitudes: Tensor,
    view: tuple[Tensor, Tensor, Tensor, Tensor],
    shape: tuple[int, int],
    cutoff_sigma: float,
    pixel_box: bool,
) -> Tensor:
    """Sum (R, C) of one block in the affine form, by the local map J of 4DRGS (its eq. 4.4 and 4.5)."""
    source, pixel00, step_u, step_v = view
    rows = torch.arange(shape[0], dtype=means.dtype, device=means.device)
    columns = torch.arange(shape[1], dtype=means.dtype, device=means.device)
    offset = means - source
    inverse = torch.linalg.inv(torch.stack([step_u, step_v, pixel00 - source], -1))
    homogeneous = offset @ inverse.T
    t = homogeneous[:, 2]
    center = homogeneous[:, :2] / t[:, None]
    # rows of J: gradients of column and row, and the direction of the ray (a length, mm)
    gradients = (inverse[None, :2] - center[:, :, None] * inverse[None, 2:]) / t[:, None, None]
    jacobian = torch.cat([gradients, torch.nn.functional.normalize(offset, dim=-1)[:, None]], 1)
    root = jacobian @ rotation_matrices(quats) * scales[:, None, :]
    sigma3 = root @ root.transpose(1, 2)
    sigma2 = sigma3[:, :2, :2]
    peak = amplitudes * torch.sqrt(2 * math.pi * torch.linalg.det(sigma3) / torch.linalg.det(sigma2))
    if pixel_box:
        wide = sigma2 + _BOX_VARIANCE * torch.eye(2, dtype=means.dtype, device=means.device)
        peak = peak * torch.sqrt(torch.linalg.det(sigma2) / torch.linalg.det(wide))
        sigma2 = wide
    du, dv = torch.broadcast_tensors(
        columns[None, None, :] - center[:, 0, None, None], rows[None, :, None] - center[:, 1, None, None]
    )
    distance = torch.stack([du, dv], -1)
    q = torch.einsum("nrci,nij,nrcj->nrc", distance, torch.linalg.inv(sigma2), distance)
    visible = (q <= cutoff_sigma**2) & (t > 0)[:, None, None]
    values = peak[:, None, None] * torch.exp(-0.5 * q)
    return torch.where(visible, values, torch.zeros_like(values)).sum(0)


def _widened(quu: Tensor, quv: Tensor, qvv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Conic of the covariance plus 1/12 px^2, and the factor that keeps the footprint's mass."""
    det = quu * qvv - quv * quv
    cuu, cuv, cvv = qvv / det + _BOX_VARIANCE, -quv / det, quu / det + _BOX_VARIANCE
    det_wide = 1 / (cuu * cvv - cuv * cuv)
    return cvv * det_wide, -cuv * det_wide, cuu * det_wide, (det_wide / det).sqrt()


def voxelize(
    means: Tensor, scales: Tensor, quats: Tensor, amplitudes: Tensor, points: Tensor, *, cutoff_sigma: float,
    chunk: int = 256,
) -> Tensor:  # fmt: skip
    """Sum of Gaussians (K, P) with amplitudes (K, N) at ``points`` (P, 3), mm; differentiable."""
    result = means.new_zeros((len(amplitudes), len(points)))
    whitening = rotation_matrices(quats).transpose(1, 2) / scales[:, :, None]
    for start in range(0, len(means), chunk):
        block = slice(start, start + chunk)
        offset = torch.einsum("nij,npj->npi", whitening[block], points[None] - means[block, None])
        q = (offset * offset).sum(-1)
        weights = torch.where(q <= cutoff_sigma**2, torch.exp(-0.5 * q), torch.zeros_like(q))
        result = result + amplitudes[:, block] @ weights
    return result
