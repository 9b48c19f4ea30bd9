"""Total variation in space and time of values on supported voxels, with gradient and curvature.

Both priors sum phi(d) = sqrt(d^2 + eps^2) - eps over differences d of neighboring values.
The curvature is that of the parabola which touches phi at d and lies above it everywhere
(half-quadratic majorizer, Geman & Reynolds 1992), 1 / sqrt(d^2 + eps^2), summed so that it
majorizes the Hessian by its diagonal: step sizes derived from it never overshoot.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def neighbor_table(support: NDArray[np.int64], shape_zyx: tuple[int, int, int]) -> NDArray[np.int32]:
    """Positions (6, N) in ``support`` of the face neighbors of each supported voxel, -1 if not supported.

    ``support`` is a sorted C-order index (N,); order of the neighbors: -z, +z, -y, +y, -x, +x.
    """
    position = np.full(tuple(n + 2 for n in shape_zyx), -1, np.int32)
    index = np.stack(np.unravel_index(support, shape_zyx)) + 1
    position[tuple(index)] = np.arange(len(support), dtype=np.int32)
    table = np.empty((6, len(support)), np.int32)
    for axis in range(3):
        for side, step in enumerate((-1, 1)):
            moved = index.copy()
            moved[axis] += step
            table[2 * axis + side] = position[tuple(moved)]
    return table


def tv_space(values: Tensor, neighbors: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Anisotropic smoothed total variation over face neighbors.

    Parameters
    ----------
    values
        (K, N), 1/mm; voxels outside the support count as 0.
    neighbors
        (6, N) from :func:`neighbor_table`.
    epsilon
        Differences well below it are smoothed quadratically, 1/mm.

    Returns
    -------
    value : scalar, gradient : (K, N), curvature : (K, N)
    """
    if values.device.type == "cpu" and values.dtype == torch.float32 and (kernels := _numba()) is not None:
        gradient, curvature = torch.empty_like(values), torch.empty_like(values)
        sums = np.zeros(len(values))
        kernels[0](values.numpy(), neighbors.numpy(), np.float32(epsilon), gradient.numpy(), curvature.numpy(), sums)
        return torch.tensor(sums.sum()), gradient, curvature
    padded = torch.cat([values, values.new_zeros(len(values), 1)], 1)
    total, gradient, curvature = values.new_zeros(()), torch.zeros_like(values), torch.zeros_like(values)
    for row in neighbors:
        difference = values - padded[:, row.long()]
        root = torch.sqrt(difference**2 + epsilon**2)
        # a pair of supported voxels is met from both of its ends
        total = total + ((root - epsilon) * torch.where(row < 0, 1.0, 0.5)).sum()
        gradient += difference / root
        curvature += torch.where(row < 0, 1.0, 2.0) / root
    return total, gradient, curvature


def tv_time(values: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed total variation over consecutive time knots of (K, N); returns as :func:`tv_space`."""
    if values.device.type == "cpu" and values.dtype == torch.float32 and (kernels := _numba()) is not None:
        gradient, curvature = torch.empty_like(values), torch.empty_like(values)
        total = kernels[1](values.numpy(), np.float32(epsilon), gradient.numpy(), curvature.numpy())
        return torch.tensor(total), gradient, curvature
    difference = values[1:] - values[:-1]
    root = torch.sqrt(difference**2 + epsilon**2)
    slope, bend = difference / root, 2 / root
    gradient, curvature = torch.zeros_like(values), torch.zeros_like(values)
    gradient[1:] += slope
    gradient[:-1] -= slope
    curvature[1:] += bend
    curvature[:-1] += bend
    return (root - epsilon).sum(), gradient, curvature


def _numba() -> tuple[Callable[..., None], Callable[..., float]] | None:
    """The fast CPU versions, if numba is installed."""
    try:
        from DSAReconLib.fitting import priors_cpu
    except ImportError:
        return None
    return priors_cpu.tv_space, priors_cpu.tv_time
