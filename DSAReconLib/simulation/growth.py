"""Building blocks of procedural trees: curved paths, growth towards tissue, Murray radii."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.simulation.trees import VesselKind, VesselTree, number_branches


class TreeBuilder:
    """Collects the nodes of a tree path by path; radii follow from Murray's law at the end.

    Parameters
    ----------
    rng
        Source of every random decision.
    step_mm
        Distance between nodes, mm.
    """

    def __init__(self, rng: np.random.Generator, *, step_mm: float = 1.2) -> None:
        self.rng = rng
        self.step_mm = step_mm
        self.points: list[NDArray[np.float64]] = []
        self.parent: list[int] = []
        self.kind: list[int] = []
        self.weight: list[float] = []
        self.shrink: list[float] = []
        self.fixed_radius: list[float] = []

    @classmethod
    def of(cls, tree: VesselTree, rng: np.random.Generator, *, step_mm: float = 1.2) -> TreeBuilder:
        """Builder that continues a finished tree, whose radii stay."""
        builder = cls(rng, step_mm=step_mm)
        builder.points = list(tree.points_mm)
        builder.parent, builder.kind = tree.parent.tolist(), tree.kind.tolist()
        builder.weight, builder.shrink = [0.0] * len(tree), [1.0] * len(tree)
        builder.fixed_radius = tree.radius_mm.tolist()
        return builder

    def as_given(self) -> VesselTree:
        """The tree of a builder whose radii were all prescribed."""
        parent = np.array(self.parent)
        return VesselTree(
            np.array(self.points),
            np.array(self.fixed_radius),
            parent,
            number_branches(parent),
            np.array(self.kind, np.int8),
        )

    def add_path(
        self,
        control_mm: ArrayLike,
        *,
        start: int = -1,
        wiggle_mm: float = 0.0,
        weight: float = 1.0,
        taper: float = 0.0,
        kind: VesselKind = VesselKind.ARTERY,
        radius_mm: ArrayLike | None = None,
    ) -> NDArray[np.int64]:
        """Append a smooth curve through ``control_mm`` (n, 3) behind node ``start``.

        ``wiggle_mm`` is the amplitude of its tortuosity, ``weight`` the share of blood that
        its tip takes, ``taper`` the fraction by which it narrows on its way, ``radius_mm``
        (scalar or first, last) a prescribed radius instead of Murray's. Returns the
        indices of the new nodes.
        """
        control = np.asarray(control_mm, float)
        if start >= 0:
            control = np.vstack([self.points[start], control])
        curve = smooth_curve(control, self.step_mm)
        curve = add_tortuosity(curve, wiggle_mm, self.rng) if wiggle_mm else curve
        nodes = self.add_nodes(curve[1:] if start >= 0 else curve, start, weight=weight, kind=kind, radius_mm=radius_mm)
        self.shrink[nodes[0] :] = [(1 - taper) ** (1 / len(nodes))] * len(nodes)
        return nodes

    def add_nodes(
        self,
        points_mm: NDArray[np.float64],
        start: int,
        *,
        weight: float = 1.0,
        kind: VesselKind = VesselKind.ARTERY,
        radius_mm: ArrayLike | None = None,
    ) -> NDArray[np.int64]:
        """Append the given nodes (n, 3) as a chain behind node ``start``; returns their indices."""
        first, count = len(self.points), len(points_mm)
        self.points.extend(points_mm)
        self.parent.extend([start, *range(first, first + count - 1)])
        self.kind.extend([int(kind)] * count)
        self.weight.extend([0.0] * (count - 1) + [weight])
        self.shrink.extend([1.0] * count)
        ends = np.full(2, np.nan) if radius_mm is None else np.broadcast_to(np.asarray(radius_mm, float), (2,))
        self.fixed_radius.extend(np.linspace(ends[0], ends[1], count))
        return np.arange(first, first + count)

    def nearest(self, nodes: NDArray[np.int64], target_mm: ArrayLike) -> int:
        """The one of ``nodes`` that is nearest to ``target_mm``."""
        distance = np.linalg.norm(np.array(self.points)[nodes] - np.asarray(target_mm, float), axis=1)
        return int(nodes[distance.argmin()])

    def smooth(self, nodes: NDArray[np.int64], rounds: int = 6) -> None:
        """Take the corners out of grown branches (``nodes``); bifurcations and tips stay."""
        places, parent = np.array(self.points), np.array(self.parent)
        children = np.bincount(parent[parent >= 0], minlength=len(parent))
        child = np.full(len(parent), -1)
        child[parent[parent >= 0]] = np.flatnonzero(parent >= 0)
        inner = nodes[(children[nodes] == 1) & (parent[nodes] >= 0)]
        for _ in range(rounds):
            places[inner] = 0.5 * places[inner] + 0.25 * (places[parent[inner]] + places[child[inner]])
        self.points = list(places)

    def build(self, *, root_radius_mm: float, tip_taper: float = 0.35, floor_mm: float = 0.35) -> VesselTree:
        """The finished tree with radii r0^3 = r1^3 + r2^3 at bifurcations (Murray 1926).

        Branches that end narrow by ``tip_taper`` (fraction of their radius at the start),
        never below ``floor_mm`` (half the width of a detector pixel at the isocenter by default:
        thinner vessels leave no trace that a reconstruction could be judged by).
        """
        parent = np.array(self.parent)
        shape = VesselTree(
            np.array(self.points),
            np.ones(len(parent)),
            parent,
            number_branches(parent),
            np.array(self.kind, np.int8),
        )
        fixed, weight = np.array(self.fixed_radius), np.array(self.weight)
        weight[(shape.num_children == 0) & (weight == 0)] = 1.0
        weight[~np.isnan(fixed)] = 0.0
        shrink = np.array(self.shrink) * _tip_shrink(shape, tip_taper)
        radius = murray_radii(shape, weight, root_radius_mm=root_radius_mm, shrink=shrink)
        radius = np.where(np.isnan(fixed), np.maximum(radius, floor_mm), fixed)
        return VesselTree(shape.points_mm, radius, shape.parent, shape.branch, shape.kind)


def murray_radii(
    tree: VesselTree, tip_weight: NDArray[np.float64], *, root_radius_mm: float, shrink: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radius per node (P,), mm, from the blood that flows to the tips downstream.

    Blood divides in proportion to ``tip_weight`` (P,) and flow ~ r^3; inside a branch each
    node is ``shrink`` (P,) times as wide as the node upstream.
    """
    flow = np.maximum(tree.downstream_sum(tip_weight), 1e-9)
    arriving = np.zeros(len(tree))
    downstream = tree.parent >= 0
    np.add.at(arriving, tree.parent[downstream], flow[downstream])
    radius = np.empty(len(tree))
    for node, upstream in enumerate(tree.parent):
        if upstream < 0:
            radius[node] = root_radius_mm
        elif tree.branch[upstream] == tree.branch[node]:
            radius[node] = radius[upstream] * shrink[node]
        else:
            radius[node] = radius[upstream] * (flow[node] / arriving[upstream]) ** (1 / 3)
    return radius


