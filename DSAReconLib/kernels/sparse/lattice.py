"""Fields that are known at the nodes of a coarse lattice, read at scattered points, and the adjoint."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


class Lattice:
    """Trilinear interpolation from nodes to points; points beyond the lattice read its border.

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
        place = np.clip((points_mm[:, :3] - origin_mm) / step_mm, 0, np.array(shape) - 1.001)
        low = np.floor(place).astype(np.int64)
        share = (place - low).astype(np.float32)
        columns, weights = [], []
        for corner in np.ndindex(2, 2, 2):
            columns.append(np.ravel_multi_index(tuple((low + corner).T), shape))
            weights.append(np.prod(np.where(corner, share, 1 - share), axis=1))
        rows = np.repeat(np.arange(len(points_mm)), 8)
        self.matrix = csr_matrix(
            (np.stack(weights, 1).ravel(), (rows, np.stack(columns, 1).ravel())),
            shape=(len(points_mm), math.prod(shape)),
        )
        """Weights (N, G) of the nodes."""

    def read(self, nodes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (F, N) of the fields (F, G) at the points."""
        return np.ascontiguousarray((self.matrix @ nodes.T).T, np.float32)

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adjoint of :meth:`read`: fields (F, G) of values (F, N)."""
        return (self.matrix.T @ values.T).T  # type: ignore[no-any-return]
