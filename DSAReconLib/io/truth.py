"""The truth behind a simulated case: folder ``truth/`` beside its DICOM files.

Files: ``attenuation.npz`` (contrast attenuation over time, sparse and factorized),
``vessels.nrrd`` (occupancy), ``arrival_time.nrrd``, ``centerlines.npz``, ``clean.npz``
(noise-free line integrals), ``geometry.json`` (true poses), ``truth.json``.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ResultError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.json_text import read_json, write_json
from DSAReconLib.io.nrrd import read_volume, write_volume
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

SCHEMA_VERSION = 1
_FACTOR_TOLERANCE = 2e-4


@dataclass(frozen=True)
class Truth:
    """What was simulated.

    Parameters
    ----------
    volume
        Contrast attenuation over time, 1/mm, partial volume included; sparse support,
        linear between the frame times of the fill run.
    occupancy
        Vessel volume fraction (Z, Y, X) in [0, 1] on the same grid.
    arrival_s
        Half-rise time of the local curve (Z, Y, X), s; NaN outside vessels.
    centerline_mm, centerline_radius_mm
        Nodes of the vessel tree (P, 3), LPS mm, and their radii (P,).
    centerline_branch, centerline_arrival_s
        Branch number and half-rise time (P,), s, of the nodes.
    frame_times_s
        Times of the fill frames (F,), s.
    facts
        How the case was made (``truth.json``).
    clean_line_integrals
        Noise-free contrast line integrals of every fill frame (F, R, C).
    geometry
        True poses of the fill frames.
    centerline_parent
        Node upstream (P,), -1 at a root.
    """

    volume: DynamicVolume
    occupancy: NDArray[np.float32]
    arrival_s: NDArray[np.float32]
    centerline_mm: NDArray[np.float64]
    centerline_radius_mm: NDArray[np.float64]
    centerline_branch: NDArray[np.int64]
    centerline_arrival_s: NDArray[np.float32]
    frame_times_s: NDArray[np.float64]
    facts: dict[str, Any] = field(default_factory=dict)
    clean_line_integrals: NDArray[np.float32] | None = None
    geometry: ConeBeamGeometry | None = None
    centerline_parent: NDArray[np.int64] | None = None


def write_truth(folder: Path, truth: Truth) -> None:
    """Write ``truth`` into ``folder``, which is created; existing files are replaced."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "attenuation.npz", **_factorized(truth.volume))
    write_volume(folder / "vessels.nrrd", truth.occupancy, truth.volume.grid)
    write_volume(folder / "arrival_time.nrrd", truth.arrival_s, truth.volume.grid, keys={"unit": "s"})
    lines: dict[str, Any] = {
        "points_mm": truth.centerline_mm,
        "radius_mm": truth.centerline_radius_mm,
        "branch": truth.centerline_branch,
        "arrival_s": truth.centerline_arrival_s,
    }
    if truth.centerline_parent is not None:
        lines["parent"] = truth.centerline_parent
    np.savez_compressed(folder / "centerlines.npz", **lines)
    if truth.clean_line_integrals is not None:
        # Steps of 2e-5 are far below any noise and half as large as float32.
        scale = max(float(truth.clean_line_integrals.max()), 1e-6) / 65535
        stored = np.rint(truth.clean_line_integrals / scale).astype(np.uint16)
        np.savez_compressed(folder / "clean.npz", line_integrals=stored, scale=scale)
    poses = {} if truth.geometry is None else truth.geometry.to_dict()
    write_json(folder / "geometry.json", {"times_s": truth.frame_times_s.tolist(), "true_poses": poses})
    write_json(folder / "truth.json", {"schema_version": SCHEMA_VERSION, **truth.facts})


def read_truth(folder: Path) -> Truth:
    """Inverse of :func:`write_truth`.

    Raises
    ------
    ResultError
        The folder is not a truth folder, or a file of it is missing or damaged.
    """
    folder = Path(folder)
    try:
        facts = read_json(folder / "truth.json")
        version = facts.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise ResultError(f"{folder} has truth schema {version}; expected {SCHEMA_VERSION}.")
        return _read(folder, facts)
    except ResultError:
        raise
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultError(
            f"{folder} is not a readable truth folder: {error}",
            hint="Give the folder truth/ that 'dsarecon simulate' wrote.",
        ) from error


def _read(folder: Path, facts: dict[str, Any]) -> Truth:
    volume = _unfactorized(_arrays(folder / "attenuation.npz"))
    lines = _arrays(folder / "centerlines.npz")
    geometry = read_json(folder / "geometry.json")
    clean = None
    if (folder / "clean.npz").exists():
        stored = _arrays(folder / "clean.npz")
        clean = stored["line_integrals"].astype(np.float32) * np.float32(stored["scale"])
    return Truth(
        volume,
        read_volume(folder / "vessels.nrrd")[0],
        read_volume(folder / "arrival_time.nrrd")[0],
        lines["points_mm"],
        lines["radius_mm"],
        lines["branch"],
        lines["arrival_s"],
        np.array(geometry["times_s"]),
        facts,
        clean,
        ConeBeamGeometry.from_dict(geometry["true_poses"]) if geometry["true_poses"] else None,
        lines.get("parent"),
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as stored:
        return dict(stored)


def _factorized(volume: DynamicVolume) -> dict[str, Any]:
    """Arrays of ``attenuation.npz``: coefficients (K, N) = left (K, L) @ right (L, N) within 2e-4 of the peak.

    The curves of a case span few dimensions, so that some ten factors replace all frames.
    """
    coefficients = volume.coefficients
    power, vectors = np.linalg.eigh((coefficients @ coefficients.T).astype(np.float64))
    tail = np.cumsum(np.maximum(power, 0))
    limit = (_FACTOR_TOLERANCE * float(np.abs(coefficients).max(initial=0.0))) ** 2 * max(coefficients.shape[1], 1)
    left = vectors[:, int(np.searchsorted(tail, limit, side="right")) :].astype(np.float32)[:, ::-1]
    right = left.T @ coefficients
    support = np.arange(volume.grid.num_voxels) if volume.support is None else volume.support
    return {
        "shape_zyx": volume.grid.shape_zyx,
        "spacing_mm": volume.grid.spacing_mm,
        "origin_mm": volume.grid.origin_mm,
        "support_step": np.diff(support, prepend=0).astype(np.uint32),
        "times_s": volume.basis.times_s,
        "basis": volume.basis.values,
        "left": left,
        "right": right.astype(np.float16),
    }


def _unfactorized(stored: dict[str, NDArray[Any]]) -> DynamicVolume:
    grid = VolumeGrid(*(tuple(stored[name].tolist()) for name in ("shape_zyx", "spacing_mm", "origin_mm")))
    coefficients = np.maximum(stored["left"] @ stored["right"].astype(np.float32), 0)
    support = np.cumsum(stored["support_step"], dtype=np.int64)
    return DynamicVolume(grid, coefficients, TemporalBasis(stored["times_s"], stored["basis"]), support)
