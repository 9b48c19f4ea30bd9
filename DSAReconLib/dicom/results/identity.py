"""Whose result it is: patient, study, series, equipment and UIDs that all objects of an export share."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.attributes import quiet
from DSAReconLib.dicom.results.elements import copy_elements, date_text, no_value_checks, text_of, time_text
from DSAReconLib.dicom.results.references import copy_lossiness
from DSAReconLib.dicom.results.sources import SourceRuns

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
_SERIAL_NUMBER = "none"  # software has none, but the modules want a value
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
    dataset.DeviceSerialNumber = _SERIAL_NUMBER
    dataset.SoftwareVersions = identity.version


def writer_arguments(identity: ResultIdentity, kind: str) -> dict[str, Any]:
    """Arguments of highdicom's classes for an object of its own series."""
    return {
        "series_instance_uid": identity.uid(kind),
        "series_number": identity.series_number(kind),
        "sop_instance_uid": identity.uid(kind, 1),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": identity.version,
        "device_serial_number": _SERIAL_NUMBER,
    }


def settle(dataset: Dataset, identity: ResultIdentity, kind: str) -> None:
    """Make an object of another writer ours: identity, dates, and no UID or date that would differ next time."""
    identify(dataset, identity, kind)
    copy_lossiness(dataset, identity.sources.headers)
    set_content_moment(dataset, identity.moment(0.0) or identity.finished)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in dataset:
            del dataset[keyword]
    organization = identity.uid(kind, "dimensions")
    for entry in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        entry.DimensionOrganizationUID = organization
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = f"{identity.finished:%Y%m%d%H%M%S}"


def set_content_moment(dataset: Dataset, moment: dt.datetime) -> None:
    """Content Date and Time."""
    dataset.ContentDate, dataset.ContentTime = date_text(moment), time_text(moment)


def set_frame_of_reference(dataset: Dataset, identity: ResultIdentity) -> None:
    """Frame of Reference module (PS3.3 C.7.4.1)."""
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""


def set_body_part(dataset: Dataset, identity: ResultIdentity) -> None:
    """Body part of the source; Laterality (2C) empty where it could be needed and is not known."""
    source = identity.sources.fill
    copy_elements(source, dataset, ["BodyPartExamined", "Laterality"])
    if text_of(dataset, "BodyPartExamined") in _UNPAIRED:
        if "Laterality" in dataset:
            del dataset.Laterality
    elif "Laterality" not in dataset:
        dataset.Laterality = ""


def neutral_reference(reference: Dataset) -> Dataset:
    """An object without patient and study description, for a writer that would copy and check them."""
    from pydicom.dataset import Dataset

    neutral = Dataset()
    neutral.update(reference)
    neutral.file_meta = reference.file_meta
    for keyword in (*_REQUIRED, *_OPTIONAL, "SpecificCharacterSet"):
        if keyword in neutral and keyword != "StudyInstanceUID":
            del neutral[keyword]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(neutral, keyword, None)
    neutral.AccessionNumber = neutral.ReferringPhysicianName = None
    return neutral


def _copy_patient_and_study(dataset: Dataset, source: Dataset, identity: ResultIdentity) -> None:
    with quiet(), no_value_checks():
        for keyword in (*_REQUIRED, *_OPTIONAL):
            if keyword in dataset:
                delattr(dataset, keyword)
        charset = source.get("SpecificCharacterSet")
        if charset:
            dataset.SpecificCharacterSet = copy.deepcopy(charset)
        elif "SpecificCharacterSet" in dataset:
            del dataset.SpecificCharacterSet
        copy_elements(source, dataset, _REQUIRED, empty=True)
        copy_elements(source, dataset, _OPTIONAL)
        if not dataset.StudyInstanceUID:
            dataset.StudyInstanceUID = _uid("study", *identity.sources.instance_uids)


def _uid(*parts: str | int) -> str:
    """UID of the form 2.25.<UUID> (PS3.5 B.2), the same for the same parts."""
    digest = hashlib.sha256("\n".join(["dsarecon", *map(str, parts)]).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
