"""How result objects name the objects that they were made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from DSAReconLib.dicom.results.elements import code, copy_elements, item, text_of
from DSAReconLib.dicom.results.sources import SourceRuns

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def object_reference(header: Dataset) -> Dataset:
    """SOP class and instance of an object (PS3.3 table 10-11)."""
    return item(ReferencedSOPClassUID=str(header.SOPClassUID), ReferencedSOPInstanceUID=str(header.SOPInstanceUID))


def source_image_items(sources: SourceRuns) -> list[Dataset]:
    """Source Image Sequence: mask and fill run with the part that each played (CID 7202)."""
    headers = sources.headers
    items = []
    for number, header in enumerate(headers):
        is_mask = number < len(headers) - 1
        purpose = (
            code("121321", "DCM", "Mask image for image processing operation")
            if is_mask
            else code("121322", "DCM", "Source image for image processing operation")
        )
        reference = object_reference(header)
        reference.PurposeOfReferenceCodeSequence = [purpose]
        reference.SpatialLocationsPreserved = "NO"
        items.append(reference)
    return items


def set_common_references(dataset: Dataset, headers: Iterable[Dataset]) -> None:
    """Common Instance Reference module (C.12.2): the objects by series, those of other studies apart."""
    studies: dict[str, dict[str, Dataset]] = {}
    for header in headers:
        key = text_of(header, "SeriesInstanceUID")
        series = studies.setdefault(text_of(header, "StudyInstanceUID"), {})
        entry = series.setdefault(key, item(SeriesInstanceUID=key, ReferencedInstanceSequence=[]))
        entry.ReferencedInstanceSequence.append(object_reference(header))
    own = studies.pop(str(dataset.StudyInstanceUID), {})
    if own:
        dataset.ReferencedSeriesSequence = [*own.values()]
    if studies:
        dataset.StudiesContainingOtherReferencedInstancesSequence = [
            item(StudyInstanceUID=study, ReferencedSeriesSequence=[*series.values()])
            for study, series in studies.items()
        ]


def contributing_source(header: Dataset) -> Dataset:
    """Contributing Sources Sequence item (PS3.3 tables 10-13 and 10-14): one source object and its equipment."""
    reference = object_reference(header)
    copy_elements(header, reference, ["InstanceNumber"], empty=True)
    series = item(SeriesInstanceUID=text_of(header, "SeriesInstanceUID"), ReferencedInstanceSequence=[reference])
    copy_elements(header, series, ["SeriesNumber"], empty=True)
    study = item(StudyInstanceUID=text_of(header, "StudyInstanceUID"), ReferencedSeriesSequence=[series])
    result = item(ContributingSOPInstancesReferenceSequence=[study])
    copy_elements(header, result, ["Manufacturer"], empty=True)
    copy_elements(header, result, ["ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "ProtocolName"])
    copy_elements(header, result, ["Rows", "Columns", "BitsStored"])
    copy_lossiness(result, [header])
    return result


def was_lossy(headers: Iterable[Dataset]) -> bool:
    """Whether any of the objects was ever compressed with loss, which everything derived from it inherits."""
    return any(text_of(header, "LossyImageCompression") == "01" for header in headers)


def copy_lossiness(target: Dataset, headers: Sequence[Dataset]) -> None:
    """Lossy Image Compression: nothing here is lossy, but a source may have been (PS3.3 C.7.6.1.1.5)."""
    lossy = next((header for header in headers if was_lossy([header])), None)
    target.LossyImageCompression = "00" if lossy is None else "01"
    if lossy is not None:
        copy_elements(lossy, target, ["LossyImageCompressionRatio", "LossyImageCompressionMethod"])
