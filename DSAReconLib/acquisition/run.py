"""One rotational run of a C-arm, as read from DICOM."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry


@dataclass(frozen=True)
class RotationalRun:
    """Frames of one rotation with their poses and times.

    Parameters
    ----------
    intensity
        Frames (F, R, C), float32, proportional to the detected X-ray intensity
        (Modality LUT and any logarithm undone), > 0 where a detector pixel counted.
    geometry
        Pose of every frame; world = patient LPS, mm.
    times_s
        Acquisition time per frame (F,), s, first frame = 0.
    counts_per_unit
        Detected photons per intensity unit if known, else ``None`` (the noise is then
        estimated from the data).
    sop_instance_uid, series_instance_uid, study_instance_uid, patient_key
        DICOM identity. ``patient_key`` is a one-way hash, for pairing only: no name or
        identifier of a patient is kept.
    path
        File that the run was read from.
    warnings
        (code, message) pairs: everything that was assumed or repaired.
    attributes
        Further facts for display (``series_description``, ``transfer_syntax``,
        ``pixel_intensity_relationship``, ``acquisition_time``, ``role`` = mask, fill or
        unknown ...), never patient data.
    valid
        Pixels that measured something (R, C) or (F, R, C); ``None`` means all. Others lie in
        padding, behind shutters or collimators.
    saturation
        Intensity at which the detector or its encoding clips; ``None`` if no pixel reached it.
    """

    intensity: NDArray[np.float32]
    geometry: ConeBeamGeometry
    times_s: NDArray[np.float64]
    counts_per_unit: float | None = None
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    patient_key: str = ""
    path: Path | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    valid: NDArray[np.bool_] | None = None
    saturation: float | None = None

    def __post_init__(self) -> None:
        frames = len(self.geometry)
        if self.intensity.shape != (frames, *self.geometry.detector_shape):
            raise ValueError(
                f"intensity must have shape {(frames, *self.geometry.detector_shape)}; got {self.intensity.shape}"
            )
        if self.times_s.shape != (frames,):
            raise ValueError(f"times_s must have shape ({frames},); got {self.times_s.shape}")
        if self.valid is not None and self.valid.shape not in (self.intensity.shape, self.intensity.shape[1:]):
            raise ValueError(f"valid must have shape (R, C) or (F, R, C) of the frames; got {self.valid.shape}")

    def __len__(self) -> int:
        return len(self.geometry)
