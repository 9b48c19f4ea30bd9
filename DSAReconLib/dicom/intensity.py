"""From stored values to numbers proportional to the X-ray intensity (DICOM PS3.3 C.8.7.1.1.2, C.11.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.dicom.pixels import PixelFormat
from DSAReconLib.errors import DicomRunError

ToIntensity = Callable[[NDArray], NDArray[np.float32]]
"""Turns a stored frame (R, C) into intensities (R, C), float32."""


def intensity_transform(
    header: Attributes, layout: PixelFormat, findings: Findings, *, accept_display_values: bool = False
) -> ToIntensity:
    """How to make stored frames proportional to the intensity.

    A Modality LUT wins; else LIN values are rescaled; an intensity sign of -1 (or
    MONOCHROME1 without a sign) is undone first.

    Raises
    ------
    DicomRunError
        ``dicom.log_without_lut`` for LOG without Modality LUT; ``dicom.display_values``
        for DISP without LUT unless ``accept_display_values``.
    """
    relationship = header.text("PixelIntensityRelationship").upper()
    _warn_about_losses(header, findings)
    lookup = _lookup_table(header, layout, relationship, findings)
    if lookup is not None:
        return lookup
    if relationship == "LOG":
        raise DicomRunError(
            "The pixels are logarithmic (Pixel Intensity Relationship LOG) and the Modality LUT back to intensities "
            "is missing.",
            code="dicom.log_without_lut",
            hint="Export the run as original (native) images with their Modality LUT.",
        )
    if relationship in ("DISP", "OTHER"):
        if not accept_display_values:
            raise DicomRunError(
                f"The pixels were processed for display (Pixel Intensity Relationship {relationship}) and have no "
                "Modality LUT: they are not proportional to X-ray intensity.",
                code="dicom.display_values",
                hint="Export the original (native, unprocessed) run.",
            )
        findings.add("dicom.display_values", "Pixels processed for display are used as intensities: not quantitative.")
    if not relationship:
        findings.add(
            "dicom.relationship_missing", "Pixel Intensity Relationship (0028,1040) is missing; taken as LIN (linear)."
        )
    return _linear(header, layout, findings)


def _warn_about_losses(header: Attributes, findings: Findings) -> None:
    if header.text("LossyImageCompression") == "01":
        ratio = header.text("LossyImageCompressionRatio")
        findings.add("dicom.lossy", f"The frames were compressed with losses{f' (ratio {ratio})' if ratio else ''}.")
    if (header.number("BitsStored") or 16) <= 8:
        findings.add(
            "dicom.eight_bit", "The frames have 8 bits only: probably a copy for display, not the original run."
        )


def _lookup_table(header: Attributes, layout: PixelFormat, relationship: str, findings: Findings) -> ToIntensity | None:
    item = header.item("ModalityLUTSequence") or _relationship_lut(header)
    if item is None:
        return None
    descriptor = item.numbers("LUTDescriptor")
    data = item.raw("LUTData")
    if isinstance(data, bytes):
        table = np.frombuffer(data[: len(data) // 2 * 2], "<u2").astype(np.float32)
    else:
        table = item.numbers("LUTData").astype(np.float32)
    if descriptor.size != 3 or table.size == 0:
        raise DicomRunError(
            "The Modality LUT (0028,3000) is incomplete.", code="dicom.lut", hint="Export the run again."
        )
    entries, first = int(descriptor[0]) or 65536, int(descriptor[1])
    if layout.signed and first > 32767:
        first -= 65536
    if descriptor[2] == 8 and table.size * 2 == entries:  # two 8 bit entries packed into each word
        table = np.frombuffer(table.astype("<u2").tobytes(), np.uint8).astype(np.float32)
    if table.size < entries:
        raise DicomRunError(
            f"The Modality LUT has {table.size} entries; its descriptor says {entries}.", code="dicom.lut"
        )
    table = table[:entries]
    if relationship == "LOG" and np.corrcoef(np.arange(entries), table)[0, 1] > 0.9999:
        findings.add("dicom.lut_linear", "The Modality LUT of logarithmic pixels is itself linear; check the contrast.")

    def apply(stored: NDArray) -> NDArray[np.float32]:
        return table[np.clip(stored.astype(np.int64) - first, 0, entries - 1)]

    return apply


def _relationship_lut(header: Attributes) -> Attributes | None:
    """Pixel Intensity Relationship LUT of enhanced XA whose function is TO_LINEAR."""
    for item in header.items("PixelIntensityRelationshipLUTSequence"):
        if item.text("LUTFunction").upper() == "TO_LINEAR":
            return item
    return None


def _linear(header: Attributes, layout: PixelFormat, findings: Findings) -> ToIntensity:
    slope = np.float32(header.number("RescaleSlope") or 1.0)
    intercept = np.float32(header.number("RescaleIntercept") or 0.0)
    sign = header.number("PixelIntensityRelationshipSign")
    monochrome1 = header.text("PhotometricInterpretation").upper() == "MONOCHROME1"
    if sign is None and monochrome1:
        findings.add(
            "dicom.inverted",
            "MONOCHROME1 without Pixel Intensity Relationship Sign: small values are taken as high intensity.",
        )
    inverted = sign == -1 or (sign is None and monochrome1)
    low, high = layout.stored_range

    def apply(stored: NDArray) -> NDArray[np.float32]:
        values = stored.astype(np.float32)
        if inverted:
            values = np.float32(low + high) - values
        return values * slope + intercept

    return apply
