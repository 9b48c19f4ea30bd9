"""Where the isocenter falls on frames whose measured part lies off the middle of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.conjugate import conjugate_center, crossing_axis
from DSAReconLib.dicom.detector import (
    ISOCENTER_OFFSET,
    ISOCENTER_UNCERTAIN,
    field_of_view_note,
    middle_of,
    off_middle,
    stated_middle,
    states_isocenter,
)
from DSAReconLib.dicom.header import RunHeader
from DSAReconLib.geometry import ConeBeamGeometry

_AXES = ("row", "column")
_BY_RAYS = "opposed views mirror each other there"
_ALONG = "as across the axis of rotation"
_PASTED = "one side only is blank, so that the frame seems pasted into a larger one"
_COLLIMATED = "both sides are blank, so that the image seems collimated"

Block = tuple[tuple[int, int], tuple[int, int]]


def geometry_within_borders(
    header: RunHeader, intensity: NDArray[np.float32], blank: NDArray[np.bool_]
) -> ConeBeamGeometry:
    """Poses of all frames, moved if the field of view was pasted off the middle of larger frames.

    A pasted field of view carries the isocenter with it; a collimated one does not.
    What decides, in this order: attributes that place the isocenter or give the size of
    the field of view; the pixels (opposed views of the run mirror each other about the
    isocenter); else the rule that one blank side means pasted and two mean collimated.

    Parameters
    ----------
    header
        The run; its findings receive what was decided and why.
    intensity
        Frames (F, R, C).
    blank
        Pixels (R, C) that hold no image in any frame.
    """
    geometry, shape = header.geometry, header.geometry.detector_shape
    middle = middle_of(((0, shape[0]), (0, shape[1])))
    if states_isocenter(header.attributes) or not np.allclose(_isocenter(geometry), middle, atol=1e-6):
        return geometry
    header.findings.drop(ISOCENTER_UNCERTAIN)
    block = _measured_block(blank)
    axes = off_middle(block, shape)
    if not axes:
        return geometry
    stated = stated_middle(header.attributes, block, shape, geometry.detector_spacing_mm)
    if stated is not None:
        if stated != middle:
            header.findings.add(ISOCENTER_OFFSET, field_of_view_note("inside the blank border", stated))
        return geometry.shifted_detector((stated[0] - middle[0], stated[1] - middle[1]))
    frames = header.parts[0].frames
    point = list(middle)
    for axis, (place, reason, certain) in _decisions(intensity[frames], geometry[frames], block, axes).items():
        point[axis] = place
        if certain and place == middle[axis]:
            continue
        header.findings.add(
            ISOCENTER_OFFSET if certain else ISOCENTER_UNCERTAIN,
            f"The image fills the {_AXES[axis]}s {block[axis][0]} to {block[axis][1] - 1} of {shape[axis]}; the "
            f"isocenter is taken to fall on {_AXES[axis]} {place:.1f}: {reason}.",
        )
    return geometry.shifted_detector((point[0] - middle[0], point[1] - middle[1]))


def _isocenter(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """(row, column) of the isocenter in the first frame."""
    return geometry[[0]].project_points(np.zeros((1, 3)))[0][0, 0]


def _measured_block(blank: NDArray[np.bool_]) -> Block:
    rows, columns = (np.flatnonzero(~blank.all(axis=axis)) for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _decisions(
    intensity: NDArray[np.float32], geometry: ConeBeamGeometry, block: Block, axes: Sequence[int]
) -> dict[int, tuple[float, str, bool]]:
    """Place, reason and certainty for every axis (0 rows, 1 columns) along which the block is off the middle."""
    shape = geometry.detector_shape
    candidates = list(zip(middle_of(((0, shape[0]), (0, shape[1]))), middle_of(block), strict=True))
    crossing = crossing_axis(geometry)
    chosen = None
    if crossing is not None and crossing.axis in axes:
        chosen = conjugate_center(intensity, crossing, block, candidates[crossing.axis])
    decisions = {}
    for axis in axes:
        if chosen is not None and crossing is not None:
            reason = _BY_RAYS if axis == crossing.axis else _ALONG
            decisions[axis] = (candidates[axis][chosen], reason, True)
        else:
            pasted = block[axis][0] == 0 or block[axis][1] == shape[axis]
            decisions[axis] = (candidates[axis][pasted], _PASTED if pasted else _COLLIMATED, False)
    return decisions
