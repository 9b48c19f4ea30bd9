"""Writing rotational runs as classic multi-frame XA objects (DICOM PS3.3 A.14).

Made for simulated runs: the patient is fictional. Objects pass ``dciodvfy -new`` without
errors in every form that the options offer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DependencyError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PixelRelationship = Literal["LIN", "LOG"]
AngleForm = Literal["offsets", "absolute", "absolute_with_base", "steps", "mean_step"]
TimeForm = Literal["frame_time", "frame_time_vector"]

PIXEL_RELATIONSHIPS = ("LIN", "LOG")
ANGLE_FORMS = ("offsets", "absolute", "absolute_with_base", "steps", "mean_step")
TIME_FORMS = ("frame_time", "frame_time_vector")
TRANSFER_SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
}

_XA_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.12.1"
_LOG_BITS = 12


@dataclass(frozen=True, kw_only=True)
class XaEncoding:
    """In which of the forms met in the field a run is written.

    Parameters
    ----------
    pixels
        ``LIN``: 16-bit intensities. ``LOG``: 12-bit logarithms with a Modality LUT back to intensities.
    angles
        Positioner angle increments as ``offsets`` from the first frame (the standard),
        ``absolute`` angles with a base of 0 (allowed by a note in C.8.7.5.1.3),
        ``absolute_with_base``, ``steps`` from frame to frame or one ``mean_step`` (both seen in the field).
    times
        Frame Time or Frame Time Vector.
    transfer_syntax
        A key of :data:`TRANSFER_SYNTAXES`; the compressed ones need an encoder that pydicom finds.
    distances
        Write source-detector and source-patient distance.
    """

    pixels: PixelRelationship = "LIN"
    angles: AngleForm = "offsets"
    times: TimeForm = "frame_time"
    transfer_syntax: str = "explicit"
    distances: bool = True

    def __post_init__(self) -> None:
        for name, known in (
            ("pixels", PIXEL_RELATIONSHIPS),
            ("angles", ANGLE_FORMS),
            ("times", TIME_FORMS),
            ("transfer_syntax", tuple(TRANSFER_SYNTAXES)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}; got {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class XaRun:
    """Content of a run to write.

    Parameters
    ----------
    intensity
        Frames (F, R, C), integer values in [1, 65535], proportional to the X-ray intensity.
    primary_deg, secondary_deg
        Positioner angles per frame (F,), LAO and CRA positive.
    times_s
        Frame times (F,), s, from 0.
    sod_mm, sdd_mm
        Source to isocenter and to detector.
    detector_spacing_mm
        Pixel size (row, column) at the detector.
    principal_point_offset_px
        (row, column) from the middle of the image to where the isocenter is projected.
    contrast
        Whether contrast was injected.
    """

    intensity: NDArray[Any]
    primary_deg: NDArray[np.float64]
    secondary_deg: NDArray[np.float64]
    times_s: NDArray[np.float64]
    sod_mm: float
    sdd_mm: float
    detector_spacing_mm: tuple[float, float]
    principal_point_offset_px: tuple[float, float] = (0.0, 0.0)
    contrast: bool = False


@dataclass(frozen=True, kw_only=True)
class XaIdentity:
    """Which study and series an object belongs to; equal values give equal UIDs.

    Parameters
    ----------
    study_key
        Names the study; the same for mask and fill run.
    series_number
        1 for the mask run, 2 for the fill run.
    series_description
        Text for people.
    patient_name, patient_id
        Fictional.
    acquisition_time
        TM value, hhmmss.
    """

    study_key: str
    series_number: int = 1
    series_description: str = "Rotational run"
    patient_name: str = "Phantom^Virtual"
    patient_id: str = "DSARECON-SIM"
    acquisition_time: str = "120000"

    def uid(self, *parts: str) -> str:
        """Deterministic UID of the study and the given parts."""
        from pydicom.uid import generate_uid

        return str(generate_uid(entropy_srcs=["dsarecon", self.study_key, *parts]))


def write_xa_run(path: Path, run: XaRun, identity: XaIdentity, encoding: XaEncoding | None = None) -> None:
    """Write one rotational run as an XA object.

    Raises
    ------
    DependencyError
        No encoder is installed for a compressed transfer syntax.
    """
    encoding = encoding or XaEncoding()
    dataset = _dataset(run, identity, encoding)
    _save(Path(path), dataset, encoding)


def write_xa_pair(
    path: Path, mask: XaRun, fill: XaRun, identity: XaIdentity, encoding: XaEncoding | None = None
) -> None:
    """Write mask and fill run as one object: mask frames first, linked by TID mask subtraction (C.7.6.10).

    Raises
    ------
    ValueError
        The runs differ in their number of frames or their detector.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    if mask.intensity.shape != fill.intensity.shape:
        raise ValueError(f"mask and fill must have the same shape; got {mask.intensity.shape}, {fill.intensity.shape}")
    encoding = encoding or XaEncoding()
    frames = len(mask.times_s)
    pause_s = mask.times_s[-1] + np.diff(mask.times_s).mean()
    both = XaRun(
        intensity=np.concatenate([mask.intensity, fill.intensity]),
        primary_deg=np.concatenate([mask.primary_deg, fill.primary_deg]),
        secondary_deg=np.concatenate([mask.secondary_deg, fill.secondary_deg]),
        times_s=np.concatenate([mask.times_s, fill.times_s + pause_s]),
        sod_mm=fill.sod_mm,
        sdd_mm=fill.sdd_mm,
        detector_spacing_mm=fill.detector_spacing_mm,
        principal_point_offset_px=fill.principal_point_offset_px,
        contrast=True,
    )
    dataset = _dataset(both, identity, encoding)
    item = Dataset()
    item.MaskOperation = "TID"
    item.ApplicableFrameRange = [frames + 1, 2 * frames]
    item.TIDOffset = frames
    dataset.MaskSubtractionSequence = Sequence([item])
    dataset.RecommendedViewingMode = "SUB"
    _save(Path(path), dataset, encoding)


