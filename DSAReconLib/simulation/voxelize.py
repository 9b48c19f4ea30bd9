"""Vessel trees on a voxel grid with partial volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.simulation.trees import VesselTree

Number = TypeVar("Number", np.float32, np.float64)

SUBDIVISION = 3
"""Sub-cells per voxel edge. With the curvature correction below, a tube of half a voxel
radius keeps its volume within 3 %."""


@dataclass(frozen=True)
class VesselVoxels:
    """The voxels that vessels touch, and which part of the tree each belongs to.

    Parameters
    ----------
    grid
        Voxel grid.
    support
        Flat C-order index (N,) of the touched voxels, rising.
    occupancy
        Volume fraction (N,) inside a lumen, in (0, 1].
    node, share
        Nearest segment as its downstream node (N,), and how far along it the voxel lies
        (N,): 0 = at the parent, 1 = at the node.
    """

    grid: VolumeGrid
    support: NDArray[np.int64]
    occupancy: NDArray[np.float32]
    node: NDArray[np.int32]
    share: NDArray[np.float32]

    def interpolate(self, tree: VesselTree, node_values: NDArray[Number]) -> NDArray[Number]:
        """Values (..., N) at the voxels of quantities (..., P) given at the nodes."""
        parent = np.where(tree.parent < 0, np.arange(len(tree)), tree.parent)
        return (1 - self.share) * node_values[..., parent[self.node]] + self.share * node_values[..., self.node]


def grid_around(tree: VesselTree, spacing_mm: float, *, margin_mm: float = 2.0) -> VolumeGrid:
    """Smallest cubic-voxel grid around the tree; its voxel corners lie on multiples of the spacing."""
    low, high = tree.bounds_mm()
    first = np.floor((low - margin_mm) / spacing_mm).astype(int)
    last = np.ceil((high + margin_mm) / spacing_mm).astype(int)
    shape_xyz = last - first
    origin = (first + 0.5) * spacing_mm
    return VolumeGrid(tuple(shape_xyz[::-1]), (spacing_mm,) * 3, tuple(origin))


def voxelize_tree(tree: VesselTree, grid: VolumeGrid) -> VesselVoxels:
    """Volume fraction of the tubes in every voxel of a cubic-voxel ``grid``.

    Each voxel is cut into 3 x 3 x 3 cells; a cell's coverage follows from its distance to
    the nearest round cone, so that tubes that overlap are united, not added.
    """
    spacing = grid.spacing_mm[0]
    if not np.allclose(grid.spacing_mm, spacing):
        raise ValueError(f"grid must have cubic voxels; got spacing {grid.spacing_mm}")
    cell = spacing / SUBDIVISION
    # A ramp of width `cell` across a surface of radius r covers pi (r^2 + cell^2 / 12): take that off.
    radius = np.sqrt(np.maximum(tree.radius_mm**2 - cell**2 / 12, (0.3 * cell) ** 2))
    parent = np.where(tree.parent < 0, np.arange(len(tree)), tree.parent)
    start = grid.index_of(tree.points_mm[parent])
    stop = grid.index_of(tree.points_mm)
    place = np.full(grid.num_voxels, -1, np.int32)
    shape = np.array(grid.shape_zyx[::-1])
    args = (start, stop, radius[parent] / spacing, radius / spacing, shape)
    count = _mark(*args, place)
    support = np.flatnonzero(place >= 0)
    place[support] = np.arange(count)
    distance = np.full((count, SUBDIVISION**3), 9.0, np.float32)
    nearest = np.full(count, 1e9, np.float32)
    node, share = np.zeros(count, np.int32), np.zeros(count, np.float32)
    _measure(*args, place, distance, nearest, node, share)
    coverage = np.clip(0.5 - distance * SUBDIVISION, 0, 1).mean(1)
    keep = coverage > 0
    return VesselVoxels(grid, support[keep], coverage[keep].astype(np.float32), node[keep], share[keep])


@njit(cache=True, fastmath=True)
def _box(start, stop, r0, r1, shape):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """First and last voxel (x, y, z) that a round cone can touch."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        low[axis] = max(int(np.floor(min(start[axis] - r0, stop[axis] - r1) - 0.2)), 0)
        high[axis] = min(int(np.ceil(max(start[axis] + r0, stop[axis] + r1) + 0.2)), shape[axis] - 1)
    return low, high


@njit(cache=True, fastmath=True)
def _distance(px, py, pz, start, along, length2, r0, r1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Signed distance to a round cone and the position along its axis, in voxels."""
    dx, dy, dz = px - start[0], py - start[1], pz - start[2]
    t = 0.0
    if length2 > 0:
        t = min(max((dx * along[0] + dy * along[1] + dz * along[2]) / length2, 0.0), 1.0)
    ex, ey, ez = dx - t * along[0], dy - t * along[1], dz - t * along[2]
    return np.sqrt(ex * ex + ey * ey + ez * ez) - (r0 + t * (r1 - r0)), t


@njit(cache=True, fastmath=True)
def _mark(start, stop, r0, r1, shape, place):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Set ``place`` to 0 at every voxel near a tube; returns their number."""
    count = 0
    reach = 0.5 * np.sqrt(3.0) + 0.2
    for segment in range(len(start)):
        low, high = _box(start[segment], stop[segment], r0[segment], r1[segment], shape)
        along = stop[segment] - start[segment]
        length2 = (along**2).sum()
        for z in range(low[2], high[2] + 1):
            for y in range(low[1], high[1] + 1):
                for x in range(low[0], high[0] + 1):
                    flat = (z * shape[1] + y) * shape[0] + x
                    if place[flat] >= 0:
                        continue
                    d, _ = _distance(x, y, z, start[segment], along, length2, r0[segment], r1[segment])
                    if d < reach:
                        place[flat] = 0
                        count += 1
    return count


@njit(cache=True, fastmath=True)
def _measure(start, stop, r0, r1, shape, place, distance, nearest, node, share):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Smallest distance per sub-cell, and the nearest segment per voxel."""
    reach = 0.5 * np.sqrt(3.0) + 0.2
    for segment in range(len(start)):
        low, high = _box(start[segment], stop[segment], r0[segment], r1[segment], shape)
        along = stop[segment] - start[segment]
        length2 = (along**2).sum()
        for z in range(low[2], high[2] + 1):
            for y in range(low[1], high[1] + 1):
                for x in range(low[0], high[0] + 1):
                    voxel = place[(z * shape[1] + y) * shape[0] + x]
                    if voxel < 0:
                        continue
                    d, t = _distance(x, y, z, start[segment], along, length2, r0[segment], r1[segment])
                    if d >= reach:
                        continue
                    if d < nearest[voxel]:
                        nearest[voxel] = d
                        node[voxel] = segment
                        share[voxel] = t
                    if distance[voxel, 13] < -reach:
                        continue
                    if d < -reach:
                        distance[voxel, :] = d
                        continue
                    for cell in range(27):
                        cx = x + (cell % 3 - 1) / 3.0
                        cy = y + (cell // 3 % 3 - 1) / 3.0
                        cz = z + (cell // 9 - 1) / 3.0
                        e, _ = _distance(cx, cy, cz, start[segment], along, length2, r0[segment], r1[segment])
                        if e < distance[voxel, cell]:
                            distance[voxel, cell] = e
