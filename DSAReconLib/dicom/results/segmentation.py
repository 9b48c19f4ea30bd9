"""Vessel mask as a binary Segmentation (PS3.3 A.51)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import quiet
from DSAReconLib.dicom.results.files import optional_highdicom
from DSAReconLib.dicom.results.identity import DISCLAIMER, ResultIdentity, neutral_reference, settle, writer_arguments
from DSAReconLib.geometry import VolumeGrid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_VESSEL_COLOR_LAB = (37067, 44080, 41621)  # RGB 216, 101, 79: what Slicer's terminology gives vessels


def segmentation_object(
    inside: NDArray[np.bool_], grid: VolumeGrid, reference: Dataset, identity: ResultIdentity
) -> Dataset:
    """The vessels as one segment, one frame per z; ``reference`` is the X-Ray 3D object that it is drawn on.

    Parameters
    ----------
    inside
        (z, y, x), at least one voxel.
    grid
        The grid of ``reference``.

    Raises
    ------
    DependencyError
        highdicom is not installed.
    """
    if inside.shape != grid.shape_zyx or not inside.any():
        raise ValueError(f"inside must have the grid's shape {grid.shape_zyx} and hold a voxel; got {inside.shape}")
    highdicom = optional_highdicom("A segmentation")
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=identity.method, version=identity.version, family=codes.DCM.HistogramAnalysis
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Vessels",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.BloodVessel,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=identity.uid("vessels", "tracking"),
        tracking_id="vessels",
    )
    segment.RecommendedDisplayCIELabValue = list(_VESSEL_COLOR_LAB)
    with quiet():
        dataset: Dataset = highdicom.seg.Segmentation(
            source_images=[neutral_reference(reference)],
            pixel_array=inside.astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=[segment],
            content_label="VESSELS",
            content_description=f"Vessels ({DISCLAIMER})",
            **writer_arguments(identity, "vessels"),
            omit_empty_frames=False,
        )
    settle(dataset, identity, "vessels")
    return dataset
