"""From DICOM files to a volume: contrast ends up where it was, to within half a voxel.

The frames are computed and written here from the words of the DICOM standard (detector
to the patient's left for positive primary angles, towards the head for positive secondary
angles, rows from the head downwards), on purpose without the library's geometry or writer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from DSAReconLib.io.result_folder import open_result
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.pipeline import run_job

# asymmetric in every direction, so that no mirrored or turned volume fits
SPHERES_LPS = np.array([[22.0, 6.0, -14.0], [-9.0, 21.0, 12.0], [-16.0, -19.0, -4.0], [7.0, -5.0, 23.0]])
RADIUS_MM = 4.5
SOD, SDD, SPACING, PIXELS = 720.0, 1150.0, 1.6, 96
OPEN_FIELD = 40000.0


@dataclass(frozen=True)
class Scan:
    """One way to acquire and to store a run."""

    primary: np.ndarray
    secondary: np.ndarray
    form: str = "offsets"
    log_pixels: bool = False
    time_vector: bool = False
    center_rc: tuple[float, float] = ((PIXELS - 1) / 2, (PIXELS - 1) / 2)
    extra: dict = field(default_factory=dict)
    padding: tuple[int, int] = (0, 0)  # black rows at the bottom and columns at the right


def _arc(start, stop, count):
    return np.linspace(start, stop, count)


SCANS = {
    "plain": Scan(_arc(-100, 100, 70), np.zeros(70)),
    "reversed rotation, cranial tilt": Scan(_arc(95, -105, 60), np.full(60, 18.0)),
    "absolute angles and a frame time vector": Scan(
        _arc(-98, 102, 60), _arc(-3, 4, 60), form="absolute", time_vector=True
    ),
    "logarithmic pixels": Scan(_arc(-100, 100, 60), np.zeros(60), log_pixels=True),
    "caudal tilt from a base angle": Scan(_arc(-110, 95, 65), np.full(65, -12.0)),
    "isocenter off the middle": Scan(
        _arc(-100, 100, 60),
        np.zeros(60),
        center_rc=(40.5, 55.0),
        extra={
            "PositionOfIsocenterProjection": [41.0 + 10, 55.5 + 4],
            "FieldOfViewOrigin": [10.0, 4.0],
            "DetectorElementSpacing": [SPACING, SPACING],
        },
    ),
    "padded on the right": Scan(_arc(-100, 100, 60), np.zeros(60), padding=(0, 24)),
    "padded on the right and at the bottom": Scan(_arc(-98, 102, 60), _arc(-3, 4, 60), padding=(9, 16)),
}


def _line_integrals(scan, spheres, radius):
    """Chord lengths (F, R, C), mm, of rays from the source through pixel centers with spheres."""
    a, b = np.deg2rad(scan.primary), np.deg2rad(scan.secondary)
    towards_detector = np.stack([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)], -1)
    head = np.array([0.0, 0.0, 1.0])
    up = head - (towards_detector @ head)[:, None] * towards_detector
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    right = np.cross(up, towards_detector)  # the patient's left is on the right of a frontal image
    rows, columns = np.mgrid[:PIXELS, :PIXELS]
    total = np.zeros((len(a), PIXELS, PIXELS))
    for k in range(len(a)):
        pixel = (
            (SDD - SOD) * towards_detector[k]
            + ((columns - scan.center_rc[1]) * SPACING)[..., None] * right[k]
            - ((rows - scan.center_rc[0]) * SPACING)[..., None] * up[k]
        )
        source = -SOD * towards_detector[k]
        direction = pixel - source
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        for center in spheres:
            along = direction @ (center - source)
            distance2 = ((center - source) ** 2).sum() - along**2
            total[k] += 2 * np.sqrt(np.maximum(radius**2 - distance2, 0))
    return total


def _write(path, scan, intensity, *, contrast):
    frames = len(scan.primary)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[str(path.parent)])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[str(path), "series"])
    ds.Modality, ds.PatientID, ds.PatientName = "XA", "P1", "Phantom"
    ds.SeriesDescription = "fill" if contrast else "mask"
    intensity = np.pad(intensity, ((0, 0), (0, scan.padding[0]), (0, scan.padding[1])))
    _, ds.Rows, ds.Columns = intensity.shape
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation = frames, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.PixelRepresentation = 16, 0
    ds.PositionerMotion = "DYNAMIC"
    ds.DistanceSourceToPatient, ds.DistanceSourceToDetector = SOD, SDD
    ds.ImagerPixelSpacing = [SPACING, SPACING]
    absolute = scan.form == "absolute"
    ds.PositionerPrimaryAngle = 0.0 if absolute else round(scan.primary[0], 6)
    ds.PositionerSecondaryAngle = 0.0 if absolute else round(scan.secondary[0], 6)
    for name, angles in (("Primary", scan.primary), ("Secondary", scan.secondary)):
        values = angles - (0.0 if absolute else angles[0])
        setattr(ds, f"Positioner{name}AngleIncrement", [f"{value:.6f}" for value in values])
    if scan.time_vector:
        ds.FrameIncrementPointer, ds.FrameTimeVector = 0x00181065, [0.0] + [40.0] * (frames - 1)
    else:
        ds.FrameIncrementPointer, ds.FrameTime = 0x00181063, 40.0
    for name, value in scan.extra.items():
        setattr(ds, name, value)
    if scan.log_pixels:
        _store_logarithm(ds, intensity)
    else:
        ds.PixelIntensityRelationship, ds.BitsStored, ds.HighBit = "LIN", 16, 15
        ds.PixelData = np.rint(intensity).astype(np.uint16).tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def _store_logarithm(ds, intensity):
    """12 bit: value v stands for the intensity exp(v / 4095 * ln 65535), as the Modality LUT says."""
    scale = 4095 / np.log(65535.0)
    ds.PixelIntensityRelationship, ds.BitsStored, ds.HighBit = "LOG", 12, 11
    ds.PixelData = np.rint(np.log(intensity) * scale).astype(np.uint16).tobytes()
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "US"
    table.LUTData = np.rint(np.exp(np.arange(4096) / scale)).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    ds.ModalityLUTSequence = Sequence([table])


def _centroids(volume, grid):
    """Center of mass (S, 3), LPS mm, around each sphere."""
    z, y, x = (axis.reshape(shape) for axis, shape in zip(grid.axes_mm()[::-1], ((-1, 1, 1), (1, -1, 1), (1, 1, -1))))
    found = []
    for center in SPHERES_LPS:
        near = (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2 < (1.8 * RADIUS_MM) ** 2
        weight = np.where(near, np.clip(volume, 0.005, None) - 0.005, 0)
        found.append([float((weight * axis).sum() / weight.sum()) for axis in (x, y, z)])
    return np.array(found)


@pytest.mark.parametrize("name", SCANS)
def test_contrast_is_reconstructed_where_it_was(name, tmp_path):
    scan = SCANS[name]
    head = 0.02 * _line_integrals(scan, np.array([[3.0, -2.0, 0.0]]), 34.0)
    vessels = 0.03 * _line_integrals(scan, SPHERES_LPS, RADIUS_MM)
    _write(tmp_path / "a.dcm", scan, OPEN_FIELD * np.exp(-head), contrast=False)
    _write(tmp_path / "b.dcm", scan, OPEN_FIELD * np.exp(-head - vessels), contrast=True)
    result = open_result(
        run_job(
            ReconstructionJob(
                paths=(str(tmp_path),), out=str(tmp_path / "result"), method="fdk", spacing_mm=1.0, registration="none"
            )
        )
    )
    volume = result.load_reconstruction().volume
    error = _centroids(volume.at(0.0), volume.grid) - SPHERES_LPS
    assert np.abs(error).max() < 0.5, f"off by {error} mm with voxels of 1 mm"
    inside = volume.at(0.0)[tuple(np.rint(volume.grid.index_of(SPHERES_LPS)).astype(int).T[::-1])]
    np.testing.assert_allclose(inside, 0.03, rtol=0.1)
