"""One voxel size of TiAVox: the objective and its minimization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.fitting.data_term import ProjectionLoss
from DSAReconLib.fitting.optimizers import AcceleratedDescent, ProjectedAdam
from DSAReconLib.fitting.priors import neighbor_table, tv_space, tv_time
from DSAReconLib.fitting.projection import FootprintProjection, JosephProjection, ViewProjection
from DSAReconLib.methods.tiavox.config import Config
from DSAReconLib.models.voxels import TimeVoxels

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_CURVATURE_FLOOR = 1e-3
"""Relative to the mean: voxels and knots that no view sees move by the priors alone."""
_FILLED_PERCENTILE = 99.5
"""Of the time-averaged attenuation of the lit voxels: taken for that of a voxel filled with contrast."""
_DARK_SHARE = 0.1
"""Dark voxels get the inverse of this times the configured sparsity."""


class LevelSolver:
    """Fits :class:`TimeVoxels` of one voxel size.

    Minimizes, over values >= 0, the :class:`ProjectionLoss` plus

        tv_space_mm   mean over knots of the integral of |grad mu| over the volume (mm)
        tv_time_s     mean over knots of the integral of |d mu / dt| over the volume (mm^2/s)
        sparsity      mean over knots of the integral of mu over the volume (mm^2)

    all in mm^2, so that the weights mean the same for every voxel size and number of views.
    """

    def __init__(self, angiogram: Angiogram, model: TimeVoxels, config: Config, *, progress: Progress) -> None:
        self.model, self._config, self._progress = model, config, progress
        device = str(model.values.device)
        projection = _projection(angiogram, model, config.projector)
        self._data = ProjectionLoss(angiogram, projection, device=device, variance_weights=config.variance_weights)
        self._mixing = torch.as_tensor(model.mixing(angiogram.times_s), device=device)
        table = neighbor_table(model.support, model.grid.shape_zyx)
        self._neighbors = torch.as_tensor(table, device=device)
        curvature = self._data.curvature(model.values, self._mixing, progress)
        self._curvature = curvature + _CURVATURE_FLOOR * curvature.mean()
        voxel = float(np.prod(model.grid.spacing_mm))
        knots = len(model.knots_s)
        step_s = float(model.knots_s[1] - model.knots_s[0])
        self._space_weight = config.tv_space_mm * voxel ** (2 / 3) / knots
        self._time_weight = config.tv_time_s * voxel / step_s / knots
        self._sparsity = config.sparsity * voxel / knots * self._relative_sparsity()
        self.residual = float("nan")
        self._optimizer = self._new_optimizer()

    def _new_optimizer(self) -> AcceleratedDescent | ProjectedAdam:
        if self._config.optimizer == "accelerated":
            return AcceleratedDescent(self.model.values)
        last = max(self._config.iterations - 1, 1)
        return ProjectedAdam(self.model.values, lambda n: self._config.learning_rate * 0.1 ** (n / last))

    def _relative_sparsity(self) -> Tensor:
        """Weights (N,): 1, or small where the round before found a vessel and up to 10 where it found nothing."""
        density = self.model.values.mean(0)
        if not (self._config.reweighting and self._config.sparsity and bool((density > 0).any())):
            return torch.ones_like(density)
        padded = torch.cat([density, density.new_zeros(1)])
        around = padded[self._neighbors.long()].mean(0)
        filled = float(np.percentile(density[density > 0].cpu().numpy(), _FILLED_PERCENTILE))
        relative = (0.5 * density + 0.5 * around) / filled
        return 1 / (relative / self._config.reweighting + _DARK_SHARE)

    def step(self, _iteration: int) -> dict[str, float]:
        """One pass over all views and one update; returns the metrics to report."""
        loss = self._optimizer.step(self._evaluate)
        self.model.values = self._optimizer.x
        return {"loss": loss, "rms": self.residual}

    def _evaluate(self, values: Tensor) -> tuple[float, Tensor, Tensor]:
        """Objective, gradient and majorizing curvature at ``values`` (K, N)."""
        config = self._config
        total, gradient, mean_square = self._data(values, self._mixing, self._progress)
        self.residual = mean_square**0.5
        curvature = self._curvature.clone()
        priors = []
        if config.tv_space_mm:
            priors.append((self._space_weight, tv_space(values, self._neighbors, config.tv_epsilon)))
        if config.tv_time_s:
            priors.append((self._time_weight, tv_time(values, config.tv_epsilon)))
        for weight, (value, slope, bend) in priors:
            total = total + weight * value
            gradient.add_(slope, alpha=weight)
            curvature.add_(bend, alpha=weight)
        if config.sparsity:
            total = total + float((values.sum(0) * self._sparsity).sum())
            gradient += self._sparsity
        return float(total), gradient, curvature

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep of this level."""
        return self._optimizer.state() | {"sparsity": self._sparsity.cpu().numpy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        self._optimizer.restore(state)
        self._sparsity = torch.as_tensor(state["sparsity"], device=self._sparsity.device)
        self.model.values = self._optimizer.x


def _projection(angiogram: Angiogram, model: TimeVoxels, kind: str) -> ViewProjection:
    """The configured projector for the voxels of ``model``."""
    if kind == "footprint" and model.values.device.type == "cpu":
        return FootprintProjection(model.grid, model.support, angiogram.geometry)
    return JosephProjection(model.grid, model.support, angiogram.geometry, str(model.values.device))
