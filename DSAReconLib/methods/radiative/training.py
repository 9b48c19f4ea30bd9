"""Steps of the fit: render some views, compare, follow Adam, and control the Gaussians' density.

All randomness depends on seed and step only, so that a resumed run continues exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.fitting.course_priors import CoursePriors, nearest
from DSAReconLib.fitting.density import VisibilityStatistics
from DSAReconLib.fitting.image_loss import ImageLoss
from DSAReconLib.fitting.pixel_weights import pixel_weights
from DSAReconLib.kernels.splat.splatter import ShapeGradients, XraySplatter
from DSAReconLib.methods.radiative.config import Config
from DSAReconLib.methods.radiative.control import controlled, finished, settling
from DSAReconLib.methods.radiative.seeding import SeedRegion, backprojected, further_gaussians
from DSAReconLib.models.attenuation_field import AttenuationField
from DSAReconLib.models.gaussian_table import GaussianTable

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

FloatArray = NDArray[np.float32]

_FIRST_MOMENT = 0.9
_WEIGHT_MAX = 4.0
_RESEED_SHARES = (0.15, 0.45)
"""Gaussians are added between these shares of the steps."""
_COURSE_FLOOR = 0.2
"""Relative to a well-filled vessel: courses weaker than this learn as fast as if they were so strong."""
_PEAK_PERCENTILE = 99.9
_PEAK_THICKNESS_MM = 5.0
"""The strongest line integrals are taken for those of a vessel so thick."""
_RENDER_CHUNK = 6


@dataclass(frozen=True)
class Scene:
    """What stays the same during the fit.

    Parameters
    ----------
    angiogram
        The views in the order of time.
    region
        Where Gaussians may begin.
    extent_mm
        Edge of the field of view: the unit of the position rate.
    reference
        Attenuation of a well-filled vessel, 1/mm, a rough guess from the line integrals.
    noise
        Standard deviation of a pixel of weight 1.
    """

    angiogram: Angiogram
    config: Config
    region: SeedRegion
    extent_mm: float
    reference: float
    noise: float
    loss: ImageLoss
    splatter: XraySplatter
    progress: Progress

    @property
    def pixel_mm(self) -> float:
        """Pixel size at the isocenter, mm."""
        return math.sqrt(math.prod(self.angiogram.geometry.isocenter_pixel_mm))


def scene_of(
    angiogram: Angiogram, config: Config, region: SeedRegion, extent_mm: float, device: str, progress: Progress
) -> Scene:
    """Weights, noise and view constants of the views (in the order of time)."""
    weights = np.minimum(pixel_weights(angiogram, config.variance_weights), np.float32(_WEIGHT_MAX))
    measured = np.where(weights > 0, angiogram.line_integrals, 0).astype(np.float32)
    variance = np.broadcast_to(angiogram.variance, measured.shape)[weights > 0]
    noise = math.sqrt(max(float(np.median(variance)), 0.0)) if variance.size else 0.0
    reference = max(float(np.percentile(measured, _PEAK_PERCENTILE)) / _PEAK_THICKNESS_MM, 1e-4)
    return Scene(
        angiogram,
        config,
        region,
        extent_mm,
        reference,
        noise,
        ImageLoss(measured, weights, ssim_weight=config.ssim_weight, bend=config.bend_in_noise * noise),
        XraySplatter(
            angiogram.geometry, pixel_box=config.pixel_average, affine=config.integral == "affine", device=device
        ),
        progress,
    )


class Trainer:
    """The changing part: Gaussians, the field of their attenuation, statistics for the density control."""

    def __init__(self, scene: Scene, table: GaussianTable, field: AttenuationField) -> None:
        self.table, self._scene, self._field = table, scene, field
        config = scene.config
        self.statistics = VisibilityStatistics(len(table))
        self._priors = CoursePriors(
            config.sparsity, config.smoothness, config.coherence, config.reweighting, scene.reference
        )
        self._neighbors: NDArray[np.int64] | None = None
        self._find_neighbors()

    def step(self, iteration: int) -> dict[str, float]:
        """One Adam step, and density control when due; returns the metrics to report."""
        views = self._views(iteration)
        times = self._times(views, iteration)
        amplitudes = self._field.amplitudes(self.table, times)
        shapes = self.table.shapes
        rendered = self._scene.splatter.images(shapes, amplitudes, views)
        self._scene.progress.check_cancelled()
        loss, slope = self._scene.loss(rendered, views)
        found = self._scene.splatter.gradients(shapes, amplitudes, views, slope)
        self._scene.progress.check_cancelled()
        self._count(found, amplitudes)
        self._follow(found, times, iteration)
        self.table.step = iteration + 1
        self._control(iteration + 1)
        return {"loss": loss, "gaussians": float(len(self.table))}

    def rendered(self, views: NDArray[np.int64]) -> FloatArray:
        """Line integrals (n, R, C) of the present model at the views' own times."""
        amplitudes = self._field.amplitudes(self.table, self._scene.angiogram.times_s[views])
        return self._scene.splatter.images(self.table.shapes, amplitudes, views)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as arrays."""
        statistics = {f"statistics:{name}": values for name, values in self.statistics.state().items()}
        neighbors = {} if self._neighbors is None else {"neighbors": self._neighbors}
        return self.table.state() | self._field.state() | statistics | neighbors | {"step": self.table.step}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        self.table = GaussianTable.restored(state, self.table.bounds, int(state["step"]))
        self._field.restore(state)
        prefix = "statistics:"
        stored = {key[len(prefix) :]: values for key, values in state.items() if key.startswith(prefix)}
        self.statistics = VisibilityStatistics.restored(stored)
        self._neighbors = state.get("neighbors")

    def _views(self, iteration: int) -> NDArray[np.int64]:
        """Every n-th view, with an offset that runs through all of them at random (batch 1: any order)."""
        count, batch = len(self._scene.angiogram), self._scene.config.batch
        batches = math.ceil(count / batch)
        order = np.random.default_rng([self._scene.config.seed, iteration // batches]).permutation(batches)
        return np.arange(order[iteration % batches], count, batches)

    def _times(self, views: NDArray[np.int64], iteration: int) -> NDArray[np.float64]:
        """Times of the views (n,), all shifted by the same random amount (4DRGS eq. 4.6)."""
        angiogram, config = self._scene.angiogram, self._scene.config
        times = angiogram.times_s[views]
        if not config.time_jitter:
            return times
        interval = angiogram.duration_s / len(angiogram)
        shift = np.random.default_rng([config.seed, 1, iteration]).standard_normal(
            1 if config.batch == 1 else len(views)
        )
        return np.clip(times + config.time_jitter * interval * shift, 0, angiogram.duration_s)

    def _count(self, found: ShapeGradients, amplitudes: FloatArray) -> None:
        """Statistics of the density control; gradients of the mean loss, per half detector."""
        rows, columns = self._scene.angiogram.geometry.detector_shape
        seen = found.pulls >= 0
        unit = 0.5 * max(rows, columns) / (rows * columns)
        pulls = unit * np.where(seen, found.pulls, 0).sum(0, dtype=np.float64)
        self.statistics.add(seen.sum(0), pulls, np.where(seen, amplitudes, 0).sum(0, dtype=np.float64))

    def _follow(self, found: ShapeGradients, times: NDArray[np.float64], iteration: int) -> None:
        """Adam on every row and on the field."""
        config, table = self._scene.config, self.table
        decay = config.rate_decay ** (iteration / config.steps)
        gradients = {
            "means": found.means_mm,
            "raw_scales": found.scales_mm * table.bounds.slope(table.rows["raw_scales"]),
            "quats": found.quats_wxyz,
        }
        for name, gradient in self._field.pull_back(table, times, found.amplitudes).items():
            gradients[name] = gradients[name] + gradient if name in gradients else gradient
        rates: dict[str, Any] = {
            "means": config.position_rate * self._scene.extent_mm * decay,
            "raw_scales": config.scale_rate * decay,
            "quats": config.rotation_rate * decay,
        }
        if "coefficients" in gradients:
            courses = table.rows["coefficients"]
            mass = table.volumes_mm3 / np.float32(self._scene.pixel_mm**2)
            prior = self._priors.gradient(courses, self._neighbors)
            gradients["coefficients"] = gradients["coefficients"] + np.float32(len(times)) * mass[:, None] * prior
            height = np.maximum(courses.max(1, keepdims=True), np.float32(_COURSE_FLOOR * self._scene.reference))
            rates["coefficients"] = np.float32(config.attenuation_rate * decay) * height
        table.adam(gradients, rates, (_FIRST_MOMENT, config.second_moment), iteration + 1)
        if "coefficients" in gradients:
            np.maximum(table.rows["coefficients"], 0, out=table.rows["coefficients"])
        self._field.update(config.attenuation_rate * decay)

    def _control(self, done: int) -> None:
        """Prune, grow and reseed after ``done`` steps where it is time to."""
        scene, config = self._scene, self._scene.config
        views, voxel = len(scene.angiogram), scene.region.spacing_mm
        if done == config.steps:
            self.table = finished(self.table, config, voxel, scene.reference, views)
        elif done % config.control_every == 0 and not settling(config, done):
            self.table = controlled(
                self.table, self.statistics, config, done, scene.region.grid, scene.reference, views
            )
            if done in _reseed_steps(config):
                self._reseed()
            self.statistics = VisibilityStatistics(len(self.table))
            self._find_neighbors()

    def _reseed(self) -> None:
        """Add Gaussians where the residual of all views, backprojected, is bright."""
        if "coefficients" not in self.table.rows:
            return
        scene = self._scene
        residual = np.zeros_like(scene.angiogram.line_integrals)
        for start in range(0, len(residual), _RENDER_CHUNK):
            scene.progress.check_cancelled()
            views = np.arange(start, min(start + _RENDER_CHUNK, len(residual)))
            residual[views] = -scene.loss.residual(self.rendered(views), views)
        values = backprojected(residual, scene.angiogram, scene.region, scene.progress)
        functions = self.table.rows["coefficients"].shape[1]
        self.table = self.table.joined(further_gaussians(values, self.table, scene.region, scene.config, functions))

    def _find_neighbors(self) -> None:
        if self._priors.needs_neighbors and "coefficients" in self.table.rows and len(self.table):
            self._neighbors = nearest(self.table.rows["means"])


def _reseed_steps(config: Config) -> set[int]:
    """Steps after which Gaussians are added; all of them are steps of the density control."""
    if not config.reseeds:
        return set()
    shares = np.linspace(*_RESEED_SHARES, config.reseeds) * config.steps / config.control_every
    return {int(step) for step in np.maximum(np.rint(shares), 1).astype(int) * config.control_every}
