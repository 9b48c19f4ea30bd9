"""Vessel trees: center lines with radii, as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class VesselKind(IntEnum):
    """What a node belongs to; the flow models treat the kinds differently."""

    ARTERY = 0
    ANEURYSM = 1
    NIDUS = 2
    VEIN = 3


@dataclass(frozen=True)
class VesselTree:
    """Tubes around a rooted tree of nodes; the tube between a node and its parent is a round cone.

    Parameters
    ----------
    points_mm
        Node positions (P, 3), LPS mm.
    radius_mm
        Lumen radius at the nodes (P,), mm.
    parent
        Index of the node upstream (P,), -1 at a root; a parent comes before its children.
    branch
        Branch number per node (P,): a branch runs from one bifurcation to the next.
    kind
        :class:`VesselKind` per node (P,).
    """

    points_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    parent: NDArray[np.int64]
    branch: NDArray[np.int64]
    kind: NDArray[np.int8]

    def __post_init__(self) -> None:
        nodes = len(self.points_mm)
        for name in ("radius_mm", "parent", "branch", "kind"):
            if getattr(self, name).shape != (nodes,):
                raise ValueError(f"{name} must have shape ({nodes},); got {getattr(self, name).shape}")
        if self.points_mm.shape != (nodes, 3) or nodes == 0:
            raise ValueError(f"points_mm must have shape (P, 3) with P > 0; got {self.points_mm.shape}")
        if np.any(self.parent >= np.arange(nodes)):
            raise ValueError("a parent must come before its children")
        if not np.all(self.radius_mm > 0):
            raise ValueError("radius_mm must be > 0 everywhere")

    @classmethod
    def from_parents(
        cls, points_mm: ArrayLike, radius_mm: ArrayLike, parent: ArrayLike, kind: ArrayLike | None = None
    ) -> VesselTree:
        """Tree of nodes in any order; puts parents first and numbers the branches.

        Raises
        ------
        ValueError
            If the parents form a cycle or name a node that does not exist.
        """
        given = np.asarray(parent, np.int64)
        kinds = np.zeros(len(given), np.int8) if kind is None else np.asarray(kind, np.int8)
        order = _parents_first(given)
        place = np.full(len(given) + 1, -1)
        place[order] = np.arange(len(order))
        parents = np.where(given[order] < 0, -1, place[given[order]])
        points = np.asarray(points_mm, float)[order]
        return cls(points, np.asarray(radius_mm, float)[order], parents, number_branches(parents), kinds[order])

    def __len__(self) -> int:
        return len(self.points_mm)

    @property
    def num_branches(self) -> int:
        """Number of pieces between bifurcations, roots and tips."""
        return len(np.unique(self.branch))

    @property
    def num_children(self) -> NDArray[np.int64]:
        """Number of direct children per node (P,)."""
        return np.bincount(self.parent[self.parent >= 0], minlength=len(self))

    @property
    def segment_length_mm(self) -> NDArray[np.float64]:
        """Distance to the parent per node (P,), mm; 0 at roots."""
        upstream = np.where(self.parent < 0, np.arange(len(self)), self.parent)
        return np.linalg.norm(self.points_mm - self.points_mm[upstream], axis=1)

    @property
    def volume_ml(self) -> float:
        """Sum of the volumes of the cone frustums between nodes, ml (overlaps count twice)."""
        child = np.flatnonzero(self.parent >= 0)
        r0, r1 = self.radius_mm[self.parent[child]], self.radius_mm[child]
        return float((np.pi / 3 * self.segment_length_mm[child] * (r0**2 + r0 * r1 + r1**2)).sum() / 1000)

    def bounds_mm(self) -> NDArray[np.float64]:
        """Lower and upper corner (2, 3) of the box around all tubes, mm."""
        radius = self.radius_mm[:, None]
        return np.stack([(self.points_mm - radius).min(0), (self.points_mm + radius).max(0)])

    def moved(self, shift_mm: ArrayLike) -> VesselTree:
        """The tree moved by ``shift_mm`` (x, y, z)."""
        return replace(self, points_mm=self.points_mm + np.asarray(shift_mm, float))

    def scaled(self, factor: float) -> VesselTree:
        """Positions and radii multiplied by ``factor`` (about the origin)."""
        return replace(self, points_mm=self.points_mm * factor, radius_mm=self.radius_mm * factor)

    def centered(self) -> VesselTree:
        """The tree with the middle of its bounding box at the origin."""
        return self.moved(-self.bounds_mm().mean(0))

    def downstream_sum(self, weight: ArrayLike) -> NDArray[np.float64]:
        """Sum of ``weight`` (P,) over each node and everything downstream of it."""
        total = np.array(weight, float)
        for node in range(len(self) - 1, 0, -1):
            if self.parent[node] >= 0:
                total[self.parent[node]] += total[node]
        return total

    def resampled(self, step_mm: float) -> VesselTree:
        """The tree with segments longer than ``step_mm`` split evenly (same shape)."""
        pieces = np.maximum(np.ceil(self.segment_length_mm / step_mm).astype(int), 1)
        last = np.cumsum(pieces) - 1
        owner = np.repeat(np.arange(len(self)), pieces)
        share = (np.arange(len(owner)) - (last - pieces)[owner]) / pieces[owner]
        upstream = np.where(self.parent < 0, np.arange(len(self)), self.parent)[owner]
        parent = np.arange(len(owner)) - 1
        first = parent < (last - pieces + 1)[owner]
        parent[first] = np.where(self.parent[owner[first]] < 0, -1, last[self.parent[owner[first]]])

        def between(values: NDArray[np.float64]) -> NDArray[np.float64]:
            weight = share.reshape(-1, *([1] * (values.ndim - 1)))
            return (1 - weight) * values[upstream] + weight * values[owner]

        points, radius = between(self.points_mm), between(self.radius_mm)
        return VesselTree(points, radius, parent, self.branch[owner], self.kind[owner])


def number_branches(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Branch number (P,) per node: a new one starts at each root and behind each bifurcation."""
    children = np.bincount(parent[parent >= 0], minlength=len(parent))
    branch = np.empty(len(parent), np.int64)
    count = 0
    for node, upstream in enumerate(parent):
        if upstream >= 0 and children[upstream] == 1:
            branch[node] = branch[upstream]
        else:
            branch[node] = count
            count += 1
    return branch


def _parents_first(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Node order (P,), breadth first from the roots."""
    nodes = len(parent)
    if np.any(parent >= nodes):
        raise ValueError("a parent is not a node of the tree")
    by_parent = np.argsort(parent, kind="stable")
    start = np.searchsorted(parent[by_parent], np.arange(nodes + 1))
    order = list(np.flatnonzero(parent < 0))
    for node in order:
        order.extend(by_parent[start[node] : start[node + 1]])
    if len(order) != nodes:
        raise ValueError("the parents form a cycle")
    return np.array(order)