def _dataset(run: XaRun, identity: XaIdentity, encoding: XaEncoding) -> Dataset:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    _identify(dataset, identity)
    _add_acquisition(dataset, run, encoding)
    _add_angles(dataset, run, encoding.angles)
    _add_times(dataset, run.times_s, encoding.times)
    _add_detector(dataset, run)
    _add_pixels(dataset, run, encoding.pixels)
    return dataset


def _identify(dataset: Dataset, identity: XaIdentity) -> None:
    """Patient, study, series, equipment and general image modules."""
    series = f"series {identity.series_number}"
    dataset.SOPClassUID = _XA_IMAGE_STORAGE
    dataset.SOPInstanceUID = identity.uid(series, "instance")
    dataset.StudyInstanceUID = identity.uid("study")
    dataset.SeriesInstanceUID = identity.uid(series)
    dataset.PatientName, dataset.PatientID = identity.patient_name, identity.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200101"
    dataset.StudyTime = "120000"
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = identity.acquisition_time
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "", "1", ""
    dataset.StudyDescription = "Simulated rotational angiography"
    dataset.Modality = "XA"
    dataset.SeriesNumber, dataset.InstanceNumber = identity.series_number, 1
    dataset.SeriesDescription = identity.series_description
    dataset.Manufacturer, dataset.ManufacturerModelName = "DSARecon", "virtual C-arm"
    dataset.InstitutionName = ""
    dataset.BodyPartExamined, dataset.PatientPosition = "HEAD", "HFS"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    dataset.AcquisitionNumber = identity.series_number
    dataset.PatientOrientation = ""
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"


