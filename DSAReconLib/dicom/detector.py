"""Where the isocenter falls on the stored image, how the image lies, and which pixels measured something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.geometry import ConeBeamGeometry

_PATIENT_AXES = {
    "L": (1.0, 0.0, 0.0),
    "R": (-1.0, 0.0, 0.0),
    "P": (0.0, 1.0, 0.0),
    "A": (0.0, -1.0, 0.0),
    "H": (0.0, 0.0, 1.0),
    "F": (0.0, 0.0, -1.0),
}
# A field of view and a block of pixels are "the same size" within this share.
_SAME_SIZE = 0.02
_CLEARLY_MIRRORED = 0.7

ISOCENTER_OFFSET = "geometry.isocenter_offset"
"""Code of the finding that the isocenter is known to fall elsewhere than on the middle of the image."""
ISOCENTER_UNCERTAIN = "geometry.isocenter_uncertain"
"""Code of the finding that a rule, and no data, says where the isocenter falls."""


@dataclass(frozen=True)
class ImageTurn:
    """How stored pixels follow from detector pixels: clockwise quarter turns, then a left-right flip."""

    quarter_turns: int = 0
    flipped: bool = False

    def detector_shape(self, stored_shape: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) before the turn."""
        return stored_shape[::-1] if self.quarter_turns % 2 else stored_shape

    def apply_to_point(self, row: float, column: float, detector_shape: tuple[int, int]) -> tuple[float, float]:
        """Stored (row, column) of a detector pixel (DICOM PS3.3 C.8.11.4.1.1)."""
        rows, columns = detector_shape
        for _ in range(self.quarter_turns % 4):
            row, column, rows, columns = column, rows - 1 - row, columns, rows
        return row, (columns - 1 - column if self.flipped else column)

    def apply_to_geometry(self, geometry: ConeBeamGeometry) -> ConeBeamGeometry:
        """Geometry of the stored images from that of the detector; the middle stays where it is."""
        step_u, step_v, shape = geometry.detector_u_mm, geometry.detector_v_mm, geometry.detector_shape
        for _ in range(self.quarter_turns % 4):
            step_u, step_v, shape = -step_v, step_u, shape[::-1]
        if self.flipped:
            step_u = -step_u
        return ConeBeamGeometry(geometry.source_mm, geometry.detector_center_mm, step_u, step_v, shape)


def field_of_view_turn(header: Attributes) -> ImageTurn:
    """Field of View Rotation (0018,7032) and Horizontal Flip (0018,7034)."""
    rotation = header.number("FieldOfViewRotation") or 0.0
    return ImageTurn(round(rotation / 90) % 4, header.text("FieldOfViewHorizontalFlip").upper() == "YES")


def principal_point(
    header: Attributes,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    turn: ImageTurn,
    findings: Findings,
) -> tuple[float, float]:
    """Stored (row, column), 0-based pixel centers, where the ray through the isocenter arrives.

    The middle of the image (PS3.17 FFF.2.1.5.2) unless the header says more: Position of
    Isocenter Projection (0018,9430), the place of the field of view on the detector, or a
    field of view that fills only the part of the image inside the shutters.
    """
    detector_shape = turn.detector_shape(shape)
    detector_spacing = spacing_mm[::-1] if turn.quarter_turns % 2 else spacing_mm
    element = _element_spacing(header, detector_spacing)
    center = header.numbers("PositionOfIsocenterProjection")
    source = "Position of Isocenter Projection (0018,9430)"
    if center.size != 2:
        center, source = _active_area_middle(header, element), "the place of the field of view on the detector"
    if center.size == 2:
        origin = header.numbers("FieldOfViewOrigin")
        origin = origin if origin.size == 2 else np.zeros(2)
        row, column = (center - origin) * element / np.array(detector_spacing) - 0.5
        if not (-1 < row / detector_shape[0] < 2 and -1 < column / detector_shape[1] < 2):
            findings.add("geometry.isocenter_implausible", f"{source} lies far outside the image; ignored.")
            return (shape[0] - 1) / 2, (shape[1] - 1) / 2
        stored = turn.apply_to_point(float(row), float(column), detector_shape)
        if np.hypot(stored[0] - (shape[0] - 1) / 2, stored[1] - (shape[1] - 1) / 2) > 0.5:
            findings.add(
                ISOCENTER_OFFSET,
                f"The isocenter falls on row {stored[0]:.1f}, column {stored[1]:.1f} by {source}.",
            )
        return stored
    return _middle_of_field_of_view(header, shape, spacing_mm, findings)


