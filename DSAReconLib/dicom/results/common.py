"""What all result objects share: identity, patient and study, equipment, references to the sources."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.attributes import quiet
from DSAReconLib.dicom.results.sources import SourceRuns
from DSAReconLib.errors import DependencyError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER = "DSARecon"
DISCLAIMER = "research, not for diagnosis"
SERIES = {
    "attenuation": (1, "4D volume"),
    "vessels": (2, "vessel mask"),
    "arrival": (3, "arrival time"),
    "surface": (4, "vessel surface"),
    "key_views": (5, "key views"),
    "movie": (6, "movie"),
}
"""Number within the block of series, and name, of every kind of object."""

_LONG_STRING = 64
_UNPAIRED = {"HEAD", "SKULL", "BRAIN", "NECK", "HEADNECK", "CHEST", "HEART", "ABDOMEN", "PELVIS", "SPINE"}
_FIRST_SERIES_WITHOUT_SOURCE = 90
_LARGEST_SERIES = 2**31 - 1
# Empty if the source lacks them: type 2 of the patient and study modules (PS3.3 C.7.1.1, C.7.2.1).
_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
_OPTIONAL = (
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "PatientBirthTime", "OtherPatientIDsSequence"),
    *("OtherPatientNames", "EthnicGroup", "PatientComments", "PatientSpeciesDescription", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence", "QualityControlSubject"),
    *("PatientAge", "PatientSize", "PatientWeight", "AdmissionID", "IssuerOfAccessionNumberSequence"),
    *("StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "ProcedureCodeSequence"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)


@dataclass(frozen=True, kw_only=True)
class ResultIdentity:
    """Whose result it is and where it came from; equal values give equal objects with equal UIDs.

    Parameters
    ----------
    sources
        Objects that the result was made from.
    key
        Tells this result, and how it is exported, from all others.
    frame_key
        Results with the same sources and key share their Frame of Reference, so that viewers overlay them.
    method
        Title of the method, e.g. ``"Transit"``.
    views, frames
        Number of frames that were used, and of all.
    version
        Of the software.
    finished
        When the reconstruction ended, local time.
    derivation
        Sentence on how the result was made.
    algorithm
        Defined term of X-Ray 3D Reconstruction: ``FILTER_BACK_PROJ`` or ``ITERATIVE``.
    """

    sources: SourceRuns
    key: str
    frame_key: str
    method: str
    views: int
    frames: int
    version: str
    finished: dt.datetime
    derivation: str
    algorithm: str = "ITERATIVE"

    def uid(self, *parts: str | int) -> str:
        """UID of a part of this result, e.g. ``uid("attenuation", 3)``."""
        return _uid("result", self.key, *parts)

    @property
    def frame_of_reference_uid(self) -> str:
        """Of the patient LPS system around the isocenter of the fill run."""
        return _uid("frame of reference", self.frame_key, *self.sources.instance_uids)

    def series_number(self, kind: str) -> int:
        """The fill run's number times 100 plus a number of the kind, as scanners number derived series."""
        with quiet():
            source = self.sources.fill.get("SeriesNumber")
        first = int(source) if source else _FIRST_SERIES_WITHOUT_SOURCE
        number = abs(first) * 100 + SERIES[kind][0]
        return number if number <= _LARGEST_SERIES else _FIRST_SERIES_WITHOUT_SOURCE * 100 + SERIES[kind][0]

    def series_description(self, kind: str) -> str:
        """What a radiologist reads in the list of series, at most 64 characters."""
        ending = f", {SERIES[kind][1]} ({DISCLAIMER})"
        beginning = f"{self.method} {self.views} views"
        return beginning[: _LONG_STRING - len(ending)] + ending

    def moment(self, time_s: float) -> dt.datetime | None:
        """Date and time of ``time_s`` after the first fill frame; ``None`` if the source has none."""
        started = self.sources.fill_started
        return None if started is None else started + dt.timedelta(seconds=time_s)


