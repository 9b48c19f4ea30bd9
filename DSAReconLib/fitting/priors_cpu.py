"""Total variation on the CPU: the numba twins of :mod:`DSAReconLib.fitting.priors`."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from DSAReconLib.kernels.threads import kernel_launch

_OPTIONS = {"parallel": True, "fastmath": True, "cache": True, "nogil": True}
_BLOCK = 4096  # voxels per task


def tv_space(values, neighbors, epsilon, gradient, curvature, sums):
    """Fill ``gradient`` and ``curvature`` (K, N) and the prior's value per knot ``sums`` (K,)."""
    with kernel_launch(chunk_size=1):
        _tv_space(values, neighbors, epsilon, gradient, curvature, sums)


def tv_time(values, epsilon, gradient, curvature):
    """Fill ``gradient`` and ``curvature`` (K, N); returns the prior's value."""
    partial = np.zeros((values.shape[1] + _BLOCK - 1) // _BLOCK)
    with kernel_launch(chunk_size=1):
        _tv_time(values, epsilon, gradient, curvature, partial)
    return float(partial.sum())


@njit(**_OPTIONS)
def _tv_space(values, neighbors, epsilon, gradient, curvature, sums):
    square = epsilon * epsilon
    for k in prange(values.shape[0]):
        row = values[k]
        total = 0.0
        for n in range(values.shape[1]):
            center = row[n]
            slope = bend = level = np.float32(0)
            for side in range(6):
                m = neighbors[side, n]
                inside = m >= 0
                difference = center - (row[m] if inside else np.float32(0))
                root = math.sqrt(difference * difference + square)
                inverse = np.float32(1) / root
                slope += difference * inverse
                bend += np.float32(2) * inverse if inside else inverse
                level += np.float32(0.5) * (root - epsilon) if inside else root - epsilon
            gradient[k, n] = slope
            curvature[k, n] = bend
            total += level
        sums[k] = total


@njit(**_OPTIONS)
def _tv_time(values, epsilon, gradient, curvature, partial):
    knots, count = values.shape
    square = epsilon * epsilon
    for task in prange(partial.shape[0]):
        first, last = task * _BLOCK, min((task + 1) * _BLOCK, count)
        gradient[:, first:last] = 0
        curvature[:, first:last] = 0
        total = 0.0
        for k in range(knots - 1):
            for n in range(first, last):
                difference = values[k + 1, n] - values[k, n]
                root = math.sqrt(difference * difference + square)
                slope, bend = difference / root, np.float32(2) / root
                gradient[k + 1, n] += slope
                gradient[k, n] -= slope
                curvature[k + 1, n] += bend
                curvature[k, n] += bend
                total += root - epsilon
        partial[task] = total
