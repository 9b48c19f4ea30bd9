"""Enhanced XA: functional groups of every frame (DICOM PS3.3 A.47, C.8.19.6)."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.errors import DicomRunError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.geometry.angles import PATIENT_FROM_TABLE

ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
_AGREE_DEG = 2.0


class FrameGroups:
    """Values of every frame from the per-frame groups, else from the shared ones."""

    def __init__(self, header: Attributes, frames: int) -> None:
        self._shared = header.item("SharedFunctionalGroupsSequence")
        self._frames = header.items("PerFrameFunctionalGroupsSequence")
        if self._frames and len(self._frames) != frames:
            raise DicomRunError(
                f"The per-frame functional groups describe {len(self._frames)} of {frames} frames.",
                code="dicom.functional_groups",
                hint="Export the run again, uncut.",
            )
        self._count = frames

    def items(self, sequence: str) -> list[Attributes | None]:
        """Item of the functional group ``sequence`` for each frame."""
        shared = self._shared.item(sequence) if self._shared else None
        if not self._frames:
            return [shared] * self._count
        return [frame.item(sequence) or shared for frame in self._frames]

    def numbers(self, sequence: str, keyword: str) -> NDArray[np.float64] | None:
        """Value of ``keyword`` for each frame (F,); ``None`` unless every frame has it."""
        values = [item.number(keyword) if item else None for item in self.items(sequence)]
        return None if any(value is None for value in values) else np.array(values, float)


def flattened(header: Attributes) -> Attributes:
    """Top level plus the contents of all functional groups of the first frame, as in a classic object."""
    from pydicom.dataset import Dataset

    flat = Dataset()
    flat.file_meta = header.dataset.file_meta
    groups = [header.item("SharedFunctionalGroupsSequence"), header.item("PerFrameFunctionalGroupsSequence")]
    for group in groups:
        for element in group.dataset if group else ():
            if element.VR == "SQ" and element.keyword not in _KEPT_WHOLE and element.value:
                flat.update(element.value[0])
            else:
                flat.add(element)
    for element in header.dataset:
        if element.tag.group != 0x5200:
            flat.add(element)
    if "FieldOfViewDimensionsInFloat" in flat and "FieldOfViewDimensions" not in flat:
        flat.FieldOfViewDimensions = [
            f"{value:.6g}" for value in Attributes(flat).numbers("FieldOfViewDimensionsInFloat")
        ]
    return Attributes(flat)


_KEPT_WHOLE = ("PixelIntensityRelationshipLUTSequence",)


def enhanced_times(groups: FrameGroups, findings: Findings) -> NDArray[np.float64] | None:
    """Times (F,) in s from the frames' reference or acquisition date-times; ``None`` if not stored."""
    for keyword in ("FrameReferenceDateTime", "FrameAcquisitionDateTime"):
        stamps = [_seconds(item.text(keyword)) if item else math.nan for item in groups.items("FrameContentSequence")]
        times = np.array(stamps) - stamps[0]
        if np.all(np.isfinite(times)) and np.all(np.diff(times) >= 0) and times[-1] > 0:
            return times
    findings.add(
        "dicom.frame_datetimes", "Frame date-times are missing or not ascending; the cine attributes are used."
    )
    return None


def _seconds(stamp: str) -> float:
    """Seconds of a DICOM date-time (DT); NaN if unreadable."""
    digits, _, fraction = stamp.split("+")[0].split("-")[0].partition(".")
    try:
        moment = dt.datetime.strptime(digits, "%Y%m%d%H%M%S")
        return (moment - dt.datetime(2000, 1, 1)).total_seconds() + float(f"0.{fraction or 0}")
    except ValueError:
        return math.nan


def patient_angles(groups: FrameGroups) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Patient-based angles (F,) of the Positioner Position group (C.8.19.6.10), in degrees."""
    primary = groups.numbers("PositionerPositionSequence", "PositionerPrimaryAngle")
    secondary = groups.numbers("PositionerPositionSequence", "PositionerSecondaryAngle")
    return None if primary is None or secondary is None else (primary, secondary)


def equipment_angles(
    groups: FrameGroups,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Primary, secondary and detector rotation angle (F,) in the isocenter system (C.8.19.6.13), in degrees."""
    names = ("PrimaryAngle", "SecondaryAngle", "DetectorRotationAngle")
    values = [groups.numbers("IsocenterReferenceSystemSequence", f"PositionerIsocenter{name}") for name in names]
    if values[0] is None or values[1] is None:
        return None
    rotation = values[2] if values[2] is not None else np.zeros_like(values[0])
    return values[0], values[1], rotation


def patient_position(header: Attributes) -> str:
    """One of HFS, HFP, FFS ... from Patient Position (0018,5100) or the orientation codes; "" if unknown."""
    stated = header.text("PatientPosition").upper()
    if stated in PATIENT_FROM_TABLE:
        return stated
    gantry, orientation = (
        header.item("PatientGantryRelationshipCodeSequence"),
        header.item("PatientOrientationCodeSequence"),
    )
    modifier = orientation.item("PatientOrientationModifierCodeSequence") if orientation else None
    entry = gantry.text("CodeMeaning").lower() if gantry else ""
    lying = modifier.text("CodeMeaning").lower() if modifier else ""
    first = "HF" if "head" in entry else "FF" if "feet" in entry or "foot" in entry else ""
    side = next((tail for word, tail in _SIDES.items() if word in lying), "")
    return first + side if first and side else ""


_SIDES = {"supine": "S", "prone": "P", "right": "DR", "left": "DL"}


def rotated_to_patient(geometry: ConeBeamGeometry, position: str) -> ConeBeamGeometry:
    """Geometry in patient LPS from one in the isocenter system of an unrotated table."""
    turn = PATIENT_FROM_TABLE[position].T
    return ConeBeamGeometry(
        geometry.source_mm @ turn,
        geometry.detector_center_mm @ turn,
        geometry.detector_u_mm @ turn,
        geometry.detector_v_mm @ turn,
        geometry.detector_shape,
    )


def beams_agree(first: ConeBeamGeometry, second: ConeBeamGeometry) -> bool:
    """Whether the beams of both geometries have the same directions within 2 degrees."""
    cosine = np.einsum("vi,vi->v", first.detector_normal, second.detector_normal)
    return bool(np.all(cosine > math.cos(math.radians(_AGREE_DEG))))
