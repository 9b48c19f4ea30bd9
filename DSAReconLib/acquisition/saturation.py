"""Pixels that were too bright to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.acquisition.trajectory import PoseMatch

# Darker than the clipped mask by more than this is contrast, not noise or a moved edge of the patient.
_CLEARLY_DARKER = 0.8
_NOTED_SHARE, _NOTED_HIDDEN = 0.01, 0.001


@dataclass(frozen=True)
class Clipping:
    """Clipped pixels (R, C) of a fill frame or its mask, and the share of pixels where contrast is seen there."""

    pixels: NDArray[np.bool_]
    hidden_share: float


def clipping(mask: RotationalRun, fill: RotationalRun, match: PoseMatch, frame: int) -> Clipping | None:
    """What is clipped in a fill frame or in the mask frames that are interpolated to it; ``None`` for nothing."""
    pixels = np.zeros(fill.geometry.detector_shape, bool)
    hidden = 0.0
    image = fill.intensity[frame]
    if fill.saturation is not None:
        pixels |= image >= fill.saturation
    if mask.saturation is not None:
        weight = match.weight[frame]
        used = ((match.lower[frame], weight < 1), (match.upper[frame], weight > 0))
        bright = np.any([mask.intensity[index] >= mask.saturation for index, is_used in used if is_used], axis=0)
        hidden = float(np.mean(bright & (image < _CLEARLY_DARKER * mask.saturation)))
        pixels |= bright
    return Clipping(pixels, hidden) if pixels.any() else None


def clipping_note(found: Sequence[Clipping | None]) -> str:
    """What to tell a user about the clipped pixels of all frames; "" if they do not matter."""
    share = float(np.mean([0.0 if clipped is None else clipped.pixels.mean() for clipped in found]))
    hidden = float(np.mean([0.0 if clipped is None else clipped.hidden_share for clipped in found]))
    if share < _NOTED_SHARE and hidden < _NOTED_HIDDEN:
        return ""
    note = f"{100 * share:.0f} % of the pixels are clipped in mask or fill (too bright) and do not count"
    if hidden < _NOTED_HIDDEN:
        return f"{note}; they show no contrast: the open field beside the patient."
    return f"{note}; contrast crosses {100 * hidden:.1f} % of the pixels there, where it cannot be measured."
