"""Non-negative least squares with an L1 penalty on a sparse projector.

min over C >= 0 of 1/2 sum_v |A_v (B_v C) - d_v|^2_W + <penalty, C>, by a diagonal majorizer
(separable quadratic surrogate, Erdogan and Fessler 1999) with Nesterov momentum, first over
ordered subsets of the views (Kim, Ramani and Fessler 2015), then with full gradients and
adaptive restart (O'Donoghue and Candes 2015). Voxels that are still empty after the first steps
are left out of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.sparse.backend import Array, SparseKernels
from DSAReconLib.operators.sparse import SparseProjector

_SUBSET_MOMENTUM_MAX = 6.0
"""Cap of the Nesterov parameter during ordered subsets: their errors must not build up."""
_SCREENING_UPDATES = 40
"""After so many subset steps the voxels without coefficients are left out: few come back, most are of this kind."""


@dataclass(frozen=True)
class LinearProblem:
    """Data term of the fit.

    Parameters
    ----------
    projector
        N voxels, V views.
    basis
        Temporal functions at the views' times (V, K).
    images, weights
        Line integrals and weights (V, R, C).

    Arrays are numpy's, and so is what the methods take and give, or, after :meth:`resident`,
    all are arrays of the projector's device.
    """

    projector: SparseProjector
    basis: Array
    images: Array
    weights: Array

    @property
    def kernels(self) -> SparseKernels:
        """Where the problem is solved."""
        return self.projector.kernels

    def resident(self) -> LinearProblem:
        """The same problem with its arrays on the device."""
        move = self.kernels.array
        return LinearProblem(self.projector, move(self.basis), move(self.images), move(self.weights))

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (K, N) of the unknown."""
        return self.basis.shape[1], self.projector.domain_shape[1]

    def part(self, views: slice) -> LinearProblem:
        """The same problem with some of the views."""
        return LinearProblem(self.projector[views], self.basis[views], self.images[views], self.weights[views])

    def at(self, voxels: NDArray[np.intp]) -> LinearProblem:
        """The same problem for the voxels with the given numbers (n,) alone."""
        return LinearProblem(self.projector.at(voxels), self.basis, self.images, self.weights)

    def residual(self, coefficients: Array) -> Array:
        """Model minus data (V, R, C)."""
        residual = self.projector.project(self.basis, coefficients)
        residual -= self.images
        return residual

    def weighted_residual(self, coefficients: Array) -> Array:
        """Derivative (V, R, C) of the data term by the line integrals."""
        residual = self.residual(coefficients)
        residual *= self.weights
        return residual

    def gradient(self, coefficients: Array) -> Array:
        """Gradient (K, N) of the data term."""
        return self.projector.backproject(self.basis, self.weighted_residual(coefficients))

    def curvature(self) -> Array:
        """Diagonal majorizer B^T A^T W A B 1 (K, N) of the Hessian."""
        # coefficients of 1 mix to the same value everywhere
        ones = self.kernels.full((1, self.shape[1]), 1.0, like=self.images)
        images = self.projector.project(self.basis.sum(1).reshape(-1, 1), ones)
        images *= self.weights
        curvature = self.projector.backproject(self.basis, images)
        curvature += 1e-6 * (float(curvature.max()) if self.shape[1] else 0.0) + 1e-20
        return curvature


def solve(
    problem: LinearProblem,
    penalty: NDArray[np.float32],
    *,
    start: NDArray[np.float32] | None = None,
    epochs: int,
    subsets: int,
    full_steps: int,
    after_pass: Callable[[int], None],
) -> NDArray[np.float32]:
    """Coefficients (K, N) >= 0 after ``epochs`` subset passes and ``full_steps`` full steps.

    Parameters
    ----------
    problem
        Data term, views in the order of time.
    penalty
        L1 weight per coefficient (K, N).
    start
        Warm start (K, N); zeros if not given.
    subsets
        Number of interleaved subsets; 1 for bases that few views see (they diverge).
    after_pass
        Called with the number of passes done; may raise to cancel.
    """
    kernels, problem = problem.kernels, problem.resident()
    current = kernels.full(problem.shape, 0.0, like=problem.images) if start is None else kernels.copy_of(start)
    curvature, penalty = problem.curvature(), kernels.array(np.ascontiguousarray(penalty))
    screening = min(math.ceil(_SCREENING_UPDATES / subsets), epochs)
    _subset_passes(_parts(problem, subsets), current, curvature, penalty, screening, after_pass)
    result = kernels.host(current)
    filled = np.flatnonzero(result.any(0))
    if screening < epochs and len(filled):
        problem = problem.at(filled)
        current, curvature, penalty = (_columns(kernels, array, filled) for array in (current, curvature, penalty))
        parts = _parts(problem, subsets)
        _subset_passes(parts, current, curvature, penalty, epochs - screening, lambda n: after_pass(screening + n))
    _full_steps(problem, current, curvature, penalty, full_steps, lambda done: after_pass(epochs + done))
    if current.shape[1] < result.shape[1]:
        result = np.zeros_like(result)
        result[:, filled] = kernels.host(current)
        return result
    return kernels.host(current)


def _parts(problem: LinearProblem, subsets: int) -> list[LinearProblem]:
    """The problem's interleaved subsets of views."""
    return [problem.part(slice(first, None, subsets)) for first in range(subsets)] if subsets > 1 else [problem]


def _columns(kernels: SparseKernels, array: Array, columns: NDArray[np.intp]) -> Array:
    """Some columns of an array (K, N)."""
    return kernels.array(np.take(kernels.host(array), columns, axis=1))


def _subset_passes(
    parts: list[LinearProblem],
    current: Array,
    curvature: Array,
    penalty: Array,
    epochs: int,
    after_pass: Callable[[int], None],
) -> None:
    """Accelerated ordered-subset passes; updates ``current``."""
    point, momentum = parts[0].kernels.copy_of(current), 1.0
    for epoch in range(epochs):
        for part in parts:
            following = min((1 + math.sqrt(1 + 4 * momentum**2)) / 2, _SUBSET_MOMENTUM_MAX)
            part.projector.descend(
                part.basis,
                part.weighted_residual(point),
                (point, current),
                (curvature, penalty),
                gradient_scale=len(parts),
                momentum=(momentum - 1) / following,
            )
            momentum = following
            after_pass(epoch)


def _full_steps(
    problem: LinearProblem,
    current: Array,
    curvature: Array,
    penalty: Array,
    steps: int,
    after_pass: Callable[[int], None],
) -> None:
    """Accelerated full-gradient steps with restart; updates ``current``."""
    kernels = problem.kernels
    point, momentum = kernels.copy_of(current), 1.0
    for step in range(steps):
        uphill = kernels.proximal_step(point, current, problem.gradient(point), curvature, penalty)
        momentum = 1.0 if uphill > 0 else momentum
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        kernels.extrapolate(point, current, (momentum - 1) / following)
        momentum = following
        after_pass(step)
