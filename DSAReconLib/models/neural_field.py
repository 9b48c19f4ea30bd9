"""Neural fields: a multi-resolution hash encoding followed by a small perceptron (torch).

:class:`HashField` is the building block; :class:`VesselFields` the scene model of VPAL
(arXiv 2405.10705): vessel probability, static and dynamic attenuation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from DSAReconLib.kernels.hashgrid import HashGrid
from DSAReconLib.kernels.hashgrid.autograd import encode

VARIANTS = ("vpal", "sd", "pd", "dynamic", "static")
"""Which of the three fields a scene has; see :class:`VesselFields`."""


class HashEncoding(nn.Module):
    """Trainable features of points in the unit cube; see :class:`HashGrid`.

    Parameters
    ----------
    grid
        Levels.
    seed
        Of the initial table, uniform in +-1e-4 as in tiny-cuda-nn.
    """

    def __init__(self, grid: HashGrid, *, seed: int = 0) -> None:
        super().__init__()
        self.grid = grid
        self.table = nn.Parameter(torch.from_numpy(grid.random_table(seed)))

    def forward(self, points: Tensor, active_levels: int | None = None) -> Tensor:
        """Features (N, L * F) of points (N, D); those of levels from ``active_levels`` on are 0."""
        return encode(points, self.table, self.grid, active_levels=active_levels)


class Perceptron(nn.Module):
    """Linear maps without biases, ReLU in between.

    Parameters
    ----------
    widths
        Inputs, hidden layers, outputs.
    seed
        Of the initial weights.
    """

    def __init__(self, widths: Sequence[int], *, seed: int = 0) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.weights = nn.ParameterList(nn.Parameter(_xavier(a, b, seed + n)) for n, (a, b) in enumerate(pairs))

    def forward(self, values: Tensor) -> Tensor:
        """(N, widths[-1]) of (N, widths[0]); the last map is linear."""
        for weight in self.weights[:-1]:
            values = (values @ weight).relu_()  # in place: large buffers cost more than the arithmetic
        return values @ self.weights[-1]

    @torch.no_grad()
    def reseed(self, seed: int) -> None:
        """Start again from other random weights, in place."""
        for n, weight in enumerate(self.weights):
            weight.copy_(_xavier(weight.shape[0], weight.shape[1], seed + n))


class HashField(nn.Module):
    """Values of points in the unit cube: hash encoding and a perceptron without biases.

    Without biases a point whose features were never touched has the value (almost) zero.

    Parameters
    ----------
    grid
        Levels of the encoding.
    hidden, layers
        Width and number of the hidden layers (ReLU).
    outputs
        Values per point; the last layer is linear.
    seed
        Fixes all initial parameters.
    """

    def __init__(self, grid: HashGrid, *, hidden: int = 64, layers: int = 2, outputs: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.encoding = HashEncoding(grid, seed=seed)
        self.perceptron = Perceptron([grid.width, *[hidden] * layers, outputs], seed=seed + 1)

    def forward(self, points: Tensor, active_levels: int | None = None) -> Tensor:
        """(N, outputs) at points (N, D), in [0, 1]^D."""
        values: Tensor = self.perceptron(self.encoding(points, active_levels))
        return values

    @torch.no_grad()
    def reseed(self, seed: int) -> None:
        """Start again from other random parameters, in place."""
        self.encoding.table.copy_(torch.from_numpy(self.encoding.grid.random_table(seed)))
        self.perceptron.reseed(seed + 1)


class FieldValues(NamedTuple):
    """Fields at N points; (N,) each, a field that the variant lacks is ``None``."""

    attenuation: Tensor
    """mu_c, 1/mm."""
    probability: Tensor | None
    """p in (0, 1)."""
    static: Tensor | None
    """mu_s, 1/mm."""
    dynamic: Tensor | None
    """mu_d, 1/mm."""


class VesselFields(nn.Module):
    """mu_c(x, t) = (1 - p(x)) mu_s(x) + p(x) mu_d(x, t) (VPAL eq. 1.1).

    Parameters
    ----------
    variant
        ``"vpal"``; ``"sd"`` mu_s + mu_d; ``"pd"`` p mu_d; ``"dynamic"`` mu_d;
        ``"static"`` mu_s alone (NAF).
    space, space_time
        Encodings of x (for p and mu_s, each has one of its own) and of (x, t).
    hidden, layers
        Perceptron of each field.
    seed
        Fixes the initial parameters.
    scale
        Attenuation (1/mm) of an output of 1: of the size of the result, so that one step
        of Adam changes it by a small part.
    """

    def __init__(
        self,
        variant: str,
        space: HashGrid,
        space_time: HashGrid,
        *,
        hidden: int,
        layers: int,
        seed: int,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
        self.variant = variant
        parts = {"probability": space, "static": space, "dynamic": space_time}
        wanted = {
            "vpal": ("probability", "static", "dynamic"),
            "sd": ("static", "dynamic"),
            "pd": ("probability", "dynamic"),
            "dynamic": ("dynamic",),
            "static": ("static",),
        }[variant]
        size = {"hidden": hidden, "layers": layers}
        seeds = dict(zip(parts, (seed, seed + 100, seed + 200)))
        self.fields = nn.ModuleDict({name: HashField(parts[name], seed=seeds[name], **size) for name in wanted})

    def forward(self, points: Tensor, active_levels: int | None = None) -> FieldValues:
        """Fields at points (N, 4) of space and time in the unit cube."""
        place = points[:, :3].contiguous()
        return self._combined(
            self.probability(place, active_levels),
            self.static(place, active_levels),
            self._attenuation("dynamic", points, active_levels),
        )

    def probability(self, place: Tensor, active_levels: int | None = None) -> Tensor | None:
        """Vessel probability p (N,) at places (N, 3)."""
        if "probability" not in self.fields:
            return None
        return torch.sigmoid(self.fields["probability"](place, active_levels)[:, 0])

    def static(self, place: Tensor, active_levels: int | None = None) -> Tensor | None:
        """mu_s (N,) at places (N, 3), 1/mm."""
        return self._attenuation("static", place, active_levels)

    def dynamic(self, place: Tensor, time: float, active_levels: int | None = None) -> Tensor | None:
        """mu_d (N,) at places (N, 3) and one time in [0, 1], 1/mm."""
        points = torch.cat([place, place.new_full((len(place), 1), time)], 1)
        return self._attenuation("dynamic", points, active_levels)

    def _attenuation(self, name: str, points: Tensor, active_levels: int | None) -> Tensor | None:
        if name not in self.fields:
            return None
        return self.scale * torch.relu(self.fields[name](points, active_levels)[:, 0])

    def _combined(self, p: Tensor | None, static: Tensor | None, dynamic: Tensor | None) -> FieldValues:
        if p is not None and dynamic is not None:
            total = p * dynamic if static is None else (1 - p) * static + p * dynamic
        elif static is not None and dynamic is not None:
            total = static + dynamic
        else:
            total = static if dynamic is None else dynamic
        return FieldValues(total, p, static, dynamic)


def _xavier(inputs: int, outputs: int, seed: int) -> Tensor:
    """Weights (inputs, outputs), uniform with variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""
    limit = float(np.sqrt(6 / (inputs + outputs)))
    values = np.random.default_rng(seed).uniform(-limit, limit, (inputs, outputs))
    return torch.from_numpy(values.astype(np.float32))