def new_object(identity: ResultIdentity, sop_class: str, kind: str, number: int = 1) -> Dataset:
    """Data set with everything that does not depend on the content; ``number`` counts instances from 1."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = identity.uid(kind, number)
    dataset.InstanceNumber = number
    identify(dataset, identity, kind)
    set_content_moment(dataset, identity.moment(0.0) or identity.finished)
    return dataset


def identify(dataset: Dataset, identity: ResultIdentity, kind: str) -> None:
    """Set patient, study, series and equipment of a data set, in place."""
    _copy_patient_and_study(dataset, identity.sources.fill, identity)
    dataset.SeriesInstanceUID = identity.uid(kind)
    dataset.SeriesNumber = identity.series_number(kind)
    dataset.SeriesDescription = identity.series_description(kind)
    dataset.SeriesDate, dataset.SeriesTime = date_text(identity.finished), time_text(identity.finished)
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.DeviceSerialNumber = "none"
    dataset.SoftwareVersions = identity.version


def set_content_moment(dataset: Dataset, moment: dt.datetime) -> None:
    """Content Date and Time."""
    dataset.ContentDate, dataset.ContentTime = date_text(moment), time_text(moment)


def set_frame_of_reference(dataset: Dataset, identity: ResultIdentity) -> None:
    """Frame of Reference module (PS3.3 C.7.4.1)."""
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""


def item(**attributes: Any) -> Dataset:
    """Item of a sequence, attributes by keyword."""
    from pydicom.dataset import Dataset

    result = Dataset()
    for keyword, value in attributes.items():
        setattr(result, keyword, value)
    return result


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Code sequence item (PS3.3 table 8.8-1)."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def source_image_items(identity: ResultIdentity) -> list[Dataset]:
    """Source Image Sequence: mask and fill run with the part that each played (CID 7202)."""
    headers = identity.sources.headers
    items = []
    for number, header in enumerate(headers):
        is_mask = number < len(headers) - 1
        purpose = (
            code("121321", "DCM", "Mask image for image processing operation")
            if is_mask
            else code("121322", "DCM", "Source image for image processing operation")
        )
        items.append(
            item(
                ReferencedSOPClassUID=str(header.SOPClassUID),
                ReferencedSOPInstanceUID=str(header.SOPInstanceUID),
                PurposeOfReferenceCodeSequence=[purpose],
                SpatialLocationsPreserved="NO",
            )
        )
    return items


def object_reference(header: Dataset) -> Dataset:
    """SOP class and instance of an object (PS3.3 table 10-11)."""
    return item(ReferencedSOPClassUID=str(header.SOPClassUID), ReferencedSOPInstanceUID=str(header.SOPInstanceUID))


def set_common_references(dataset: Dataset, headers: Iterable[Dataset]) -> None:
    """Common Instance Reference module (C.12.2): the objects by series, those of other studies apart."""
    studies: dict[str, dict[str, Dataset]] = {}
    for header in headers:
        key = _text(header, "SeriesInstanceUID")
        series = studies.setdefault(_text(header, "StudyInstanceUID"), {})
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


def set_body_part(dataset: Dataset, identity: ResultIdentity) -> None:
    """Body part of the source; Laterality (2C) empty where it could be needed and is not known."""
    source = identity.sources.fill
    _copy(source, dataset, ["BodyPartExamined", "Laterality"])
    if _text(dataset, "BodyPartExamined") in _UNPAIRED:
        if "Laterality" in dataset:
            del dataset.Laterality
    elif "Laterality" not in dataset:
        dataset.Laterality = ""


def contributing_source(header: Dataset) -> Dataset:
    """Contributing Sources Sequence item (PS3.3 tables 10-13 and 10-14): one source object and its equipment."""
    reference = object_reference(header)
    _copy(header, reference, ["InstanceNumber"], empty=True)
    series = item(SeriesInstanceUID=_text(header, "SeriesInstanceUID"), ReferencedInstanceSequence=[reference])
    _copy(header, series, ["SeriesNumber"], empty=True)
    study = item(StudyInstanceUID=_text(header, "StudyInstanceUID"), ReferencedSeriesSequence=[series])
    result = item(ContributingSOPInstancesReferenceSequence=[study])
    _copy(header, result, ["Manufacturer"], empty=True)
    _copy(header, result, ["ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "ProtocolName"])
    _copy(header, result, ["Rows", "Columns", "BitsStored"])
    result.LossyImageCompression = "01" if was_lossy([header]) else "00"
    return result


def was_lossy(headers: Iterable[Dataset]) -> bool:
    """Whether any of the objects was ever compressed with loss, which everything derived from it inherits."""
    return any(_text(header, "LossyImageCompression") == "01" for header in headers)


def set_lossy(dataset: Dataset, identity: ResultIdentity) -> None:
    """Lossy Image Compression: nothing here is lossy, but a source may have been (PS3.3 C.7.6.1.1.5)."""
    headers = identity.sources.headers
    dataset.LossyImageCompression = "01" if was_lossy(headers) else "00"
    lossy = next((header for header in headers if was_lossy([header])), None)
    if lossy is not None:
        _copy(lossy, dataset, ["LossyImageCompressionRatio", "LossyImageCompressionMethod"])


def decimal(value: float) -> str:
    """A DS value: at most 16 characters."""
    for digits in range(14, 2, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return "0" if float(text) == 0 else text
    raise ValueError(f"{value!r} does not fit into a DICOM decimal string")


def date_text(moment: dt.datetime) -> str:
    """DA value."""
    return f"{moment:%Y%m%d}"


def time_text(moment: dt.datetime) -> str:
    """TM value to the microsecond."""
    return f"{moment:%H%M%S.%f}"


def optional_highdicom(feature: str) -> Any:
    """The package highdicom, without its warnings.

    Raises
    ------
    DependencyError
        It is not installed.
    """
    try:
        with quiet():
            import highdicom
            import highdicom.pm
            import highdicom.seg
    except ImportError as error:
        raise DependencyError(
            f"{feature} is written with highdicom, which is not installed.",
            hint="Install it: pip install dsarecon[dicom].",
        ) from error
    return highdicom


def save(dataset: Dataset, path: Path, *, compression: str = "none") -> None:
    """Write a DICOM file, uncompressed little endian or with a lossless compression of the pixels.

    Raises
    ------
    DependencyError
        No encoder is installed.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.SOPInstanceUID))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    with quiet(), _no_value_checks():
        if compression != "none":
            _compress(dataset, compression)
        dataset.save_as(path, enforce_file_format=True)


