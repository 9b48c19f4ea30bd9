"""What every linear operator offers: A(x), A.T(y), shapes, and a check that they belong together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class LinearOperator(ABC):
    """A linear map between arrays of fixed shape, with its exact adjoint.

    ``y = A(x)``, ``x = A.T(y)``, ``A.T.T is A``. numpy arrays give numpy arrays, torch
    tensors give torch tensors that autograd can differentiate.
    """

    @property
    @abstractmethod
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of x."""

    @property
    @abstractmethod
    def range_shape(self) -> tuple[int, ...]:
        """Shape of y."""

    @abstractmethod
    def __call__(self, x: Any) -> Any:
        """A x, of :attr:`range_shape`."""

    @abstractmethod
    def adjoint(self, y: Any) -> Any:
        """A^T y, of :attr:`domain_shape`."""

    @property
    def T(self) -> LinearOperator:  # noqa: N802  # the mathematical name
        """The adjoint as an operator."""
        return AdjointOperator(self)

    def adjointness_error(self, seed: int = 0) -> float:
        """|<Ax, y> - <x, A^T y>| / (|Ax| |y|) for Gaussian random x and y in float32."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(self.domain_shape, np.float32)
        y = rng.standard_normal(self.range_shape, np.float32)
        ax = np.asarray(self(x), np.float64)
        aty = np.asarray(self.adjoint(y), np.float64)
        scale = np.linalg.norm(ax) * np.linalg.norm(y.astype(np.float64))
        return float(abs(np.vdot(ax, y) - np.vdot(x, aty)) / scale) if scale else 0.0


class AdjointOperator(LinearOperator):
    """A^T of another operator; its adjoint is that operator itself."""

    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of the other operator's range."""
        return self._operator.range_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        """Shape of the other operator's domain."""
        return self._operator.domain_shape

    @property
    def T(self) -> LinearOperator:  # noqa: N802
        """The other operator."""
        return self._operator

    def __call__(self, x: Any) -> Any:
        """A^T x."""
        return self._operator.adjoint(x)

    def adjoint(self, y: Any) -> Any:
        """A y."""
        return self._operator(y)
