"""Whether the vessel tree is complete and free of invented branches.

Two definitions carry the name clDice in the literature; both are computed:

``cldice`` (headline; flagship definition)
    Harmonic mean of *recall* = share of true centerline points within 1 mm of a voxel of
    the mask, and *precision* = share of skeleton voxels of the mask within r + 0.75 mm of
    the true centerline (r = true radius there). Works in mm against exact centerlines.
``cldice_voxel`` (Shit et al., CVPR 2021; methods.md A5)
    2 Tp Ts / (Tp + Ts), Tp = |skeleton(mask) in truth| / |skeleton(mask)|,
    Ts = |skeleton(truth) in mask| / |skeleton(truth)|. Works on voxel masks only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

RECALL_DISTANCE_MM = 1.0
"""A centerline point counts as found within this distance of a mask voxel's center."""
CENTERLINE_STEP_MM = 0.3
"""Largest distance of the centerline points that are counted."""
PRECISION_MARGIN_MM = 0.75
"""A skeleton voxel counts as true within the true radius plus this distance of the centerline."""
RADIUS_CLASSES_MM = ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, np.inf))
"""Vessel radius classes of the recall table (methods.md A5)."""

Mask = NDArray[np.bool_]


def dense_centerline(
    points_mm: NDArray[np.float64], radius_mm: NDArray[np.float64], parent: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centerline points (Q, 3), mm, and radii (Q,), at most 0.3 mm apart: every length counts alike.

    Parameters
    ----------
    points_mm, radius_mm
        Nodes (P, 3) and radii (P,) of a vessel tree.
    parent
        Node upstream (P,), -1 at a root; ``None`` = the nodes are used as they are.
    """
    if parent is None:
        return np.asarray(points_mm, float), np.asarray(radius_mm, float)
    child = np.flatnonzero(parent >= 0)
    length = np.linalg.norm(points_mm[child] - points_mm[parent[child]], axis=1)
    pieces = np.maximum(np.ceil(length / CENTERLINE_STEP_MM).astype(int), 1)
    edge = np.repeat(np.arange(len(child)), pieces)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5) / pieces[edge]
    below, above = child[edge], parent[child[edge]]
    points = (1 - share[:, None]) * points_mm[above] + share[:, None] * points_mm[below]
    return points, (1 - share) * radius_mm[above] + share * radius_mm[below]


def harmonic_mean(first: float, second: float) -> float:
    """2 a b / (a + b), 0 when both are 0."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def skeleton(mask: Mask) -> Mask:
    """Medial axis of a mask (z, y, x), one voxel wide (Lee 1994, as in skimage).

    skimage's thinning deletes pieces of even width that are symmetric to a voxel face
    (scikit-image issue 3757). A connected piece that vanished so is thinned again with one
    more layer on one side, which makes its width odd.
    """
    from scipy.ndimage import label

    result = np.zeros(mask.shape, bool)
    occupied = np.argwhere(mask)
    if not len(occupied):
        return result
    low, high = np.maximum(occupied.min(0) - 1, 0), occupied.max(0) + 2
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    thin = _thinned(mask[box])
    pieces, count = label(mask[box], np.ones((3, 3, 3)))
    survived = np.zeros(count + 1, bool)
    survived[np.unique(pieces[thin])] = True
    survived[0] = True
    vanished = ~survived[pieces]
    if vanished.any():
        grown = np.pad(vanished, ((0, 1),) * 3)
        for axis in range(3):
            grown |= np.roll(grown, 1, axis)
        thin |= _thinned(grown)[:-1, :-1, :-1] & vanished
    result[box] = thin
    return result


def _thinned(mask: Mask) -> Mask:
    from skimage.morphology import skeletonize

    return np.asarray(skeletonize(mask) > 0)


def centerline_found(
    mask: Mask, grid: VolumeGrid, points_mm: NDArray[np.float64], distance_mm: float = RECALL_DISTANCE_MM
) -> Mask:
    """Which points (P, 3) have the center of a mask voxel within ``distance_mm``; (P,) bool."""
    index = np.rint(grid.index_of(points_mm)).astype(int)
    reach = np.ceil(distance_mm / np.array(grid.spacing_mm) + 0.5).astype(int)
    counts = np.array(grid.shape_zyx[::-1])
    found = np.zeros(len(points_mm), bool)
    for step in np.ndindex(*(2 * reach + 1)):
        voxel = index + np.array(step) - reach
        near = np.linalg.norm(voxel * grid.spacing_mm + grid.origin_mm - points_mm, axis=1) < distance_mm
        near &= ((voxel >= 0) & (voxel < counts)).all(1) & ~found
        x, y, z = voxel[near].T
        found[near] = mask[z, y, x]
    return found


def centerline_precision(
    mask_skeleton: Mask, grid: VolumeGrid, centerline: cKDTree, radius_mm: NDArray[np.float64]
) -> float:
    """Share of skeleton voxels within the true radius + 0.75 mm of the centerline; 0 without skeleton.

    ``centerline`` is the search tree of the true points, ``radius_mm`` (P,) their radii.
    """
    points = grid.points_mm(np.flatnonzero(mask_skeleton))
    if not len(points):
        return 0.0
    distance, nearest = centerline.query(points, workers=-1)
    return float(np.mean(distance < np.maximum(radius_mm[nearest], 0) + PRECISION_MARGIN_MM))


def recall_by_radius(found: Mask, radius_mm: NDArray[np.float64]) -> dict[str, float]:
    """Share of found centerline points per radius class; classes without points are left out.

    Names: ``recall_radius_0_0.5mm`` ... ``recall_radius_over_2mm``.
    """
    result = {}
    for low, high in RADIUS_CLASSES_MM:
        members = (radius_mm >= low) & (radius_mm < high)
        if members.any():
            result[radius_class_name(low, high)] = float(found[members].mean())
    return result


def radius_class_name(low_mm: float, high_mm: float) -> str:
    """Metric name of a radius class."""
    return f"recall_radius_over_{low_mm:g}mm" if np.isinf(high_mm) else f"recall_radius_{low_mm:g}_{high_mm:g}mm"


def voxel_cldice(mask: Mask, mask_skeleton: Mask, truth: Mask, truth_skeleton: Mask) -> float:
    """Voxel clDice of two masks from their skeletons; 0 when one of the masks is empty."""
    if not (mask_skeleton.any() and truth_skeleton.any()):
        return 0.0
    return harmonic_mean(float(truth[mask_skeleton].mean()), float(mask[truth_skeleton].mean()))
