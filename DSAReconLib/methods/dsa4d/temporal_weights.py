"""What the views say about the filling of each voxel, and how neighboring views are combined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.operators.conebeam import ConeBeamProjector

if TYPE_CHECKING:
    from DSAReconLib.acquisition import Angiogram
    from DSAReconLib.geometry import VolumeGrid
    from DSAReconLib.methods.dsa4d.config import Config
    from DSAReconLib.progress import Progress

_SMALLEST_MODEL = 1e-3  # of the view's maximum: below it the ratio is noise
_SMALLEST_SHARE = 0.2  # of the modeled contrast around a pixel that must have been measured
_VOXEL_BLOCK = 1 << 15
_VIEW_BLOCK = 4


def temporal_ratios(
    angiogram: Angiogram,
    grid: VolumeGrid,
    constraint: NDArray[np.float32],
    support: NDArray[np.intp],
    *,
    config: Config,
    device: str,
    progress: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Measured over modeled contrast at every voxel in every view.

    Parameters
    ----------
    constraint
        Constraint volume (Z, Y, X), 1/mm.
    support
        Flat index (N,) of its voxels.

    Returns
    -------
    ratios : (V, N)
        Filling relative to the constraint volume, 0 to ``config.ratio_max``.
    crossed : (V, N)
        Line integral of the constraint volume along the voxel's ray (0: not measured).
    """
    from scipy.ndimage import map_coordinates

    projector = ConeBeamProjector(grid, angiogram.geometry, device)
    points = grid.points_mm(support)
    pixel_mm = np.array(angiogram.geometry.detector_spacing_mm)
    views = len(angiogram)
    ratios, crossed = (np.empty((views, len(support)), np.float32) for _ in range(2))
    for start in range(0, views, _VIEW_BLOCK):
        modeled = projector[start : start + _VIEW_BLOCK](constraint)
        for view, image in enumerate(modeled, start):
            progress.check_cancelled()
            ratio, known = _ratio_image(angiogram.select([view]), image, config.blur_mm / pixel_mm, config.ratio_max)
            pixels = angiogram.geometry[view].project_points(points)[0][0].T
            ratios[view] = map_coordinates(ratio, pixels, order=1, mode="nearest")
            crossed[view] = map_coordinates(image * known, pixels, order=1, mode="constant")
        progress.report("ratios", min(start + _VIEW_BLOCK, views) / views)
    return ratios, crossed


def _ratio_image(
    view: Angiogram, modeled: NDArray[np.float32], blur_px: NDArray[np.float64], largest: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """blur(measured) / blur(modeled) over the measured pixels of one view (R, C), and where it says something."""
    from scipy.ndimage import gaussian_filter

    measured = view.line_integrals[0]
    known = np.broadcast_to(np.isfinite(view.variance), view.line_integrals.shape)[0] & np.isfinite(measured)
    above = gaussian_filter(np.where(known, measured, 0).astype(np.float32), blur_px)
    below = gaussian_filter(modeled * known, blur_px)
    floor = max(_SMALLEST_MODEL * float(below.max()), float(np.finfo(np.float32).tiny))
    informed = below >= _SMALLEST_SHARE * gaussian_filter(modeled, blur_px)
    return np.clip(above / np.maximum(below, floor), 0, largest), informed


def combine_neighbors(
    ratios: NDArray[np.float32],
    crossed: NDArray[np.float32],
    times_s: NDArray[np.float64],
    knots_s: NDArray[np.float64],
    *,
    width_s: float,
    power: float,
) -> NDArray[np.float32]:
    """Temporal weights (K, N) at ``knots_s`` as weighted means over neighboring views.

    A view counts by its distance in time (Gaussian of standard deviation ``width_s``) and
    by ``crossed`` to the power of minus ``power``: the less vessel its ray crosses besides
    the voxel, the purer the ratio. ``width_s`` = 0 takes each view alone.

    Parameters
    ----------
    ratios, crossed
        From :func:`temporal_ratios`, (V, N).
    times_s, knots_s
        Times of the views (V,) and of the result (K,), s.
    """
    distance = (knots_s[:, None] - times_s) / max(width_s, 1e-6)
    nearest = np.abs(distance).min(1, keepdims=True)
    # relative to the nearest view, which then always has weight 1, however short width_s is
    kernel = np.exp(-0.5 * np.minimum(distance**2 - nearest**2, 1e4)).astype(np.float32)
    result = np.empty((len(knots_s), ratios.shape[1]), np.float32)
    for start in range(0, ratios.shape[1], _VOXEL_BLOCK):
        block = slice(start, start + _VOXEL_BLOCK)
        seen = crossed[:, block]
        relative = seen / np.maximum(seen.max(0), np.finfo(np.float32).tiny)
        purity = np.maximum(relative, _SMALLEST_MODEL) ** np.float32(-power)
        purity[seen <= 0] = 1e-6  # outside of that view: only if no other view knows
        result[:, block] = (kernel @ (purity * ratios[:, block])) / (kernel @ purity)
    return result
