"""Parameters of Gaussians under optimization, one row each, with the moments of Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.sparse.descent import adam_step
from DSAReconLib.kernels.splat.splatter import Shapes

FloatArray = NDArray[np.float32]

GAUSSIAN_VOLUME = float((2 * np.pi) ** 1.5)
"""Integral of exp(-|x|^2 / 2)."""
_MARGIN = 1e-6


@dataclass(frozen=True)
class ScaleBounds:
    """Bounded scaling activation of 4DRGS (its eq. 4.3): s = low + (high - low) sigmoid(raw), mm."""

    low: float
    high: float

    def scales(self, raw: FloatArray) -> FloatArray:
        """Standard deviations, mm, of raw values."""
        return (self.low + (self.high - self.low) * _sigmoid(raw)).astype(np.float32)

    def slope(self, raw: FloatArray) -> FloatArray:
        """Derivative of :meth:`scales`."""
        share = _sigmoid(raw)
        return ((self.high - self.low) * share * (1 - share)).astype(np.float32)

    def raw(self, scales: FloatArray) -> FloatArray:
        """Inverse of :meth:`scales`; values beyond the bounds are clamped into them."""
        share = np.clip((np.asarray(scales, float) - self.low) / (self.high - self.low), _MARGIN, 1 - _MARGIN)
        return np.log(share / (1 - share)).astype(np.float32)


@dataclass
class GaussianTable:
    """Rows of N Gaussians; changes in place.

    Parameters
    ----------
    rows
        ``means`` (N, 3), mm; ``raw_scales`` (N, 3); ``quats`` (N, 4), w, x, y, z of any
        length; and ``coefficients`` (N, K), 1/mm, unless the attenuation is a field's.
    moments
        First and second moments of each, names with ``.1`` and ``.2`` appended.
    bounds
        Of the scales.
    step
        Number of steps done.
    """

    rows: dict[str, FloatArray]
    moments: dict[str, FloatArray]
    bounds: ScaleBounds
    step: int = 0

    @classmethod
    def isotropic(
        cls, means: FloatArray, sigmas: FloatArray, bounds: ScaleBounds, coefficients: FloatArray | None = None
    ) -> GaussianTable:
        """Round Gaussians with standard deviations (N,), mm, at ``means`` (N, 3)."""
        count = len(means)
        quats = np.zeros((count, 4), np.float32)
        quats[:, 0] = 1
        rows = {
            "means": np.ascontiguousarray(means, np.float32),
            "raw_scales": bounds.raw(np.repeat(sigmas[:, None], 3, axis=1)),
            "quats": quats,
        }
        if coefficients is not None:
            rows["coefficients"] = np.ascontiguousarray(coefficients, np.float32)
        return cls(rows, _zero_moments(rows), bounds)

    def __len__(self) -> int:
        return len(self.rows["means"])

    @property
    def scales(self) -> FloatArray:
        """Standard deviations (N, 3), mm."""
        return self.bounds.scales(self.rows["raw_scales"])

    @property
    def shapes(self) -> Shapes:
        """What a splatter draws."""
        return Shapes(self.rows["means"], self.scales, self.rows["quats"])

    @property
    def volumes_mm3(self) -> FloatArray:
        """Volume (N,), mm^3, that times the central attenuation is the integrated attenuation."""
        return np.float32(GAUSSIAN_VOLUME) * self.scales.prod(1)

    def adam(
        self, gradients: Mapping[str, FloatArray], rates: Mapping[str, Any], betas: tuple[float, float], step: int
    ) -> None:
        """One Adam update of the named rows; ``step`` counts from 1."""
        for name, gradient in gradients.items():
            values = self.rows[name]
            adam_step(
                values,
                np.ascontiguousarray(gradient, np.float32),
                (self.moments[f"{name}.1"], self.moments[f"{name}.2"]),
                np.broadcast_to(np.asarray(rates[name], np.float32), values.shape),
                step=step,
                betas=betas,
            )

    def joined(self, other: GaussianTable) -> GaussianTable:
        """Both tables' rows, with the moments and the step of this one; new rows have no momentum."""
        rows = {name: np.concatenate([values, other.rows[name]]) for name, values in self.rows.items()}
        fresh = _zero_moments(other.rows)
        moments = {name: np.concatenate([values, fresh[name]]) for name, values in self.moments.items()}
        return GaussianTable(rows, moments, self.bounds, self.step)

    def state(self) -> dict[str, Any]:
        """All arrays by name, for a checkpoint."""
        return {f"row:{name}": values for name, values in self.rows.items()} | {
            f"moment:{name}": values for name, values in self.moments.items()
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], bounds: ScaleBounds, step: int) -> GaussianTable:
        """From a stored :meth:`state`."""
        parts: dict[str, dict[str, FloatArray]] = {"row": {}, "moment": {}}
        for key, values in state.items():
            kind, _, name = key.partition(":")
            if kind in parts:
                parts[kind][name] = values
        return cls(parts["row"], parts["moment"], bounds, step)


def _zero_moments(rows: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {f"{name}.{order}": np.zeros_like(values) for name, values in rows.items() for order in (1, 2)}


def _sigmoid(raw: FloatArray) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.asarray(raw, float)))  # type: ignore[no-any-return]
