"""What a case of another program comes down to: two runs, and what else lies beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.errors import DatasetError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.mesh import Surface

OWN_KEY = "dsarecon"
"""Entry of the JSON files with what the layout does not hold; other programs pass over it."""

ASSUMED_FRAMES_PER_S = 30.0
"""Frame rate of a case that does not tell its times (8 s for 248 frames are common)."""

Warnings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DatasetCase:
    """A case read from the layout of another program.

    Parameters
    ----------
    mask_run, fill_run
        Frames, poses and times. Of a case that was stored subtracted, the mask is 1
        everywhere and the fill exp(-line integral).
    grid
        Voxels that the case was meant to be reconstructed on, if it says so.
    reference
        The reference surface in LPS, mm, if there is one.
    training
        Frames (N,) that the case sets aside for training, if it does.
    """

    mask_run: RotationalRun
    fill_run: RotationalRun
    grid: VolumeGrid | None = None
    reference: Surface | None = None
    training: NDArray[np.int64] | None = None


def runs_of(
    mask: NDArray[np.float32] | None,
    fill: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    times_s: NDArray[np.float64],
    *,
    path: Path,
    warnings: Warnings,
) -> tuple[RotationalRun, RotationalRun]:
    """Mask and fill run of intensities (F, R, C); without a mask, ``fill`` holds line integrals.

    Their identifiers are digests of pixels and poses, so that equal content is one input.
    """
    subtracted = mask is None
    if mask is None:
        mask, fill = np.ones_like(fill), np.exp(-fill)
    poses = json.dumps([geometry.to_dict(), list(times_s)])
    runs = []
    for role, frames in (("mask", mask), ("fill", fill)):
        digest = hashlib.sha256(poses.encode() + np.ascontiguousarray(frames, np.float32).data)
        attributes = {"role": role, "series_description": path.name} | ({"subtracted": "yes"} if subtracted else {})
        runs.append(
            RotationalRun(
                np.asarray(frames, np.float32),
                geometry,
                np.asarray(times_s, float),
                # the form of identifiers made from 128 random bits (DICOM PS3.5 B.2)
                sop_instance_uid=f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}",
                path=path,
                warnings=warnings,
                attributes=attributes,
            )
        )
    return runs[0], runs[1]


def read_entries(path: Path) -> dict[str, Any]:
    """A JSON object; DatasetError that names the file if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is missing or no JSON ({error}).") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path} does not hold a JSON object.")
    return content


def numbers(data: Mapping[str, Any], key: str, shape: tuple[int, ...], path: Path) -> NDArray[np.float64]:
    """Finite numbers (``shape``) of an entry; DatasetError that names file and key otherwise."""
    if key not in data:
        raise DatasetError(f"{path} lacks the key {key!r}.")
    try:
        values = np.asarray(data[key], float)
    except (TypeError, ValueError):
        values = np.asarray(np.nan)
    if values.shape != shape or not np.isfinite(values).all():
        expected = "a number" if shape == () else f"{' x '.join(map(str, shape))} numbers"
        raise DatasetError(f"{path}: {key!r} must hold {expected}; found {str(data[key])[:60]}.")
    return values


def frame_entries(data: Mapping[str, Any], path: Path) -> Sequence[Mapping[str, Any]]:
    """The list ``frames``; DatasetError that names the file otherwise."""
    frames = data.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, Mapping) for frame in frames) or not frames:
        raise DatasetError(f"{path}: 'frames' must hold a list of objects.")
    return frames


def frame_times(own: Mapping[str, Any], count: int, path: Path) -> tuple[NDArray[np.float64], Warnings]:
    """Times (count,), s, of our own entry, else at an assumed frame rate."""
    if "times_s" in own:
        times = numbers(own, "times_s", (count,), path)
        if (np.diff(times) <= 0).any():
            raise DatasetError(f"{path}: 'times_s' must increase.")
        return times, ()
    note = f"{path.name} holds no times in seconds; {ASSUMED_FRAMES_PER_S:g} frames per second are assumed."
    return np.arange(count) / ASSUMED_FRAMES_PER_S, (("dataset.times", note),)


def own_entry(data: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """What we added to the layout; empty if nothing."""
    own = data.get(OWN_KEY, {})
    if not isinstance(own, Mapping):
        raise DatasetError(f"{path}: {OWN_KEY!r} must hold an object.")
    return own
