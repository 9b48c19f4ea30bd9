"""Source, isocenter and detector distances and pixel spacing, with plausibility and fall-backs."""

from __future__ import annotations

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.errors import GeometryError

SDD_RANGE_MM = (500.0, 2500.0)
SOD_RANGE_MM = (300.0, 1500.0)
_MAGNIFICATION_RANGE = (1.0, 3.0)
_MAGNIFICATION_TOLERANCE = 0.02
_SPACING_RANGE_MM = (0.03, 5.0)

# Typical (source-isocenter, source-detector) distance in mm by a word of the manufacturer's name. The
# isocenter distance is fixed by the C-arm; the detector distance is the one common for rotational runs.
_VENDOR_DISTANCES_MM: dict[str, tuple[float, float]] = {
    "siemens": (785.0, 1200.0),
    "philips": (810.0, 1195.0),
    "ge": (720.0, 1180.0),
}


def source_distances(header: Attributes, findings: Findings) -> tuple[float, float]:
    """Source-isocenter and source-detector distance (sod_mm, sdd_mm).

    Order of fall-backs: the attributes themselves; the Estimated Radiographic
    Magnification Factor (0018,1114) for one of them; typical values of the manufacturer.

    Raises
    ------
    GeometryError
        ``geometry.distances`` if nothing plausible is left.
    """
    sdd = _plausible(header, "DistanceSourceToDetector", "(0018,1110)", SDD_RANGE_MM, findings)
    sod = _plausible(header, "DistanceSourceToPatient", "(0018,1111)", SOD_RANGE_MM, findings)
    if sod is None:
        sod = _plausible(header, "DistanceSourceToIsocenter", "(0018,9402)", SOD_RANGE_MM, findings)
    factor = header.number("EstimatedRadiographicMagnificationFactor")
    if factor is not None and not _MAGNIFICATION_RANGE[0] < factor < _MAGNIFICATION_RANGE[1]:
        factor = None
    if sod is None and sdd is not None and factor is not None:
        sod = sdd / factor
        findings.add(
            "geometry.sod_from_magnification", f"Source-isocenter distance {sod:.0f} mm comes from (0018,1114)."
        )
    if sdd is None and sod is not None and factor is not None:
        sdd = sod * factor
        findings.add(
            "geometry.sdd_from_magnification", f"Source-detector distance {sdd:.0f} mm comes from (0018,1114)."
        )
    if sod is None or sdd is None:
        sod, sdd = _vendor_distances(header, sod, sdd, findings)
    _check_consistent(sod, sdd, factor, findings)
    return sod, sdd


def _plausible(
    header: Attributes, keyword: str, tag: str, limits_mm: tuple[float, float], findings: Findings
) -> float | None:
    value = header.number(keyword)
    if value is None:
        return None
    if limits_mm[0] < value < limits_mm[1]:
        return value
    findings.add(
        "geometry.implausible_distance",
        f"{keyword} {tag} is {value:g} mm, outside {limits_mm[0]:g} to {limits_mm[1]:g} mm; ignored.",
    )
    return None


def _vendor_distances(
    header: Attributes, sod: float | None, sdd: float | None, findings: Findings
) -> tuple[float, float]:
    manufacturer = header.text("Manufacturer")
    words = manufacturer.lower().replace(",", " ").split()
    vendor = next((name for name in _VENDOR_DISTANCES_MM if name in words), None)
    missing = " and ".join(
        name
        for name, value in (("source-isocenter (0018,1111)", sod), ("source-detector (0018,1110)", sdd))
        if value is None
    )
    if vendor is None:
        raise GeometryError(
            f"The distance {missing} is missing, and no typical value is known for manufacturer {manufacturer!r}.",
            code="geometry.distances",
            hint="Look them up in the manual and give them: --header DistanceSourceToPatient=MM "
            "DistanceSourceToDetector=MM.",
        )
    default_sod, default_sdd = _VENDOR_DISTANCES_MM[vendor]
    used_sod, used_sdd = sod or default_sod, sdd or default_sdd
    findings.add(
        "geometry.vendor_distances",
        f"The distance {missing} is missing: typical values of {vendor.capitalize() if vendor != 'ge' else 'GE'} "
        f"C-arms are used ({used_sod:.0f} / {used_sdd:.0f} mm); sizes may be off by several percent.",
    )
    return used_sod, used_sdd


def _check_consistent(sod: float, sdd: float, factor: float | None, findings: Findings) -> None:
    if sod >= sdd:
        raise GeometryError(
            f"The source-isocenter distance {sod:g} mm is not smaller than the source-detector distance {sdd:g} mm.",
            code="geometry.distances",
            hint="Check Distance Source to Patient (0018,1111) and Distance Source to Detector (0018,1110); --header "
            "replaces wrong ones.",
        )
    if factor is not None and abs(sdd / sod / factor - 1) > _MAGNIFICATION_TOLERANCE:
        findings.add(
            "geometry.magnification",
            f"The magnification {factor:.3f} of (0018,1114) disagrees with the distances ({sdd / sod:.3f}); "
            "the distances are used.",
        )


def detector_spacing(header: Attributes, rows: int, columns: int, findings: Findings) -> tuple[float, float]:
    """(row, column) pixel spacing at the detector in mm.

    Imager Pixel Spacing (0018,1164), else Field of View Dimension / pixels. Pixel Spacing
    (0028,0030) is a calibration to some object and never used.

    Raises
    ------
    GeometryError
        ``geometry.spacing`` if neither is usable.
    """
    spacing = header.numbers("ImagerPixelSpacing")
    if spacing.size >= 1 and _plausible_spacing(spacing):
        return float(spacing[0]), float(spacing[-1])
    if spacing.size:
        findings.add("geometry.implausible_spacing", f"Imager Pixel Spacing {spacing.tolist()} mm is implausible.")
    dimensions = header.numbers("FieldOfViewDimensions")
    if dimensions.size:
        # One value is a square's side or a circle's diameter; two are row then column extent.
        derived = (float(dimensions[0]) / rows, float(dimensions[-1]) / columns)
        if dimensions.size == 1:
            derived = (derived[1], derived[1]) if columns >= rows else (derived[0], derived[0])
        if all(_SPACING_RANGE_MM[0] < value < _SPACING_RANGE_MM[1] for value in derived):
            findings.add(
                "geometry.spacing_from_field_of_view",
                f"Imager Pixel Spacing is missing; {derived[0]:.3f} x {derived[1]:.3f} mm come from the field of view.",
            )
            return derived
    raise GeometryError(
        "Imager Pixel Spacing (0018,1164) and Field of View Dimension(s) (0018,1149) are missing: the size of a "
        "detector pixel is unknown.",
        code="geometry.spacing",
        hint="Export the run with its acquisition attributes, or give its size: --header ImagerPixelSpacing=MM.",
    )


def _plausible_spacing(spacing_mm: object) -> bool:
    return all(_SPACING_RANGE_MM[0] < float(value) < _SPACING_RANGE_MM[1] for value in spacing_mm)  # type: ignore[attr-defined]
