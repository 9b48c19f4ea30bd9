"""Fused update steps: one pass over memory instead of one per arithmetic operation."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.threads import kernel_launch


@njit(parallel=True, fastmath=True, cache=True)
def _proximal_step(extrapolated, current, gradient, curvature, penalty, progress):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Extrapolated <- max(extrapolated - (gradient + penalty) / curvature, 0); progress = restart test."""
    for k in prange(extrapolated.shape[0]):
        total = 0.0
        for n in range(extrapolated.shape[1]):
            before = extrapolated[k, n]
            after = max(before - (gradient[k, n] + penalty[k, n]) / curvature[k, n], np.float32(0))
            total += (before - after) * (after - current[k, n])
            extrapolated[k, n] = after
        progress[k] = total


@njit(parallel=True, fastmath=True, cache=True)
def _extrapolate(updated, current, momentum):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(updated, current) <- (updated + momentum (updated - current), updated)."""
    for k in prange(updated.shape[0]):
        for n in range(updated.shape[1]):
            value = updated[k, n]
            updated[k, n] = value + momentum * (value - current[k, n])
            current[k, n] = value


@njit(parallel=True, fastmath=True, cache=True)
def _accelerated_step(point, current, gradient, curvature, penalty, scale, momentum):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Both of the above in one pass, without restart test."""
    for k in prange(point.shape[0]):
        for n in range(point.shape[1]):
            slope = scale * gradient[k, n] + penalty[k, n]
            after = max(point[k, n] - slope / curvature[k, n], np.float32(0))
            point[k, n] = after + momentum * (after - current[k, n])
            current[k, n] = after


@njit(parallel=True, fastmath=True, cache=True)
def _adam(parameters, gradient, first, second, rates, beta1, beta2, correction1, correction2):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    block = 1024
    for task in prange((parameters.shape[0] + block - 1) // block):
        for n in range(task * block, min((task + 1) * block, parameters.shape[0])):
            for k in range(parameters.shape[1]):
                slope = gradient[n, k]
                first[n, k] += (np.float32(1) - beta1) * (slope - first[n, k])
                second[n, k] += (np.float32(1) - beta2) * (slope * slope - second[n, k])
                size = math.sqrt(second[n, k] * correction2) + np.float32(1e-8)
                parameters[n, k] -= rates[n, k] * first[n, k] * correction1 / size


def proximal_step(
    extrapolated: NDArray[np.float32],
    current: NDArray[np.float32],
    gradient: NDArray[np.float32],
    curvature: NDArray[np.float32],
    penalty: NDArray[np.float32],
) -> float:
    """Non-negative proximal gradient step of an L1-penalized problem, in place.

    ``extrapolated`` (K, N) becomes ``max(extrapolated - (gradient + penalty) / curvature, 0)``.

    Returns
    -------
    float
        Inner product of step and direction of travel; positive = the momentum points uphill
        (restart criterion of O'Donoghue and Candes 2015).
    """
    progress = np.empty(len(extrapolated))
    with kernel_launch():
        _proximal_step(extrapolated, current, gradient, curvature, penalty, progress)
    return float(progress.sum())


def accelerated_step(
    point: NDArray[np.float32],
    current: NDArray[np.float32],
    gradient: NDArray[np.float32],
    curvature: NDArray[np.float32],
    penalty: NDArray[np.float32],
    *,
    gradient_scale: float,
    momentum: float,
) -> None:
    """:func:`proximal_step` with a scaled gradient, then :func:`extrapolate`, in one pass over memory."""
    with kernel_launch():
        _accelerated_step(
            point, current, gradient, curvature, penalty, np.float32(gradient_scale), np.float32(momentum)
        )


def extrapolate(updated: NDArray[np.float32], current: NDArray[np.float32], momentum: float) -> None:
    """Nesterov step in place: ``current`` takes the values of ``updated``, which moves on by ``momentum``."""
    with kernel_launch():
        _extrapolate(updated, current, np.float32(momentum))


def adam_step(
    parameters: NDArray[np.float32],
    gradient: NDArray[np.float32],
    moments: tuple[NDArray[np.float32], NDArray[np.float32]],
    rates: NDArray[np.float32],
    *,
    step: int,
    betas: tuple[float, float],
) -> None:
    """Adam update (Kingma and Ba 2015) in place; all arrays (N, K), ``step`` counts from 1."""
    beta1, beta2 = betas
    with kernel_launch():
        _adam(
            parameters,
            gradient,
            *moments,
            rates,
            np.float32(beta1),
            np.float32(beta2),
            np.float32(1 / (1 - beta1**step)),
            np.float32(1 / (1 - beta2**step)),
        )
