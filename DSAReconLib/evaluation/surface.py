"""Distances between vessel surfaces, in mm.

Vertex based like the papers (methods.md 0.8): distances from every marching-cubes vertex
of one surface to the nearest vertex of the other, not weighted by area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid

MAX_VERTICES = 250_000
"""Larger surfaces are thinned to this many vertices at random (fixed seed) before measuring."""

ICP_MAX_ITERATIONS = 75
"""Iterations of the optional rigid alignment (VPAL, 4DRGS evaluation)."""


def surface_vertices(volume: NDArray[np.float32], grid: VolumeGrid, level: float) -> NDArray[np.float64]:
    """Marching-cubes vertices (N, 3) of ``volume`` = ``level`` as (x, y, z), mm; empty if there is no surface.

    The volume is closed at the border of the grid, so that vessels cut by it have an end.
    """
    from skimage.measure import marching_cubes

    bright = np.argwhere(volume > level)
    if not len(bright):
        return np.empty((0, 3))
    low = np.maximum(bright.min(0) - 1, 0)
    box = tuple(slice(a, b) for a, b in zip(low, bright.max(0) + 2, strict=True))
    block = np.pad(volume[box], 1, constant_values=min(0.0, float(level) - 1e-6))
    vertices = marching_cubes(block, level)[0] + (low - 1)
    return vertices[:, ::-1] * np.array(grid.spacing_mm) + np.array(grid.origin_mm)


def thinned(points_mm: NDArray[np.float64], count: int = MAX_VERTICES) -> NDArray[np.float64]:
    """At most ``count`` of the points (N, 3), drawn at random with a fixed seed."""
    if len(points_mm) <= count:
        return points_mm
    return points_mm[np.random.default_rng(0).choice(len(points_mm), count, replace=False)]


def surface_distances(first_mm: NDArray[np.float64], second_mm: NDArray[np.float64]) -> dict[str, float]:
    """Chamfer and Hausdorff distances of two vertex sets (N, 3), (M, 3), mm.

    Returns
    -------
    ``chamfer_mm``
        mean over A of min |a - b| + mean over B of min |b - a|: the SUM of both
        directions, as VPAL and 4DRGS report it.
    ``chamfer_mean_mm``
        Half of it: the mean of both directions.
    ``hd95_mm``, ``hd100_mm``
        Larger of the two directions' 95th percentile, and of their maximum. (The papers'
        "HD" is the former.)

    All are NaN when one of the sets is empty: there is no distance to nothing.
    """
    from scipy.spatial import cKDTree

    if not (len(first_mm) and len(second_mm)):
        return dict.fromkeys(("chamfer_mm", "chamfer_mean_mm", "hd95_mm", "hd100_mm"), float("nan"))
    first, second = thinned(first_mm), thinned(second_mm)
    there = cKDTree(second).query(first, workers=-1)[0]
    back = cKDTree(first).query(second, workers=-1)[0]
    total = float(there.mean() + back.mean())
    return {
        "chamfer_mm": total,
        "chamfer_mean_mm": total / 2,
        "hd95_mm": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "hd100_mm": float(max(there.max(), back.max())),
    }


def rigidly_aligned(points_mm: NDArray[np.float64], reference_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 3) moved onto ``reference_mm`` by rigid ICP, as the papers do before measuring.

    Not part of the default protocol: truth and result share the isocenter frame here, so
    that a rigid error is an error.
    """
    from trimesh.registration import icp

    sample = thinned(points_mm, 20_000)
    matrix = icp(sample, reference_mm, max_iterations=ICP_MAX_ITERATIONS, reflection=False, scale=False)[0]
    return points_mm @ matrix[:3, :3].T + matrix[:3, 3]
