"""Procedural cerebral vessel trees (left side, deterministic by seed).

Head frame: LPS mm, origin between the two carotid termini at the level of the skull base.
Positions follow the textbook course of the vessels; radii follow Murray's law from an
internal carotid artery of 2.2 mm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.simulation.growth import TreeBuilder, grow_towards, pruned
from DSAReconLib.simulation.trees import VesselKind, VesselTree

Point = tuple[float, float, float]

BRAIN_CENTER_MM = np.array([0.0, 6.0, 20.0])
BRAIN_HALF_AXES_MM = np.array([60.0, 74.0, 54.0])

_CAROTID = [
    (27, 16, -58), (25.5, 12, -46), (24.5, 9, -37), (23, 5.5, -31), (18.5, 0, -28.5), (14.5, -6, -27),
    (12, -9.5, -21), (12.5, -11.5, -14), (13, -17, -10.5), (13, -25, -9.5), (13.2, -30.5, -6), (13, -30, 0),
    (13, -23, 3.5), (14.5, -15.5, 5.5), (16, -10, 8),
]  # fmt: skip
_M1 = [(21.5, -10.5, 9.8), (27.5, -10.5, 8.2), (33.5, -8, 7.5)]
_SUPERIOR_TRUNK = [(36.5, -6, 11), (38, -2, 15), (38.5, 4, 19), (39, 12, 22), (39.5, 20, 25)]
_INFERIOR_TRUNK = [(38, -4, 7), (40.5, 4, 9), (41.5, 14, 13), (42.5, 24, 18), (45, 32, 21)]
_ANTERIOR = [(10, -14, 11), (4.5, -17, 12), (2.8, -24, 14.5), (2.5, -34, 20)]
_PERICALLOSAL = [
    (2.5, -40, 29), (2.6, -37, 39), (3, -26, 46), (3.2, -10, 50), (3.2, 8, 50), (3.3, 22, 46), (3.4, 32, 38),
]  # fmt: skip
_CALLOSOMARGINAL = [(3.5, -45, 40), (4.5, -40, 51), (5, -28, 59), (5.5, -12, 64), (5.5, 4, 66)]
_POSTERIOR = [(13, -9, 3), (13.5, 2, 1.5), (18, 12, 2), (20, 24, 4), (17, 38, 6), (12, 54, 9)]

# Opercular branches: where they leave the Sylvian fissure and where they end, as (y, z).
_SUPERIOR_CORTICAL = [
    ((-24, 12), (-54, 8)), ((-18, 17), (-50, 34)), ((-10, 22), (-30, 54)), ((0, 25), (-6, 64)),
    ((10, 27), (17, 62)), ((20, 29), (42, 50)),
]  # fmt: skip
_INFERIOR_CORTICAL = [
    ((34, 24), (60, 34)), ((34, 17), (67, 10)), ((24, 10), (50, -8)), ((12, 5), (24, -16)), ((2, 3), (-4, -17)),
    ((-8, 2), (-24, -13)),
]  # fmt: skip
_ANTERIOR_CORTICAL: list[tuple[Point, list[Point]]] = [
    ((3, -30, 17), [(4, -46, 12), (5, -58, 10)]), ((2.5, -40, 28), [(4, -54, 28), (5, -63, 30)]),
    ((4.5, -40, 51), [(5.5, -48, 56), (8, -50, 57)]), ((5, -26, 60), [(6, -26, 67), (9, -24, 70)]),
    ((5.5, 2, 66), [(6, 8, 71), (9, 14, 72)]), ((3.2, 18, 48), [(4, 28, 56), (6, 38, 63)]),
]  # fmt: skip


def carotid_tree(seed: int = 0, *, density: float = 0.4) -> VesselTree:
    """Internal carotid artery with siphon, middle and anterior cerebral arteries and their cortical branches.

    Parameters
    ----------
    seed
        Another seed gives another anatomy of the same kind.
    density
        Scales the number of cortical side branches; 0 leaves the named arteries only.
    """
    builder, _ = _carotid(np.random.default_rng(seed), density)
    return pruned(builder.build(root_radius_mm=2.2), 4.0)


def aneurysm_tree(seed: int = 0, *, density: float = 0.4, sac_diameter_mm: float = 7.0) -> VesselTree:
    """Carotid tree with a saccular aneurysm at the middle cerebral bifurcation."""
    builder, landmark = _carotid(np.random.default_rng(seed), density)
    neck = landmark["bifurcation"]
    outward = np.array([0.75, -0.55, -0.35]) / np.linalg.norm([0.75, -0.55, -0.35])
    radius = sac_diameter_mm / 2
    reach = np.array([0.45, 0.75, 1.05]) * radius
    places = np.array(builder.points)[neck] + reach[:, None] * outward
    sac = builder.add_nodes(places, neck, weight=0.0, kind=VesselKind.ANEURYSM, radius_mm=radius)
    for node, share in zip(sac, (0.72, 0.92, 1.0), strict=True):
        builder.fixed_radius[node] = share * radius
    return pruned(builder.build(root_radius_mm=2.2), 4.0)


def avm_tree(seed: int = 0, *, density: float = 0.35) -> VesselTree:
    """Carotid tree with a parietal arteriovenous malformation: feeders, nidus and early draining veins."""
    rng = np.random.default_rng(seed)
    builder, landmark = _carotid(rng, density)
    center = np.array([38.0, 20.0, 47.0]) + rng.normal(scale=1.5, size=3)
    nidus_radius = 10.0
    feeders = []
    for start, via in ((landmark["superior_end"], (44, 17, 37)), (landmark["pericallosal_end"], (20, 22, 54))):
        entry = center + 0.5 * nidus_radius * (np.asarray(via) - center) / np.linalg.norm(np.asarray(via) - center)
        path = builder.add_path(np.array([via, entry, center]), start=start, wiggle_mm=0.9, weight=9.0)
        feeders.append(path[-max(3, len(path) // 4) :])
    nidus = _nidus(builder, np.concatenate(feeders), center, nidus_radius)
    _draining_veins(builder, nidus, center)
    return pruned(builder.build(root_radius_mm=2.3), 4.0)


def with_cortical_veins(tree: VesselTree, seed: int = 0) -> VesselTree:
    """The tree with cortical veins that take up the blood of some arteries and drain to the sagittal sinus."""
    rng = np.random.default_rng([seed, 11])
    builder = TreeBuilder.of(tree, rng)
    tips = np.flatnonzero((tree.num_children == 0) & (tree.points_mm[:, 0] > 20) & (tree.points_mm[:, 2] > 15))
    sinus = builder.add_path(
        [(3, -52, 57), (1, -30, 70), (0, 0, 76), (0, 30, 74), (0, 58, 62), (0, 74, 42), (0, 80, 18)],
        start=builder.nearest(np.flatnonzero(tree.num_children == 0), (4, -60, 50)),
        wiggle_mm=0.3,
        radius_mm=(1.0, 3.0),
        kind=VesselKind.VEIN,
    )
    for y in (-44, -26, -6, 14, 34, 52):
        start = builder.nearest(tips, on_cortex(y, 34))
        top = builder.points[builder.nearest(sinus, (0, y + 8, 74))]
        _, y0, z0 = builder.points[start]
        share = np.array([0.3, 0.6, 0.85])
        course = [on_cortex(y0 + s * (top[1] - y0), min(z0 + s * (top[2] - z0), 72.5), depth=-0.03) for s in share]
        builder.add_path([*course, top], start=start, wiggle_mm=1.0, radius_mm=(0.6, 1.4), kind=VesselKind.VEIN)
    return builder.as_given()


def tiny_tree(seed: int = 0) -> VesselTree:
    """A few wide branches within 45 mm, for tests: a bent trunk that divides twice."""
    rng = np.random.default_rng(seed)
    builder = TreeBuilder(rng, step_mm=0.8)
    trunk = builder.add_path([(2, 6, -22), (-3, 0, -14), (3, -5, -6), (0, 0, 0)], taper=0.1)
    left = builder.add_path([(9, -4, 4), (14, 2, 9)], start=trunk[-1], wiggle_mm=0.5)
    right = builder.add_path([(-8, 4, 5), (-13, -1, 9)], start=trunk[-1], wiggle_mm=0.5)
    for stem, ends in ((left, [(20, -8, 14), (18, 12, 19)]), (right, [(-21, 6, 13), (-16, -12, 20)])):
        for end in ends:
            middle = (builder.points[stem[-1]] + np.asarray(end)) / 2 + rng.normal(scale=1.5, size=3)
            builder.add_path([middle, end], start=stem[-1], wiggle_mm=0.4)
    return builder.build(root_radius_mm=2.0, tip_taper=0.15, floor_mm=0.6)


def _carotid(rng: np.random.Generator, density: float) -> tuple[TreeBuilder, dict[str, int]]:
    builder = TreeBuilder(rng)
    vary = _Variation(rng)
    carotid = builder.add_path(vary(_CAROTID, 0.7), wiggle_mm=0.15, taper=0.2)
    at = lambda place: builder.nearest(carotid, place)  # noqa: E731 - a local shorthand
    ophthalmic = at((13, -29, 1.5))
    builder.add_path(vary([(16, -35, 3), (19, -44, 3), (19, -56, 2)], 1), start=ophthalmic, wiggle_mm=0.4, weight=0.8)
    choroidal = at((15.5, -12, 7))
    builder.add_path(vary([(19, -3, 5), (24, 9, 6), (27, 20, 10)], 1), start=choroidal, wiggle_mm=0.4, weight=0.3)
    middle = builder.add_path(vary(_M1, 0.7), start=carotid[-1], wiggle_mm=0.25)
    for share in (0.3, 0.5, 0.7, 0.85):
        _perforator(builder, middle[int(share * len(middle))], rng)
    superior = builder.add_path(vary(_SUPERIOR_TRUNK, 0.8), start=middle[-1], wiggle_mm=0.6)
    inferior = builder.add_path(vary(_INFERIOR_TRUNK, 0.8), start=middle[-1], wiggle_mm=0.6)
    lateral = [_opercular(builder, superior, leave, end, vary) for leave, end in _SUPERIOR_CORTICAL]
    lateral += [_opercular(builder, inferior, leave, end, vary, hairpin=False) for leave, end in _INFERIOR_CORTICAL]
    anterior = builder.add_path(vary(_ANTERIOR, 0.6), start=carotid[-1], wiggle_mm=0.4)
    pericallosal = builder.add_path(vary(_PERICALLOSAL, 0.6), start=anterior[-1], wiggle_mm=0.5)
    marginal = builder.add_path(vary(_CALLOSOMARGINAL, 0.8), start=pericallosal[6], wiggle_mm=0.7)
    stems = np.concatenate([anterior, pericallosal, marginal])
    medial = [
        builder.add_path(vary(path, 0.8), start=builder.nearest(stems, leave), wiggle_mm=0.7)
        for leave, path in _ANTERIOR_CORTICAL
    ]
    posterior = builder.add_path(vary(_POSTERIOR, 0.8), start=at((14, -19, 5)), wiggle_mm=0.5)
    if density > 0:
        _side_branches(builder, np.concatenate(lateral), _lateral_cortex(rng, density))
        _side_branches(builder, np.concatenate([*medial, pericallosal, marginal]), _medial_cortex(rng, density))
        _side_branches(builder, posterior[len(posterior) // 3 :], _occipital_cortex(rng, density))
    landmark = {
        "bifurcation": int(middle[-1]),
        "superior_end": int(superior[-1]),
        "pericallosal_end": int(pericallosal[-8]),
    }
    return builder, landmark


class _Variation:
    """Anatomical variation: control points moved at random by a few tenths of a millimeter."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, control_mm: ArrayLike, scale_mm: float) -> NDArray[np.float64]:
        control = np.asarray(control_mm, float)
        return control + self.rng.normal(scale=scale_mm, size=control.shape)


