"""Shape of a multi-resolution hash grid: levels, resolutions, where each level lies in the table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

PRIMES = (1, 2654435761, 805459861, 3674653429)
"""Factors of the spatial hash (Mueller et al. 2022, eq. 4), one per dimension."""
_ALIGNMENT = 8
"""Dense levels take a multiple of this many entries."""


@dataclass(frozen=True)
class HashGrid:
    """Multi-resolution hash encoding of points in the unit cube (Mueller et al., ACM TOG 2022).

    The conventions are those of tiny-cuda-nn: level l has scale s = base * growth^l - 1 and
    ceil(s) + 1 vertices per axis; a point x lies at x * s + 1/2 in units of cells. A level
    with no more vertices than the table has entries is stored densely (the half cell beyond
    the last vertex continues in the next line), any other is hashed.

    Parameters
    ----------
    dimensions
        3 (x, y, z) or 4 (x, y, z, t).
    levels
        Number of resolutions.
    features
        Values per vertex, 2 or 8.
    log2_entries
        Binary logarithm of the largest number of entries per level.
    base_resolution, growth
        Vertices per axis of the coarsest level, and ratio of successive levels.
    """

    dimensions: int
    levels: int = 12
    features: int = 2
    log2_entries: int = 16
    base_resolution: int = 8
    growth: float = 1.45

    def __post_init__(self) -> None:
        if self.dimensions not in (3, 4):
            raise ValueError(f"dimensions must be 3 or 4; got {self.dimensions}")
        if self.features not in (2, 8):
            raise ValueError(f"features must be 2 or 8; got {self.features}")
        if not 1 <= self.levels <= 32 or not 4 <= self.log2_entries <= 24:
            raise ValueError(f"levels must be 1 to 32, log2_entries 4 to 24; got {self.levels}, {self.log2_entries}")
        if self.base_resolution < 2 or not self.growth >= 1:
            raise ValueError(f"base_resolution must be >= 2, growth >= 1; got {self.base_resolution} and {self.growth}")
        if self.resolutions[-1] > 1 << 20:
            raise ValueError(f"the finest level must have at most 2^20 vertices per axis; got {self.resolutions[-1]}")

    @cached_property
    def scales(self) -> NDArray[np.float32]:
        """Cells per unit length (L,)."""
        return (self.base_resolution * float(self.growth) ** np.arange(self.levels) - 1).astype(np.float32)

    @cached_property
    def resolutions(self) -> NDArray[np.int64]:
        """Vertices per axis (L,)."""
        return np.ceil(self.scales).astype(np.int64) + 1

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Table entries (L,) of each level."""
        dense = [-(-(int(r) ** self.dimensions) // _ALIGNMENT) * _ALIGNMENT for r in self.resolutions]
        return np.minimum(dense, 1 << self.log2_entries)

    @cached_property
    def dense(self) -> NDArray[np.bool_]:
        """Whether each level (L,) has an entry of its own for every vertex."""
        return np.array([int(r) ** self.dimensions <= int(n) for r, n in zip(self.resolutions, self.sizes)])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First entry of each level, and the number of all (L + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @property
    def table_shape(self) -> tuple[int, int]:
        """(entries, features) of the table that holds all levels."""
        return int(self.offsets[-1]), self.features

    @property
    def width(self) -> int:
        """Values per encoded point: levels * features."""
        return self.levels * self.features

    def finest_mm(self, size_mm: float) -> float:
        """Length of a cell of the finest level in a box of this side."""
        return size_mm / float(self.scales[-1])

    def random_table(self, seed: int, amplitude: float = 1e-4) -> NDArray[np.float32]:
        """Initial table, uniform in [-amplitude, amplitude]."""
        return np.random.default_rng(seed).uniform(-amplitude, amplitude, self.table_shape).astype(np.float32)