def _add_acquisition(dataset: Dataset, run: XaRun, encoding: XaEncoding) -> None:
    """X-Ray Acquisition (C.8.7.2) and contrast (C.7.6.4)."""
    dataset.RadiationSetting = "GR"
    dataset.KVP, dataset.XRayTubeCurrent, dataset.ExposureTime, dataset.Exposure = 80, 300, 5, 2
    dataset.RadiationMode = "PULSED"
    dataset.ImagerPixelSpacing = [_decimal(s) for s in run.detector_spacing_mm]
    rows, columns = run.intensity.shape[1:]
    extent = (columns * run.detector_spacing_mm[1], rows * run.detector_spacing_mm[0])
    dataset.FieldOfViewShape = "RECTANGLE"
    dataset.FieldOfViewDimensions = [round(e) for e in extent]
    if encoding.distances:
        dataset.DistanceSourceToDetector = _decimal(run.sdd_mm)
        dataset.DistanceSourceToPatient = _decimal(run.sod_mm)
        dataset.EstimatedRadiographicMagnificationFactor = _decimal(run.sdd_mm / run.sod_mm)
    if run.contrast:
        dataset.ContrastBolusAgent = "Iodinated contrast (simulated)"


def _add_angles(dataset: Dataset, run: XaRun, form: AngleForm) -> None:
    """XA Positioner (C.8.7.5)."""
    dataset.PositionerMotion = "DYNAMIC"
    for name, angle in (("Primary", run.primary_deg), ("Secondary", run.secondary_deg)):
        base, increments = _increments(np.asarray(angle, float), form)
        setattr(dataset, f"Positioner{name}Angle", _decimal(base))
        setattr(dataset, f"Positioner{name}AngleIncrement", [_decimal(i) for i in increments])


def _increments(angle_deg: NDArray[np.float64], form: AngleForm) -> tuple[float, NDArray[np.float64]]:
    """First angle and increments as the header has them; angles lie in +-180 degrees (C.8.7.5.1.2)."""
    within = (angle_deg + 180.0) % 360.0 - 180.0
    first, angle_deg = float(within[0]), angle_deg + (within[0] - angle_deg[0])
    if form == "absolute":
        return 0.0, within
    if form == "absolute_with_base":
        return first, within
    if form == "steps":
        step = np.diff(angle_deg)
        return first, np.concatenate([step[:1], step])
    if form == "mean_step":
        return first, np.array([(angle_deg[-1] - first) / max(len(angle_deg) - 1, 1)])
    return first, angle_deg - first


def _add_times(dataset: Dataset, times_s: NDArray[np.float64], form: TimeForm) -> None:
    """Cine and multi-frame modules (C.7.6.5, C.7.6.6)."""
    from pydicom.tag import Tag

    steps_ms = np.diff(times_s) * 1000
    if form == "frame_time":
        dataset.FrameTime = _decimal(float(steps_ms.mean()))
        dataset.FrameIncrementPointer = Tag("FrameTime")
    else:
        dataset.FrameTimeVector = [_decimal(0.0), *(_decimal(step) for step in steps_ms)]
        dataset.FrameIncrementPointer = Tag("FrameTimeVector")
    dataset.NumberOfFrames = len(times_s)
    dataset.CineRate = max(1, round(1000 / float(steps_ms.mean())))
    dataset.StartTrim, dataset.StopTrim = 1, len(times_s)


def _add_detector(dataset: Dataset, run: XaRun) -> None:
    """DX Detector (C.8.11.4), which is optional in XA, where the isocenter is off the middle.

    The image is then a field of view on a larger detector whose elements have the size of
    a pixel. Position of Isocenter Projection (0018,9430) counts elements from the corner
    of the detector, FOV Origin (0018,7030) is the corner of the image on it.
    """
    row_offset, column_offset = run.principal_point_offset_px
    if row_offset == 0 and column_offset == 0:
        return
    rows, columns = run.intensity.shape[1:]
    # FOV Origin on a detector that is centered on the isocenter and large enough for the image.
    margin = [int(np.ceil(2 * abs(offset))) for offset in (row_offset, column_offset)]
    size = (rows + margin[0], columns + margin[1])
    center = (size[0] / 2, size[1] / 2)
    origin = (center[0] - rows / 2 - row_offset, center[1] - columns / 2 - column_offset)
    spacing = run.detector_spacing_mm
    dataset.DetectorType = "SCINTILLATOR"
    dataset.DetectorElementPhysicalSize = [_decimal(s) for s in spacing]
    dataset.DetectorElementSpacing = [_decimal(s) for s in spacing]
    dataset.DetectorActiveShape = "RECTANGLE"
    dataset.DetectorActiveDimensions = [_decimal(n * s) for n, s in zip(size, spacing, strict=True)]
    dataset.DetectorActiveOrigin = [_decimal(0.0), _decimal(0.0)]
    dataset.FieldOfViewOrigin = [_decimal(o) for o in origin]
    # Written as text: these are enumerated and "0.0" would not be the defined term "0".
    dataset.FieldOfViewRotation = "0"
    dataset.FieldOfViewHorizontalFlip = "NO"
    dataset.PositionOfIsocenterProjection = [float(c) for c in center]


