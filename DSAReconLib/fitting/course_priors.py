"""Priors on the time courses of Gaussians: sparsity, smoothness in time, coherence between neighbors.

At any instant a run has one view only: what a Gaussian does between the views that pin it
down, only such priors can say. Each function gives a gradient (N, K) by the coefficients in
units of the projected mass, so that one weight serves every Gaussian size and voxel size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float32]

NEIGHBORS = 9
"""A Gaussian and its eight nearest."""
_FLOOR = 0.2
"""Relative to a well-filled vessel's attenuation: what is weaker is judged as if it were so strong."""
_DARK_SHARE = 0.1
"""Neighborhoods without attenuation get the inverse of this times the plain sparsity weight."""
_FULL_PERCENTILE = 99.0


@dataclass(frozen=True)
class CoursePriors:
    """Weights of the priors.

    Parameters
    ----------
    sparsity, smoothness, coherence
        Against a data term whose slope per pixel is at most 1.
    reweighting
        See :meth:`sparsity_weights`; 0 = off.
    reference
        Attenuation of a well-filled vessel, 1/mm.
    """

    sparsity: float
    smoothness: float
    coherence: float
    reweighting: float
    reference: float

    @property
    def needs_neighbors(self) -> bool:
        """Whether :meth:`gradient` looks at neighbors."""
        return bool(self.coherence or (self.sparsity and self.reweighting))

    def gradient(self, coefficients: FloatArray, neighbors: NDArray[np.int64] | None) -> FloatArray:
        """Gradient (N, K) per unit of projected mass; ``neighbors`` (N, n) from :func:`nearest`."""
        total = np.zeros_like(coefficients)
        scale = 1 / (coefficients.max(1, keepdims=True) + np.float32(_FLOOR * self.reference))
        if self.sparsity:
            total += self.sparsity_weights(coefficients, neighbors)[:, None]
        if self.smoothness and coefficients.shape[1] > 2:
            total += np.float32(self.smoothness) * scale * roughness_slope(coefficients)
        if self.coherence and neighbors is not None:
            total += np.float32(self.coherence) * scale * (coefficients - neighbor_course(coefficients, neighbors))
        return total

    def sparsity_weights(self, coefficients: FloatArray, neighbors: NDArray[np.int64] | None) -> FloatArray:
        """L1 weights (N,): less where the neighborhood is filled (reweighted L1, Candes et al. 2008)."""
        if not self.reweighting:
            return np.full(len(coefficients), self.sparsity, np.float32)
        level = coefficients.mean(1)
        if neighbors is not None:
            level = level[neighbors].mean(1)
        full = max(float(np.percentile(level, _FULL_PERCENTILE)), 1e-12) if len(level) else 1.0
        relative = level / np.float32(full * self.reweighting)
        return (self.sparsity / (relative + np.float32(_DARK_SHARE))).astype(np.float32)


def roughness_slope(coefficients: FloatArray) -> FloatArray:
    """Gradient (N, K) of half the sum of squared second differences along K."""
    bend = np.diff(coefficients, 2, axis=1)
    slope = np.zeros_like(coefficients)
    slope[:, 2:] += bend
    slope[:, 1:-1] -= 2 * bend
    slope[:, :-2] += bend
    return slope


def neighbor_course(coefficients: FloatArray, neighbors: NDArray[np.int64]) -> FloatArray:
    """Mean course of the neighbors (N, K), scaled to each Gaussian's own sum."""
    course = np.zeros_like(coefficients)
    for column in neighbors.T:
        course += coefficients[column]
    own = coefficients.sum(1, keepdims=True)
    return course * (own / np.maximum(course.sum(1, keepdims=True), np.float32(1e-12)))


def nearest(means: FloatArray, count: int = NEIGHBORS) -> NDArray[np.int64]:
    """Indices (N, n) of the ``count`` nearest centers of each center (N, 3), itself first; n <= N."""
    number = min(count, len(means))
    _, index = cKDTree(means).query(means, number)
    return np.asarray(index, np.int64).reshape(len(means), number)
