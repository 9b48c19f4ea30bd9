"""X-Ray 3D Angiographic Image (PS3.3 A.53): the attenuation at one time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes
from DSAReconLib.dicom.results.anatomy import anatomy_item
from DSAReconLib.dicom.results.elements import code, copy_elements, decimal, item, moment_text
from DSAReconLib.dicom.results.identity import (
    DISCLAIMER,
    MANUFACTURER,
    ResultIdentity,
    new_object,
    set_content_moment,
    set_frame_of_reference,
)
from DSAReconLib.dicom.results.planes import measures_item, orientation_item, position_item
from DSAReconLib.dicom.results.references import contributing_source, copy_lossiness, source_image_items
from DSAReconLib.dicom.results.scale import StoredScale
from DSAReconLib.geometry import VolumeGrid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

XRAY_3D = "1.2.840.10008.5.1.4.1.1.13.1.1"
_IMAGE_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
_STACK_ID, _IN_STACK_POSITION, _FRAME_CONTENT = 0x00209056, 0x00209057, 0x00209111


@dataclass(frozen=True, kw_only=True)
class TimePoint:
    """Which of the time points of the series a volume is.

    Parameters
    ----------
    index, count
        Position, from 0, among all time points.
    time_s
        After the first fill frame, s.
    """

    index: int
    count: int
    time_s: float


def xray3d_object(
    attenuation: NDArray[np.float32],
    grid: VolumeGrid,
    point: TimePoint,
    identity: ResultIdentity,
    *,
    scale: StoredScale,
    window: tuple[float, float],
) -> Dataset:
    """The attenuation (z, y, x), 1/mm, at one time as a multi-frame object, one frame per z.

    Parameters
    ----------
    scale
        Between stored values and 1/mm, the same for all time points.
    window
        Attenuation that is shown black and white, 1/mm.
    """
    if attenuation.shape != grid.shape_zyx:
        raise ValueError(f"attenuation must have the grid's shape {grid.shape_zyx}; got {attenuation.shape}")
    dataset = new_object(identity, XRAY_3D, "attenuation", point.index + 1)
    _describe_image(dataset, point, identity)
    _describe_sources(dataset, identity)
    _describe_contrast(dataset, identity)
    _add_pixels(dataset, scale.store(attenuation))
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(grid, point, identity, scale, window)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(grid, frame, point, identity) for frame in range(grid.shape_zyx[0])
    ]
    return dataset


def _describe_image(dataset: Dataset, point: TimePoint, identity: ResultIdentity) -> None:
    """Series, X-Ray 3D Image, multi-frame and dimension modules."""
    dataset.Modality = "XA"
    set_frame_of_reference(dataset, identity)
    moment = identity.moment(point.time_s)
    if moment is not None:
        set_content_moment(dataset, moment)
    dataset.ImageType = _IMAGE_TYPE
    dataset.ImageComments = (
        f"Time {point.time_s:.3f} s after the first fill frame, {point.index + 1} of {point.count}. {DISCLAIMER}"
    )
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ContentQualification = "RESEARCH"
    dataset.BurnedInAnnotation = "NO"
    copy_lossiness(dataset, identity.sources.headers)
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = []
    organization = identity.uid("attenuation", "dimensions")
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    dataset.DimensionOrganizationType = "3D"
    dataset.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=_FRAME_CONTENT,
            DimensionDescriptionLabel=label,
        )
        for pointer, label in ((_STACK_ID, "Stack ID"), (_IN_STACK_POSITION, "In-stack position"))
    ]


def _describe_sources(dataset: Dataset, identity: ResultIdentity) -> None:
    """Contributing sources (C.8.21.2.1), acquisition (C.8.21.3.2) and reconstruction (C.8.21.4)."""
    headers = identity.sources.headers
    dataset.ContributingSourcesSequence = [contributing_source(header) for header in headers]
    dataset.XRay3DAcquisitionSequence = [_acquisition(header) for header in headers]
    dataset.XRay3DReconstructionSequence = [
        item(
            ReconstructionDescription=f"Contrast attenuation over time ({DISCLAIMER})",
            ApplicationName=MANUFACTURER,
            ApplicationVersion=identity.version,
            ApplicationManufacturer=MANUFACTURER,
            AlgorithmType=identity.algorithm,
            AlgorithmDescription=f"{identity.method[:30]}, {identity.views} of {identity.frames} frames",
            AcquisitionIndex=[number + 1 for number in range(len(headers))],
        )
    ]


def _acquisition(header: Dataset) -> Dataset:
    """Item with what the header of a run says about distances."""
    source, result = Attributes(header), item(DetectorType=None)
    for keyword in ("DistanceSourceToDetector", "KVP"):
        value = source.number(keyword)
        if value is not None and value > 0:
            setattr(result, keyword, decimal(value))
    if source.text("FieldOfViewShape") in ("RECTANGLE", "ROUND", "HEXAGONAL"):
        result.FieldOfViewShape = source.text("FieldOfViewShape")
    return result


def _describe_contrast(dataset: Dataset, identity: ResultIdentity) -> None:
    """Enhanced Contrast/Bolus module (C.7.6.4b): codes of the source, else what rotational DSA is mostly done with."""
    source = Attributes(identity.sources.fill)
    coded = source.item("ContrastBolusAgentSequence") or Attributes(code("7140000", "SCT", "Contrast agent"))
    route = (
        coded.item("ContrastBolusAdministrationRouteSequence")
        or source.item("ContrastBolusAdministrationRouteSequence")
        or Attributes(code("58100008", "SCT", "Intra-arterial route"))
    )
    agent = item()
    copy_elements(coded.dataset, agent, _CODE)
    agent.ContrastBolusAgentNumber = 1
    agent.ContrastBolusAdministrationRouteSequence = [item()]
    copy_elements(route.dataset, agent.ContrastBolusAdministrationRouteSequence[0], _CODE)
    agent.ContrastBolusIngredientCodeSequence = []
    agent.ContrastBolusVolume = agent.ContrastBolusIngredientConcentration = None
    dataset.ContrastBolusAgentSequence = [agent]


def _add_pixels(dataset: Dataset, stored: NDArray[np.uint16]) -> None:
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def _shared_groups(
    grid: VolumeGrid, point: TimePoint, identity: ResultIdentity, scale: StoredScale, window: tuple[float, float]
) -> Dataset:
    """Functional groups of all frames."""
    low, high = window
    return item(
        PixelMeasuresSequence=[measures_item(grid)],
        PlaneOrientationSequence=[orientation_item()],
        FrameAnatomySequence=[anatomy_item(identity.sources.fill)],
        DerivationImageSequence=[
            item(
                DerivationDescription=identity.derivation,
                DerivationCodeSequence=[code("113062", "DCM", "Pixel by pixel subtraction")],
                SourceImageSequence=source_image_items(identity.sources),
            )
        ],
        PixelValueTransformationSequence=[
            item(RescaleIntercept=decimal(scale.intercept), RescaleSlope=decimal(scale.slope), RescaleType="US")
        ],
        # widths below 1 are legal with this function only (PS3.3 C.11.2.1.3)
        FrameVOILUTSequence=[
            item(
                WindowCenter=decimal((low + high) / 2),
                WindowWidth=decimal(high - low),
                VOILUTFunction="LINEAR_EXACT",
            )
        ],
        RealWorldValueMappingSequence=[_real_world_values(scale)],
        # a functional group of other objects, here as an extension: the only place for an exact time
        TemporalPositionSequence=[item(TemporalPositionTimeOffset=float(point.time_s))],
        ContrastBolusUsageSequence=[
            item(ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered="YES", ContrastBolusAgentDetected="YES")
        ],
        XRay3DFrameTypeSequence=[
            item(
                FrameType=_IMAGE_TYPE,
                PixelPresentation="MONOCHROME",
                VolumetricProperties="VOLUME",
                VolumeBasedCalculationTechnique="NONE",
                ReconstructionIndex=1,
            )
        ],
    )


def _real_world_values(scale: StoredScale) -> Dataset:
    quantity = item(
        ValueType="CODE",
        ConceptNameCodeSequence=[code("246205007", "SCT", "Quantity")],
        ConceptCodeSequence=[code("110851", "DCM", "X-Ray Attenuation Coefficient")],
    )
    result = item(
        LUTExplanation="Contrast attenuation in 1/mm",
        LUTLabel="ATTENUATION",
        RealWorldValueSlope=scale.slope,
        RealWorldValueIntercept=scale.intercept,
        MeasurementUnitsCodeSequence=[code("/mm", "UCUM", "per millimeter")],
        QuantityDefinitionSequence=[quantity],
    )
    result.add_new(0x00409216, "US", 0)
    result.add_new(0x00409211, "US", 65535)
    return result


def _frame_groups(grid: VolumeGrid, frame: int, point: TimePoint, identity: ResultIdentity) -> Dataset:
    """Functional groups of one frame."""
    content = item(
        StackID="1",
        InStackPositionNumber=frame + 1,
        TemporalPositionIndex=point.index + 1,
        DimensionIndexValues=[1, frame + 1],
    )
    moment = identity.moment(point.time_s)
    if moment is not None:
        content.FrameReferenceDateTime = moment_text(moment)
    return item(
        FrameContentSequence=[content],
        PlanePositionSequence=[position_item(grid, frame)],
    )
