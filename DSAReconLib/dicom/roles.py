"""Which frames of an object are mask and which are fill, as far as its header tells."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, Findings
from DSAReconLib.dicom.vendors import siemens

_WITHOUT_CONTRAST = re.compile(r"\b(non?|without|w/?o|ohne)[ _-]?(contrast|kontrast|km|cm)|\bpre[ _-]?contrast", re.I)
_MASK_WORDS = re.compile(r"mask", re.I)
_FILL_WORDS = re.compile(r"fill|f(ü|ue)ll|contrast|kontrast|bolus|inject", re.I)
_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription", "ImageComments")
# Two sweeps in one object cover the same arc; a repeated or returning sweep misses little of it.
_SAME_ARC = 0.7


@dataclass(frozen=True)
class RunPart:
    """Frames (indices) of an object that form one run, and what they show."""

    role: str
    frames: NDArray[np.int64]


def described_role(header: Attributes) -> str:
    """``"mask"``, ``"fill"`` or ``"unknown"`` by descriptions and contrast agent of the whole object."""
    text = " ".join(header.text(name) for name in _DESCRIPTIONS)
    mask = bool(_MASK_WORDS.search(text)) or bool(_WITHOUT_CONTRAST.search(text))
    fill = bool(_FILL_WORDS.search(_WITHOUT_CONTRAST.sub(" ", text)))
    if mask != fill:
        return "mask" if mask else "fill"
    if not mask and (header.text("ContrastBolusAgent") or header.items("ContrastBolusAgentSequence")):
        return "fill"
    return "unknown"


def run_parts(header: Attributes, primary_deg: NDArray[np.float64], findings: Findings) -> tuple[RunPart, ...]:
    """The runs that the frames form: one, or mask and fill.

    Looked at in this order: Mask Subtraction Sequence (PS3.3 C.7.6.10), private counts of
    mask and fill frames, and an angle that sweeps the same arc twice.
    """
    frames = len(primary_deg)
    parts = _parts_by_mask_module(header, frames, primary_deg, findings)
    if parts:
        return parts
    counts = siemens.mask_and_fill_frames(header)
    if counts is not None and min(counts) > 1 and sum(counts) == frames:
        findings.add("dicom.vendor_mask", f"The first {counts[0]} frames are the mask by a private attribute.")
        return _split(counts[0], frames, ("mask", "fill"))
    turn = _second_sweep(primary_deg)
    if turn is not None:
        findings.add("dicom.two_sweeps", f"The C-arm sweeps the arc twice; frame {turn + 1} starts the second run.")
        return _split(turn, frames, ("unknown", "unknown"))
    return (RunPart(described_role(header), np.arange(frames)),)


def _split(first: int, frames: int, roles: tuple[str, str]) -> tuple[RunPart, ...]:
    return RunPart(roles[0], np.arange(first)), RunPart(roles[1], np.arange(first, frames))


def _parts_by_mask_module(
    header: Attributes, frames: int, primary_deg: NDArray[np.float64], findings: Findings
) -> tuple[RunPart, ...]:
    """Mask and fill frames by TID, REV_TID and AVG_SUB items; () if the module names no rotating mask."""
    mask_frames: set[int] = set()
    fill_frames: set[int] = set()
    for item in header.items("MaskSubtractionSequence"):
        masks, fills = _frames_of_item(item, frames)
        mask_frames |= masks
        fill_frames |= fills
    fill_frames -= mask_frames
    if not mask_frames or not fill_frames:
        return ()
    mask, fill = np.array(sorted(mask_frames)), np.array(sorted(fill_frames))
    if np.ptp(primary_deg[mask]) < 0.5 * np.ptp(primary_deg[fill]):
        findings.add(
            "dicom.mask_not_rotating",
            f"The mask frames named there ({len(mask)} of {frames}) miss most of the arc: a mask run is needed",
        )
        return ()
    return RunPart("mask", mask), RunPart("fill", fill)


def _frames_of_item(item: Attributes, frames: int) -> tuple[set[int], set[int]]:
    """0-based mask and fill frames of one item of the Mask Subtraction Sequence."""
    operation = item.text("MaskOperation").upper()
    ranges = item.numbers("ApplicableFrameRange").astype(int)
    applicable = [
        frame for start, stop in zip(ranges[::2], ranges[1::2], strict=False) for frame in range(start - 1, stop)
    ] or list(range(frames))
    if operation in ("TID", "REV_TID"):
        # The mask of frame f is f - offset (TID), counted backwards from the end of the range in REV_TID.
        offset = int(item.number("TIDOffset") or 1)
        if operation == "TID":
            pairs = [(frame - offset, frame) for frame in applicable]
        else:
            pairs = [(applicable[0] - offset - k, frame) for k, frame in enumerate(applicable)]
        pairs = [(mask, fill) for mask, fill in pairs if 0 <= mask < frames and 0 <= fill < frames]
        return {mask for mask, _ in pairs}, {fill for _, fill in pairs}
    if operation == "AVG_SUB":
        masks = {int(number) - 1 for number in item.numbers("MaskFrameNumbers") if 1 <= number <= frames}
        return masks, {frame for frame in applicable if 0 <= frame < frames}
    return set(), set()


def _second_sweep(primary_deg: NDArray[np.float64]) -> int | None:
    """First frame of the second sweep if the angle runs over the same arc twice (again, or back)."""
    frames, arc = len(primary_deg), float(np.ptp(primary_deg))
    if frames < 6 or arc == 0:
        return None
    steps = np.diff(primary_deg)
    jump = int(np.argmax(np.abs(steps)))
    jumps_back = abs(steps[jump]) > _SAME_ARC * arc
    turn = 1 + (jump if jumps_back else int(np.argmax(np.abs(primary_deg - primary_deg[0]))))
    if not 2 < turn < frames - 2:
        return None
    halves = (primary_deg[:turn], primary_deg[turn:])
    monotonic = all(abs(half[-1] - half[0]) > 0.9 * np.ptp(half) for half in halves)
    return turn if monotonic and min(np.ptp(half) for half in halves) > _SAME_ARC * arc else None
