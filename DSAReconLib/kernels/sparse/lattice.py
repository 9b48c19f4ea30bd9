"""Fields that are known at the nodes of a coarse lattice, read at scattered points, and the adjoint."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels import lanes
from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.lanes import LANES, MARGIN, OPTIONS
from DSAReconLib.kernels.threads import kernel_launch

_BLOCK = 1024
"""Points whose place in the lattice is computed once for all fields: they stay in the first-level cache."""
_CHUNK = 4096
"""Points summed in single precision; the sums of these are double."""


@njit(inline="always")
def _locate(points, start, stop, origin, step, shape, first, shares):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Number of the cell's first node and place within the cell of the points start ... stop - 1."""
    for n in range(start, stop):
        node = 0
        for axis in range(3):
            place = (points[n, axis] - origin[axis]) / step
            place = min(max(place, np.float32(0)), np.float32(shape[axis]) - np.float32(1.001))
            low = np.int32(place)
            shares[n - start, axis] = place - np.float32(low)
            node = node * shape[axis] + low
        first[n - start] = node


@njit(parallel=True, **JIT_OPTIONS)
def _read(points, origin, step, shape, nodes, block, values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    sheet, row = shape[1] * shape[2], shape[2]
    for task in prange((points.shape[0] + block - 1) // block):
        start, stop = task * block, min((task + 1) * block, points.shape[0])
        first, shares = np.empty(block, np.int64), np.empty((block, 3), np.float32)
        _locate(points, start, stop, origin, step, shape, first, shares)
        for field in range(nodes.shape[0]):
            own = nodes[field]
            for m in range(stop - start):
                a, x, y, z = first[m], shares[m, 0], shares[m, 1], shares[m, 2]
                b = a + sheet
                near = own[a] + z * (own[a + 1] - own[a])
                near += y * (own[a + row] + z * (own[a + row + 1] - own[a + row]) - near)
                far = own[b] + z * (own[b + 1] - own[b])
                far += y * (own[b + row] + z * (own[b + row + 1] - own[b + row]) - far)
                values[field, start + m] = near + x * (far - near)


@njit(parallel=True, cache=True, **OPTIONS)
def _spread(points, origin, step, shape, values, chunk, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    fields = values.shape[0]
    # the fields lie side by side at every node, in whole lanes
    width = (fields + MARGIN - 1) // MARGIN * MARGIN
    row, sheet = shape[2] * width, shape[1] * shape[2] * width
    for task in prange(sums.shape[0]):
        start, stop = task * chunk, min((task + 1) * chunk, points.shape[0])
        first, shares = np.empty(chunk, np.int64), np.empty((chunk, 3), np.float32)
        _locate(points, start, stop, origin, step, shape, first, shares)
        nodes, given = np.zeros(shape[0] * sheet + MARGIN, np.float32), np.zeros(width + MARGIN, np.float32)
        for m in range(stop - start):
            for field in range(fields):
                given[field] = values[field, start + m]
            x, y, z = shares[m, 0], shares[m, 1], shares[m, 2]
            for group in range(0, fields, LANES):
                at = first[m] * width + group
                far = x * lanes.load(given, group)
                near = lanes.load(given, group) - far
                for _ in range(2):
                    high = y * near
                    low = near - high
                    lanes.store(nodes, at, lanes.load(nodes, at) + (low - z * low))
                    lanes.store(nodes, at + width, lanes.load(nodes, at + width) + z * low)
                    lanes.store(nodes, at + row, lanes.load(nodes, at + row) + (high - z * high))
                    lanes.store(nodes, at + row + width, lanes.load(nodes, at + row + width) + z * high)
                    near = far
                    at += sheet
        sums[task] = nodes[: shape[0] * sheet]


class Lattice:
    """Trilinear interpolation from nodes to points; points beyond the lattice read its border.

    Nothing is stored per point: where it lies is computed again at every reading.

    Parameters
    ----------
    points_mm
        (N, 3 or more): x, y, z first, mm.
    origin_mm, step_mm
        First node and distance of the nodes.
    shape
        Number of nodes along x, y and z; fields list them in C order.
    """

    def __init__(
        self,
        points_mm: NDArray[np.float32],
        origin_mm: NDArray[np.float64],
        step_mm: float,
        shape: tuple[int, int, int],
    ) -> None:
        self._points, self._nodes = points_mm, math.prod(int(n) for n in shape)
        self._cells = np.asarray(origin_mm, np.float32), np.float32(step_mm), np.asarray(shape, np.int64)

    def read(self, nodes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (F, N) of the fields (F, G) at the points."""
        values = np.empty((len(nodes), len(self._points)), np.float32)
        with kernel_launch():
            _read(self._points, *self._cells, np.asarray(nodes, np.float32), _BLOCK, values)
        return values

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adjoint of :meth:`read`: fields (F, G) of values (F, N)."""
        width = -(-len(values) // MARGIN) * MARGIN
        sums = np.empty((-(-len(self._points) // _CHUNK), self._nodes * width), np.float32)
        with kernel_launch(1):
            _spread(self._points, *self._cells, np.asarray(values, np.float32), _CHUNK, sums)
        nodes = sums.sum(0, dtype=float).reshape(self._nodes, width)[:, : len(values)]
        return np.ascontiguousarray(nodes.T, np.float32)
