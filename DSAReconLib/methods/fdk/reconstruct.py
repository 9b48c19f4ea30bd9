"""FDK of the subtracted views as if the contrast did not move: the clinical 3D-DSA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from DSAReconLib.fitting.threshold import probability_above, surface_threshold
from DSAReconLib.operators.fdk import FdkFilter, reconstruct_fdk
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

if TYPE_CHECKING:
    from DSAReconLib.acquisition import Angiogram
    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.geometry import VolumeGrid
    from DSAReconLib.methods.fdk.config import Config
    from DSAReconLib.progress import Progress


def reconstruct(
    angiogram: Angiogram,
    grid: VolumeGrid,
    config: Config,
    *,
    device: str = "cpu",
    progress: Progress,
    checkpoint: CheckpointStore | None = None,
) -> Reconstruction:
    """Static attenuation from all views (Feldkamp, Davis, Kress 1984; methods as in :mod:`operators.fdk`).

    Vessels that are filled during a part of the run only come out dimmer than they are.
    There is nothing worth a checkpoint: the whole computation takes seconds.
    """
    fdk_filter = FdkFilter(angiogram.geometry, window=config.window, cutoff=config.cutoff, parker=config.parker)
    for code, message in fdk_filter.warnings:
        progress.warn(code, message)
    volume = reconstruct_fdk(
        angiogram.line_integrals,
        angiogram.geometry,
        grid,
        fdk_filter,
        variance=angiogram.variance,
        device=device,
        progress=progress,
    )
    if config.clip_negative:
        np.maximum(volume, 0, out=volume)
    progress.preview(volume)
    threshold = surface_threshold(volume, angiogram, grid, device=device, progress=progress)
    return Reconstruction(
        DynamicVolume(grid, volume.reshape(1, -1), TemporalBasis.constant()),
        threshold,
        vessel_probability=probability_above(volume, threshold),
        warnings=fdk_filter.warnings,
        facts={
            "arc_deg": float(np.rad2deg(fdk_filter.orbit.range_rad)),
            "full_turn": float(fdk_filter.orbit.is_full_turn),
        },
    )
