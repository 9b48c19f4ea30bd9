"""Arrival times as a Parametric Map of floats (PS3.3 A.75)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import quiet
from DSAReconLib.dicom.results.elements import decimal
from DSAReconLib.dicom.results.files import optional_highdicom
from DSAReconLib.dicom.results.identity import (
    DISCLAIMER,
    ResultIdentity,
    neutral_reference,
    set_body_part,
    settle,
    writer_arguments,
)
from DSAReconLib.geometry import VolumeGrid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
OUTSIDE_S = -1.0
"""Stored outside the vessels; no number is a better choice than NaN because DICOM JSON cannot carry NaN."""


def arrival_time_object(
    arrival_s: NDArray[np.float32], grid: VolumeGrid, reference: Dataset, identity: ResultIdentity
) -> Dataset:
    """Bolus arrival times (z, y, x), s, NaN outside the vessels, as float32 frames, one per z.

    ``reference`` is the X-Ray 3D object on the same grid. Outside the vessels
    :data:`OUTSIDE_S` is stored, which is also the Float Pixel Padding Value; the real-world
    mapping covers the times only.

    Raises
    ------
    DependencyError
        highdicom is not installed.
    """
    known = np.isfinite(arrival_s)
    if arrival_s.shape != grid.shape_zyx or not known.any():
        raise ValueError(f"arrival_s must have the grid's shape {grid.shape_zyx} and hold a time")
    highdicom = optional_highdicom("An arrival-time map")
    from pydicom.sr.codedict import codes

    low, high = float(arrival_s[known].min()), float(arrival_s[known].max())
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="ARRIVAL_TIME",
        lut_explanation="Bolus arrival after first fill frame, s",
        unit=codes.UCUM.Second,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.BolusArrivalTime,
    )
    with quiet():
        dataset: Dataset = highdicom.pm.ParametricMap(
            source_images=[neutral_reference(reference)],
            pixel_array=np.where(known, arrival_s, np.float32(OUTSIDE_S)),
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            window_center=float(decimal((low + high) / 2)),
            window_width=max(float(decimal(high - low)), 1.0),
            content_label="ARRIVAL_TIME",
            content_description=f"Bolus arrival time ({DISCLAIMER})",
            **writer_arguments(identity, "arrival"),
            content_qualification="RESEARCH",
        )
    settle(dataset, identity, "arrival")
    dataset.FloatPixelPaddingValue = dataset.FloatPixelPaddingRangeLimit = OUTSIDE_S
    set_body_part(dataset, identity)
    return dataset
