"""The same compositing in plain torch, any device, float64 on demand: the oracle of the tests.

Every Gaussian meets every pixel, so it is for small images and few Gaussians; blocks of
pixels bound the memory. The formulas are those of gsplat 1.6 (Ye et al. 2024) and 3DGS
(Kerbl et al. 2023), written for a general projection matrix, see ``cpu_projection``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from DSAReconLib.kernels.alpha import LOW_PASS
from DSAReconLib.kernels.splat.reference import rotation_matrices

MAX_ALPHA, MIN_ALPHA = 0.99, 1 / 255
MIN_TRANSMITTANCE = 1e-4 + 1e-9
"""Two capped footprints leave (1 - 0.99)^2: this ends a pixel in float64 too, as it does in float32."""


def project(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    matrix: Tensor,
    shape: tuple[int, int],
    *,
    low_pass: float = LOW_PASS,
    margin: float = 0.15,
) -> tuple[Tensor, Tensor, Tensor]:
    """Centers (N, 2) in px, conics (N, 3) = uu, uv, vv of the low-passed footprint, and depths (N,).

    Parameters
    ----------
    means, scales, quats
        Centers (N, 3), standard deviations (N, 3), mm, rotations (N, 4) wxyz.
    matrix
        Projection matrix (3, 4) to (column, row, 1) * depth.
    low_pass
        Added to both variances of the footprint, px^2.
    shape
        Rows and columns; the affine map is that at the center, clamped to the image widened
        by ``margin`` of its size on every side.
    """
    homogeneous = means @ matrix[:, :3].T + matrix[:, 3]
    depth = homogeneous[:, 2]
    centers = homogeneous[:, :2] / depth[:, None]
    size = means.new_tensor([shape[1], shape[0]])
    near = torch.maximum(torch.minimum(centers, size - 0.5 + margin * size), -0.5 - margin * size)
    jacobian = (matrix[None, :2, :3] - near[:, :, None] * matrix[None, 2:, :3]) / depth[:, None, None]
    half = jacobian @ (rotation_matrices(quats) * scales[:, None, :])
    covariance = half @ half.transpose(1, 2) + low_pass * torch.eye(2, dtype=means.dtype, device=means.device)
    inverse = torch.linalg.inv(covariance)
    return centers, torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], -1), depth


def composite_view(
    centers: Tensor,
    conics: Tensor,
    depths: Tensor,
    opacities: Tensor,
    colors: Tensor,
    *,
    shape: tuple[int, int],
    background: float,
    nearest: float = 0.01,
    block: int = 4096,
) -> Tensor:
    """Image (R, C) of footprints with opacities and colors (N,), front to back; differentiable except for the cuts."""
    order = torch.argsort(depths, stable=True)
    order = order[depths[order] > nearest]
    centers, conics, opacities, colors = (each[order] for each in (centers, conics, opacities, colors))
    rows, columns = shape
    pixels = torch.arange(rows * columns, device=centers.device)
    points = torch.stack([pixels % columns, pixels // columns], -1).to(centers.dtype)
    parts = [
        _composite_block(centers, conics, opacities, colors, some, background) for some in points.split(max(block, 1))
    ]
    return torch.cat(parts).view(shape)


def _composite_block(
    centers: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor, points: Tensor, background: float
) -> Tensor:
    """Values (P,) at ``points`` (P, 2) of footprints sorted front to back."""
    du, dv = (points[:, None, axis] - centers[None, :, axis] for axis in range(2))
    exponent = 0.5 * (conics[:, 0] * du * du + conics[:, 2] * dv * dv) + conics[:, 1] * du * dv
    alpha = (opacities * torch.exp(-exponent)).clamp(max=MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, torch.zeros_like(alpha))
    with torch.no_grad():
        used = torch.cumprod(1 - alpha, 1) > MIN_TRANSMITTANCE
    alpha = torch.where(used, alpha, torch.zeros_like(alpha))
    through = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], 1)
    last = through[:, -1] if through.shape[1] else torch.ones(len(points), dtype=centers.dtype, device=centers.device)
    return (alpha * before * colors).sum(1) + background * last
