"""Which Gaussians are cloned, split and pruned: 4DRGS's adaptive control, and what we prune besides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.fitting.density import (
    SPLIT,
    SPLIT_CHILDREN,
    SPLIT_SHRINK,
    RowEdit,
    VisibilityStatistics,
    grown,
    random_prune,
    row_edit,
    scatter_children,
)
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.radiative.config import Config
from DSAReconLib.models.gaussian_table import GaussianTable

FloatArray = NDArray[np.float32]

_LINK_VOXELS = 0.02
"""Gaussians that stand for less do not link others to a cluster."""
_SPECKS_EVERY = 2
"""Clusters are looked for at every n-th control ..."""
_PAUSE_SHARE = 0.85
"""... and pruning ends at this share of the steps, so that what is left can settle."""
_LAST_SPECKS = 0.25
"""At the end only clusters below this share of the configured size go."""


def controlled(
    table: GaussianTable,
    statistics: VisibilityStatistics,
    config: Config,
    done: int,
    grid: VolumeGrid,
    reference: float,
    views: int,
) -> GaussianTable:
    """The table after one control step at ``done`` of all steps.

    Parameters
    ----------
    table, statistics
        Gaussians and what was counted since the last control.
    grid
        Its voxels are the unit of the size thresholds; centers outside its box are pruned.
    reference
        Attenuation of a well-filled vessel, 1/mm.
    views
        Number of views of the fit.
    """
    voxel_mm = min(grid.spacing_mm)
    rng = np.random.default_rng([config.seed, 2, done])
    growing = config.grow and config.grow_from * config.steps < done < config.grow_until * config.steps
    place = grid.index_of(table.rows["means"])
    outside = (place < -0.5) | (place > np.array(grid.shape_zyx[::-1]) - 0.5)
    prune: NDArray[np.bool_] = np.any(outside, axis=1)
    if statistics.visible.max(initial=0) >= views:  # else some of them may only be empty now
        prune |= statistics.mean_attenuation() < config.prune_attenuation
    filled = filled_voxels(table, voxel_mm, reference)
    if filled is not None:
        prune |= filled < config.prune_volume
    clone = split = np.zeros(len(table), bool)
    if growing:
        prune |= random_prune(len(table), config.prune_random, rng)
        clone, split = grown(
            np.where(prune, 0, statistics.mean_gradient()),
            table.scales.max(1),
            gradient_threshold=config.gradient_threshold,
            size_threshold=_split_size(config, done) * voxel_mm,
            room=config.max_gaussians - len(table),
        )
    table = _edited(table, row_edit(len(table), clone=clone, split=split, prune=prune), rng)
    if config.prune_specks and done % (_SPECKS_EVERY * config.control_every) == 0:
        table = without_specks(table, voxel_mm, reference, config.prune_specks / views)
    return table


def settling(config: Config, done: int) -> bool:
    """Whether the Gaussians shall be left alone from now on."""
    return done > _PAUSE_SHARE * config.steps


def finished(table: GaussianTable, config: Config, voxel_mm: float, reference: float, views: int) -> GaussianTable:
    """The table after the last step, without the smallest clusters."""
    if not config.prune_specks:
        return table
    return without_specks(table, voxel_mm, reference, _LAST_SPECKS * config.prune_specks / views)


def filled_voxels(table: GaussianTable, voxel_mm: float, reference: float) -> FloatArray | None:
    """Number of well-filled voxels (N,) that each Gaussian stands for on average over time; None with a field."""
    if "coefficients" not in table.rows:
        return None
    mean = table.rows["coefficients"].mean(1)
    return table.volumes_mm3 * mean / np.float32(reference * voxel_mm**3)


def without_specks(table: GaussianTable, voxel_mm: float, reference: float, voxels_min: float) -> GaussianTable:
    """Only the Gaussians in clusters of ``voxels_min`` filled voxels: vessels are long, ghosts are specks.

    A cluster is a set of cells of edge ``voxel_mm`` that touch (26 neighbors).
    """
    filled = filled_voxels(table, voxel_mm, reference)
    if filled is None or not len(table):
        return table
    means = table.rows["means"]
    cells = np.floor((means - means.min(0)) / np.float32(voxel_mm)).astype(int)
    occupied = np.zeros(cells.max(0) + 1, bool)
    occupied[tuple(cells[filled > _LINK_VOXELS].T)] = True
    clusters, count = ndimage.label(occupied, np.ones((3, 3, 3)))
    cluster = clusters[tuple(cells.T)]
    total = np.bincount(cluster, weights=filled, minlength=count + 1)
    total[0] = 0
    return _rows(table, row_edit(len(table), prune=total[cluster] < voxels_min))


def _split_size(config: Config, done: int) -> float:
    """Largest width that is cloned and not split, in voxels; exponential from first to last."""
    begin, end = config.grow_from * config.steps, config.grow_until * config.steps
    share = np.clip((done - begin) / max(end - begin, 1), 0, 1)
    first, last = max(config.split_above, 1e-6), max(config.split_above_last, 1e-6)
    return float(first * (last / first) ** share)


def _rows(table: GaussianTable, edit: RowEdit) -> GaussianTable:
    return GaussianTable(edit.rows(table.rows), edit.moments(table.moments), table.bounds, table.step)


def _edited(table: GaussianTable, edit: RowEdit, rng: np.random.Generator) -> GaussianTable:
    """New rows by the edit; children of splits are narrower and scattered.

    With coefficients of their own copies share the attenuation of the original and children
    the mass of their parent; a field decides by itself.
    """
    result = _rows(table, edit)
    children = edit.kind == SPLIT
    if children.any():
        scales = result.scales
        rotations = _rotations(result.rows["quats"])
        result.rows["means"] = scatter_children(result.rows["means"], scales, rotations, edit, rng)
        narrower = scales[children] / np.float32(SPLIT_SHRINK)
        result.rows["raw_scales"][children] = table.bounds.raw(narrower)
    if "coefficients" in result.rows:
        result.rows["coefficients"][children] *= np.float32(SPLIT_SHRINK**3 / SPLIT_CHILDREN)
        shared = edit.duplicated & ~children
        result.rows["coefficients"][shared] *= np.float32(0.5)
    return result


def _rotations(quats: FloatArray) -> NDArray[np.float64]:
    """Rotation matrices (N, 3, 3)."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(quats[:, [1, 2, 3, 0]].astype(float)).as_matrix())