def _perforator(builder: TreeBuilder, start: int, rng: np.random.Generator) -> None:
    """A lenticulostriate artery: up through the basal ganglia in a lateral bow."""
    x, y, z = builder.points[start]
    lean = rng.uniform(2, 5)
    path = [(x - 1, y + 2, z + 4), (x + lean, y + 6, z + 12), (x + lean - 1, y + 10, z + 20), (x - 2, y + 13, z + 27)]
    builder.add_path(path, start=start, wiggle_mm=0.3, weight=0.25)


def _opercular(
    builder: TreeBuilder,
    trunk: NDArray[np.int64],
    leave_yz: tuple[float, float],
    end_yz: tuple[float, float],
    vary: _Variation,
    hairpin: bool = True,
) -> NDArray[np.int64]:
    """A cortical branch: over the insula, around the operculum, along the convexity to its end."""
    y0, z0 = leave_yz
    start = builder.nearest(trunk, (39, y0 - 4, z0 - 6))
    edge = on_cortex(y0, z0)
    turn = [(40, y0 - 2, z0 + 6), (46, y0, z0 + 5)] if hairpin else [(44, y0, z0)]
    share = np.linspace(0, 1, 5)[1:]
    bow = 5 * np.sin(np.pi * share) * vary.rng.choice([-1, 1])
    ys, zs = y0 + share * (end_yz[0] - y0), z0 + share * (end_yz[1] - z0)
    across = np.array([-(end_yz[1] - z0), end_yz[0] - y0])
    across = across / np.linalg.norm(across)
    course = [on_cortex(y + b * across[0], z + b * across[1]) for y, z, b in zip(ys, zs, bow, strict=True)]
    control = vary(np.vstack([turn, [edge], course]), 0.8)
    return builder.add_path(control, start=start, wiggle_mm=0.9)[len(turn) * 4 :]