def branch_lengths_mm(tree: VesselTree) -> NDArray[np.float64]:
    """Length of every branch (B,), mm, from the bifurcation where it starts."""
    return np.bincount(tree.branch, weights=tree.segment_length_mm).astype(np.float64)


def pruned(tree: VesselTree, shortest_mm: float) -> VesselTree:
    """The tree without ending branches shorter than ``shortest_mm`` (aneurysm sacs stay)."""
    tips = np.unique(tree.branch[tree.num_children == 0])
    short = np.flatnonzero(branch_lengths_mm(tree) < shortest_mm)
    drop = np.isin(tree.branch, np.intersect1d(tips, short)) & (tree.kind == VesselKind.ARTERY)
    keep = np.flatnonzero(~drop)
    place = np.full(len(tree) + 1, -1)
    place[keep] = np.arange(len(keep))
    parent = place[tree.parent[keep]]
    return VesselTree(tree.points_mm[keep], tree.radius_mm[keep], parent, number_branches(parent), tree.kind[keep])


def _tip_shrink(tree: VesselTree, tip_taper: float) -> NDArray[np.float64]:
    """Factor per node (P,) that narrows every ending branch by ``tip_taper`` over its length."""
    tips = np.unique(tree.branch[tree.num_children == 0])
    count = np.bincount(tree.branch)[tree.branch]
    return np.where(np.isin(tree.branch, tips), (1 - tip_taper) ** (1 / count), 1.0)


