"""Measured deviations of a C-arm from its nominal poses, from a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry import ConeBeamGeometry

_VALUES = ("row_px", "column_px", "roll_deg")
_HINT = (
    "Columns: frame (from 0) or primary_deg, then row_px, column_px, roll_deg; as CSV with a header line, or as a "
    "JSON list of objects (option --correct-geometry)."
)


def corrected_run(run: RotationalRun, table: Path | str) -> RotationalRun:
    """Run whose poses are corrected by a table (``.csv`` or ``.json``).

    Each line says where a point really is seen: ``row_px`` lower and ``column_px`` further
    right than by the nominal pose, in an image whose content is turned clockwise by
    ``roll_deg``. Lines are keyed by ``frame``, or by ``primary_deg``, the natural key
    because sag repeats with the angle; between angles the values are interpolated.

    Raises
    ------
    GeometryError
        ``geometry.corrections``: unreadable table, unknown columns, frames missing, or
        angles of the run outside the table.
    """
    table = Path(table)
    rows = _rows(table)
    keys, values = _columns(rows, table.name)
    if "frame" in rows[0]:
        amounts = _by_frame(keys, values, len(run), table.name)
    else:
        amounts = _by_angle(keys, values, run.geometry.primary_angle_deg, table.name)
    geometry = rolled_detector(run.geometry, amounts[:, 2]).shifted_detector(amounts[:, :2])
    note = ("geometry.corrected", f"The poses were corrected by {table.name}.")
    return replace(run, geometry=geometry, warnings=(*run.warnings, note))


def rolled_detector(geometry: ConeBeamGeometry, roll_deg: NDArray[np.float64]) -> ConeBeamGeometry:
    """Geometry whose images are turned clockwise by ``roll_deg`` (V,) about the foot of the perpendicular ray."""
    foot = geometry.source_mm + geometry.sdd_mm[:, None] * geometry.detector_normal
    angle = np.deg2rad(np.asarray(roll_deg, float))[:, None]
    axis = geometry.detector_normal
    right_handed = np.sign(np.einsum("vi,vi->v", np.cross(geometry.detector_u_mm, geometry.detector_v_mm), axis))[
        :, None
    ]

    def turned(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        # Content clockwise (u towards v) means that the detector turns the other way.
        return np.cos(angle) * vectors - right_handed * np.sin(angle) * np.cross(axis, vectors)

    return ConeBeamGeometry(
        geometry.source_mm,
        foot + turned(geometry.detector_center_mm - foot),
        turned(geometry.detector_u_mm),
        turned(geometry.detector_v_mm),
        geometry.detector_shape,
    )


def _rows(table: Path) -> Sequence[Mapping[str, Any]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if table.suffix.lower() == ".json" else list(csv.DictReader(text.splitlines()))
    except (OSError, ValueError) as error:
        raise GeometryError(
            f"The geometry corrections {table.name} cannot be read: {error}.", code="geometry.corrections", hint=_HINT
        ) from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise GeometryError(
            f"The geometry corrections {table.name} hold no lines.", code="geometry.corrections", hint=_HINT
        )
    return rows


def _columns(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keys (L,) and values (L, 3)."""
    key = "frame" if "frame" in rows[0] else "primary_deg"
    unknown = {str(column) for row in rows for column in row} - {key, *_VALUES}
    try:
        if unknown:
            raise ValueError(f"unknown column {sorted(unknown)[0]!r}")
        keys = np.array([float(row[key]) for row in rows])
        values = np.array([[float(row.get(column) or 0) for column in _VALUES] for row in rows])
        if not (np.all(np.isfinite(keys)) and np.all(np.isfinite(values))):
            raise ValueError("a value is not finite")
    except (KeyError, TypeError, ValueError) as error:
        raise GeometryError(
            f"The geometry corrections {name} are not usable: {error}.", code="geometry.corrections", hint=_HINT
        ) from None
    return keys, values


def _by_frame(keys: NDArray[np.float64], values: NDArray[np.float64], frames: int, name: str) -> NDArray[np.float64]:
    if sorted(keys.tolist()) != list(range(frames)):
        raise GeometryError(
            f"The geometry corrections {name} must name each of the frames 0 to {frames - 1} once; they have "
            f"{len(keys)} lines.",
            code="geometry.corrections",
            hint=_HINT,
        )
    return values[np.argsort(keys)]


def _by_angle(
    keys: NDArray[np.float64], values: NDArray[np.float64], angles_deg: NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    order = np.argsort(keys)
    keys, values = keys[order], values[order]
    margin = float(np.diff(keys).max()) if len(keys) > 1 else 0.0
    if angles_deg.min() < keys[0] - margin or angles_deg.max() > keys[-1] + margin:
        raise GeometryError(
            f"The geometry corrections {name} cover {keys[0]:g} to {keys[-1]:g} degrees; the run sweeps "
            f"{angles_deg.min():.0f} to {angles_deg.max():.0f}.",
            code="geometry.corrections",
            hint=_HINT,
        )
    return np.stack([np.interp(angles_deg, keys, column) for column in values.T], -1)