def _side_branches(builder: TreeBuilder, stems: NDArray[np.int64], targets_mm: NDArray[np.float64]) -> None:
    grown = grow_towards(builder, stems, targets_mm, reach_mm=16.0, supplied_mm=4.5)
    builder.smooth(grown)


def on_cortex(y_mm: ArrayLike, z_mm: ArrayLike, depth: float = 0.0) -> NDArray[np.float64]:
    """Points (..., 3) of the left convexity above (y, z); ``depth`` is a fraction of the half-axes."""
    y, z = np.broadcast_arrays(np.asarray(y_mm, float), np.asarray(z_mm, float))
    _, cy, cz = BRAIN_CENTER_MM
    ax, ay, az = BRAIN_HALF_AXES_MM * (1 - depth)
    inside = 1 - ((y - cy) / ay) ** 2 - ((z - cz) / az) ** 2
    return np.stack([ax * np.sqrt(np.maximum(inside, 0.02)), y, z], -1)


def _lateral_cortex(rng: np.random.Generator, density: float) -> NDArray[np.float64]:
    """Tissue of the middle cerebral artery: convexity down to the sulci."""
    count = round(520 * density)
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count)) * 0.93
    y, z = 6 + 74 * radius * np.cos(angle), 20 + 54 * radius * np.sin(angle)
    keep = (z > -22) & (z < 68)
    points = on_cortex(y[keep], z[keep])
    depth = rng.uniform(0.0, 0.22, len(points))[:, None]
    return BRAIN_CENTER_MM + (1 - depth) * (points - BRAIN_CENTER_MM)


