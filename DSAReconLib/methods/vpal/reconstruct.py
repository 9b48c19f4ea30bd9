"""VPAL: vessel probability guided attenuation learning (arXiv 2405.10705).

mu_c(x, t) = (1 - p(x)) mu_s(x) + p(x) mu_d(x, t): three neural fields over hash encodings,
fitted to rays drawn at random. What differs from the paper is listed in
``docs/methods/vpal.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import DependencyError
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.vpal.config import Config
from DSAReconLib.reconstruction import Reconstruction

if TYPE_CHECKING:
    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.methods.vpal.sampling import VoxelFields
    from DSAReconLib.methods.vpal.trainer import Trainer
    from DSAReconLib.progress import Progress

_FRAMES = 61
"""Instants at which the brightest fifth of the run is looked for."""
_NARROW = 64
"""Hidden layers up to this width are multiplied faster by one thread."""
_THRESHOLD_SHARE = 0.7
"""Of the threshold that explains the views best, which the thick vessels decide: thin ones fill no voxel.
Tuned on one simulated tree (carotid, seed 12): clDice 0.80 to 0.87 for 0.07 less Dice."""


def reconstruct(
    angiogram: Angiogram,
    grid: VolumeGrid,
    config: Config,
    *,
    device: str,
    progress: Progress,
    checkpoint: CheckpointStore | None = None,
) -> Reconstruction:
    """Fit the fields and sample them on ``grid``.

    Returns
    -------
    Reconstruction
        Its volume holds p mu_d (or mu_c, ``volume="total"``) at ``knots`` times,
        ``vessel_probability`` p, and ``maps["static_attenuation"]`` (1 - p) mu_s.

    Raises
    ------
    DependencyError
        torch is not installed.
    DSAReconError
        ``vpal.no_contrast``: the views agree on contrast nowhere; ``vpal.dead_field``: the
        fields stay zero however they are started.
    JobCancelled
        The state is in ``checkpoint`` then, and the next call goes on from it.
    """
    if find_spec("torch") is None:
        raise DependencyError(
            "VPAL needs the package torch, which is not installed.",
            hint="pip install torch --index-url https://download.pytorch.org/whl/cpu (or a CUDA build of it)",
        )
    from DSAReconLib.methods.vpal.trainer import Trainer

    with _threads_for(device, config):
        trainer = Trainer(angiogram, grid, config, device, progress=progress)
        _fit(trainer, config, progress, checkpoint)
        sampled = _sampled(trainer, angiogram, grid, config, progress)
    return _result(sampled, trainer, angiogram, device, progress)


def _sampled(
    trainer: Trainer, angiogram: Angiogram, grid: VolumeGrid, config: Config, progress: Progress
) -> VoxelFields:
    from DSAReconLib.methods.vpal.sampling import voxel_fields

    knots_s = np.linspace(0.0, angiogram.duration_s, config.knots)
    return voxel_fields(
        trainer.fields,
        grid,
        trainer.empty_space.occupancy,
        knots_s,
        max(angiogram.duration_s, 1e-9),
        total=config.volume == "total",
        progress=progress,
    )


def _fit(trainer: Trainer, config: Config, progress: Progress, checkpoint: CheckpointStore | None) -> None:
    from DSAReconLib.fitting.loop import FittingLoop

    start = 0
    stored = checkpoint.load() if checkpoint is not None else None
    if stored is not None:
        trainer.restore(stored)
        start = int(stored["iteration"])

    def state(iteration: int) -> dict[str, Any]:
        return {"iteration": iteration} | trainer.state()

    loop = FittingLoop(progress, "fit", checkpoint=checkpoint, preview=lambda: trainer.empty_space.peaks)
    loop.run(trainer.step, config.iterations, start=start, state=state, message=f"{trainer.parameters} parameters")


def _result(
    sampled: VoxelFields, trainer: Trainer, angiogram: Angiogram, device: str, progress: Progress
) -> Reconstruction:
    """The sampled fields with their surface threshold."""
    from DSAReconLib.fitting.threshold import surface_threshold

    volume = sampled.volume
    frames = np.linspace(0.0, angiogram.duration_s, _FRAMES)
    threshold = surface_threshold(volume.top_mean(frames), angiogram, volume.grid, device=device, progress=progress)
    facts = {
        "parameters": float(trainer.parameters),
        "occupied_share": trainer.empty_space.occupancy.share,
        "pixel_share": trainer.empty_space.pixel_share,
        "points_per_ray": trainer.empty_space.points_per_ray,
        "reseeded": float(trainer.reseeded),
        "supported_voxels": float(volume.coefficients.shape[1]),
        "residual_mae": trainer.loss,
    }
    maps = {} if sampled.static is None else {"static_attenuation": sampled.static}
    return Reconstruction(
        volume, _THRESHOLD_SHARE * threshold, vessel_probability=sampled.probability, maps=maps, facts=facts
    )


@contextmanager
def _threads_for(device: str, config: Config) -> Iterator[None]:
    """One torch thread beside numba's while the layers are narrow.

    Two pools of threads that work in turns wait for each other; on shared cores this cost
    more than twice the time of the whole step.
    """
    import torch

    before = torch.get_num_threads()
    if device == "cpu" and config.hidden <= _NARROW:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
