"""Linear maps for torch's autograd. Imports torch: import it inside functions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LinearMap(torch.autograd.Function):
    """y = A x with gradient A^T g, itself differentiable again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, run: Callable[[Tensor], Tensor], run_adjoint: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """``run(x)``; the map is linear, so nothing of x is kept."""
        ctx.run, ctx.run_adjoint = run, run_adjoint
        return run(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """``run_adjoint(gradient)``, as a linear map again."""
        return LinearMap.apply(gradient, ctx.run_adjoint, ctx.run), None, None