def _add_pixels(dataset: Dataset, run: XaRun, relationship: PixelRelationship) -> None:
    """Image pixel, X-Ray image (C.8.7.1) and Modality LUT modules."""
    values = np.asarray(run.intensity)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape[1:]
    dataset.BitsAllocated, dataset.PixelRepresentation = 16, 0
    dataset.PixelIntensityRelationship = relationship
    if relationship == "LOG":
        stored, table = _logarithmic(values)
        dataset.BitsStored = _LOG_BITS
        _add_modality_lut(dataset, table)
    else:
        stored = np.clip(np.rint(values), 0, 65535).astype("<u2")
        dataset.BitsStored = 16
    dataset.HighBit = dataset.BitsStored - 1
    center, width = _display_window(stored)
    dataset.WindowCenter, dataset.WindowWidth = _decimal(center), _decimal(width)
    dataset.PixelData = stored.tobytes()


def _logarithmic(values: NDArray[Any]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """12-bit logarithms of the values, and the table (4096,) that leads back to the same 16-bit scale."""
    low, high = np.log(max(float(values.min()), 1.0)), np.log(65535.0)
    levels = 2**_LOG_BITS - 1
    stored = np.rint((np.log(np.maximum(values, 1)) - low) * (levels / (high - low)))
    table = np.exp(low + np.arange(levels + 1) * ((high - low) / levels))
    return np.clip(stored, 0, levels).astype("<u2"), np.clip(np.rint(table), 0, 65535).astype("<u2")


def _add_modality_lut(dataset: Dataset, table: NDArray[np.uint16]) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.add_new(0x00283002, "US", [len(table), 0, 16])
    item.ModalityLUTType = "US"
    item.add_new(0x00283006, "OW", table.tobytes())
    dataset.ModalityLUTSequence = Sequence([item])


def _display_window(stored: NDArray[np.uint16]) -> tuple[float, float]:
    """Window that shows what lies behind the head, not the open field."""
    low, high = np.percentile(stored[:: max(1, len(stored) // 8), ::4, ::4], (1, 80))
    return float((low + high) / 2), float(max(high - low, 1) * 1.4)


def _decimal(value: float) -> str:
    """A DS value: at most 16 characters, without a trailing ".0"."""
    for digits in range(12, 2, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return "0" if float(text) == 0 else text
    raise ValueError(f"{value!r} does not fit into a DICOM decimal string")


def _save(path: Path, dataset: Dataset, encoding: XaEncoding) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    uncompressed = "implicit" if encoding.transfer_syntax == "implicit" else "explicit"
    meta.TransferSyntaxUID = UID(TRANSFER_SYNTAXES[uncompressed])
    dataset.file_meta = meta
    dataset["PixelData"].VR = "OW"
    if encoding.transfer_syntax != uncompressed:
        try:
            dataset.compress(TRANSFER_SYNTAXES[encoding.transfer_syntax], generate_instance_uid=False)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            raise DependencyError(
                f"No encoder for {encoding.transfer_syntax} is installed: {error}",
                hint="Install the extra 'dicom' (pip install dsarecon[dicom]) or write uncompressed files.",
            ) from error
    dataset.save_as(path, enforce_file_format=True)
