"""Minimizers over non-negative tensors; all their state is in named tensors and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[float, Tensor, Tensor]]
"""x -> value, gradient, diagonal curvature that majorizes the Hessian."""


class AcceleratedDescent:
    """Nesterov's accelerated projected gradient steps with one step size per element, adaptive restart.

    Step sizes 1/curvature (separable quadratic surrogates, Erdogan & Fessler 1999) make each
    plain step a descent; the momentum follows Beck & Teboulle 2009 and starts again when it
    points uphill (O'Donoghue & Candes 2015).
    """

    def __init__(self, start: Tensor) -> None:
        self.x = start
        self._ahead = start.clone()
        self._momentum = 1.0

    def step(self, evaluate: Evaluate) -> float:
        """One evaluation and one update; returns the value before it."""
        value, gradient, curvature = evaluate(self._ahead)
        new = (self._ahead - gradient / curvature).clamp_(min=0)
        if torch.sum((self._ahead - new) * (new - self.x)) > 0:
            self._momentum = 1.0
        following = 0.5 * (1 + (1 + 4 * self._momentum**2) ** 0.5)
        self._ahead = new + (self._momentum - 1) / following * (new - self.x)
        self._momentum = following
        self.x = new
        return value

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as arrays."""
        return {"x": self.x.cpu().numpy(), "ahead": self._ahead.cpu().numpy(), "momentum": self._momentum}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        self.x = torch.as_tensor(state["x"], device=self.x.device)
        self._ahead = torch.as_tensor(state["ahead"], device=self.x.device)
        self._momentum = float(state["momentum"])


class ProjectedAdam:
    """Adam (Kingma & Ba 2015) followed by setting negative elements to 0.

    Parameters
    ----------
    start
        First iterate, taken over.
    learning_rate
        Rate at the step of the given number, in units of x.
    """

    def __init__(self, start: Tensor, learning_rate: Callable[[int], float]) -> None:
        self.x = start
        self._rate = learning_rate
        self._first, self._second, self._count = torch.zeros_like(start), torch.zeros_like(start), 0

    def step(self, evaluate: Evaluate) -> float:
        """One evaluation and one update; returns the value before it."""
        beta1, beta2, epsilon = 0.9, 0.99, 1e-12
        value, gradient, _ = evaluate(self.x)
        rate = self._rate(self._count)
        self._count += 1
        self._first.mul_(beta1).add_(gradient, alpha=1 - beta1)
        self._second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        mean = self._first / (1 - beta1**self._count)
        spread = (self._second / (1 - beta2**self._count)).sqrt_()
        self.x = (self.x - rate * mean / (spread + epsilon)).clamp_(min=0)
        return value

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as arrays."""
        arrays = {"x": self.x, "first": self._first, "second": self._second}
        return {name: tensor.cpu().numpy() for name, tensor in arrays.items()} | {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        device = self.x.device
        self.x, self._first, self._second = (
            torch.as_tensor(state[name], device=device) for name in ("x", "first", "second")
        )
        self._count = int(state["count"])
