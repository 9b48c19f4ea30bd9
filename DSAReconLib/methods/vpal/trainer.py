"""Fitting the fields of VPAL to rays drawn at random: loss, optimizer, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import DSAReconError
from DSAReconLib.fitting.data_term import pixel_weights
from DSAReconLib.fitting.ray_sampling import FieldBox, march
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.vpal.config import Config
from DSAReconLib.methods.vpal.empty_space import EmptySpace
from DSAReconLib.methods.vpal.schedule import active_levels, perturbed_times, prior_factor, rate_factor
from DSAReconLib.models.neural_field import FieldValues, VesselFields

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_CHUNK = 1 << 17
"""Points per evaluation of the fields: bounds memory and the time until a job can be cancelled."""
_MOST_RESEEDS = 5


class Trainer:
    """Fits :class:`VesselFields` to the views of an angiogram.

    Minimizes the mean over pixels of w |rendered - measured| + ``prior_weight`` times the
    mean of p over the box (VPAL eq. 1.4 to 1.6). Pixels whose ray meets no occupied cell
    cannot change and are not drawn; both terms keep their weights. Each step seeds its own
    random numbers, so that a resumed fit continues exactly.

    Parameters
    ----------
    angiogram
        Selected views; pixels of infinite variance are ignored.
    grid
        Its box is where the fields live; its voxels set the distance of points on a ray.
    config, device, progress
        As for the method.
    """

    def __init__(
        self, angiogram: Angiogram, grid: VolumeGrid, config: Config, device: str, *, progress: Progress
    ) -> None:
        self._angiogram, self._config, self._device, self._progress = angiogram, config, device, progress
        self.box = FieldBox.of_grid(grid)
        self._step_mm = config.step_voxels * min(grid.spacing_mm)
        self.fields = new_fields(config).to(device)
        # values below zero are noise: the public code clips them, and a median is not moved by it
        self._measured = np.maximum(np.where(measured_pixels(angiogram), angiogram.line_integrals, 0), 0).reshape(-1)
        self._times = angiogram.times_s / max(angiogram.duration_s, 1e-9)
        self.empty_space = EmptySpace(angiogram, grid, config, device, self._step_mm, progress=progress)
        self._optimizer = self._new_optimizer()
        self.samples, self.reseeded, self.loss = 0, 0, float("nan")

    @property
    def parameters(self) -> int:
        """Number of fitted values."""
        return sum(parameter.numel() for parameter in self.fields.parameters())

    def _new_optimizer(self) -> torch.optim.Adam:
        tables = [p for name, p in self.fields.named_parameters() if name.endswith("table")]
        others = [p for name, p in self.fields.named_parameters() if not name.endswith("table")]
        config = self._config
        groups = [{"params": tables, "lr": config.table_learning_rate}, {"params": others, "lr": config.learning_rate}]
        return torch.optim.Adam(groups, eps=config.adam_epsilon, fused=True)

    def step(self, iteration: int) -> dict[str, float]:
        """One update; returns the metrics to report."""
        config = self._config
        rng = np.random.default_rng([config.seed, iteration])
        levels = active_levels(config, iteration)
        if iteration % config.occupancy_interval == 0:
            self.empty_space.refresh(self.fields, levels, iteration, rng)
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._data_term(levels, rng)
        probability = self._prior(levels, prior_factor(config, iteration), rng)
        factor = rate_factor(config, iteration)
        for group, rate in zip(self._optimizer.param_groups, (config.table_learning_rate, config.learning_rate)):
            group["lr"] = factor * rate
        self._optimizer.step()
        self.loss = loss
        if dead := dead_heads(self.fields.variant, self._peaks):
            self._reseed(dead)
        return {"loss": loss, "probability": probability, "occupied": self.empty_space.occupancy.share}

    def _data_term(self, levels: int, rng: np.random.Generator) -> float:
        """Back-propagate the rendering loss of one batch; returns it per drawn pixel."""
        config = self._config
        pixels, share = self.empty_space.pixels, self.empty_space.pixel_share
        count = config.rays
        if config.points:
            count = int(np.clip(config.points / self.empty_space.points_per_ray, 16, 16 * config.rays))
        drawn = pixels[rng.integers(0, len(pixels), count)]
        view = drawn // int(np.prod(self._angiogram.geometry.detector_shape))
        times, weights = perturbed_times(self._times[view], len(self._angiogram), config, rng)
        offsets = rng.random(count, np.float32) if config.jitter else np.full(count, 0.5, np.float32)
        rays = self.box.rays(self._angiogram.geometry, drawn, self._device)
        device = self._device
        samples = march(
            rays, torch.from_numpy(times).to(device), self._step_mm, self.empty_space.occupancy,
            torch.from_numpy(offsets).to(device),
        )  # fmt: skip
        self.samples = len(samples.points)
        measured = torch.from_numpy(self._measured[drawn]).to(device)
        weight = torch.from_numpy(weights).to(device)
        total, self._peaks = 0.0, {"static": 0.0, "dynamic": 0.0}
        for chunk, first, last in _ray_chunks(samples.ray, count):
            self._progress.check_cancelled()
            values = self.fields(samples.points[chunk], levels)
            self._note_peaks(values)
            part = samples._replace(ray=samples.ray[chunk] - first)
            rendered = part.line_integrals(values.attenuation, last - first)
            residual = rendered - measured[first:last]
            penalty = residual.abs() if config.loss == "l1" else residual**2
            loss = (weight[first:last] * penalty).sum() / count
            if config.sparsity:
                weights = self.empty_space.sparsity_weights(samples.points[chunk])
                mass = (weights * values.attenuation).sum() * samples.spacing_mm / count
                (share * (loss + config.sparsity * mass)).backward()
            else:
                (share * loss).backward()
            total += float(loss.detach())
        return total

    def _prior(self, levels: int, factor: float, rng: np.random.Generator) -> float:
        """Back-propagate the prior on the probability; returns its mean in the occupied cells."""
        config = self._config
        place = self.empty_space.random_points(config.prior_points, rng)
        if not config.prior_weight or (p := self.fields.probability(place, levels)) is None:
            return float("nan")
        mean = p.mean()
        (factor * config.prior_weight * self.empty_space.occupancy.share * mean).backward()
        return float(mean.detach())

    @torch.no_grad()
    def _note_peaks(self, values: FieldValues) -> None:
        """Largest output of each attenuation head in this batch."""
        for name, part in (("static", values.static), ("dynamic", values.dynamic)):
            if part is not None and len(part):
                self._peaks[name] = max(self._peaks[name], float(part.max()))

    def _reseed(self, names: tuple[str, ...]) -> None:
        """Start dead heads again from other random parameters, with a fresh optimizer state."""
        self.reseeded += 1
        if self.reseeded > _MOST_RESEEDS:
            raise DSAReconError(
                f"The attenuation is zero everywhere, also after {_MOST_RESEEDS} new starts.",
                hint="Set a lower vpal.learning_rate and vpal.table_learning_rate.",
                code="vpal.dead_field",
            )
        self._progress.warn(
            "vpal.dead_head",
            f"The output of {' and '.join(names)} became zero everywhere, where it has no gradient: started anew.",
        )
        for name in names:
            self.fields.fields[name].reseed(1000 * (self._config.seed + 1) + 10 * self.reseeded)
            for parameter in self.fields.fields[name].parameters():
                self._optimizer.state.pop(parameter, None)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        arrays: dict[str, Any] = {}
        for name, parameter in self.fields.named_parameters():
            arrays[f"value.{name}"] = parameter.detach().cpu().numpy()
            for key, value in self._optimizer.state.get(parameter, {}).items():
                arrays[f"{key}.{name}"] = value.cpu().numpy()
        return arrays | {"reseeded": self.reseeded} | self.empty_space.state()

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        for name, parameter in self.fields.named_parameters():
            parameter.copy_(torch.from_numpy(state[f"value.{name}"]))
            keys = ("step", "exp_avg", "exp_avg_sq")
            stored = {key: torch.from_numpy(state[f"{key}.{name}"]) for key in keys if f"{key}.{name}" in state}
            if stored:
                self._optimizer.state[parameter] = {key: value.to(self._device) for key, value in stored.items()}
        self.reseeded = int(state["reseeded"])
        self.empty_space.restore(state)


def dead_heads(variant: str, peaks: dict[str, float]) -> tuple[str, ...]:
    """Heads whose ReLU is closed everywhere although the variant cannot do without them.

    A closed ReLU passes no gradient: it stays closed. A static part that is zero beside a
    dynamic one is a result (nothing static is left), not a fault.
    """
    if variant == "static":
        return ("static",) if peaks["static"] <= 0 else ()
    return ("dynamic",) if peaks["dynamic"] <= 0 else ()


def measured_pixels(angiogram: Angiogram) -> np.ndarray:
    """Which pixels (V, R, C) hold a measurement."""
    result: np.ndarray = pixel_weights(angiogram, by_variance=False) > 0
    return result


def new_fields(config: Config) -> VesselFields:
    """Fields with initial parameters."""
    from DSAReconLib.kernels.hashgrid import HashGrid

    common = {"levels": config.levels, "features": int(config.features), "log2_entries": config.log2_entries}
    space = HashGrid(3, base_resolution=config.base_resolution, growth=config.growth, **common)
    space_time = HashGrid(4, base_resolution=config.base_resolution_time, growth=config.growth_time, **common)
    return VesselFields(
        config.variant,
        space,
        space_time,
        hidden=config.hidden,
        layers=config.layers,
        seed=1000 * config.seed,
        scale=config.attenuation_scale,
    )


def _ray_chunks(ray: Tensor, rays: int) -> list[tuple[slice, int, int]]:
    """Parts of the samples of at most ``_CHUNK`` points (but whole rays): samples, first and last ray."""
    ends = torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device)).cpu().numpy()
    chunks, first = [], 0
    while first < rays:
        last = int(np.searchsorted(ends, ends[first] + _CHUNK, side="right")) - 1
        last = min(max(last, first + 1), rays)
        chunks.append((slice(int(ends[first]), int(ends[last])), first, last))
        first = last
    return chunks
