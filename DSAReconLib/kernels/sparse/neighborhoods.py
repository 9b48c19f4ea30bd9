"""Sums, maxima and means along lines over the neighborhood of listed voxels of a volume."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.threads import kernel_launch

_BEND_COSINE_MAX = -0.6
"""Both halves of a line may bend by up to 53 degrees against each other."""


@njit(parallel=True, **JIT_OPTIONS)
def _sums(volume, index, order, slices, weights, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    size, columns = weights.shape[0], volume.shape[2]
    for z in prange(slices.shape[0] - 1):
        own = order[slices[z] : slices[z + 1]]
        if not len(own):
            continue
        low, high = np.int64(volume.shape[1]), np.int64(0)
        for n in own:
            low, high = min(low, np.int64(index[n, 1])), max(high, np.int64(index[n, 1]) + size)
        # along z and y over whole rows, in which the listed voxels are scattered; along x for these alone
        plane, line = np.zeros((high - low, columns), np.float32), np.empty(columns, np.float32)
        for k in range(size):
            for j in range(high - low):
                for i in range(columns):
                    plane[j, i] += weights[k] * volume[z + k, low + j, i]
        y = np.int64(-1)
        for n in own:
            if index[n, 1] != y:
                y = np.int64(index[n, 1])
                line[:] = 0
                for j in range(size):
                    for i in range(columns):
                        line[i] += weights[j] * plane[y - low + j, i]
            total = np.float32(0)
            for i in range(size):
                total += weights[i] * line[index[n, 2] + i]
            sums[n] = total


@njit(parallel=True, **JIT_OPTIONS)
def _sums_of_rows(number, index, weights, values, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    size = weights.shape[0]
    for n in prange(index.shape[0]):
        z, y, x = index[n, 0], index[n, 1], index[n, 2]
        sums[n] = 0
        for k in range(size):
            for j in range(size):
                for i in range(size):
                    other = number[z + k, y + j, x + i] - 1
                    if other >= 0:
                        weight = weights[k] * weights[j] * weights[i]
                        for q in range(values.shape[1]):
                            sums[n, q] += weight * values[other, q]


@njit(parallel=True, **JIT_OPTIONS)
def _maxima(volume, index, maxima):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for n in prange(index.shape[0]):
        z, y, x = index[n, 0], index[n, 1], index[n, 2]
        largest = volume[z, y, x]
        for k in range(3):
            for j in range(3):
                for i in range(3):
                    largest = max(largest, volume[z + k, y + j, x + i])
        maxima[n] = largest


@njit(parallel=True, **JIT_OPTIONS)
def _line_means(volume, index, steps, weights, opposite, means):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    directions, length = weights.shape
    for n in prange(index.shape[0]):
        z, y, x = index[n, 0], index[n, 1], index[n, 2]
        half = np.empty(directions, np.float32)
        for d in range(directions):
            half[d] = np.float32(0)
            for s in range(length):
                half[d] += weights[d, s] * volume[z + steps[d, s, 0], y + steps[d, s, 1], x + steps[d, s, 2]]
        best = np.float32(0)
        for d in range(directions):
            for e in range(d):
                if opposite[d, e]:
                    best = max(best, half[d] + half[e])
        means[n] = np.float32(0.5) * best


def neighborhood_sums(
    values: NDArray[np.float32],
    index_zyx: NDArray[np.int32],
    shape_zyx: tuple[int, int, int],
    weights: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Separably weighted sum around each listed voxel; voxels that are not listed count 0.

    Parameters
    ----------
    values, index_zyx
        Values (N,) of the voxels (N, 3), or several of each (K, N).
    shape_zyx
        Shape of the grid.
    weights
        Weights (2r+1,) along each axis.
    """
    radius = len(weights) // 2
    if values.ndim == 2:
        rows = np.ascontiguousarray(values.T)
        many = np.empty_like(rows)
        number = _padded(np.arange(1, len(index_zyx) + 1, dtype=np.int32), index_zyx, shape_zyx, radius)
        with kernel_launch():
            _sums_of_rows(number, index_zyx, weights, rows, many)
        return np.ascontiguousarray(many.T)
    sums = np.empty(len(index_zyx), np.float32)
    order = np.argsort(index_zyx[:, 0], kind="stable")
    slices = np.searchsorted(index_zyx[order, 0], np.arange(shape_zyx[0] + 1))
    with kernel_launch(1):
        _sums(_padded(values, index_zyx, shape_zyx, radius), index_zyx, order, slices, weights, sums)
    return sums


def neighborhood_maxima(
    values: NDArray[np.float32], index_zyx: NDArray[np.int32], shape_zyx: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Largest value (N,) among each listed voxel (N, 3) and its 26 neighbors."""
    maxima = np.empty(len(index_zyx), np.float32)
    with kernel_launch():
        _maxima(_padded(values, index_zyx, shape_zyx, 1), index_zyx, maxima)
    return maxima


def line_means(
    values: NDArray[np.float32], index_zyx: NDArray[np.int32], shape_zyx: tuple[int, int, int], reach: int
) -> NDArray[np.float32]:
    """Mean along the best line through each listed voxel (N,), which itself does not count.

    A line has two halves out of 26 directions, which may bend against each other; voxels count
    by a Gaussian of their distance, up to ``reach`` voxels. Those that are not listed count 0.

    Parameters
    ----------
    values, index_zyx
        Values (N,) of the voxels (N, 3).
    shape_zyx
        Shape of the grid.
    reach
        Length of a half, voxels.
    """
    means = np.empty(len(index_zyx), np.float32)
    with kernel_launch():
        _line_means(_padded(values, index_zyx, shape_zyx, reach), index_zyx, *_lines(reach), means)
    return means


@lru_cache
def _lines(reach: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Voxels (26, reach, 3) of half lines in a volume padded by ``reach``, their weights, and which halves pair."""
    directions = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)])
    length = np.linalg.norm(directions, axis=1)
    distance = length[:, None] * np.arange(1, reach + 1)
    weights = np.where(distance <= reach, np.exp(-0.5 * (1.5 * distance / reach) ** 2), 0)
    weights /= weights.sum(1, keepdims=True)
    steps = reach + directions[:, None] * np.arange(1, reach + 1)[:, None]
    cosine = directions @ directions.T / np.outer(length, length)
    return steps.astype(np.int32), weights.astype(np.float32), cosine < _BEND_COSINE_MAX


def gaussian_weights(sigma_voxels: float) -> NDArray[np.float32]:
    """Normalized samples (2r+1,) of a Gaussian, r = 2.5 standard deviations."""
    radius = max(1, round(2.5 * sigma_voxels))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_voxels) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _padded(
    values: NDArray[Any], index_zyx: NDArray[np.int32], shape_zyx: tuple[int, int, int], radius: int
) -> NDArray[Any]:
    """Dense volume of the values with ``radius`` zeros on every side."""
    shape = tuple(n + 2 * radius for n in shape_zyx)
    volume = np.zeros(math.prod(shape), values.dtype)
    volume[np.ravel_multi_index(tuple((index_zyx + radius).T), shape)] = values
    return volume.reshape(shape)
