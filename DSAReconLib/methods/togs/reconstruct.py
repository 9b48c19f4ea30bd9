"""TOGS: Gaussian splatting with a temporal opacity offset (arXiv 2403.19586, IEEE JBHI 2025).

Alpha-composited grey Gaussians in front of white are fitted to the subtracted pictures;
their opacity is a base value plus an offset that is linear between knots in time. It is a
method of view synthesis: novel views are rendered by its own compositing, and the volume
is a conversion that the paper does not have (see ``attenuation``). What differs from the
paper is listed in docs/methods/togs.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.fitting.loop import FittingLoop
from DSAReconLib.fitting.region import contrast_support
from DSAReconLib.fitting.threads import one_torch_thread
from DSAReconLib.fitting.threshold import surface_threshold
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.togs.attenuation import calibrated_gaussians, voxelized
from DSAReconLib.methods.togs.config import Config
from DSAReconLib.methods.togs.model import first_parameters, frozen
from DSAReconLib.methods.togs.rasterizers import make_rasterizer
from DSAReconLib.methods.togs.schedule import run_schedule
from DSAReconLib.methods.togs.training import Trainer
from DSAReconLib.reconstruction import PictureScale, Reconstruction

if TYPE_CHECKING:
    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.progress import Progress

NO_ATTENUATION = (
    "togs.no_attenuation",
    "TOGS models pictures, not attenuation: the volume is its opacity scaled to the measured mean line integral. "
    "Do not read attenuation values from it.",
)
_FRAMES = 61
"""Instants at which the brightest fifth of the run is looked for."""
_EVIDENCE_SHARE = 1 / 96
"""Voxel size, as share of the field of view, at which the region of contrast is looked for."""
_WINDOW_S = 1.5
"""How long consecutive views must agree on contrast; not longer than the bolus."""
_FEWEST_STARTS = 100
"""Below so many voxels the region of contrast says nothing."""


def reconstruct(
    angiogram: Angiogram,
    grid: VolumeGrid,
    config: Config,
    *,
    device: str,
    progress: Progress,
    checkpoint: CheckpointStore | None = None,
) -> Reconstruction:
    """Fit Gaussians to the pictures; the volume is their conversion on ``grid``.

    Raises
    ------
    DependencyError
        A CUDA device without gsplat.
    JobCancelled
        The state is in ``checkpoint`` then, and the next call goes on from it.
    """
    with one_torch_thread(device):
        binned = _binned(angiogram, config.detector_pixels)
        schedule = run_schedule(config, len(angiogram))
        stored = checkpoint.load() if checkpoint is not None else None
        picture = picture_scale(binned, config.picture)
        trainer = _trainer(binned, picture, grid, config, device, progress)
        if stored is not None:
            trainer.restore(stored)
        loop = FittingLoop(progress, "fit", checkpoint=checkpoint)
        loop.run(
            trainer.step,
            schedule.iterations,
            start=0 if stored is None else int(stored["iteration"]),
            state=lambda done: {"iteration": done} | trainer.state(),
            message=f"{binned.geometry.detector_shape[0]} x {binned.geometry.detector_shape[1]} px",
        )
        return _result(trainer, config, binned, angiogram, picture, grid, device, progress)


def picture_scale(angiogram: Angiogram, kind: str) -> PictureScale:
    """Grey scale whose black is the largest measured line integral of all pictures (min-max over the stack)."""
    return PictureScale(kind, max(float(_measured(angiogram).max()), float(np.finfo(np.float32).tiny)))


def _measured(angiogram: Angiogram) -> NDArray[np.float32]:
    """Line integrals (V, R, C) with 0, the background, where there is no measurement (as the paper does)."""
    images = angiogram.line_integrals
    usable = np.isfinite(np.broadcast_to(angiogram.variance, images.shape)) & np.isfinite(images)
    return np.where(usable, images, 0).astype(np.float32)


def _binned(angiogram: Angiogram, pixels: int | None) -> Angiogram:
    factor = 1 if pixels is None else -(-min(angiogram.geometry.detector_shape) // pixels)
    return angiogram.binned(factor) if factor > 1 else angiogram


def _trainer(
    angiogram: Angiogram, picture: PictureScale, grid: VolumeGrid, config: Config, device: str, progress: Progress
) -> Trainer:
    """Gaussians at their start, and everything to train them."""
    schedule = run_schedule(config, len(angiogram))
    rng = np.random.default_rng(config.seed)
    points = _start_points(angiogram, grid, config, rng, progress)
    return Trainer(
        first_parameters(points, config.knots, config.degree, rng, device),
        torch.tensor(picture.pictures(_measured(angiogram)), device=device),
        np.clip(angiogram.times_s / max(angiogram.duration_s, 1e-9), 0, 1),
        angiogram.geometry.source_mm,
        make_rasterizer(config.rasterizer, angiogram.geometry, device),
        config,
        schedule,
    )


def _start_points(
    angiogram: Angiogram, grid: VolumeGrid, config: Config, rng: np.random.Generator, progress: Progress
) -> NDArray[np.float64]:
    """Random points (N, 3), mm."""
    half = config.cube_half_width * float(np.median(angiogram.geometry.sod_mm))
    if config.start == "contrast":
        evidence = grid.resampled(float(grid.size_mm.max()) * _EVIDENCE_SHARE)
        voxels = contrast_support(angiogram, evidence, window_s=_WINDOW_S, progress=progress)
        if len(voxels) >= _FEWEST_STARTS:
            chosen = evidence.points_mm(rng.choice(voxels, config.points))
            jitter: NDArray[np.float64] = rng.uniform(-0.5, 0.5, chosen.shape) * evidence.spacing_mm
            return chosen + jitter
        progress.warn("togs.start", "The views agree on contrast hardly anywhere; the Gaussians start in a cube.")
    return rng.uniform(-half, half, (config.points, 3))


def _result(
    trainer: Trainer,
    config: Config,
    binned: Angiogram,
    angiogram: Angiogram,
    picture: PictureScale,
    grid: VolumeGrid,
    device: str,
    progress: Progress,
) -> Reconstruction:
    """The fitted model, and its conversion to attenuation."""
    pixel_mm = float(np.mean(binned.geometry.isocenter_pixel_mm))
    model = frozen(trainer.parameters, angiogram.duration_s, picture, pixel_mm)
    gaussians, factor = calibrated_gaussians(model, binned, config.volume, device=device, progress=progress)
    volume = voxelized(gaussians, grid, progress=progress)
    frames = np.linspace(0.0, angiogram.duration_s, _FRAMES)
    threshold = surface_threshold(volume.top_mean(frames), angiogram, grid, device=device, progress=progress)
    facts = {
        "gaussians": float(len(model)),
        "density_factor": factor,
        "black_line_integral": picture.largest,
        "camera_extent_mm": trainer.extent_mm,
    }
    return Reconstruction(
        volume,
        threshold,
        gaussians=gaussians,
        native="pictures",
        warnings=(NO_ATTENUATION,),
        facts=facts,
        pictures=model,
    )