COMPRESSIONS = {"none": "", "jpeg-ls": "1.2.840.10008.1.2.4.80", "rle": "1.2.840.10008.1.2.5"}
"""Lossless compressions by name, with their transfer syntax."""


def _compress(dataset: Dataset, compression: str) -> None:
    try:
        dataset.compress(COMPRESSIONS[compression], generate_instance_uid=False)
    except (RuntimeError, NotImplementedError) as error:
        raise DependencyError(
            f"No encoder for {compression} is installed.", hint="Install it: pip install dsarecon[dicom]."
        ) from error


def _no_value_checks() -> Any:
    """What the source says is repeated as it is, also where it is not to the letter of the standard."""
    from pydicom import config

    return _WritingMode(config.IGNORE)


class _WritingMode:
    def __init__(self, mode: int) -> None:
        self._mode = mode

    def __enter__(self) -> None:
        from pydicom import config

        self._former = config.settings.writing_validation_mode
        config.settings.writing_validation_mode = self._mode

    def __exit__(self, *_: object) -> None:
        from pydicom import config

        config.settings.writing_validation_mode = self._former


def _copy_patient_and_study(dataset: Dataset, source: Dataset, identity: ResultIdentity) -> None:
    with quiet(), _no_value_checks():
        for keyword in (*_REQUIRED, *_OPTIONAL):
            if keyword in dataset:
                delattr(dataset, keyword)
        charset = source.get("SpecificCharacterSet")
        if charset:
            dataset.SpecificCharacterSet = copy.deepcopy(charset)
        elif "SpecificCharacterSet" in dataset:
            del dataset.SpecificCharacterSet
        _copy(source, dataset, _REQUIRED, empty=True)
        _copy(source, dataset, _OPTIONAL)
        if not dataset.StudyInstanceUID:
            dataset.StudyInstanceUID = _uid("study", *identity.sources.instance_uids)


def _copy(source: Dataset, target: Dataset, keywords: Sequence[str], *, empty: bool = False) -> None:
    """Copy elements; ``empty`` ones are made where the source has none."""
    with quiet(), _no_value_checks():
        for keyword in keywords:
            if keyword in source:
                target.add(copy.deepcopy(source[keyword]))
            elif empty:
                setattr(target, keyword, None)


def _text(header: Dataset, keyword: str) -> str:
    with quiet():
        return str(header.get(keyword) or "")


def _uid(*parts: str | int) -> str:
    """UID of the form 2.25.<UUID> (PS3.5 B.2), the same for the same parts."""
    digest = hashlib.sha256("\n".join(["dsarecon", *map(str, parts)]).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
