"""Small synthetic XA objects for tests of the DICOM reader."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

XA_CLASS = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA_CLASS = "1.2.840.10008.5.1.4.1.1.12.1.1"
FRAMES, ROWS, COLUMNS = 12, 24, 32
START_DEG, STEP_DEG = -90.0, 15.0


def offsets(frames: int = FRAMES, step: float = STEP_DEG) -> list[float]:
    """Increments in the standard form, slightly uneven as of a real C-arm."""
    k = np.arange(frames)
    return [round(float(v), 4) for v in step * k + 0.5 * np.sin(np.pi * k / (frames - 1))]


def stored_frames(frames: int = FRAMES, rows: int = ROWS, columns: int = COLUMNS, seed: int = 0) -> np.ndarray:
    """Values 2000 to 3000 (uint16), different in every pixel and frame."""
    return np.random.default_rng(seed).integers(2000, 3000, (frames, rows, columns)).astype(np.uint16)


def xa_dataset(pixels: np.ndarray | None = None, **attributes: object) -> FileDataset:
    """Classic multi-frame XA object; ``attributes`` replace defaults by keyword, ``None`` deletes."""
    pixels = stored_frames() if pixels is None else pixels
    frames, rows, columns = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    ds = _new(XA_CLASS)
    ds.update(_acquisition())
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames, rows, columns
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PositionerPrimaryAngleIncrement = offsets(frames)
    ds.PositionerSecondaryAngleIncrement = [0.0] * frames
    ds.PixelData = pixels.tobytes()
    _replace(ds, attributes)
    return ds


def write_xa(path: Path, pixels: np.ndarray | None = None, **attributes: object) -> Path:
    """Write :func:`xa_dataset` to ``path``."""
    xa_dataset(pixels, **attributes).save_as(path, enforce_file_format=True)
    return path


def enhanced_dataset(
    pixels: np.ndarray | None = None,
    *,
    patient_angles: tuple | None = None,
    equipment_angles: tuple | None = None,
    seconds: np.ndarray | None = None,
    **attributes: object,
) -> FileDataset:
    """Enhanced XA object with angles (primary, secondary[, rotation]) of every frame."""
    pixels = stored_frames() if pixels is None else pixels
    frames, rows, columns = pixels.shape
    ds = _new(ENHANCED_XA_CLASS)
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames, rows, columns
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = pixels.tobytes()
    shared = Dataset()
    shared.FramePixelDataPropertiesSequence = [_item(PixelIntensityRelationship="LIN", ImagerPixelSpacing=[0.8, 0.5])]
    shared.FieldOfViewSequence = [
        _item(FieldOfViewOrigin=[0.0, 0.0], FieldOfViewRotation=0.0, FieldOfViewHorizontalFlip="NO")
    ]
    shared.XRayGeometrySequence = [_item(DistanceSourceToIsocenter=750.0, DistanceSourceToDetector=1200.0)]
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    seconds = 0.04 * np.arange(frames) if seconds is None else seconds
    items = []
    for k in range(frames):
        item = Dataset()
        stamp = 12 * 3600 + 30.5 + float(seconds[k])
        clock = f"{int(stamp // 3600):02d}{int(stamp // 60) % 60:02d}{stamp % 60:09.6f}"
        item.FrameContentSequence = [_item(FrameReferenceDateTime=f"20260101{clock}")]
        if patient_angles is not None:
            item.PositionerPositionSequence = [
                _item(
                    PositionerPrimaryAngle=float(patient_angles[0][k]),
                    PositionerSecondaryAngle=float(patient_angles[1][k]),
                )
            ]
        if equipment_angles is not None:
            values = {
                f"PositionerIsocenter{name}": float(angles[k])
                for name, angles in zip(
                    ("PrimaryAngle", "SecondaryAngle", "DetectorRotationAngle"), equipment_angles, strict=False
                )
            }
            item.IsocenterReferenceSystemSequence = [_item(**values)]
        items.append(item)
    ds.PerFrameFunctionalGroupsSequence = Sequence(items)
    _replace(ds, attributes)
    return ds


def log_lut() -> tuple[Dataset, callable]:
    """Modality LUT item for 12 bit logarithmic pixels, and the function from intensity to stored value."""
    stored = np.arange(4096)
    table = np.round(65535 * np.exp((stored - 4095) / 400)).astype(np.uint16)
    item = Dataset()
    item.add_new(Tag(0x0028, 0x3002), "US", [4096, 0, 16])
    item.ModalityLUTType = "US"
    item.add_new(Tag(0x0028, 0x3006), "OW", table.tobytes())

    def to_stored(intensity: np.ndarray) -> np.ndarray:
        return np.clip(np.round(4095 + 400 * np.log(np.maximum(intensity, 1) / 65535)), 0, 4095).astype(np.uint16)

    return item, to_stored


def _new(sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.SeriesInstanceUID = generate_uid()
    ds.Modality, ds.Manufacturer = "XA", "Nobody"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "SECRET-4711", "19500101"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    return ds


def _acquisition() -> Dataset:
    return _item(
        AcquisitionTime="120000",
        SeriesDescription="spin",
        PixelIntensityRelationship="LIN",
        PositionerMotion="DYNAMIC",
        PositionerPrimaryAngle=START_DEG,
        PositionerSecondaryAngle=0.0,
        DistanceSourceToDetector=1200.0,
        DistanceSourceToPatient=750.0,
        ImagerPixelSpacing=[0.8, 0.5],
        FrameTime=40.0,
        FrameIncrementPointer=Tag(0x0018, 0x1063),
    )


def _item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _replace(ds: Dataset, attributes: dict[str, object]) -> None:
    for keyword, value in attributes.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, to show that reading leaves it alone."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compress(path: Path, target: Path, syntax: str) -> Path:
    """Copy of an XA file in another transfer syntax, by pydicom."""
    ds = pydicom.dcmread(path)
    ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(target)
    return target
