"""Where the isocenter falls across the rotation axis, from rays that were measured twice in opposite directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry

# A steeper cone of beams has no opposed rays; at 6 degrees they still cross the same anatomy within a few mm.
_STEEPEST_DEG = 6.0
_ALIGNED = 0.9
# Between frames further apart than this the line integrals cannot be interpolated.
_WIDEST_STEP_DEG = 10.0
_BAND = 1 / 6
_MOST_SAMPLES = 256
_PLACES = 49
_LEAST_FRAMES, _LEAST_RAYS, _LEAST_SHARE = 8, 80, 1 / 8
# What counts as clear: the mismatch of the chosen place, and how near the best place of all lies.
_CLEARLY_BETTER = 0.75
_NEAR = 0.25
_GOOD = 0.4


@dataclass(frozen=True)
class Crossing:
    """Which pixel axis runs across the axis of rotation (0 rows, 1 columns), and the beams in its plane.

    ``angle_rad`` (F,) of the beams grows in the direction in which ``slope`` (tangent of the
    fan angle per pixel along the axis) is positive.
    """

    axis: int
    angle_rad: NDArray[np.float64]
    slope: float


def crossing_axis(geometry: ConeBeamGeometry) -> Crossing | None:
    """The pixel axis along which opposed views mirror each other; ``None`` for runs without opposed rays."""
    beams = geometry.detector_normal
    normal = np.linalg.svd(beams, full_matrices=False)[2][2]
    if len(beams) < _LEAST_FRAMES or np.rad2deg(np.arcsin(np.abs(beams @ normal).max())) > _STEEPEST_DEG:
        return None
    first = beams[0] - (beams[0] @ normal) * normal
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angle = np.unwrap(np.arctan2(beams @ second, beams @ first))
    if np.rad2deg(np.median(np.abs(np.diff(angle)))) > _WIDEST_STEP_DEG:
        return None
    tangents = np.cross(normal, beams)
    for axis, steps in enumerate((geometry.detector_v_mm, geometry.detector_u_mm)):
        along = np.einsum("fi,fi->f", tangents, steps) / np.linalg.norm(steps, axis=1)
        if np.all(np.abs(along) > _ALIGNED) and abs(np.sign(along).sum()) == len(along):
            step = geometry.detector_spacing_mm[axis] / float(geometry.sdd_mm.mean())
            return Crossing(axis, angle, float(np.sign(along[0])) * step)
    return None


def conjugate_center(
    intensity: NDArray[np.float32],
    crossing: Crossing,
    block: tuple[tuple[int, int], tuple[int, int]],
    candidates: Sequence[float],
) -> int | None:
    """Which of two places (pixels along the crossing axis) the isocenter falls on; ``None`` if the data do not tell.

    The ray at fan angle g of the view at angle a is measured again, in the opposite
    direction, at fan angle -g of the view at a + 180 degrees + 2 g (Parker 1982). Arcs
    beyond 180 degrees hold such pairs; only with the right middle do they agree.

    Parameters
    ----------
    intensity
        Frames (F, R, C).
    crossing
        The axis and the beam angles.
    block
        Half-open (rows, columns) that were measured.
    candidates
        The two places between which to decide.
    """
    profiles, positions = _profiles(intensity, crossing.axis, block)
    order = np.argsort(crossing.angle_rad)
    data = profiles[order], crossing.angle_rad[order], positions, crossing.slope
    low, high = sorted(candidates)
    places = np.linspace(low - (high - low) / 2, high + (high - low) / 2, _PLACES)
    mismatch = np.array([_mismatch(*data, place) for place in places])
    if not np.isfinite(mismatch).any():
        return None
    best = places[np.nanargmin(mismatch)]
    nearest = int(np.argmin([abs(best - place) for place in candidates]))
    own, other = (_mismatch(*data, candidates[index]) for index in (nearest, 1 - nearest))
    # A place so far off that no ray has an opposed one cannot be compared: then the match itself must be good.
    limit = _CLEARLY_BETTER * other if np.isfinite(other) else _GOOD
    return nearest if abs(best - candidates[nearest]) <= _NEAR * (high - low) and own < limit else None


def _profiles(
    intensity: NDArray[np.float32], axis: int, block: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean -ln(intensity) in a band around the plane of rotation (F, N), and the pixels (N,) it belongs to."""
    start, stop = block[1 - axis]
    half = max(1, round((stop - start) * _BAND / 2))
    middle = (start + stop) // 2
    first, last = block[axis]
    band = [slice(first, last), slice(first, last)]
    band[1 - axis] = slice(max(start, middle - half), min(stop, middle + half))
    pixels = intensity[:, band[0], band[1]]
    factor = max(1, -(-(last - first) // _MOST_SAMPLES))
    count = (last - first) // factor
    means = np.log(np.maximum(pixels, np.float32(1e-3))).mean(2 - axis, dtype=np.float64)
    profiles = -means[:, : count * factor].reshape(len(means), count, factor).mean(2)
    positions = np.asarray(first + factor * np.arange(count) + (factor - 1) / 2, np.float64)
    return np.asarray(profiles, np.float64), positions


def _mismatch(
    profiles: NDArray[np.float64],
    angle_rad: NDArray[np.float64],
    positions: NDArray[np.float64],
    slope: float,
    place: float,
) -> float:
    """Mean difference between rays and their opposed ones relative to the spread of the rays; nan without pairs."""
    fan = 2 * np.arctan((positions - place) * slope)
    mirrored = np.broadcast_to((2 * place - positions - positions[0]) / (positions[1] - positions[0]), profiles.shape)
    sums, rays = np.zeros(2), 0
    for half_turn in (np.pi, -np.pi):
        target = angle_rad[:, None] + half_turn + fan
        measured = (target >= angle_rad[0]) & (target <= angle_rad[-1])
        measured &= (mirrored >= 0) & (mirrored <= len(positions) - 1)
        frame = np.interp(target, angle_rad, np.arange(len(angle_rad)))
        for view in np.flatnonzero(measured.sum(1) >= _LEAST_SHARE * len(positions)).tolist():
            sums += _apart(profiles, view, frame[view], mirrored[view], measured[view])
            rays += int(measured[view].sum())
    return float(sums[0] / max(sums[1], 1e-9)) if rays >= _LEAST_RAYS else np.nan


def _apart(
    profiles: NDArray[np.float64],
    view: int,
    frame: NDArray[np.float64],
    mirrored: NDArray[np.float64],
    measured: NDArray[np.bool_],
) -> tuple[float, float]:
    """Summed difference between the rays of a view and the opposed ones, and summed spread of its rays."""
    from scipy.ndimage import map_coordinates

    own = profiles[view, measured]
    difference = own - map_coordinates(profiles, [frame[measured], mirrored[measured]], order=1, mode="nearest")
    # The exposure of a view is not known: only the shape of the profile counts.
    return float(np.abs(difference - np.median(difference)).sum()), float(np.abs(own - np.median(own)).sum())
