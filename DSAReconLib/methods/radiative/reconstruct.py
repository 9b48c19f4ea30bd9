"""4D radiative Gaussian splatting: where Gaussians begin, their fit, and what comes out of it.

See ``docs/methods/radiative.md`` for what is the paper's and what is ours.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.fitting.loop import FittingLoop
from DSAReconLib.fitting.threshold import probability_above
from DSAReconLib.fitting.voxelizing import dynamic_volume
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.splat import voxelize
from DSAReconLib.methods.radiative.config import Config
from DSAReconLib.methods.radiative.seeding import (
    SeedRegion,
    backprojected,
    first_gaussians,
    scale_bounds,
    seed_region,
)
from DSAReconLib.methods.radiative.training import Scene, Trainer, scene_of
from DSAReconLib.models.attenuation_field import AttenuationField, FreeCourses, NeuralAttenuation, spline_basis
from DSAReconLib.models.gaussian_table import GaussianTable
from DSAReconLib.reconstruction import RadiativeGaussians, Reconstruction, TemporalBasis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.progress import Progress

_FRAMES = 101
_VIEWS_PER_KNOT = 1.9
_KNOTS_LIMITS = (4, 40)
_THRESHOLD_SHARE = 0.125
_THRESHOLD_PERCENTILE = 99.5
"""Of the brightest-fifth mean of the lit voxels: taken for that of a voxel filled with contrast."""
_LIT_SHARE, _VOLUME_FLOOR_SHARE = 0.07, 1e-3
"""Of a well-filled vessel's attenuation: voxels counted for the threshold, voxels kept."""


def reconstruct(
    angiogram: Angiogram,
    grid: VolumeGrid,
    config: Config,
    *,
    device: str,
    progress: Progress,
    checkpoint: CheckpointStore | None = None,
) -> Reconstruction:
    """Fit Gaussians to the views; the volume lies on the part of ``grid`` that they reach.

    Raises
    ------
    DSAReconError
        ``radiative.no_contrast``: the views agree on contrast nowhere.
    JobCancelled
        The state is in ``checkpoint`` then, and the next call goes on from it.
    """
    ordered = angiogram.select(np.argsort(angiogram.times_s, kind="stable"))
    field = _field(ordered, grid, config, device)
    progress.report("seed", 0.0)
    key = _key(ordered, config)
    stored = checkpoint.load() if checkpoint is not None else None
    if stored is not None and str(stored.get("key")) != key:
        stored = None
    region = seed_region(ordered, grid, config, progress)
    scene = scene_of(ordered, config, region, float(grid.size_mm.max()), device, progress)
    start = 0
    if stored is None:
        trainer = Trainer(scene, _first(scene, field), field)
    else:
        start = int(stored["step"])
        trainer = Trainer(scene, GaussianTable.restored(stored, scale_bounds(region, config), start), field)
        trainer.restore(stored)
    progress.report("seed", 1.0)

    def state(_done: int) -> dict[str, Any]:
        return trainer.state() | {"key": key}

    loop = FittingLoop(progress, "fit", checkpoint=checkpoint, preview=lambda: _preview(trainer, field, region))
    loop.run(trainer.step, config.steps, start=start, state=state)
    return _result(trainer, field, scene, grid)


def _key(angiogram: Angiogram, config: Config) -> str:
    """Fingerprint of data and parameters: a state of another job must not be resumed."""
    text = f"{config!r} {angiogram.line_integrals.shape} {angiogram.times_s.tolist()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _field(angiogram: Angiogram, grid: VolumeGrid, config: Config, device: str) -> AttenuationField:
    """Where the attenuation comes from."""
    if config.time_basis == "neural":
        return NeuralAttenuation(
            grid,
            angiogram.duration_s,
            log2_entries=config.field_log2_entries,
            samples=config.field_samples,
            seed=config.seed,
            device=device,
        )
    if config.time_basis == "constant":
        return FreeCourses(TemporalBasis.constant())
    knots = config.knots
    if knots is None:
        knots = int(np.clip(round(len(angiogram) / _VIEWS_PER_KNOT), *_KNOTS_LIMITS))
    if config.time_basis == "bspline":
        return FreeCourses(spline_basis(knots, angiogram.duration_s))
    return FreeCourses(TemporalBasis.hats(np.linspace(0, angiogram.duration_s, knots)))


def _first(scene: Scene, field: AttenuationField) -> GaussianTable:
    """The Gaussians to begin with."""
    functions = len(field.basis) if isinstance(field, FreeCourses) else None
    values = backprojected(scene.angiogram.line_integrals, scene.angiogram, scene.region, scene.progress)
    rng = np.random.default_rng([scene.config.seed, 0])
    return first_gaussians(values, scene.region, scene.config, functions, rng)


def _gaussians(table: GaussianTable, field: AttenuationField) -> RadiativeGaussians:
    """The present Gaussians as a value."""
    coefficients, basis = field.frozen(table)
    quats = table.rows["quats"]
    unit = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    return RadiativeGaussians(table.rows["means"].copy(), table.scales, unit, coefficients, basis)


def _preview(trainer: Trainer, field: AttenuationField, region: SeedRegion) -> NDArray[np.float32]:
    """Coarse volume of the largest coefficient."""
    model = _gaussians(trainer.table, field)
    return voxelize(model.means_mm, model.scales_mm, model.quats_wxyz, model.coefficients.max(0), region.grid)


def _result(trainer: Trainer, field: AttenuationField, scene: Scene, grid: VolumeGrid) -> Reconstruction:
    """Gaussians, volume and surface threshold."""
    progress = scene.progress
    progress.report("output", 0.0)
    model = _gaussians(trainer.table, field)
    volume = dynamic_volume(model, grid, floor=_VOLUME_FLOOR_SHARE * scene.reference)
    progress.check_cancelled()
    bright = volume.top_mean(np.linspace(0, scene.angiogram.duration_s, _FRAMES))
    lit = bright[bright > _LIT_SHARE * scene.reference]
    filled = float(np.percentile(lit, _THRESHOLD_PERCENTILE)) if lit.size else scene.reference
    threshold = _THRESHOLD_SHARE * filled
    views = np.arange(len(scene.angiogram))
    squares = [
        float((scene.loss.residual(trainer.rendered(views[n : n + 1]), views[n : n + 1]) ** 2).mean()) for n in views
    ]
    progress.report("output", 1.0)
    facts = {
        "gaussians": float(len(model)),
        "seed_voxel_mm": scene.region.spacing_mm,
        "residual_rms": float(np.sqrt(np.mean(squares))),
        "noise": scene.noise,
        "time_functions": float(len(model.basis)),
    }
    return Reconstruction(
        volume,
        threshold,
        gaussians=model,
        native="gaussians",
        vessel_probability=probability_above(bright, threshold),
        facts=facts,
    )
