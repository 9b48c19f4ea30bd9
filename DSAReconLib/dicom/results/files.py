"""Files of data sets, and the optional package that writes some of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.attributes import quiet
from DSAReconLib.dicom.results.elements import no_value_checks
from DSAReconLib.errors import DependencyError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

COMPRESSIONS = {"none": "", "jpeg-ls": "1.2.840.10008.1.2.4.80", "rle": "1.2.840.10008.1.2.5"}
"""Lossless compressions by name, with their transfer syntax."""


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
    with quiet(), no_value_checks():
        if compression != "none":
            _compress(dataset, compression)
        dataset.save_as(path, enforce_file_format=True)


def _compress(dataset: Dataset, compression: str) -> None:
    try:
        dataset.compress(COMPRESSIONS[compression], generate_instance_uid=False)
    except (RuntimeError, NotImplementedError) as error:
        raise DependencyError(
            f"No encoder for {compression} is installed.", hint="Install it: pip install dsarecon[dicom]."
        ) from error


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
