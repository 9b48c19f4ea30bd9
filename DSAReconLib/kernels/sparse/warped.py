"""Curves of basis functions read at times that differ from point to point, and their gradient."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.threads import kernel_launch


@njit(parallel=True, **JIT_OPTIONS)
def _curves(coefficients, table, place, values, slopes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for n in prange(coefficients.shape[0]):
        for view in range(table.shape[0]):
            low = np.int32(place[view, n])
            share = place[view, n] - np.float32(low)
            before = after = np.float32(0)
            for k in range(coefficients.shape[1]):
                before += coefficients[n, k] * table[view, low, k]
                after += coefficients[n, k] * table[view, low + 1, k]
            values[view, n] = before + share * (after - before)
            slopes[view, n] = after - before


@njit(parallel=True, **JIT_OPTIONS)
def _gradient(table, place, gradient, result):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for n in prange(result.shape[0]):
        for view in range(table.shape[0]):
            low = np.int32(place[view, n])
            late = (place[view, n] - np.float32(low)) * gradient[view, n]
            early = gradient[view, n] - late
            for k in range(result.shape[1]):
                result[n, k] += early * table[view, low, k] + late * table[view, low + 1, k]


def warped_curves(
    coefficients: NDArray[np.float32], table: NDArray[np.float32], place: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sums of basis functions, linear between tabulated samples.

    Parameters
    ----------
    coefficients
        (N, K).
    table
        S samples of the basis around the time of each view (V, S, K).
    place
        Where point n reads the samples of view v (V, N), from 0 to less than S - 1.

    Returns
    -------
    values, slopes : (V, N)
        Values, and their change per sample.
    """
    values, slopes = np.empty(place.shape, np.float32), np.empty(place.shape, np.float32)
    with kernel_launch():
        _curves(coefficients, table, place, values, slopes)
    return values, slopes


def warped_gradient(
    table: NDArray[np.float32], place: NDArray[np.float32], gradient: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Gradient (N, K) by the coefficients of a loss whose gradient by the values is (V, N)."""
    result = np.zeros((place.shape[1], table.shape[2]), np.float32)
    with kernel_launch():
        _gradient(table, place, gradient, result)
    return result