def _element_spacing(header: Attributes, detector_spacing: tuple[float, float]) -> NDArray[np.float64]:
    """(row, column) size in mm of the elements in which detector positions are counted."""
    element = header.numbers("DetectorElementSpacing")
    if element.size == 2 and np.all(element > 0):
        return element
    binning = header.numbers("DetectorBinning")
    if binning.size == 2 and np.all(binning >= 1):
        return np.array(detector_spacing) / binning
    return np.array(detector_spacing)


def _active_area_middle(header: Attributes, element_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Middle of the active area in detector elements if a field of view is placed on it, else empty."""
    dimensions, field_origin = header.numbers("DetectorActiveDimensions"), header.numbers("FieldOfViewOrigin")
    if dimensions.size == 0 or field_origin.size != 2:
        return np.zeros(0)
    active_origin = header.numbers("DetectorActiveOrigin")
    active_origin = active_origin if active_origin.size == 2 else np.zeros(2)
    return active_origin + np.array([dimensions[0], dimensions[-1]]) / element_mm / 2


def _middle_of_field_of_view(
    header: Attributes, shape: tuple[int, int], spacing_mm: tuple[float, float], findings: Findings
) -> tuple[float, float]:
    """Middle of the image, or of the block inside the shutters if that is the whole field of view."""
    middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    block = _rectangle(header, "Shutter", shape)
    if block is None or not off_middle(block, shape):
        return middle
    moved = stated_middle(header, block, shape, spacing_mm)
    if moved is None:
        findings.add(ISOCENTER_UNCERTAIN, "The opening of the shutters is not in the middle of the image.")
    elif moved != middle:
        findings.add(ISOCENTER_OFFSET, field_of_view_note("inside the shutters", moved))
    return moved or middle


def off_middle(block: tuple[tuple[int, int], tuple[int, int]], shape: tuple[int, int]) -> tuple[int, ...]:
    """Axes (0 rows, 1 columns) along which a half-open block lies half a pixel or more off the middle."""
    return tuple(axis for axis in (0, 1) if abs(sum(block[axis]) - shape[axis]) >= 1)


def middle_of(block: tuple[tuple[int, int], tuple[int, int]]) -> tuple[float, float]:
    """Middle (row, column), 0-based pixel centers, of a half-open block."""
    return (sum(block[0]) - 1) / 2, (sum(block[1]) - 1) / 2


def stated_middle(
    header: Attributes,
    block: tuple[tuple[int, int], tuple[int, int]],
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
) -> tuple[float, float] | None:
    """Middle (row, column) of the field of view as far as its size tells which part of the image it is.

    A field of view that was pasted into a larger frame carries the isocenter with it; a
    shutter or collimator that hides a part of the image does not. Field of View
    Dimension(s) (0018,1149) tells them apart; ``None`` without it.
    """
    dimensions = header.numbers("FieldOfViewDimensions")
    if dimensions.size != 2 or header.text("FieldOfViewShape").upper() == "ROUND":
        return None
    whole = ((0, shape[0]), (0, shape[1]))
    for area in (block, whole):
        extent = np.array([stop - start for start, stop in area]) * spacing_mm
        if np.all(np.abs(extent / dimensions - 1) < _SAME_SIZE):
            return middle_of(area)
    return None


def field_of_view_note(where: str, point_rc: tuple[float, float]) -> str:
    """Text of the finding that the field of view is a block of the image."""
    return (
        f"The field of view has the size of the block {where}: the isocenter is taken to fall on its middle, "
        f"row {point_rc[0]:.1f}, column {point_rc[1]:.1f}."
    )


def states_isocenter(header: Attributes) -> bool:
    """Whether the header itself says where on the detector the isocenter falls."""
    placed = header.numbers("PositionOfIsocenterProjection").size == 2
    return placed or header.numbers("FieldOfViewOrigin").size == 2


def patient_orientation_turn(header: Attributes, geometry: ConeBeamGeometry, findings: Findings) -> ImageTurn:
    """Quarter turns of a classic image that Patient Orientation (0020,0020) tells, relative to heads up.

    Only the head or foot letter is used: it is the same for every view around the
    patient, while the other letter of a rotating run often is a constant default. A
    mirrored image is never assumed, only reported.
    """
    letters = header.text("PatientOrientation").upper().split("\\")
    if len(letters) != 2 or not all(part and part[0] in _PATIENT_AXES for part in letters):
        return ImageTurn()
    row_letter, column_letter = letters[0][0], letters[1][0]
    # Where the head is in the stored image: each clockwise quarter turn moves it from the top to the right.
    turns = {"F": 0, "H": 2}.get(column_letter)
    if turns is None:
        turns = {"H": 1, "F": 3}.get(row_letter, 0)
    turned = ImageTurn(turns).apply_to_geometry(geometry)
    if turns:
        findings.add(
            "geometry.patient_orientation",
            f"Patient Orientation {row_letter}\\{column_letter} says that the image is turned by {90 * turns} degrees.",
        )
    elif column_letter == "F":
        along_row = turned.detector_u_mm[0] / np.linalg.norm(turned.detector_u_mm[0])
        if np.dot(along_row, _PATIENT_AXES[row_letter]) < -_CLEARLY_MIRRORED:
            findings.add(
                "geometry.maybe_mirrored",
                f"Patient Orientation {row_letter}\\{column_letter} contradicts the angle of the first frame: the "
                "image may be mirrored. Check left and right in the result.",
            )
    return ImageTurn(turns)


def measured_area(header: Attributes, shape: tuple[int, int], findings: Findings) -> NDArray[np.bool_] | None:
    """Pixels (R, C) inside the display shutters and the collimator; ``None`` if neither hides any."""
    area = np.ones(shape, bool)
    for kind in ("Shutter", "Collimator"):
        inside = _opening(header, kind, shape)
        if inside is None:
            continue
        if inside.mean() < 0.05:
            findings.add(f"dicom.{kind.lower()}", f"The {kind.lower()} edges leave almost no image; ignored.")
            continue
        area &= inside
    return None if area.all() else area


def _opening(header: Attributes, kind: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    shapes = header.text(f"{kind}Shape").upper().split("\\")
    rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]  # the standard counts from 1
    inside = np.ones(shape, bool)
    known = False
    block = _rectangle(header, kind, shape)
    if "RECTANGULAR" in shapes and block is not None:
        (top, bottom), (left, right) = block
        inside &= (rows > top) & (rows <= bottom) & (columns > left) & (columns <= right)
        known = True
    center = header.numbers("CenterOfCircularShutter" if kind == "Shutter" else "CenterOfCircularCollimator")
    radius = header.number(f"RadiusOfCircular{kind}")
    if "CIRCULAR" in shapes and center.size == 2 and radius:
        inside &= (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2
        known = True
    vertices = header.numbers(f"VerticesOfThePolygonal{kind}")
    if "POLYGONAL" in shapes and vertices.size >= 6 and vertices.size % 2 == 0:
        inside &= _inside_polygon(vertices.reshape(-1, 2) - 1, shape)
        known = True
    return inside if known else None


def _rectangle(header: Attributes, kind: str, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """0-based half-open (rows, columns) block inside rectangular edges, which belong to the opening."""
    if "RECTANGULAR" not in header.text(f"{kind}Shape").upper():
        return None
    names = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
    edges = [header.number(f"{kind}{name}Edge") for name in names]
    if any(edge is None for edge in edges):
        return None
    top, bottom, left, right = (round(edge) for edge in edges if edge is not None)
    rows = (max(top - 1, 0), min(bottom, shape[0]))
    columns = (max(left - 1, 0), min(right, shape[1]))
    return (rows, columns) if rows[0] < rows[1] and columns[0] < columns[1] else None


def _inside_polygon(vertices_rc: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (R, C) inside a polygon by counting how many of its edges lie to their right."""
    rows, columns = (axis.astype(float) for axis in np.ogrid[: shape[0], : shape[1]])
    inside = np.zeros(shape, bool)
    for (r0, c0), (r1, c1) in zip(vertices_rc, np.roll(vertices_rc, -1, axis=0), strict=True):
        if r0 == r1:
            continue
        crosses = (rows >= min(r0, r1)) & (rows < max(r0, r1))
        inside ^= crosses & (columns < c0 + (rows - r0) * (c1 - c0) / (r1 - r0))
    return inside
