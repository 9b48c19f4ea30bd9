"""Training of the Gaussians: one picture per step, density control, resets, and all state for a checkpoint."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DSAReconLib.fitting.density import RowEdit, VisibilityStatistics
from DSAReconLib.methods.togs import density
from DSAReconLib.methods.togs.config import Config
from DSAReconLib.methods.togs.hyperparameters import Schedule
from DSAReconLib.methods.togs.model import Parameters, colors_from, opacities_at, smoothness
from DSAReconLib.methods.togs.rasterizers import Rasterizer
from DSAReconLib.methods.togs.similarity import SimilarityLoss

_BETAS, _EPSILON = (0.9, 0.999), 1e-15
_HARMONICS_SHARE = 1 / 20  # of the color's step


class Trainer:
    """Gaussians in training.

    Parameters
    ----------
    parameters
        Where they start; taken over.
    pictures
        (V, R, C), contrast dark on white.
    phases
        Time of every picture in [0, 1] of the run (V,).
    sources_mm
        Positions of the source (V, 3).
    rasterizer
        Composites the views of ``pictures``.
    config, schedule
        What to do when.
    """

    def __init__(
        self,
        parameters: Parameters,
        pictures: Tensor,
        phases: NDArray[np.float64],
        sources_mm: NDArray[np.float64],
        rasterizer: Rasterizer,
        config: Config,
        schedule: Schedule,
    ) -> None:
        self._config, self._schedule, self._rasterizer = config, schedule, rasterizer
        self._shape, self._phases = pictures.shape[1:], phases
        self._sources = torch.tensor(sources_mm, dtype=pictures.dtype, device=pictures.device)
        self._loss = SimilarityLoss(pictures, schedule.ssim_weight)
        self.extent_mm = camera_extent(sources_mm)
        self._rng = np.random.default_rng(config.seed)
        self._order: list[int] = []
        self.parameters = parameters
        self._optimizer = self._new_optimizer({})
        self._watch(len(parameters["means"]))
        self._shown = float("nan")

    # ------------------------------------------------------------------ one step
    def step(self, iteration: int) -> dict[str, float]:
        """One picture (iterations count from 0); returns the metrics to report."""
        number = iteration + 1
        self._set_rates(number)
        view = self._next_view()
        tables = self.parameters
        degree = min(self._config.degree, number // self._config.degree_step)
        image = self._rasterizer(
            view,
            tables["means"],
            tables["log_scales"].exp(),
            tables["quats"],
            opacities_at(tables, float(self._phases[view])),
            colors_from(tables, self._sources[view], degree),
        )
        loss = self._loss(image, view)
        (loss + self._schedule.smooth_weight * smoothness(tables)).backward()
        if number < self._schedule.stop:
            self._remember()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._control(number)
        value = float(loss.detach())
        self._shown = value if np.isnan(self._shown) else 0.98 * self._shown + 0.02 * value
        return {"loss": self._shown, "gaussians": float(len(self.parameters["means"]))}

    def _next_view(self) -> int:
        """Views in random order, each once before any comes again."""
        if not self._order:
            self._order = self._rng.permutation(len(self._phases)).tolist()
        return self._order.pop()

    def _set_rates(self, number: int) -> None:
        """Logarithmically falling steps of the positions."""
        share = min(number / self._schedule.iterations, 1.0)
        first, last = self._config.position_rate, self._config.position_rate_end
        self._optimizer.param_groups[0]["lr"] = self.extent_mm * first ** (1 - share) * last**share

    def _remember(self) -> None:
        """Add the gradients of the projected centers, in normalized image coordinates."""
        gradient, radii = self._rasterizer.screen()
        rows, columns = self._shape
        norm = np.hypot(gradient[:, 0] * columns / 2, gradient[:, 1] * rows / 2)
        seen = (radii > 0).astype(float)
        self._statistics.add(seen, norm * seen, np.zeros(len(seen)))
        np.maximum(self._radii, radii, out=self._radii)

    def _control(self, number: int) -> None:
        """Copy, split, prune and reset when it is time."""
        schedule = self._schedule
        if schedule.start < number < schedule.stop and number % schedule.interval == 0:
            edit = density.controlled(
                self.parameters, self._statistics.mean_gradient(), self._radii / self._shape[1], schedule, self._config,
                extent_mm=self.extent_mm, after_reset=number > schedule.reset,
            )  # fmt: skip
            self._apply(edit)
        if number < schedule.stop and number % (2 * schedule.interval) == 0:
            self._apply(density.thinned(len(self.parameters["means"]), schedule.random_share, self._rng))
        if number < schedule.stop and number % schedule.reset == 0:
            density.reset_opacity(self.parameters["opacity"])
            for moment in self._optimizer.state[self.parameters["opacity"]].values():
                if moment.ndim:
                    moment.zero_()

    def _apply(self, edit: RowEdit) -> None:
        """Change the rows of everything that has one per Gaussian."""
        states = {
            name: edit.moments(self._moments(name)) | {"step": self._optimizer.state[tensor]["step"]}
            for name, tensor in self.parameters.items()
            if self._optimizer.state[tensor]
        }
        self.parameters = density.edited(self.parameters, edit, self._rng)
        self._optimizer = self._new_optimizer(states)
        self._watch(len(edit))

    def _watch(self, count: int) -> None:
        self._statistics = VisibilityStatistics(count)
        self._radii: NDArray[np.float32] = np.zeros(count, np.float32)

    # ------------------------------------------------------------------ optimizer
    def _new_optimizer(self, states: dict[str, dict[str, Tensor]]) -> torch.optim.Adam:
        """Adam on the present tables, with the given states of those that have been moved before."""
        config, schedule = self._config, self._schedule
        rates = {
            "means": config.position_rate * self.extent_mm,
            "log_scales": config.scale_rate,
            "quats": config.rotation_rate,
            "opacity": schedule.opacity_rate,
            "offsets": schedule.opacity_rate,
            "color": schedule.feature_rate,
            "harmonics": schedule.feature_rate * _HARMONICS_SHARE,
        }
        self.parameters = {name: self.parameters[name].detach().requires_grad_() for name in rates}
        groups = [{"params": [self.parameters[name]], "lr": rate} for name, rate in rates.items()]
        optimizer = torch.optim.Adam(groups, betas=_BETAS, eps=_EPSILON, fused=True)
        for name, state in states.items():
            optimizer.state[self.parameters[name]] = state
        return optimizer

    def _moments(self, name: str) -> dict[str, Tensor]:
        state = self._optimizer.state[self.parameters[name]]
        return {key: state[key] for key in ("exp_avg", "exp_avg_sq")}

    # ------------------------------------------------------------------ checkpoints
    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as arrays."""
        arrays: dict[str, Any] = {
            "order": np.array(self._order, np.int64),
            "random": np.array(json.dumps(self._rng.bit_generator.state)),
            "radii": self._radii,
            "shown": self._shown,
        }
        arrays |= {f"statistics_{name}": values for name, values in self._statistics.state().items()}
        for name, tensor in self.parameters.items():
            arrays[f"parameter_{name}"] = tensor.detach().cpu().numpy().copy()
            arrays |= {
                f"{key}_{name}": value.cpu().numpy().copy() for key, value in self._optimizer.state[tensor].items()
            }
        return arrays

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        device = self._sources.device
        names = list(self.parameters)
        self.parameters = {name: torch.tensor(state[f"parameter_{name}"], device=device) for name in names}
        states = {
            name: {
                key: torch.tensor(state[f"{key}_{name}"], device=device) for key in ("step", "exp_avg", "exp_avg_sq")
            }
            for name in names
            if f"exp_avg_{name}" in state
        }
        self._optimizer = self._new_optimizer(states)
        self._rng.bit_generator.state = json.loads(str(state["random"]))
        self._order = [int(view) for view in state["order"]]
        self._radii = state["radii"].astype(np.float32)
        parts = {name: state[f"statistics_{name}"] for name in ("gradient", "attenuation", "visible")}
        self._statistics = VisibilityStatistics.restored(parts)
        self._shown = float(state["shown"])


def camera_extent(sources_mm: NDArray[np.float64]) -> float:
    """1.1 times the largest distance (mm) of a source from their mean: the scene extent of 3DGS."""
    return 1.1 * float(np.linalg.norm(sources_mm - sources_mm.mean(0), axis=1).max())
