"""Unsteady flow: the heart beat modulates the curves and makes their clocks run unevenly.

mu(x, t) = (1 + a(x, t)) m(x, t - w(x, t)) with the transit model m and two fields that are smooth
in space and time: a relative change of concentration a and a change of arrival w. They have few
values, all views together determine them, and they do not know of single vessels: what is no
vessel for the transit model stays none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.sparse.backend import CPU_KERNELS, SparseKernels
from DSAReconLib.kernels.sparse.descent import adam_step
from DSAReconLib.kernels.sparse.lattice import Lattice
from DSAReconLib.reconstruction import TemporalBasis

_NODE_MM = 20.0
_KNOT_S, _VIEWS_PER_KNOT = 0.25, 1.5
_CHANGE_MAX = 0.6
_DELAY_MAX_S = 0.4
_OFFSET_S = 0.08
_RATE_CHANGE, _RATE_DELAY_S = 0.02, 0.008
_EXPECTED_CHANGE, _EXPECTED_DELAY_S = 0.2, 0.1
_BETAS = (0.9, 0.98)

Array = NDArray[np.float32]


@dataclass
class UnsteadyFlow:
    """Both fields on nodes in space and time, with the moments of Adam; changes in place.

    Parameters
    ----------
    origin_mm, shape
        First node (x, y, z) and number of nodes per axis; ``_NODE_MM`` apart.
    knots_s
        Knots in time (J,), s.
    values
        Relative change and delay in s at knots and nodes (2, J, G).
    """

    origin_mm: NDArray[np.float64]
    shape: tuple[int, int, int]
    knots_s: NDArray[np.float64]
    values: Array
    moments: tuple[Array, Array] = field(repr=False)
    step: int = 0

    def arrays(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        first, second = self.moments
        names = ("origin_mm", "shape", "knots_s", "values", "step")
        return {name: getattr(self, name) for name in names} | {"first": first, "second": second}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> UnsteadyFlow:
        """The fields that :meth:`arrays` described."""
        depth, height, width = (int(n) for n in arrays["shape"])
        moments = arrays["first"], arrays["second"]
        origin, knots, values = arrays["origin_mm"], arrays["knots_s"], arrays["values"]
        return cls(origin, (depth, height, width), knots, values, moments, int(arrays["step"]))

    def in_space(self, points_mm: Array) -> Lattice:
        """Trilinear interpolation from nodes to points (N, 3)."""
        return Lattice(points_mm, self.origin_mm, _NODE_MM, self.shape)

    def in_time(self, times_s: NDArray[np.float64]) -> Array:
        """Linear interpolation (V, J) from knots to times (V,)."""
        return TemporalBasis.hats(self.knots_s).at(times_s)


@dataclass(frozen=True)
class Modulated:
    """Amplitudes (V, N) of Gaussians under unsteady flow and what their gradients need."""

    amplitudes: Any
    steady: Any
    slope: Any
    gain: Any
    table: Any
    place: Any
    space: Any
    time: Array
    kernels: SparseKernels

    def by_coefficients(self, gradient: Any) -> Any:
        """Gradient (N, K) of a loss by the coefficients from that by the amplitudes (V, N)."""
        return self.kernels.warped_gradient(self.table, self.place, gradient * self.gain)

    def by_fields(self, gradient: Any) -> Array:
        """Gradient (2, J, G) by the fields."""
        change = self.space.spread(gradient * self.steady)
        delay = self.space.spread(-gradient * self.gain * self.slope)
        return np.stack([self.time.T @ change, self.time.T @ delay]).astype(np.float32)


def steady_flow(points_mm: Array, duration_s: float, views: int) -> UnsteadyFlow:
    """Fields that are 0, on nodes around the points."""
    low, high = points_mm.min(0).astype(float), points_mm.max(0).astype(float)
    shape = np.maximum(np.ceil((high - low) / _NODE_MM).astype(int) + 1, 2)
    origin = (low + high) / 2 - (shape - 1) * _NODE_MM / 2
    interval = max(_KNOT_S, _VIEWS_PER_KNOT * duration_s / views)
    knots = np.linspace(0, duration_s, max(3, math.ceil(duration_s / interval) + 1))
    values = np.zeros((2, len(knots), int(np.prod(shape))), np.float32)
    return UnsteadyFlow(origin, tuple(shape), knots, values, (np.zeros_like(values), np.zeros_like(values)))


def modulated(
    flow: UnsteadyFlow,
    coefficients: Any,
    points_mm: Any,
    basis: TemporalBasis,
    times_s: NDArray[np.float64],
    kernels: SparseKernels = CPU_KERNELS,
) -> Modulated:
    """Amplitudes (V, N) at times (V,) of Gaussians with coefficients (N, K) at points (N, 3 or more).

    Arrays per Gaussian are those of the kernels' device.
    """
    reach = math.ceil(_DELAY_MAX_S / _OFFSET_S)
    offsets = np.arange(-reach, reach + 1) * _OFFSET_S
    table = basis.at((np.asarray(times_s)[:, None] + offsets).ravel()).reshape(len(times_s), len(offsets), -1)
    space, time = kernels.lattice(points_mm, flow.origin_mm, _NODE_MM, flow.shape), flow.in_time(times_s)
    fields = space.read((time @ flow.values).reshape(2 * len(time), -1))
    change, delay = fields[: len(time)], fields[len(time) :]
    place = (reach - delay / _OFFSET_S).clip(0, 2 * reach - 1e-3)
    steady, slope = kernels.warped_curves(coefficients, table, place)
    gain = 1 + change
    return Modulated(gain * steady, steady, slope / _OFFSET_S, gain, kernels.array(table), place, space, time, kernels)


def update_flow(flow: UnsteadyFlow, gradient: Array, *, prior: float, decay: float) -> None:
    """One Adam step of the fields.

    Parameters
    ----------
    gradient
        Of the loss, by the fields (2, J, G).
    prior
        Weight of minus the logarithm of the prior probability in the units of that loss.
    decay
        Factor of the learning rate.
    """
    expected = np.array([_EXPECTED_CHANGE, _EXPECTED_DELAY_S], np.float32)[:, None, None]
    total = gradient + np.float32(prior) * _prior_slope(flow) / expected**2
    flow.step += 1
    rates = np.array([_RATE_CHANGE, _RATE_DELAY_S], np.float32)[:, None, None] * np.float32(decay)
    flat = (flow.values.shape[0], -1)
    parameters = flow.values.reshape(flat)
    adam_step(
        parameters,
        np.ascontiguousarray(total.reshape(flat), np.float32),
        tuple(moment.reshape(flat) for moment in flow.moments),  # type: ignore[arg-type]
        np.ascontiguousarray(np.broadcast_to(rates, flow.values.shape)).reshape(flat),
        step=flow.step,
        betas=_BETAS,
    )
    np.clip(flow.values[0], -_CHANGE_MAX, _CHANGE_MAX, out=flow.values[0])
    np.clip(flow.values[1], -_DELAY_MAX_S, _DELAY_MAX_S, out=flow.values[1])


def _prior_slope(flow: UnsteadyFlow) -> Array:
    """Gradient (2, J, G) of half the squared values and differences between neighbors in space and time."""
    nodes = flow.values.reshape(*flow.values.shape[:2], *flow.shape)
    slope = nodes.copy()
    for axis in (1, 2, 3, 4):
        difference = np.diff(nodes, axis=axis)
        pad = [(0, 0)] * 5
        pad[axis] = (1, 1)
        slope -= np.diff(np.pad(difference, pad), axis=axis)
    return slope.reshape(flow.values.shape)


def swings(flow: UnsteadyFlow, coefficients: Array, points_mm: Array, basis: TemporalBasis) -> tuple[float, float]:
    """Rms change of concentration (relative) and of arrival (s), weighted by contrast, over the knots in time."""
    curves = modulated(flow, coefficients, points_mm, basis, flow.knots_s)
    contrast = np.maximum(curves.steady, 0).T
    total = max(float(contrast.sum()), 1e-9)
    space = flow.in_space(points_mm)
    change, delay = (float(np.sqrt((contrast * space.read(nodes).T ** 2).sum() / total)) for nodes in flow.values)
    return change, delay
