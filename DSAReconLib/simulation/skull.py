"""A head made of ellipsoids: skull, skull base, face, brain, neck.

Head frame as in :mod:`DSAReconLib.simulation.procedural` (LPS mm, origin at the carotid
termini). A body adds its bone and soft-tissue fraction to what it lies in, so a cavity in
bone is (-1, +1) and an air space in soft tissue (0, -1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ellipsoids:
    """Bodies whose tissue fractions add up where they overlap.

    Parameters
    ----------
    center_mm, half_axes_mm
        (B, 3) each, mm.
    rotation
        (B, 3, 3); columns are the directions of the half axes.
    bone, soft
        Tissue fractions (B,) that each body adds.
    """

    center_mm: NDArray[np.float64]
    half_axes_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    bone: NDArray[np.float64]
    soft: NDArray[np.float64]

    def moved(self, shift_mm: NDArray[np.float64]) -> Ellipsoids:
        """All bodies moved by ``shift_mm`` (3,)."""
        return Ellipsoids(self.center_mm + shift_mm, self.half_axes_mm, self.rotation, self.bone, self.soft)

    def fractions_at(self, points_mm: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bone and soft-tissue fraction (N,) at points (N, 3)."""
        bone, soft = np.zeros(len(points_mm)), np.zeros(len(points_mm))
        for body in range(len(self.bone)):
            local = (points_mm - self.center_mm[body]) @ self.rotation[body] / self.half_axes_mm[body]
            inside = (local**2).sum(1) < 1
            bone += self.bone[body] * inside
            soft += self.soft[body] * inside
        return bone, soft


_FULL, _REPLACE, _CAVITY, _AIR, _TO_AIR = (0, 1), (1, -1), (-1, 1), (0, -1), (-1, 0)

# center (x, y, z), half axes (x, y, z), turn about (x, y, z) in degrees, (bone, soft) added.
# Bodies with x > 0 and the flag are mirrored to the other side.
_MEDIAN = [
    ((0, 8, 14), (78, 97, 80), (0, 0, 0), _FULL),  # scalp and everything under it
    ((0, 8, 16), (72, 91, 74), (0, 0, 0), _REPLACE),  # calvaria, outer table
    ((0, 7.5, 17), (66.5, 84.5, 67.5), (0, 0, 0), _CAVITY),  # brain
    ((0, 30, -75), (52, 48, 70), (8, 0, 0), (0, 0.45)),  # neck
    ((0, -52, -42), (46, 40, 52), (-8, 0, 0), (0, 0.8)),  # face
    ((0, -79, 6), (17, 6, 11), (0, 0, 0), (-0.8, -0.2)),  # frontal sinus
    ((0, -17, -15), (10, 11, 9), (0, 0, 0), (0, -0.95)),  # sphenoid sinus
    ((0, -50, -24), (9, 24, 17), (0, 0, 0), (0, -0.8)),  # nasal cavity and ethmoid
    ((0, -10, -64), (10, 10, 30), (0, 0, 0), (0, -0.9)),  # pharynx
    ((0, 4, -19), (11, 16, 6), (-38, 0, 0), (0.6, -0.6)),  # clivus
    ((0, 36, -78), (11, 10, 46), (6, 0, 0), (0.45, -0.45)),  # cervical spine
    ((0, 30, -50), (38, 12, 5), (0, 0, 0), (0.45, -0.45)),  # atlas
    ((0, 98, 6), (14, 5, 9), (0, 0, 0), (0.8, 0.1)),  # external occipital protuberance
    ((0, -62, -52), (27, 18, 5), (0, 0, 0), (0.35, -0.35)),  # hard palate
]  # fmt: skip
_PAIRED = [
    ((34, 15, -22), (27, 9, 8.5), (0, 8, 38), (0.85, -0.85)),  # petrous ridge
    ((52, 28, -30), (12, 14, 17), (0, 0, 0), (0.55, -0.55)),  # mastoid
    ((50, 26, -28), (7, 9, 10), (0, 0, 0), (-0.4, -0.25)),  # mastoid air cells
    ((31, -58, -4), (19, 27, 17), (0, 0, -14), (-0.35, 0.1)),  # orbit
    ((31, -60, -4), (21.5, 25, 19.5), (0, 0, -14), (0.15, -0.15)),  # orbital rim
    ((32, -27, 4), (26, 4, 5), (0, -12, 18), (0.6, -0.5)),  # sphenoid wing
    ((26, -56, -36), (12, 15, 13), (0, 0, 0), (0, -0.8)),  # maxillary sinus
    ((48, -50, -27), (11, 8, 8), (0, 0, 20), (0.6, -0.5)),  # zygoma
    ((62, -22, -27), (3.5, 24, 4.5), (0, 0, -8), (0.7, -0.3)),  # zygomatic arch
    ((48, -14, -58), (4, 13, 26), (-12, 0, 0), (0.7, -0.5)),  # ramus of the mandible
    ((30, -46, -84), (6, 30, 10), (0, 0, 32), (0.7, -0.5)),  # body of the mandible
    ((9, -22, -2), (3, 5, 3), (0, 0, 0), (0.5, -0.5)),  # anterior clinoid
    ((14, 38, -46), (10, 14, 7), (0, 0, 0), (0.4, -0.3)),  # occipital condyle
    ((38, 62, -18), (30, 22, 4), (30, 0, -25), (0.25, -0.2)),  # floor of the posterior fossa
]  # fmt: skip


def skull_phantom() -> Ellipsoids:
    """The built-in head."""
    bodies = list(_MEDIAN)
    for center, axes, turn, add in [*_PAIRED, *_teeth()]:
        bodies.append((center, axes, turn, add))
        mirrored = ((-center[0], *center[1:]), axes, (turn[0], -turn[1], -turn[2]), add)
        bodies.append(mirrored)
    from scipy.spatial.transform import Rotation

    center, axes, turn, add = (np.array(column, float) for column in zip(*bodies, strict=True))
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    return Ellipsoids(center, axes, rotation, add[:, 0], add[:, 1])


def _teeth() -> list[tuple]:  # type: ignore[type-arg]
    """Two rows of teeth on half an arch each (the other half is mirrored); two carry metal."""
    teeth = []
    for row, z in enumerate((-60.0, -71.0)):
        for k in range(7):
            angle = np.deg2rad(8 + 12.5 * k)
            place = (24 * np.sin(angle), -64 - 20 * np.cos(angle) + 6 * (k > 4) * (k - 4), z)
            metal = 2.2 if (row, k) in ((0, 5), (1, 4)) else 1.0
            teeth.append((place, (3.2, 3.2, 5.5), (0, 0, 0), (metal, -0.6)))
    return teeth
