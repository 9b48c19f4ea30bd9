"""A head made of ellipsoids: skull, skull base, face, spine, brain.

Head frame as in :mod:`DSAReconLib.simulation.procedural` (LPS mm, origin between the
carotid termini). Bodies are painted in order: inside a body its tissue replaces what was
there before. A body may be cut by a plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PaintedEllipsoids:
    """Ellipsoids, each cut by a plane, later ones painted over earlier ones.

    Parameters
    ----------
    center_mm, half_axes_mm
        (B, 3) each, mm.
    rotation
        (B, 3, 3); columns are the directions of the half axes.
    plane
        (B, 4): points with plane[:3] . (x - center) > plane[3] belong to the body;
        a plane of (0, 0, 0, -1) cuts nothing off.
    bone, soft
        Fractions (B,) of cortical bone and of soft tissue inside the body.
    """

    center_mm: NDArray[np.float64]
    half_axes_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    plane: NDArray[np.float64]
    bone: NDArray[np.float64]
    soft: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bone)

    def moved(self, shift_mm: NDArray[np.float64]) -> PaintedEllipsoids:
        """All bodies moved by ``shift_mm`` (3,)."""
        return replace(self, center_mm=self.center_mm + shift_mm)

    def fractions_at(self, points_mm: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bone and soft-tissue fraction (N,) at points (N, 3)."""
        bone, soft = np.zeros(len(points_mm)), np.zeros(len(points_mm))
        for body in range(len(self)):
            offset = points_mm - self.center_mm[body]
            inside = ((offset @ self.rotation[body] / self.half_axes_mm[body]) ** 2).sum(1) < 1
            inside &= offset @ self.plane[body, :3] > self.plane[body, 3]
            bone[inside], soft[inside] = self.bone[body], self.soft[body]
        return bone, soft


@dataclass(frozen=True)
class _Body:
    """One ellipsoid: center, half axes, turn about x, y, z (degrees), tissue, whether it has a mirror image."""

    center: tuple[float, float, float]
    axes: tuple[float, float, float]
    bone: float
    soft: float
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    paired: bool = False
    above_base: float | None = None


# Skull base: z = -17 - 0.38 y, from the anterior fossa down to the foramen magnum.
_BASE_NORMAL = np.array([0.0, 0.38, 1.0]) / np.hypot(0.38, 1.0)
_BASE_POINT = np.array([0.0, 0.0, -17.0])

_SOFT_PARTS = [
    _Body((0, 26, -78), (50, 46, 76), 0, 0.97, turn=(6, 0, 0)),  # neck
    _Body((0, -38, -48), (58, 50, 62), 0, 0.95, turn=(-10, 0, 0)),  # face
    _Body((0, 9, 20), (77, 96, 79), 0, 0.97, above_base=-14.0),  # scalp
    _Body((0, -93, -32), (9, 12, 14), 0, 0.9, turn=(-25, 0, 0)),  # nose
]
_NECK_AND_FACE = [
    _Body((0, -14, -70), (11, 9, 34), 0, 0.02),  # pharynx
    _Body((0, -52, -22), (27, 32, 30), 0.16, 0.6),  # maxilla
    _Body((26, -54, -34), (12.5, 15, 15), 0.02, 0.03, paired=True),  # maxillary sinus
    _Body((0, -54, -26), (12, 28, 20), 0.1, 0.2),  # nasal cavity, ethmoid
    _Body((0, -54, -26), (1.2, 27, 18), 0.5, 0.4),  # septum
    _Body((0, -60, -50), (26, 24, 4), 0.65, 0.35),  # hard palate
    _Body((50, -52, -26), (10, 8, 9), 0.75, 0.25, turn=(0, 0, 25), paired=True),  # zygoma
    _Body((64, -24, -27), (2.6, 26, 4), 0.85, 0.15, turn=(0, 0, -6), paired=True),  # zygomatic arch
    _Body((47, -14, -56), (3.2, 14, 27), 0.9, 0.1, turn=(-14, 0, 0), paired=True),  # ramus of the mandible
    _Body((48, -5, -32), (9, 5, 6), 0.8, 0.2, paired=True),  # condyle of the mandible
    _Body((29, -48, -86), (5.5, 32, 11), 0.8, 0.2, turn=(0, 0, 34), paired=True),  # body of the mandible
    _Body((0, -76, -90), (16, 7, 10), 0.7, 0.3),  # chin
]
_NEUROCRANIUM = [
    _Body((38, -8, -11), (31, 35, 24), 0.9, 0.1, paired=True),  # middle fossa, outside
    _Body((0, 47, -20), (59, 45, 39), 0.9, 0.1),  # posterior fossa, outside
    _Body((0, 8, 20), (72.5, 90.5, 73.5), 1.0, 0.0, above_base=0.0),  # outer table
    _Body((0, 8, 20), (71.0, 89.0, 72.0), 0.5, 0.4, above_base=1.0),  # diploe
    _Body((0, 7, 20.5), (68.3, 85.3, 69.3), 1.0, 0.0, above_base=1.0),  # inner table
    _Body((0, 7, 20.5), (67.0, 84.0, 68.0), 0, 1.0, above_base=3.0),  # cerebrum
    _Body((38, -8, -10), (28.5, 32.5, 21), 0, 1.0, paired=True),  # temporal pole
    _Body((0, 46, -18.5), (54.5, 40.5, 34.5), 0, 1.0),  # cerebellum
    _Body((0, 32, -52), (15, 17, 12), 0, 1.0),  # foramen magnum
    _Body((0, 91, 6), (15, 7, 9), 0.85, 0.15),  # occipital protuberance
    _Body((0, -78, 24), (3, 5, 22), 0.8, 0.2),  # frontal crest
]
_SKULL_BASE = [
    _Body((0, 6, -22), (12, 19, 6.5), 0.65, 0.35, turn=(-42, 0, 0)),  # clivus
    _Body((35, 17, -20), (28, 8.5, 8), 0.9, 0.1, turn=(0, 6, 38), paired=True),  # petrous ridge
    _Body((30, 15, -19), (8, 5.5, 5.5), 1.25, 0.0, turn=(0, 6, 38), paired=True),  # otic capsule
    _Body((55, 30, -34), (10, 13, 19), 0.5, 0.3, paired=True),  # mastoid
    _Body((54, 28, -31), (6, 8, 11), 0.25, 0.15, paired=True),  # mastoid cells
    _Body((54, 14, -24), (14, 2.8, 2.8), 0, 0.05, paired=True),  # auditory canal
    _Body((31, -27, 5), (27, 3.0, 4), 0.8, 0.2, turn=(0, -14, 20), paired=True),  # lesser sphenoid wing
    _Body((9.5, -22, -1), (2.8, 5.5, 2.8), 0.9, 0.1, paired=True),  # anterior clinoid process
    _Body((0, -4, -3), (10, 2.2, 7), 0.8, 0.2, turn=(20, 0, 0)),  # dorsum sellae
    _Body((0, -20, -15), (12, 13, 9.5), 0.03, 0.03),  # sphenoid sinus
    _Body((0, -12, -3), (8, 7, 5), 0, 1.0),  # pituitary
    _Body((30, -60, -3), (20.5, 24, 18.5), 0.8, 0.2, turn=(0, 0, -16), paired=True),  # orbital walls
    _Body((30.5, -62, -3), (18.6, 26, 16.6), 0.0, 0.92, turn=(0, 0, -16), paired=True),  # orbit
    _Body((12, -80, 14), (11, 4, 9), 0, 0.03, turn=(0, -25, 0), paired=True),  # frontal sinus
]


