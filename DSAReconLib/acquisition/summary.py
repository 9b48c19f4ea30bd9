"""Short description of a run, enough to list and to pair it without its pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from DSAReconLib.acquisition.run import RotationalRun

MAX_ANGLE_GAP_DEG = 360.0


@dataclass(frozen=True)
class RunSummary:
    """One rotational run found in a file, or the reason why the file holds none.

    Parameters
    ----------
    path
        File.
    refusal_code, refusal, hint
        Why the file is not a usable run; empty for a run.
    role
        ``mask``, ``fill`` or ``unknown``, as far as the header tells.
    part
        Number of the run within an object that holds several, else 0.
    frames, rows, columns
        Size.
    primary_deg, secondary_deg
        (first, last) angle; LAO and CRA positive.
    arc_deg
        Swept angle.
    duration_s, frame_time_s
        Time of the last frame, and the mean time from frame to frame.
    sod_mm, sdd_mm, detector_spacing_mm
        Geometry.
    encoding, decodable
        Transfer syntax, and whether it can be decoded here.
    study_key, patient_key
        Study Instance UID and the hash of the patient, for pairing.
    order
        Acquisition time, acquisition number, series number: what tells earlier from later.
    description
        Series description.
    warnings
        (code, message) pairs.
    """

    path: Path
    refusal_code: str = ""
    refusal: str = ""
    hint: str = ""
    role: str = "unknown"
    part: int = 0
    frames: int = 0
    rows: int = 0
    columns: int = 0
    primary_deg: tuple[float, float] = (0.0, 0.0)
    secondary_deg: tuple[float, float] = (0.0, 0.0)
    arc_deg: float = 0.0
    duration_s: float = 0.0
    frame_time_s: float = 0.0
    sod_mm: float = 0.0
    sdd_mm: float = 0.0
    detector_spacing_mm: tuple[float, float] = (0.0, 0.0)
    encoding: str = ""
    decodable: bool = False
    sop_instance_uid: str = ""
    study_key: str = ""
    patient_key: str = ""
    order: tuple[float, float, float] = (0.0, 0.0, 0.0)
    plane: str = ""
    description: str = ""
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def is_run(self) -> bool:
        """Whether this is a rotational run."""
        return not self.refusal_code

    @property
    def label(self) -> str:
        """File name, with the part if the object holds several runs."""
        return f"{self.path.name}#{self.part}" if self.part else self.path.name

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "warnings": [list(pair) for pair in self.warnings]}


def summarize_run(run: RotationalRun, *, part: int = 0) -> RunSummary:
    """Summary of a run in memory."""
    return RunSummary(
        path=run.path or Path(run.attributes.get("series_description", "run")),
        role=run.attributes.get("role", "unknown"),
        part=part,
        sop_instance_uid=run.sop_instance_uid,
        study_key=run.study_instance_uid,
        patient_key=run.patient_key,
        order=acquisition_order(run.attributes),
        plane=run.attributes.get("plane", ""),
        description=run.attributes.get("series_description", ""),
        encoding=run.attributes.get("transfer_syntax", ""),
        decodable=True,
        warnings=run.warnings,
        **pose_facts(run.geometry, run.times_s),
    )


def pose_facts(geometry: Any, times_s: Any) -> dict[str, Any]:
    """Fields of a :class:`RunSummary` that follow from poses and times."""
    import numpy as np

    primary, secondary = np.unwrap(geometry.primary_angle_deg, period=MAX_ANGLE_GAP_DEG), geometry.secondary_angle_deg
    rows, columns = geometry.detector_shape
    return {
        "frames": len(geometry),
        "rows": rows,
        "columns": columns,
        "primary_deg": (_rounded(primary[0]), _rounded(primary[-1])),
        "secondary_deg": (_rounded(secondary[0]), _rounded(secondary[-1])),
        "arc_deg": round(max(float(np.ptp(primary)), float(np.ptp(secondary))), 3),
        "duration_s": round(float(times_s[-1]), 6),
        "frame_time_s": round(float(times_s[-1]) / max(1, len(times_s) - 1), 6),
        "sod_mm": round(float(geometry.sod_mm.mean()), 3),
        "sdd_mm": round(float(geometry.sdd_mm.mean()), 3),
        "detector_spacing_mm": tuple(round(s, 6) for s in geometry.detector_spacing_mm),
    }


def _rounded(angle_deg: float) -> float:
    return round(float(angle_deg), 3) + 0.0  # no negative zero


def acquisition_order(attributes: dict[str, str]) -> tuple[float, float, float]:
    """Sortable (seconds of the day, acquisition number, series number); -1 for what is missing."""
    stamp = attributes.get("acquisition_time", "").replace(":", "")
    try:
        seconds = int(stamp[:2]) * 3600 + int(stamp[2:4] or 0) * 60 + float(stamp[4:] or 0)
    except ValueError:
        seconds = -1.0
    return seconds, _number(attributes.get("acquisition_number")), _number(attributes.get("series_number"))


def _number(text: str | None) -> float:
    try:
        return float(text or -1)
    except ValueError:
        return -1.0
