"""Where Gaussians begin: bright voxels of a filtered backprojection, of the views and later of the residual."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import DSAReconError
from DSAReconLib.fitting.region import contrast_support
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.radiative.config import Config
from DSAReconLib.models.gaussian_table import GAUSSIAN_VOLUME, GaussianTable, ScaleBounds
from DSAReconLib.operators.fdk import FdkFilter, reconstruct_fdk

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

FloatArray = NDArray[np.float32]

_SPACING_PIXELS = 0.87
_SPACING_LIMITS_MM = (0.8, 1.4)
"""Finer voxels spread the same number of points over less of the thin vessels."""
_LOWEST_ATTENUATION = 1e-3
_SCALE_NEIGHBORS = 3
_TAKEN_VOXELS = 0.7
"""No new Gaussian within this distance of another one, in voxels."""


@dataclass(frozen=True)
class SeedRegion:
    """Voxels in which Gaussians may begin.

    Parameters
    ----------
    grid
        Coarse voxels.
    support
        Sorted C-order index (N,) of the allowed ones.
    """

    grid: VolumeGrid
    support: NDArray[np.int64]

    @property
    def spacing_mm(self) -> float:
        """Edge of a voxel, mm."""
        return float(min(self.grid.spacing_mm))


def seed_region(angiogram: Angiogram, grid: VolumeGrid, config: Config, progress: Progress) -> SeedRegion:
    """Voxels to begin in, on the field of view of ``grid``.

    Raises
    ------
    DSAReconError
        ``radiative.no_contrast``: the views agree on contrast nowhere.
    """
    spacing = config.seed_spacing_mm
    if spacing is None:
        pixel = math.sqrt(math.prod(angiogram.geometry.isocenter_pixel_mm))
        spacing = min(max(_SPACING_PIXELS * pixel, _SPACING_LIMITS_MM[0]), _SPACING_LIMITS_MM[1])
    coarse = grid.resampled(spacing)
    if not config.crop:
        return SeedRegion(coarse, np.arange(coarse.num_voxels))
    support = contrast_support(angiogram, coarse, window_s=config.window_s, progress=progress)
    if not support.size:
        raise DSAReconError(
            "The views agree on contrast nowhere: no voxel is bright in four consecutive views.",
            hint="Check that mask and fill run belong together, or set radiative.crop=false.",
            code="radiative.no_contrast",
        )
    return SeedRegion(coarse, support)


def backprojected(images: FloatArray, angiogram: Angiogram, region: SeedRegion, progress: Progress) -> FloatArray:
    """Filtered backprojection (N,) of line integrals (V, R, C) in the voxels of the region, 1/mm."""
    fdk_filter = FdkFilter(angiogram.geometry, window="hann")
    volume = reconstruct_fdk(
        images, angiogram.geometry, region.grid, fdk_filter, variance=angiogram.variance, progress=progress
    )
    return np.asarray(volume.reshape(-1)[region.support], np.float32)


def chosen_voxels(values: FloatArray, config: Config, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions (n,) in ``values`` of the voxels to begin in.

    Those above the threshold; if they are fewer than ``config.points``, the threshold is
    lowered until that many positive ones pass. Of more, the brightest or a random choice.
    """
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    above = int((values > config.seed_threshold).sum())
    if config.seed_choice == "random" and above > config.points:
        return np.sort(rng.permutation(order[:above])[: config.points])
    return np.sort(order[: config.points])


def first_gaussians(
    values: FloatArray, region: SeedRegion, config: Config, functions: int | None, rng: np.random.Generator
) -> GaussianTable:
    """Gaussians in the chosen voxels, with ``functions`` coefficients each unless a field gives the attenuation.

    Raises
    ------
    DSAReconError
        ``radiative.no_contrast``: no voxel is above zero.
    """
    chosen = chosen_voxels(values, config, rng)
    if not chosen.size:
        raise DSAReconError(
            "The backprojection of the views is nowhere above zero.",
            hint="Check that mask and fill run belong together.",
            code="radiative.no_contrast",
        )
    means = region.grid.points_mm(region.support[chosen]).astype(np.float32)
    return _gaussians(means, values[chosen], region, config, functions)


def further_gaussians(
    values: FloatArray, table: GaussianTable, region: SeedRegion, config: Config, functions: int
) -> GaussianTable:
    """Gaussians where the residual's backprojection (N,) is brightest and none is near; half as many as at first."""
    points = region.grid.points_mm(region.support)
    free = np.ones(len(points), bool)
    if len(table):
        reach = _TAKEN_VOXELS * region.spacing_mm
        distance, _ = cKDTree(table.rows["means"]).query(points, distance_upper_bound=reach)
        free = np.isinf(distance)
    order = np.argsort(-np.where(free, values, 0), kind="stable")
    chosen = np.sort(order[: config.points // 2])
    chosen = chosen[free[chosen] & (values[chosen] > 0)]
    return _gaussians(points[chosen].astype(np.float32), values[chosen], region, config, functions)


def scale_bounds(region: SeedRegion, config: Config) -> ScaleBounds:
    """Bounds of the scales, mm."""
    return ScaleBounds(config.scale_min * region.spacing_mm, config.scale_max * region.spacing_mm)


def _gaussians(
    means: FloatArray, values: FloatArray, region: SeedRegion, config: Config, functions: int | None
) -> GaussianTable:
    """Round Gaussians as wide as the distance to the nearest times a factor, with the voxels' mass."""
    spacing = region.spacing_mm
    sigmas = np.full(len(means), spacing)
    if len(means) > _SCALE_NEIGHBORS:
        distance, _ = cKDTree(means).query(means, _SCALE_NEIGHBORS + 1)
        # lonely voxels stand for no more than themselves
        sigmas = np.minimum(np.sqrt((distance[:, 1:] ** 2).mean(1)), 2 * spacing)
    sigmas = (config.first_scale * sigmas).astype(np.float32)
    coefficients = None
    if functions is not None:
        height = np.maximum(values, _LOWEST_ATTENUATION) * spacing**3 / (GAUSSIAN_VOLUME * sigmas**3)
        coefficients = np.repeat(height[:, None], functions, axis=1).astype(np.float32)
    return GaussianTable.isotropic(means, sigmas, scale_bounds(region, config), coefficients)