def skull_phantom() -> PaintedEllipsoids:
    """The built-in head."""
    from scipy.spatial.transform import Rotation

    bodies = [*_SOFT_PARTS, *_spine(), *_NECK_AND_FACE, *_NEUROCRANIUM, *_SKULL_BASE, *_teeth()]
    both = [image for body in bodies for image in ((body, _mirrored(body)) if body.paired else (body,))]
    center = np.array([body.center for body in both], float)
    rotation = Rotation.from_euler("xyz", [body.turn for body in both], degrees=True).as_matrix()
    plane = np.tile([0.0, 0.0, 0.0, -1.0], (len(both), 1))
    for row, body in zip(plane, both, strict=True):
        if body.above_base is not None:
            row[:3] = _BASE_NORMAL
            row[3] = body.above_base + _BASE_NORMAL @ (_BASE_POINT - np.array(body.center))
    return PaintedEllipsoids(
        center,
        np.array([body.axes for body in both], float),
        rotation,
        plane,
        np.array([body.bone for body in both]),
        np.array([body.soft for body in both]),
    )


def _mirrored(body: _Body) -> _Body:
    x, y, z = body.center
    about_x, about_y, about_z = body.turn
    return replace(body, center=(-x, y, z), turn=(about_x, -about_y, -about_z))


def _spine() -> list[_Body]:
    """Atlas, dens and the upper cervical vertebrae with their arches."""
    bodies = [
        _Body((20, 30, -56), (11, 13, 6.5), 0.6, 0.4, paired=True),  # lateral masses of the atlas
        _Body((0, 47, -57), (24, 3.5, 4.5), 0.7, 0.3),  # arch of the atlas
        _Body((0, 16, -56), (12, 3, 4.5), 0.7, 0.3),
        _Body((0, 21, -58), (4.8, 5, 13), 0.75, 0.25),  # dens
    ]
    for level in range(4):
        z, y = -73.0 - 16.5 * level, 24.0 + 1.5 * level
        bodies.append(_Body((0, y, z), (13.5, 9.5, 7.2), 0.5, 0.5))
        bodies.append(_Body((19, y + 12, z), (8, 8, 6.5), 0.5, 0.5, paired=True))
        bodies.append(_Body((0, y + 32, z - 5), (4.5, 12, 4), 0.6, 0.4, turn=(-25, 0, 0)))
    return bodies


def _teeth() -> list[_Body]:
    """Two rows of teeth on half an arch each (the other half is mirrored); two carry metal."""
    teeth = []
    for row, z in enumerate((-59.0, -70.5)):
        for k in range(7):
            angle = np.deg2rad(8 + 12.5 * k)
            back = 7.0 * max(k - 4, 0)
            place = (float(24 * np.sin(angle)), float(-64 - 20 * np.cos(angle) + back), z)
            metal = (row, k) in ((0, 5), (1, 4))
            teeth.append(_Body(place, (3.0, 3.2, 5.8), 2.4 if metal else 1.15, 0.0, paired=True))
    return teeth
