"""Acquisition time per frame (DICOM PS3.3 C.7.6.5); the display rate is never used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.errors import DicomRunError

_FRAME_TIME = 0x00181063
_FRAME_TIME_VECTOR = 0x00181065
_MILLISECONDS = 1e-3
_LONGEST_RUN_S = 120.0


def frame_times(header: Attributes, frames: int, findings: Findings) -> NDArray[np.float64]:
    """Times (F,) in s, first frame 0.

    The Frame Increment Pointer says whether Frame Time Vector (increments, the first 0)
    or Frame Time counts; then follow, each with a warning, Actual Frame Duration, Cine
    Rate and Effective Duration.

    Raises
    ------
    DicomRunError
        ``dicom.times_count``, ``dicom.times_invalid`` or ``dicom.times_missing``.
    """
    vector = header.numbers("FrameTimeVector")
    step_ms = header.number("FrameTime")
    pointer = header.numbers("FrameIncrementPointer")
    prefers_step = _FRAME_TIME in pointer and _FRAME_TIME_VECTOR not in pointer
    if vector.size > 1 and not (prefers_step and step_ms and step_ms > 0):
        times = times_from_vector(vector, frames, findings)
    else:
        step = step_ms * _MILLISECONDS if step_ms and step_ms > 0 else _step_from_rates(header, frames, findings)
        times = np.arange(frames, dtype=np.float64) * step
    if times[-1] > _LONGEST_RUN_S:
        findings.add("dicom.times_long", f"The run lasts {times[-1]:.0f} s, which is unusual; check the frame times.")
    return times


def times_from_vector(vector_ms: NDArray[np.float64], frames: int, findings: Findings) -> NDArray[np.float64]:
    """Times (F,) in s from a Frame Time Vector in ms.

    Raises
    ------
    DicomRunError
        ``dicom.times_count`` for a wrong number of values, ``dicom.times_invalid`` if time runs backwards.
    """
    if vector_ms.size == frames - 1:
        findings.add("dicom.times_increment", "Frame Time Vector lacks its first value; a 0 was put first.")
        vector_ms = np.concatenate([[0.0], vector_ms])
    if vector_ms.size != frames:
        raise DicomRunError(
            f"Frame Time Vector (0018,1065) has {vector_ms.size} values for {frames} frames.",
            code="dicom.times_count",
            hint="One value per frame is needed; export the run again, uncut.",
        )
    if _looks_like_clock(vector_ms):
        findings.add("dicom.times_absolute", "Frame Time Vector holds times since the start, not increments.")
        increments = np.diff(vector_ms, prepend=vector_ms[:1])
    else:
        increments = np.concatenate([[0.0], vector_ms[1:]])
    if np.any(increments < 0) or increments.sum() <= 0:
        raise DicomRunError(
            "Frame Time Vector (0018,1065) lets time run backwards or stand still.", code="dicom.times_invalid"
        )
    return np.cumsum(increments) * _MILLISECONDS


def _looks_like_clock(vector_ms: NDArray[np.float64]) -> bool:
    """Whether the values grow by every frame, about as much as by the first: times do, increments do not."""
    since_start = vector_ms - vector_ms[0]
    grows = vector_ms.size > 4 and bool(np.all(np.diff(vector_ms) > 0))
    return grows and since_start[-1] > 0.2 * (vector_ms.size - 1) * since_start[1]


def _step_from_rates(header: Attributes, frames: int, findings: Findings) -> float:
    candidates = (
        ("Actual Frame Duration (0018,1242)", header.number("ActualFrameDuration"), lambda ms: ms * _MILLISECONDS),
        ("Cine Rate (0018,0040)", header.number("CineRate"), lambda rate: 1 / rate),
        ("Effective Duration (0018,0072)", header.number("EffectiveDuration"), lambda total: total / (frames - 1)),
    )
    for name, value, step in candidates:
        if value is not None and value > 0:
            findings.add(
                "dicom.times_fallback", f"Frame Time and Frame Time Vector are missing; times come from {name}."
            )
            return float(step(value))
    raise DicomRunError(
        "Frame Time (0018,1063), Frame Time Vector (0018,1065) and Cine Rate (0018,0040) are all missing: the "
        "acquisition times are unknown.",
        code="dicom.times_missing",
        hint="Export the run with its cine attributes; the recommended display rate is not the acquisition rate.",
    )