def smooth_curve(control_mm: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """Points (n, 3) about ``step_mm`` apart on a centripetal cubic through the control points."""
    from scipy.interpolate import CubicSpline

    chord = np.linalg.norm(np.diff(control_mm, axis=0), axis=1)
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(chord, 1e-6)))])
    spline = CubicSpline(knots, control_mm) if len(control_mm) > 2 else None
    fine = np.linspace(0, knots[-1], 40 * len(control_mm))
    dense = spline(fine) if spline else np.linspace(control_mm[0], control_mm[-1], len(fine))
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    count = max(2, round(length[-1] / step_mm) + 1)
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, axis) for axis in dense.T], -1)


def add_tortuosity(curve: NDArray[np.float64], amplitude_mm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The curve (n, 3) with smooth random sideways waves (both ends stay where they are)."""
    from scipy.ndimage import gaussian_filter1d

    noise = gaussian_filter1d(rng.normal(size=(len(curve) + 40, 3)), 3.5, axis=0)[20:-20]
    noise *= amplitude_mm / max(float(noise.std()), 1e-9)
    ends = np.minimum(np.arange(len(curve)), np.arange(len(curve))[::-1]) / 6
    return curve + noise * np.clip(ends, 0, 1)[:, None]


def grow_towards(
    builder: TreeBuilder,
    sprouting: NDArray[np.int64],
    targets_mm: NDArray[np.float64],
    *,
    reach_mm: float,
    supplied_mm: float,
    max_steps: int = 90,
) -> NDArray[np.int64]:
    """Grow branches from the ``sprouting`` nodes until the target tissue is supplied.

    Space colonization (Runions et al. 2007): each target pulls the nearest node within
    ``reach_mm``; nodes extend towards the mean pull; targets closer than ``supplied_mm``
    to a node are satisfied. Returns the new nodes.
    """
    from scipy.spatial import cKDTree

    nodes = list(sprouting)
    children = dict.fromkeys(nodes, 0)
    targets = targets_mm[cKDTree(np.array(builder.points)[sprouting]).query(targets_mm)[0] > supplied_mm]
    for _ in range(max_steps):
        places = np.array(builder.points)[nodes]
        distance, nearest = cKDTree(places).query(targets, distance_upper_bound=reach_mm)
        hit = np.isfinite(distance)
        if not hit.any():
            break
        pull = np.zeros((len(nodes), 3))
        np.add.at(pull, nearest[hit], (targets[hit] - places[nearest[hit]]) / distance[hit, None])
        grown: list[int] = []
        for which in np.unique(nearest[hit]):
            node = nodes[which]
            if children[node] >= 2:
                continue
            heading = pull[which] / max(np.linalg.norm(pull[which]), 1e-9)
            heading = heading + builder.rng.normal(scale=0.12, size=3)
            if builder.parent[node] >= 0 and children[node] == 0:
                inertia = builder.points[node] - builder.points[builder.parent[node]]
                heading = heading + 0.8 * inertia / np.linalg.norm(inertia)
            place = builder.points[node] + builder.step_mm * heading / np.linalg.norm(heading)
            new = int(builder.add_nodes(place[None], node, weight=0.0)[0])
            children[node] += 1
            children[new] = 0
            grown.append(new)
        if not grown:
            break
        nodes += grown
        targets = targets[cKDTree(np.array(builder.points)[grown]).query(targets)[0] > supplied_mm]
        if len(targets) == 0:
            break
    return np.array(nodes[len(sprouting) :], np.int64)
