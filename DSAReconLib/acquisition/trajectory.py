"""Where the poses of one run lie on the arc of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry

# Angles are stored with a few digits; closer than this the poses are the same (5 um at 60 mm).
_SAME_POSE_DEG = 0.005


@dataclass(frozen=True)
class PoseMatch:
    """For every pose of one run, its place between two neighboring frames of another run.

    Parameters
    ----------
    lower, upper
        Frames (V,) of the other run on both sides.
    weight
        Share (V,) of ``upper``; 0 or 1 where a frame has the very pose.
    distance_deg
        Angle (V,) between the beam and the arc of the other run.
    step_deg
        Median angle from frame to frame of the other run.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    weight: NDArray[np.float64]
    distance_deg: NDArray[np.float64]
    step_deg: float

    @property
    def distance_steps(self) -> NDArray[np.float64]:
        """Distance (V,) from the arc in steps of the other run."""
        return self.distance_deg / max(self.step_deg, _SAME_POSE_DEG)


def beam_directions(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Unit vectors (V, 3) from the source to the isocenter."""
    return -geometry.source_mm / np.linalg.norm(geometry.source_mm, axis=1, keepdims=True)


def match_poses(reference: ConeBeamGeometry, poses: ConeBeamGeometry) -> PoseMatch:
    """Nearest point of the reference arc for every pose, by beam direction (primary and secondary angle)."""
    arc, beams = beam_directions(reference), beam_directions(poses)
    if len(arc) == 1:
        zeros = np.zeros(len(beams), int)
        return PoseMatch(zeros, zeros, np.zeros(len(beams)), _angle_deg(beams - arc[0]), 0.0)
    chords = np.diff(arc, axis=0)
    lengths = np.einsum("si,si->s", chords, chords)
    offsets = beams[:, None] - arc[None, :-1]
    along = np.einsum("vsi,si->vs", offsets, chords) / np.where(lengths > 0, lengths, np.inf)
    along = np.clip(along, 0, 1)
    misses = np.linalg.norm(offsets - along[..., None] * chords, axis=-1)
    lower = np.argmin(misses, axis=1)
    views = np.arange(len(beams))
    weight = along[views, lower]
    # A pose equal to a frame takes that frame alone, whatever rounding the angles went through.
    weight[_angle_deg(beams - arc[lower]) < _SAME_POSE_DEG] = 0.0
    weight[_angle_deg(beams - arc[lower + 1]) < _SAME_POSE_DEG] = 1.0
    step = float(np.median(_angle_deg(chords)))
    return PoseMatch(lower, lower + 1, weight, np.rad2deg(misses[views, lower]), step)


def _angle_deg(chords: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles (N,) in degrees that chords (N, 3) of the unit sphere span."""
    return np.rad2deg(2 * np.arcsin(np.clip(np.linalg.norm(chords, axis=-1) / 2, 0, 1)))
