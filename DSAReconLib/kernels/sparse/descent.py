"""Fused update steps: one pass over memory instead of one per arithmetic operation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.threads import kernel_launch


@njit(parallel=True, **JIT_OPTIONS)
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


@njit(parallel=True, **JIT_OPTIONS)
def _extrapolate(updated, current, momentum):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(updated, current) <- (updated + momentum (updated - current), updated)."""
    for k in prange(updated.shape[0]):
        for n in range(updated.shape[1]):
            value = updated[k, n]
            updated[k, n] = value + momentum * (value - current[k, n])
            current[k, n] = value


@dataclass(frozen=True)
class GaussianStep:
    """What one Adam step of Gaussians does (Kingma and Ba 2015).

    Parameters
    ----------
    number
        Of the step, from 1.
    betas
        Decay of the first and second moment.
    shape_rates
        Learning rates of center (mm) and log standard deviation (4,).
    log_sigma_range
        Bounds of the latter.
    coefficient_rate, coefficient_floor
        Learning rate of a coefficient relative to the largest one of its Gaussian, or to the floor if that is larger.
    mass_slopes
        What an L1 penalty on mass adds to the gradient, per sigma^3 (K,), 1/mm^3.
    """

    number: int
    betas: tuple[float, float]
    shape_rates: NDArray[np.float32]
    log_sigma_range: tuple[float, float]
    coefficient_rate: float
    coefficient_floor: float
    mass_slopes: NDArray[np.float32]

    @property
    def corrections(self) -> tuple[float, float]:
        """Factors that make both moments unbiased."""
        first, second = (1 / (1 - beta**self.number) for beta in self.betas)
        return first, second


@njit(parallel=True, **JIT_OPTIONS)
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


@njit(parallel=True, **JIT_OPTIONS)
def _gaussian_step(shapes, coefficients, gradients, moments, rates, bounds, pace, floor, mass, decays):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    by_shape, by_coefficient = gradients
    first, second, first_k, second_k = moments
    keep1, keep2, unbiased1, unbiased2 = decays[0], decays[1], decays[2], decays[3]
    block = 1024
    for task in prange((shapes.shape[0] + block - 1) // block):
        for n in range(task * block, min((task + 1) * block, shapes.shape[0])):
            volume = math.exp(np.float32(3) * shapes[n, 3])
            largest = floor
            for k in range(coefficients.shape[1]):
                largest = max(largest, coefficients[n, k])
            rate = pace * largest * unbiased1
            for k in range(coefficients.shape[1]):
                slope = by_coefficient[n, k] + volume * mass[k]
                mean = slope + keep1 * (first_k[n, k] - slope)
                square = slope * slope + keep2 * (second_k[n, k] - slope * slope)
                first_k[n, k], second_k[n, k] = mean, square
                moved = coefficients[n, k] - rate * mean / (math.sqrt(square * unbiased2) + np.float32(1e-8))
                coefficients[n, k] = max(moved, np.float32(0))
            for k in range(4):
                slope = by_shape[n, k]
                first[n, k] = slope + keep1 * (first[n, k] - slope)
                second[n, k] = slope * slope + keep2 * (second[n, k] - slope * slope)
                size = math.sqrt(second[n, k] * unbiased2) + np.float32(1e-8)
                shapes[n, k] -= rates[k] * first[n, k] * unbiased1 / size
            shapes[n, 3] = min(max(shapes[n, 3], bounds[0]), bounds[1])


@njit(parallel=True, **JIT_OPTIONS)
def _huber_slopes(residual, data, weights, limit, squares):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in prange(residual.shape[0]):
        total = np.float32(0)
        for n in range(residual.shape[1]):
            missed, weight = residual[row, n] - data[row, n], weights[row, n]
            total += weight * missed * missed
            residual[row, n] = weight * min(max(missed / limit, np.float32(-1)), np.float32(1))
        squares[row] = total


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


def gaussian_step(
    parameters: tuple[NDArray[np.float32], NDArray[np.float32]],
    gradients: tuple[NDArray[np.float32], NDArray[np.float32]],
    moments: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    step: GaussianStep,
) -> None:
    """One step in place; coefficients stay >= 0.

    Parameters
    ----------
    parameters, gradients
        Shapes (N, 4): center and log standard deviation, and coefficients (N, K).
    moments
        First and second moment of the shapes, then of the coefficients.
    step
        Rates and bounds.
    """
    with kernel_launch():
        _gaussian_step(
            *parameters,
            gradients,
            moments,
            np.asarray(step.shape_rates, np.float32),
            np.array(step.log_sigma_range, np.float32),
            np.float32(step.coefficient_rate),
            np.float32(step.coefficient_floor),
            np.asarray(step.mass_slopes, np.float32),
            np.array([*step.betas, *step.corrections], np.float32),
        )


def huber_slopes(
    model: NDArray[np.float32], data: NDArray[np.float32], weights: NDArray[np.float32], limit: float
) -> float:
    """Derivative of a weighted Huber loss by the model (V, R, C), written in its place.

    Parameters
    ----------
    limit
        Residual from which the loss grows linearly; the derivative there is the weight.

    Returns
    -------
    float
        Weighted mean square of the residual.
    """
    rows = math.prod(model.shape[:2])
    flat = [np.ascontiguousarray(array).reshape(rows, -1) for array in (data, weights)]
    squares = np.empty(rows, np.float32)
    with kernel_launch():
        _huber_slopes(model.reshape(rows, -1), *flat, np.float32(limit), squares)
    return float(squares.sum(dtype=float)) / model.size
