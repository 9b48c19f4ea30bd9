"""What the header of an XA object says about the run, before any pixel is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom import enhanced
from DSAReconLib.dicom.angles import check_arc, continuous, frame_angles
from DSAReconLib.dicom.attributes import Attributes, Findings, explaining, patient_key, read_header
from DSAReconLib.dicom.detector import (
    ImageTurn,
    field_of_view_turn,
    measured_area,
    patient_orientation_turn,
    principal_point,
)
from DSAReconLib.dicom.distances import detector_spacing, source_distances
from DSAReconLib.dicom.pixels import PixelFormat, check_pixel_bytes, pixel_format
from DSAReconLib.dicom.roles import RunPart, run_parts
from DSAReconLib.dicom.times import frame_times
from DSAReconLib.errors import DicomRunError
from DSAReconLib.geometry import ConeBeamGeometry

XA = "1.2.840.10008.5.1.4.1.1.12.1"
_XRAY_3D = "1.2.840.10008.5.1.4.1.1.13.1."
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class RunHeader:
    """Poses, times and identity of all frames of one object."""

    path: Path
    attributes: Attributes
    layout: PixelFormat
    geometry: ConeBeamGeometry
    times_s: NDArray[np.float64]
    arc_deg: float
    primary_deg: NDArray[np.float64]
    secondary_deg: NDArray[np.float64]
    measured: NDArray[np.bool_] | None
    parts: tuple[RunPart, ...]
    identity: dict[str, str]
    facts: dict[str, str]
    findings: Findings


def read_run_header(path: Path | str, overrides: Mapping[str, Any] | None = None) -> RunHeader:
    """Header of a rotational run.

    Raises
    ------
    DicomRunError, GeometryError
        With a message that says why the file is not a rotational run.
    """
    path = Path(path)
    with explaining(path):
        return _read_run_header(path, overrides)


def _read_run_header(path: Path, overrides: Mapping[str, Any] | None) -> RunHeader:
    header, position = read_header(path, overrides)
    _check_object(header, path.name)
    layout = pixel_format(header, path.name)
    findings = Findings()
    shape = (layout.rows, layout.columns)
    is_enhanced = header.text("SOPClassUID") == enhanced.ENHANCED_XA or bool(
        header.items("PerFrameFunctionalGroupsSequence")
    )
    if is_enhanced:
        header, geometry, times = _enhanced_poses(header, layout, findings)
    else:
        primary, secondary = frame_angles(header, layout.frames, findings)
        check_arc(primary, secondary)
        times = frame_times(header, layout.frames, findings)
        geometry = _classic_geometry(header, shape, primary, secondary, findings)
    primary, secondary = continuous(geometry.primary_angle_deg), geometry.secondary_angle_deg
    arc = check_arc(primary, secondary)
    check_pixel_bytes(path, position, layout)
    return RunHeader(
        path=path,
        attributes=header,
        layout=layout,
        geometry=geometry,
        times_s=times,
        arc_deg=arc,
        primary_deg=primary,
        secondary_deg=secondary,
        measured=measured_area(header, shape, findings),
        parts=run_parts(header, primary, findings),
        identity=_identity(header),
        facts=_facts(header, layout),
        findings=findings,
    )


def _check_object(header: Attributes, name: str) -> None:
    sop_class, modality = header.text("SOPClassUID"), header.text("Modality").upper()
    kind = getattr(header.raw("SOPClassUID"), "name", "") or "DICOM"
    media_class = getattr(getattr(header.dataset, "file_meta", None), "MediaStorageSOPClassUID", "")
    if str(media_class) == _MEDIA_DIRECTORY:
        raise DicomRunError(
            f"{name} is a DICOMDIR index, not a run.",
            code="dicom.index",
            hint="Name the folder that it indexes: its files are searched.",
        )
    if sop_class.startswith(_XRAY_3D):
        raise DicomRunError(
            f"{name} holds a reconstructed volume ({kind}), not projections.",
            code="dicom.modality",
            hint="Choose the rotational run that it was made from.",
        )
    if modality != "XA" and sop_class not in (XA, enhanced.ENHANCED_XA):
        raise DicomRunError(
            f"{name} is not X-ray angiography: {kind}, modality {modality or 'not stated'}; expected modality XA.",
            code="dicom.modality",
            hint="Choose a rotational XA run.",
        )
    frames = header.number("NumberOfFrames") or 1
    if frames < 2:
        raise DicomRunError(
            f"{name} holds a single frame ({kind}); a rotational run has many.",
            code="dicom.single_frame",
            hint="Choose the multi-frame XA object of the spin.",
        )
    if "DIGITAL_SUBTR" in header.text("ImageProcessingApplied").upper():
        raise DicomRunError(
            f"{name} was subtracted already.",
            code="dicom.subtracted",
            hint="Choose the unsubtracted mask and fill runs.",
        )


def _classic_geometry(
    header: Attributes,
    shape: tuple[int, int],
    primary: NDArray[np.float64],
    secondary: NDArray[np.float64],
    findings: Findings,
) -> ConeBeamGeometry:
    """Poses with the image heads up (PS3.17 FFF.2.1.3), unless Patient Orientation says otherwise."""
    sod, sdd = source_distances(header, findings)
    spacing = detector_spacing(header, *shape, findings)
    upright = _centered(primary, secondary, 0.0, sod, sdd, shape, spacing)
    orientation = patient_orientation_turn(header, upright, findings)
    if orientation.quarter_turns:
        upright = _centered(
            primary, secondary, 0.0, sod, sdd, orientation.detector_shape(shape), _swapped(spacing, orientation)
        )
    turn = field_of_view_turn(header)
    if turn.flipped:
        findings.add(
            "geometry.flip", "The image was flipped left-right relative to the detector; it is taken to show heads up."
        )
    point = principal_point(header, shape, spacing, turn, findings)
    return _with_principal_point(orientation.apply_to_geometry(upright), point)


def _enhanced_poses(
    header: Attributes, layout: PixelFormat, findings: Findings
) -> tuple[Attributes, ConeBeamGeometry, NDArray[np.float64]]:
    """Flattened header, poses and times of an enhanced object."""
    groups = enhanced.FrameGroups(header, layout.frames)
    flat = enhanced.flattened(header)
    times = enhanced.enhanced_times(groups, findings)
    if times is None:
        times = frame_times(flat, layout.frames, findings)
    shape = (layout.rows, layout.columns)
    sod, sdd = _enhanced_distances(flat, groups, findings)
    spacing = detector_spacing(flat, *shape, findings)
    turn = field_of_view_turn(flat)
    detector = (turn.detector_shape(shape), _swapped(spacing, turn))
    geometry = turn.apply_to_geometry(_enhanced_geometry(flat, groups, sod, sdd, detector, findings))
    return flat, _with_principal_point(geometry, principal_point(flat, shape, spacing, turn, findings)), times


def _enhanced_distances(flat: Attributes, groups: enhanced.FrameGroups, findings: Findings) -> tuple[Any, Any]:
    """Distances of every frame if stored for each, else of the whole run."""
    sdd = groups.numbers("XRayGeometrySequence", "DistanceSourceToDetector")
    sod = groups.numbers("XRayGeometrySequence", "DistanceSourceToIsocenter")
    first = source_distances(flat, findings)
    if sdd is None or sod is None or not np.all((sod > 0) & (sod < sdd)):
        return first
    return sod, sdd


def _enhanced_geometry(
    flat: Attributes,
    groups: enhanced.FrameGroups,
    sod: Any,
    sdd: Any,
    detector: tuple[tuple[int, int], tuple[float, float]],
    findings: Findings,
) -> ConeBeamGeometry:
    """Poses of the detector: equipment based where the patient position is known, else patient based."""
    by_patient, by_equipment = enhanced.patient_angles(groups), enhanced.equipment_angles(groups)
    position = enhanced.patient_position(flat)
    patient_geometry = equipment_geometry = None
    if by_patient is not None:
        patient_geometry = _centered(*by_patient, 0.0, sod, sdd, *detector)
    if by_equipment is not None and position:
        equipment_geometry = enhanced.rotated_to_patient(_centered(*by_equipment, sod, sdd, *detector), position)
    if equipment_geometry is not None and (
        patient_geometry is None or enhanced.beams_agree(patient_geometry, equipment_geometry)
    ):
        return equipment_geometry
    if equipment_geometry is not None:
        findings.add(
            "geometry.angles_disagree",
            f"Patient-based angles disagree with equipment angles and patient position {position} (rotated table?); "
            "the patient-based ones are used.",
        )
    if patient_geometry is not None:
        return patient_geometry
    raise DicomRunError(
        "The frames have no positioner angles"
        + ("." if by_equipment is None else ": equipment angles without a Patient Position (0018,5100)."),
        code="dicom.angles_missing",
        hint="Export the run with its positioner attributes.",
    )


def _centered(
    primary: Any,
    secondary: Any,
    roll: Any,
    sod: Any,
    sdd: Any,
    shape: tuple[int, int],
    spacing: tuple[float, float],
) -> ConeBeamGeometry:
    return ConeBeamGeometry.from_angles(
        primary, secondary, roll_deg=roll, sod_mm=sod, sdd_mm=sdd, detector_shape=shape, detector_spacing_mm=spacing
    )


def _with_principal_point(geometry: ConeBeamGeometry, point_rc: tuple[float, float]) -> ConeBeamGeometry:
    rows, columns = geometry.detector_shape
    shift = (point_rc[0] - (rows - 1) / 2, point_rc[1] - (columns - 1) / 2)
    return geometry.shifted_detector(shift) if any(shift) else geometry


def _swapped(spacing: tuple[float, float], turn: ImageTurn) -> tuple[float, float]:
    return spacing[::-1] if turn.quarter_turns % 2 else spacing


def _identity(header: Attributes) -> dict[str, str]:
    return {
        "sop_instance_uid": header.text("SOPInstanceUID"),
        "series_instance_uid": header.text("SeriesInstanceUID"),
        "study_instance_uid": header.text("StudyInstanceUID"),
        "patient_key": patient_key(header),
    }


def _facts(header: Attributes, layout: PixelFormat) -> dict[str, str]:
    """Facts for display and pairing; nothing here identifies a patient."""
    names = {
        "series_description": "SeriesDescription",
        "series_number": "SeriesNumber",
        "instance_number": "InstanceNumber",
        "acquisition_number": "AcquisitionNumber",
        "pixel_intensity_relationship": "PixelIntensityRelationship",
        "manufacturer": "Manufacturer",
        "model": "ManufacturerModelName",
    }
    facts = {key: header.text(keyword) for key, keyword in names.items()}
    facts["acquisition_time"] = header.text("AcquisitionTime") or header.text("ContentTime")
    facts["plane"] = next((word for word in header.text("ImageType").upper().split("\\") if "PLANE" in word), "")
    facts["transfer_syntax"] = layout.syntax.name
    facts["bits_stored"] = str(layout.bits_stored)
    return {key: value for key, value in facts.items() if value}
