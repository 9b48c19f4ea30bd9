"""Private attributes of Siemens Artis systems, as named in public private dictionaries."""

from __future__ import annotations

from DSAReconLib.dicom.attributes import Attributes

_ORIGINAL_IMAGE_INFO = "SIEMENS SMS-AX ORIGINAL IMAGE INFO 1.0"
_GROUP, _MASK_FRAMES, _FILL_FRAMES = 0x0025, 0x12, 0x13


def mask_and_fill_frames(header: Attributes) -> tuple[int, int] | None:
    """Number of mask frames and of fill frames that share one object, mask first; ``None`` if not told."""
    counts = [header.private(_GROUP, _ORIGINAL_IMAGE_INFO, element) for element in (_MASK_FRAMES, _FILL_FRAMES)]
    try:
        mask, fill = (int(count) for count in counts)
    except (TypeError, ValueError):
        return None
    return (mask, fill) if mask > 0 and fill > 0 else None
