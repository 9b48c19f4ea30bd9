"""An attenuation for a model that has none: what lets TOGS be compared as a volume.

Not part of the paper: its Gaussians blend by opacity and have no unit. Each is given a
density times exp(-1/2 |.|^2), and all densities are scaled by one number, so that their mean
line integral over the training views is the measured one. The density is

    opacity      opacity(t) itself: the obvious choice, but a wide faint Gaussian weighs more
                 than its picture shows, and a white one that hides others weighs at all
    absorption   opacity(t) (1 - grey) / width: what the Gaussian takes from the white along
                 the way through it; grey is the mean over the training views

The low pass of the footprints (0.3 px^2, scaled to the isocenter) belongs to what is seen,
so it widens the Gaussians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.alpha import LOW_PASS
from DSAReconLib.kernels.splat import splat_xray, voxelize
from DSAReconLib.reconstruction import DynamicVolume, OpacityGaussians, RadiativeGaussians
from DSAReconLib.rendering.views import grey_values

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_NARROWEST = 0.5
"""Standard deviation, in voxels, below which a Gaussian is widened (keeping its mass) before it is sampled."""
_FLOOR = 3e-3
"""Of the largest coefficient: voxels below it at all knots are left out of the support."""


def calibrated_gaussians(
    model: OpacityGaussians, angiogram: Angiogram, kind: str, *, device: str, progress: Progress
) -> tuple[RadiativeGaussians, float]:
    """The model as attenuation (1/mm) with densities of a ``kind``, and the factor that they were scaled by."""
    scales = np.sqrt(model.scales_mm**2 + LOW_PASS * model.pixel_mm**2).astype(np.float32)
    shape = (model.means_mm, scales, model.quats_wxyz)
    weights = np.ones(len(model), np.float32) if kind == "opacity" else _absorption(model, scales, angiogram.geometry)
    measured = modeled = 0.0
    for view in range(len(angiogram)):
        progress.check_cancelled()
        one = angiogram.select([view])
        usable = np.isfinite(np.broadcast_to(one.variance, one.line_integrals.shape)) & np.isfinite(one.line_integrals)
        image = splat_xray(*shape, model.opacities_at(one.times_s) * weights, one.geometry, device=device)
        measured += float(np.where(usable, one.line_integrals, 0).sum(dtype=np.float64))
        modeled += float(np.where(usable, image, 0).sum(dtype=np.float64))
        progress.report("convert", 0.5 * (view + 1) / len(angiogram))
    factor = max(measured, 0.0) / modeled if modeled > 0 else 0.0
    coefficients = (factor * weights * model.opacities).astype(np.float32)
    return RadiativeGaussians(*shape, coefficients=coefficients, basis=model.basis), factor


def _absorption(
    model: OpacityGaussians, scales: NDArray[np.float32], geometry: ConeBeamGeometry
) -> NDArray[np.float32]:
    """Darkness over width (N,), 1/mm."""
    grey = np.mean([grey_values(model, source) for source in geometry.source_mm], axis=0)
    width = np.sqrt(2 * np.pi) * np.cbrt(scales.prod(1))
    return (np.maximum(1 - grey, 0) / width).astype(np.float32)


def voxelized(gaussians: RadiativeGaussians, grid: VolumeGrid, *, progress: Progress) -> DynamicVolume:
    """The Gaussians on the voxels of ``grid`` that they reach."""
    narrowest = np.float32(_NARROWEST * max(grid.spacing_mm))
    scales = np.maximum(gaussians.scales_mm, narrowest)
    dilution = np.prod(gaussians.scales_mm / scales, axis=1)
    knots = []
    for number, row in enumerate(gaussians.coefficients):
        progress.check_cancelled()
        knots.append(voxelize(gaussians.means_mm, scales, gaussians.quats_wxyz, row * dilution, grid).ravel())
        progress.report("convert", 0.5 + 0.5 * (number + 1) / len(gaussians.coefficients))
    peak: NDArray[np.float32] = np.max(knots, axis=0)
    support = np.flatnonzero(peak > _FLOOR * peak.max(initial=0.0))
    return DynamicVolume(grid, np.stack([knot[support] for knot in knots]), gaussians.basis, support)
