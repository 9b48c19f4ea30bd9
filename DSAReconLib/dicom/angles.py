"""Positioner angles per frame of a classic XA object (DICOM PS3.3 C.8.7.5.1.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.errors import DicomRunError

MAX_ARC_DEG = 400.0
MIN_ARC_DEG = 10.0
# A base of a few degrees may be repeated by chance as a first offset; a larger one is not.
_BASE_TELLS_DEG = 5.0
_REPEATS_BASE_DEG = 0.5
_ZERO_DEG = 1e-3
_WRAP_DEG = 270.0
# Slowest spin per frame and least sweep for which a constant list is believed to hold steps; below lies wobble.
_LEAST_STEP_DEG = 0.2
_LEAST_STEPPED_ARC_DEG = 30.0


def frame_angles(
    header: Attributes, frames: int, findings: Findings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Primary and secondary angle (F,) in degrees; LAO and CRA positive.

    Raises
    ------
    DicomRunError
        ``dicom.angles_missing`` or ``dicom.angles_count``.
    """
    primary_base = header.number("PositionerPrimaryAngle")
    secondary_base = header.number("PositionerSecondaryAngle")
    primary_increments = header.numbers("PositionerPrimaryAngleIncrement")
    secondary_increments = header.numbers("PositionerSecondaryAngleIncrement")
    if primary_increments.size == 0 and secondary_increments.size == 0:
        raise DicomRunError(
            "Positioner Primary Angle Increment (0018,1520) is missing: the C-arm did not rotate, or the angles "
            "were not stored.",
            code="dicom.angles_missing",
            hint="Export the rotational (3D/spin) run itself, with its positioner attributes.",
        )
    if primary_base is None and primary_increments.size > 1 and abs(primary_increments[0]) <= _ZERO_DEG:
        raise DicomRunError(
            "Positioner Primary Angle (0018,1510) is missing while its increments (0018,1520) start at 0: "
            "the angle of the first frame is unknown.",
            code="dicom.angles_missing",
            hint="Export the run with its positioner attributes.",
        )
    if secondary_base is None:
        findings.add("dicom.secondary_angle", "Positioner Secondary Angle (0018,1511) is missing; taken as 0 degrees.")
    # One writer uses one form for both axes, and only the axis that turns shows which: wobble looks like steps.
    form = increment_form(primary_base or 0.0, primary_increments)
    primary = expand_increments(primary_base or 0.0, primary_increments, frames, "Primary", findings, form=form)
    if form == "offsets":
        form = increment_form(secondary_base or 0.0, secondary_increments)
        form = "offsets" if form == "steps" else form
    secondary = expand_increments(secondary_base or 0.0, secondary_increments, frames, "Secondary", findings, form=form)
    return continuous(primary), secondary


