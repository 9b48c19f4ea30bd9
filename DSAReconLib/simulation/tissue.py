"""Capillary blush: contrast in brain tissue around the ends of some arteries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.reconstruction import DynamicVolume
from DSAReconLib.simulation.detector import IODINE_MM_ML_MG
from DSAReconLib.simulation.transport import ContrastCurves, Flow
from DSAReconLib.simulation.trees import VesselKind, VesselTree

BLOOD_FRACTION = 0.04
"""Capillary blood volume of gray matter, ml per ml."""
BLUSH_RADIUS_MM = 6.0
BLUSHING_TIPS = 14


def with_blush(
    volume: DynamicVolume, tree: VesselTree, curves: ContrastCurves, flow: Flow, *, seed: int
) -> DynamicVolume:
    """The volume with blush around the tips of some arteries of one territory.

    Each tip supplies a soft ball with its own curve, delayed by half the capillary passage
    and mixed exponentially.
    """
    tips = _blushing_tips(tree, np.random.default_rng([seed, 12]))
    grid, spacing = volume.grid, volume.grid.spacing_mm[0]
    reach = np.arange(-np.ceil(BLUSH_RADIUS_MM / spacing), np.ceil(BLUSH_RADIUS_MM / spacing) + 1)
    ball = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    ball = ball[np.linalg.norm(ball, axis=1) * spacing < BLUSH_RADIUS_MM]
    curve = _capillary_curves(curves, tips, flow, volume.basis.times_s)
    places, weights = [], []
    for tip in tips:
        index = np.rint(grid.index_of(tree.points_mm[tip][None])) + ball
        inside = np.all((index >= 0) & (index < np.array(grid.shape_zyx[::-1])), axis=1)
        index = index[inside].astype(np.int64)
        places.append(np.ravel_multi_index(tuple(index.T[::-1]), grid.shape_zyx))
        distance = np.linalg.norm(ball[inside], axis=1) * spacing / BLUSH_RADIUS_MM
        weights.append((BLOOD_FRACTION * (1 - distance**2) ** 2).astype(np.float32))
    vessels = np.arange(grid.num_voxels) if volume.support is None else volume.support
    support = np.union1d(vessels, np.concatenate(places))
    coefficients = np.zeros((len(volume.coefficients), len(support)), np.float32)
    coefficients[:, np.searchsorted(support, vessels)] = volume.coefficients
    for place, weight, contrast in zip(places, weights, curve, strict=True):
        column = np.searchsorted(support, place)
        coefficients[:, column] += contrast[:, None] * (np.float32(IODINE_MM_ML_MG) * weight)
    return DynamicVolume(grid, coefficients, volume.basis, support)


def _blushing_tips(tree: VesselTree, rng: np.random.Generator) -> NDArray[np.int64]:
    """The tips of arteries that lie nearest to one of them chosen at random."""
    tips = np.flatnonzero((tree.num_children == 0) & (tree.kind == VesselKind.ARTERY))
    center = tree.points_mm[rng.choice(tips)]
    return tips[np.argsort(np.linalg.norm(tree.points_mm[tips] - center, axis=1))][:BLUSHING_TIPS]


def _capillary_curves(
    curves: ContrastCurves, tips: NDArray[np.int64], flow: Flow, times_s: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Concentration (tips, T) in the capillaries behind the tips, mg/ml."""
    step = curves.times_s[1] - curves.times_s[0]
    residence = 0.5 * flow.capillary_delay_s
    kernel = np.exp(-np.arange(0, 6 * residence, step) / residence)
    kernel /= kernel.sum()
    result = []
    for curve in curves.concentration_mg_ml[tips]:
        mixed = np.convolve(curve, kernel)[: len(curve)]
        result.append(np.interp(times_s - 0.25 * flow.capillary_delay_s, curves.times_s, mixed))
    return np.array(result, np.float32)
