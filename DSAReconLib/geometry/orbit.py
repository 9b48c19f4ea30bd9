"""The path of the source as a rotation: axis, angles and the share of the turn that each view covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry.conebeam import ConeBeamGeometry

_CLOSED_GAP = 1.5
"""A turn counts as closed if its largest angular gap is at most this many times the second largest."""


@dataclass(frozen=True)
class SourceOrbit:
    """Rotation of the source about an axis through the isocenter.

    Parameters
    ----------
    axis
        Unit vector (3,) in patient LPS; angles grow counterclockwise about it.
    angle_rad
        Angle of every view (V,), 0 for the first view after the largest gap, below 2 pi.
    width_rad
        Angle that every view stands for (V,): half the gaps to its two neighbors; the
        first and last view of an open arc stand for one whole gap.
    is_full_turn
        Whether the views close the circle (then the widths sum to 2 pi).
    """

    axis: NDArray[np.float64]
    angle_rad: NDArray[np.float64]
    width_rad: NDArray[np.float64]
    is_full_turn: bool

    @classmethod
    def of(cls, geometry: ConeBeamGeometry) -> SourceOrbit:
        """Orbit of the views, in whatever order and direction they were acquired.

        Raises
        ------
        GeometryError
            Fewer than two views, or all sources at one angle.
        """
        if len(geometry) < 2:
            raise GeometryError(f"a rotation needs at least 2 views; got {len(geometry)}")
        axis = _rotation_axis(geometry)
        radial = geometry.source_mm - np.outer(geometry.source_mm @ axis, axis)
        first = radial[0] / np.linalg.norm(radial[0])
        second = np.cross(axis, first)
        turn = np.mod(np.arctan2(radial @ second, radial @ first), 2 * np.pi)
        order = np.argsort(turn, kind="stable")
        gaps = np.diff(turn[order], append=turn[order[0]] + 2 * np.pi)
        start = (int(np.argmax(gaps)) + 1) % len(order)
        order, gaps = np.roll(order, -start), np.roll(gaps, -start)  # the largest gap comes last
        if gaps[:-1].sum() < 1e-6:
            raise GeometryError("all views have the same angle; a reconstruction needs a rotation")
        full_turn = bool(gaps[-1] <= _CLOSED_GAP * gaps[:-1].max())
        before = np.roll(gaps, 1)
        after = gaps.copy()
        if not full_turn:
            before[0], after[-1] = gaps[0], gaps[-2]
        angle, width = np.empty(len(order)), np.empty(len(order))
        angle[order] = np.mod(turn[order] - turn[order[0]], 2 * np.pi)
        width[order] = (before + after) / 2
        return cls(axis, angle, width, full_turn)

    @property
    def range_rad(self) -> float:
        """Angle that all views together stand for."""
        return float(self.width_rad.sum())

    def tangents(self, geometry: ConeBeamGeometry) -> NDArray[np.float64]:
        """Unit directions (V, 3) in which the sources move for growing angles."""
        tangent = np.cross(self.axis, geometry.source_mm)
        return tangent / np.linalg.norm(tangent, axis=1, keepdims=True)


def _rotation_axis(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Normal (3,) of the plane that fits the sources best."""
    source = geometry.source_mm
    offsets = source - source.mean(0)
    _, spread, directions = np.linalg.svd(offsets, full_matrices=True)
    if len(source) > 2 and spread[1] > 1e-4 * np.linalg.norm(source, axis=1).mean():
        return directions[2]
    # two views or a very short arc fix no plane: assume that it holds the isocenter
    pairs = np.cross(source[:1], source)
    normal = pairs[np.argmax(np.linalg.norm(pairs, axis=1))]
    if np.linalg.norm(normal) < 1e-6 * np.linalg.norm(source[0]) ** 2:
        normal = geometry.detector_v_mm[0]
    return normal / np.linalg.norm(normal)