def continuous(angles_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles (F,) without the jumps of a range of +-180 degrees.

    Smaller jumps are left: the C-arm may have gone back to its start for a second run.
    """
    steps = np.diff(angles_deg)
    turns = np.where(np.abs(steps) > _WRAP_DEG, np.round(steps / 360), 0)
    return angles_deg - 360 * np.concatenate([[0.0], np.cumsum(turns)])


def increment_form(base_deg: float, increments_deg: NDArray[np.float64]) -> str:
    """How a vector of increments is meant: ``"offsets"`` (the standard), ``"absolute"`` or ``"steps"``."""
    if increments_deg.size < 2:
        return "offsets"
    if _looks_like_steps(increments_deg):
        return "steps"
    zero_base = abs(base_deg) <= _ZERO_DEG and abs(increments_deg[0]) > _ZERO_DEG
    repeated_base = abs(base_deg) > _BASE_TELLS_DEG and abs(increments_deg[0] - base_deg) < _REPEATS_BASE_DEG
    return "absolute" if zero_base or repeated_base else "offsets"


def expand_increments(
    base_deg: float,
    increments_deg: NDArray[np.float64],
    frames: int,
    name: str,
    findings: Findings,
    *,
    form: str = "offsets",
) -> NDArray[np.float64]:
    """Angle per frame (F,) from the first angle and the increments, in any of the forms met in the field.

    One value is the mean step. ``frames`` values are offsets from the first frame (the
    standard), absolute angles (with a base of 0 as a note in the standard allows, or
    with the base repeated), or steps from frame to frame: see :func:`increment_form`.
    ``frames - 1`` values lack the first.

    Raises
    ------
    DicomRunError
        ``dicom.angles_count`` for any other number of values.
    """
    tag = f"Positioner {name} Angle Increment"
    if increments_deg.size == 0:
        return np.full(frames, base_deg)
    if increments_deg.size == 1 and frames != 1:
        if abs(increments_deg[0]) > _ZERO_DEG:
            findings.add(
                "dicom.mean_increment",
                f"{tag} has one value: a constant speed is assumed, so acceleration and braking at the ends are lost.",
            )
        return base_deg + increments_deg[0] * np.arange(frames)
    if increments_deg.size == frames - 1:
        findings.add(
            "dicom.increment_missing", f"{tag} has {frames - 1} values for {frames} frames; a 0 was put first."
        )
        increments_deg = np.concatenate([[0.0], increments_deg])
    if increments_deg.size != frames:
        raise DicomRunError(
            f"{tag} has {increments_deg.size} values for {frames} frames.",
            code="dicom.angles_count",
            hint="One value, or one per frame is needed; export the run again, uncut.",
        )
    return _expand_vector(base_deg, increments_deg, tag, findings, form)


def _expand_vector(
    base_deg: float, increments_deg: NDArray[np.float64], tag: str, findings: Findings, form: str
) -> NDArray[np.float64]:
    first = increments_deg[0]
    if form == "steps":
        offsets = np.cumsum(increments_deg) - first  # the base angle is that of the first frame
        findings.add("dicom.step_angles", f"{tag} holds steps, not offsets; summed up to {offsets[-1]:.1f} degrees.")
        return base_deg + offsets
    if form == "absolute" and (abs(base_deg) <= _ZERO_DEG or abs(first - base_deg) < _REPEATS_BASE_DEG):
        findings.add("dicom.absolute_angles", f"{tag} holds absolute angles, not offsets.")
        return increments_deg
    if abs(first) > _ZERO_DEG:
        findings.add(
            "dicom.ambiguous_angles",
            f"{tag} starts with {first:g} instead of 0 while the base angle is {base_deg:g}; taken as offsets.",
        )
    return base_deg + increments_deg


def _looks_like_steps(increments_deg: NDArray[np.float64]) -> bool:
    """Whether the values stay small and of one sign while their sum is a plausible arc (offsets grow)."""
    if increments_deg.size <= 4:
        return False
    tail = increments_deg[1:]
    total, middle = float(tail.sum()), float(np.median(tail))
    one_way = abs(middle) > _LEAST_STEP_DEG and np.mean(np.sign(tail) == np.sign(middle)) > 0.9
    return bool(one_way) and float(np.ptp(tail)) < MIN_ARC_DEG and _LEAST_STEPPED_ARC_DEG < abs(total) < MAX_ARC_DEG


def check_arc(primary_deg: NDArray[np.float64], secondary_deg: NDArray[np.float64]) -> float:
    """Swept angle in degrees, the larger one of both axes.

    Raises
    ------
    DicomRunError
        ``dicom.arc_small`` below 10 degrees, ``dicom.arc_large`` above 400 degrees,
        ``dicom.angles_range`` for a secondary angle beyond 90 degrees.
    """
    arc = max(float(np.ptp(primary_deg)), float(np.ptp(secondary_deg)))
    shown = f"from {primary_deg[0]:.1f} to {primary_deg[-1]:.1f} degrees over {len(primary_deg)} frames"
    if arc < MIN_ARC_DEG:
        raise DicomRunError(
            f"The C-arm turns by {arc:.1f} degrees only ({shown}): not a rotational run.",
            code="dicom.arc_small",
            hint=f"A rotational run sweeps at least {MIN_ARC_DEG:g} degrees; choose the 3D or spin run.",
        )
    if arc > MAX_ARC_DEG:
        raise DicomRunError(
            f"The angles sweep {arc:.0f} degrees ({shown}), which no C-arm does.",
            code="dicom.arc_large",
            hint="The angle increments are stored in an unknown form; please report the manufacturer and model.",
        )
    if np.max(np.abs(secondary_deg)) > 90:
        raise DicomRunError(
            f"A secondary angle of {float(np.max(np.abs(secondary_deg))):.0f} degrees is impossible (at most 90).",
            code="dicom.angles_range",
            hint="The angle increments are stored in an unknown form; please report the manufacturer and model.",
        )
    return arc