def _medial_cortex(rng: np.random.Generator, density: float) -> NDArray[np.float64]:
    """Tissue of the anterior cerebral artery: the medial surface above the corpus callosum."""
    count = round(330 * density)
    angle, radius = rng.uniform(-0.25, np.pi, count), rng.uniform(0.55, 0.97, count)
    y, z = 6 - 72 * radius * np.cos(angle), 20 + 53 * radius * np.sin(angle)
    keep = (y < 48) & (z > 5)
    return np.stack([rng.uniform(2.5, 9, keep.sum()), y[keep], z[keep]], -1)


def _occipital_cortex(rng: np.random.Generator, density: float) -> NDArray[np.float64]:
    count = round(90 * density)
    low, high = (5, 30, -12), (32, 72, 26)
    points = rng.uniform(low, high, (count, 3))
    inside = (((points - BRAIN_CENTER_MM) / BRAIN_HALF_AXES_MM) ** 2).sum(1) < 0.9
    return points[inside]


def _nidus(
    builder: TreeBuilder, feeders: NDArray[np.int64], center: NDArray[np.float64], radius_mm: float
) -> NDArray[np.int64]:
    """A tangle of tortuous vessels inside a ball; returns its nodes."""
    rng = builder.rng
    nodes = []
    for _ in range(34):
        start = int(rng.choice(feeders))
        heading = rng.normal(size=3)
        place, walk = builder.points[start], []
        for _ in range(int(rng.integers(12, 26))):
            heading = (
                heading
                + rng.normal(scale=0.55, size=3)
                - 1.2 * np.maximum(np.linalg.norm(place - center) / radius_mm - 0.75, 0) * (place - center)
            )
            heading /= np.linalg.norm(heading)
            place = place + builder.step_mm * heading
            walk.append(place)
        wide = float(rng.uniform(0.45, 0.95))
        nodes.append(builder.add_nodes(np.array(walk), start, weight=0.0, kind=VesselKind.NIDUS, radius_mm=wide))
    return np.concatenate(nodes)


def _draining_veins(builder: TreeBuilder, nidus: NDArray[np.int64], center: NDArray[np.float64]) -> None:
    """Wide early veins from the nidus to the superior sagittal sinus and down to the transverse sinus."""
    up = [center + np.array((4, 4, 10)), (36, 30, 62), (22, 36, 68), (8, 40, 69), (1, 46, 68)]
    sinus = [(0, 58, 60), (0, 70, 46), (0, 79, 28), (0, 80, 12), (6, 78, 4)]
    cortical = builder.add_path(
        up,
        start=builder.nearest(nidus, center + np.array((2, 2, 7))),
        wiggle_mm=1.2,
        kind=VesselKind.VEIN,
        radius_mm=(1.5, 2.2),
    )
    builder.add_path(sinus, start=cortical[-1], wiggle_mm=0.3, kind=VesselKind.VEIN, radius_mm=(2.6, 3.2))
    second = [center + np.array((8, 6, 0)), (52, 30, 34), (52, 44, 20), (44, 58, 8)]
    builder.add_path(
        second,
        start=builder.nearest(nidus, center + np.array((6, 3, -2))),
        wiggle_mm=1.3,
        kind=VesselKind.VEIN,
        radius_mm=(1.3, 2.0),
    )
