"""4D-DSA (Davis, Mistretta et al., AJNR 2013): constraint volume times back-projected temporal ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.fitting.threshold import probability_above, surface_threshold
from DSAReconLib.methods.dsa4d.temporal_weights import combine_neighbors, temporal_ratios
from DSAReconLib.operators.fdk import FdkFilter, reconstruct_fdk
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

if TYPE_CHECKING:
    from DSAReconLib.acquisition import Angiogram
    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.geometry import VolumeGrid
    from DSAReconLib.methods.dsa4d.config import Config
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
    """Attenuation over time on the voxels of the constraint volume.

    I_k(x) = C(x) * w_k(pixel of x in view k), w_k = blur(D_k) / blur(projection of C),
    with C the FDK volume above an automatic threshold (no oracle), then combined over
    neighboring views against overlap. Memory: voxels of C x views, float32. There is
    nothing worth a checkpoint: the whole computation takes seconds.
    """
    angiogram = angiogram.select(np.argsort(angiogram.times_s, kind="stable"))
    constraint, warnings = _constraint_volume(angiogram, grid, config, device, progress)
    support = np.flatnonzero(constraint)
    progress.preview(constraint)
    ratios, crossed = temporal_ratios(
        angiogram, grid, constraint, support, config=config, device=device, progress=progress
    )
    times = np.unique(angiogram.times_s)  # views of one instant share a knot
    weights = combine_neighbors(
        ratios, crossed, angiogram.times_s, times, width_s=config.neighbor_s, power=config.overlap_power
    )
    weights *= constraint.ravel()[support]
    volume = DynamicVolume(grid, weights, TemporalBasis.hats(times), support.astype(np.int64))
    peak = volume.top_mean(times)
    threshold = surface_threshold(peak, angiogram, grid, device=device, progress=progress, stage="surface")
    return Reconstruction(
        volume,
        threshold,
        vessel_probability=probability_above(peak, threshold),
        maps={"constraint": constraint},
        warnings=warnings,
        facts={"support_voxels": float(len(support))},
    )


def _constraint_volume(
    angiogram: Angiogram, grid: VolumeGrid, config: Config, device: str, progress: Progress
) -> tuple[NDArray[np.float32], tuple[tuple[str, str], ...]]:
    """FDK volume (Z, Y, X), 0 where it is not above the automatic threshold, and warnings."""
    fdk_filter = FdkFilter(angiogram.geometry, window=config.window, cutoff=config.cutoff)
    volume = reconstruct_fdk(
        angiogram.line_integrals,
        angiogram.geometry,
        grid,
        fdk_filter,
        variance=angiogram.variance,
        device=device,
        progress=progress,
        stage="constraint",
    )
    threshold = surface_threshold(volume, angiogram, grid, device=device, progress=progress)
    volume[volume <= config.threshold_scale * threshold] = 0
    warnings = fdk_filter.warnings
    if not volume.any():
        warnings += (("dsa4d.empty", "No vessel was found: the constraint volume is empty."),)
    for code, message in warnings:
        progress.warn(code, message)
    return volume, warnings
