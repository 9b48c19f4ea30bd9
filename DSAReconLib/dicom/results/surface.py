"""Vessel surface as Encapsulated STL (PS3.3 A.85.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from DSAReconLib.dicom.results.elements import code, moment_text
from DSAReconLib.dicom.results.identity import DISCLAIMER, ResultIdentity, new_object, set_frame_of_reference
from DSAReconLib.dicom.results.references import object_reference, set_common_references

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENCAPSULATED_STL = "1.2.840.10008.5.1.4.1.1.104.3"


def surface_object(stl: bytes, identity: ResultIdentity) -> Dataset:
    """Binary STL, vertices in LPS mm of the common frame of reference, unchanged in a DICOM object."""
    dataset = new_object(identity, ENCAPSULATED_STL, "surface")
    dataset.Modality = "M3D"
    set_frame_of_reference(dataset, identity)
    moment = identity.moment(0.0)
    dataset.AcquisitionDateTime = None if moment is None else moment_text(moment)
    dataset.BurnedInAnnotation, dataset.RecognizableVisualFeatures = "NO", "NO"
    dataset.DocumentTitle = f"Vessel surface, {identity.method} ({DISCLAIMER})"
    dataset.ConceptNameCodeSequence = []
    dataset.MIMETypeOfEncapsulatedDocument = "model/stl"
    dataset.EncapsulatedDocument = stl + b"\0" * (len(stl) % 2)
    dataset.EncapsulatedDocumentLength = len(stl)
    dataset.MeasurementUnitsCodeSequence = [code("mm", "UCUM", "mm")]
    dataset.ContentDescription = identity.derivation[:64]
    headers = identity.sources.headers
    dataset.SourceInstanceSequence = [object_reference(header) for header in headers]
    set_common_references(dataset, headers)
    return dataset
