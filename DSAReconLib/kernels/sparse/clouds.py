"""Sums over what lies around each point of a cloud."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.threads import kernel_launch


class PointCloud:
    """Points with masses, sorted into cells so that neighbors are found fast.

    Parameters
    ----------
    points_mm, mass
        N points (N, 3), mm, and their masses (N,).
    reach_mm
        Points further away than this are no neighbors.
    """

    def __init__(self, points_mm: NDArray[np.float64], mass: NDArray[np.float64], reach_mm: float) -> None:
        # one empty cell on every side: the neighbors of a cell are three consecutive cells in each of nine rows
        cell = np.floor((points_mm - points_mm.min(0, initial=np.inf)) / reach_mm).astype(np.int64) + 1
        shape = cell.max(0, initial=0) + 2
        key = np.ravel_multi_index(tuple(cell.T), tuple(int(n) for n in shape))
        self._order = np.argsort(key, kind="stable")
        keys = key[self._order]
        rows = (np.array([-1, 0, 1])[:, None] * shape[1] + np.array([-1, 0, 1])).ravel() * shape[2]
        cells, first = np.unique(keys, return_index=True)
        wanted = cells[:, None] + rows
        self._cells = np.append(first, len(keys))
        self._ranges = np.stack([np.searchsorted(keys, wanted - 1), np.searchsorted(keys, wanted + 2)], -1)
        self._points = np.ascontiguousarray(points_mm[self._order], float)
        self._mass = np.ascontiguousarray(mass[self._order], float)
        self._reach_mm = reach_mm

    def moments(self, bandwidth_mm: float) -> NDArray[np.float64]:
        """Moments (10, N) of the neighbors' masses times a Gaussian of their distance.

        Mass, then mass times offset x, y, z, then times the products xx, xy, xz, yy, yz, zz of offsets. A point is
        among its neighbors.
        """
        sums = np.empty((10, len(self._points)))
        with kernel_launch(1):
            _moments(self._points, self._mass, self._cells, self._ranges, self._reach_mm, bandwidth_mm, sums)
        return self._unsorted(sums)

    def mass_along(self, direction: NDArray[np.float64], bandwidth_mm: float, across_mm: float) -> NDArray[np.float64]:
        """Mass (N,) of the neighbors closer than ``across_mm`` to a line, times a Gaussian of the way along it.

        Parameters
        ----------
        direction
            Unit vector of the line through each point (N, 3).
        """
        sums = np.empty((1, len(self._points)))
        lines = np.ascontiguousarray(direction[self._order])
        numbers = (self._reach_mm, bandwidth_mm, across_mm)
        with kernel_launch(1):
            _mass_along(self._points, self._mass, lines, self._cells, self._ranges, numbers, sums)
        return self._unsorted(sums)[0]

    def _unsorted(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.empty_like(sums)
        result[:, self._order] = sums
        return result


@njit(parallel=True, **JIT_OPTIONS)
def _moments(points, mass, cells, ranges, reach, bandwidth, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    reach2, rate = reach * reach, -0.5 / (bandwidth * bandwidth)
    for cell in prange(ranges.shape[0]):
        for n in range(cells[cell], cells[cell + 1]):
            s = sx = sy = sz = sxx = sxy = sxz = syy = syz = szz = 0.0
            for row in range(ranges.shape[1]):
                for m in range(ranges[cell, row, 0], ranges[cell, row, 1]):
                    x, y, z = points[m, 0] - points[n, 0], points[m, 1] - points[n, 1], points[m, 2] - points[n, 2]
                    distance2 = x * x + y * y + z * z
                    if distance2 > reach2:
                        continue
                    w = mass[m] * math.exp(rate * distance2)
                    wx, wy, wz = w * x, w * y, w * z
                    s, sx, sy, sz = s + w, sx + wx, sy + wy, sz + wz
                    sxx, sxy, sxz = sxx + wx * x, sxy + wx * y, sxz + wx * z
                    syy, syz, szz = syy + wy * y, syz + wy * z, szz + wz * z
            sums[0, n], sums[1, n], sums[2, n], sums[3, n] = s, sx, sy, sz
            sums[4, n], sums[5, n], sums[6, n], sums[7, n], sums[8, n], sums[9, n] = sxx, sxy, sxz, syy, syz, szz


@njit(parallel=True, **JIT_OPTIONS)
def _mass_along(points, mass, lines, cells, ranges, numbers, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    reach, bandwidth, across = numbers
    rate = -0.5 / (bandwidth * bandwidth)
    for cell in prange(ranges.shape[0]):
        for n in range(cells[cell], cells[cell + 1]):
            total = 0.0
            for row in range(ranges.shape[1]):
                for m in range(ranges[cell, row, 0], ranges[cell, row, 1]):
                    x, y, z = points[m, 0] - points[n, 0], points[m, 1] - points[n, 1], points[m, 2] - points[n, 2]
                    distance2 = x * x + y * y + z * z
                    along = x * lines[n, 0] + y * lines[n, 1] + z * lines[n, 2]
                    if distance2 <= reach * reach and distance2 - along * along < across * across:
                        total += mass[m] * math.exp(rate * along * along)
            sums[0, n] = total
