"""Reading rotational runs from DICOM XA objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.dicom.attributes import explaining
from DSAReconLib.dicom.header import RunHeader, read_run_header
from DSAReconLib.dicom.intensity import ToIntensity, intensity_transform
from DSAReconLib.dicom.isocenter import geometry_within_borders
from DSAReconLib.dicom.pixels import stored_frames
from DSAReconLib.dicom.roles import RunPart
from DSAReconLib.errors import DicomRunError, ResourceError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.progress import Progress, SilentProgress


def read_run(
    path: Path | str,
    *,
    overrides: Mapping[str, Any] | None = None,
    accept_display_values: bool = False,
    progress: Progress | None = None,
) -> RotationalRun:
    """The one rotational run of an XA object.

    Parameters
    ----------
    path
        DICOM file.
    overrides
        Attributes by keyword that replace missing or wrong ones, e.g. ``{"DistanceSourceToPatient": 750}``.
    accept_display_values
        Read pixels that were processed for display (not quantitative) instead of refusing them.
    progress
        Watches and may cancel.

    Raises
    ------
    DicomRunError, GeometryError, ResourceError
        With a message that says why the file cannot be used; ``dicom.two_runs`` if the
        object holds mask and fill together (use :func:`read_runs`).
    """
    header = read_run_header(path, overrides)
    if len(header.parts) > 1:
        raise DicomRunError(
            f"{header.path.name} holds two runs in one object.",
            code="dicom.two_runs",
            hint="Give the file alone: its mask and fill frames are then taken apart.",
        )
    return _read(header, accept_display_values, progress or SilentProgress())[0]


def read_runs(
    path: Path | str,
    *,
    overrides: Mapping[str, Any] | None = None,
    accept_display_values: bool = False,
    progress: Progress | None = None,
) -> list[RotationalRun]:
    """All runs of an object: one, or mask and fill.

    ``attributes["role"]`` of a run is ``mask``, ``fill`` or ``unknown``. Parameters and
    errors as in :func:`read_run`.
    """
    header = read_run_header(path, overrides)
    return _read(header, accept_display_values, progress or SilentProgress())


def _read(header: RunHeader, accept_display_values: bool, progress: Progress) -> list[RotationalRun]:
    with explaining(header.path):
        transform = intensity_transform(
            header.attributes, header.layout, header.findings, accept_display_values=accept_display_values
        )
        intensity, padded, constant, saturation = _read_intensity(header, transform, progress)
        valid = _valid_pixels(header, padded)
        blank = padded if header.measured is None else padded | (constant & ~header.measured)
        geometry = geometry_within_borders(header, intensity, blank)
    for code, message in header.findings.as_tuple():
        progress.warn(code, message)
    return [_part_run(header, part, geometry, intensity, valid, saturation) for part in header.parts]


def _read_intensity(
    header: RunHeader, transform: ToIntensity, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], float | None]:
    """Intensities (F, R, C); pixels (R, C) with the padding value, and with any one value, in every frame; saturation.

    The saturation is the highest intensity that can be stored if any pixel reached it.
    """
    layout = header.layout
    try:
        intensity = np.empty((layout.frames, *layout.shape), np.float32)
    except MemoryError:
        raise ResourceError(
            f"{header.path.name} needs {layout.frames * layout.rows * layout.columns * 4 / 1e9:.1f} GB of memory.",
            code="resource.memory",
            hint="Close other programs or use a machine with more memory.",
        ) from None
    low, high = layout.stored_range
    padding = header.attributes.number("PixelPaddingValue")
    padded, constant, first, saturated = np.ones(layout.shape, bool), np.ones(layout.shape, bool), None, False
    most = float(transform(np.array([[low, high]])).max())
    for index, stored in enumerate(stored_frames(header.path, layout)):
        progress.check_cancelled()
        progress.report("read", (index + 1) / layout.frames, header.path.name)
        padded &= (stored == low) | (stored == padding if padding is not None else False)
        first = stored if first is None else first
        constant &= (stored == first) & (stored != high)
        intensity[index] = transform(stored)
        saturated |= bool(intensity[index].max() >= most)
    return intensity, padded, constant, most if saturated else None


def _valid_pixels(header: RunHeader, padded: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Pixels (R, C) that measured something; ``None`` for all."""
    if padded.all():
        raise DicomRunError(
            f"All pixels of {header.path.name} have the same value: the frames are empty.",
            code="dicom.empty_frames",
            hint="Export the run again.",
        )
    valid = ~padded if header.measured is None else ~padded & header.measured
    if not valid.any():
        raise DicomRunError(
            f"The shutters of {header.path.name} hide everything that was measured.", code="dicom.empty_frames"
        )
    hidden = 1 - valid.mean()
    if hidden == 0:
        return None
    header.findings.add("dicom.hidden_pixels", f"{100 * hidden:.1f} % of each frame is padding or behind shutters.")
    return valid


def _part_run(
    header: RunHeader,
    part: RunPart,
    geometry: ConeBeamGeometry,
    intensity: NDArray[np.float32],
    valid: NDArray[np.bool_] | None,
    saturation: float | None,
) -> RotationalRun:
    whole = len(part.frames) == len(intensity)
    times = header.times_s[part.frames]
    return RotationalRun(
        intensity=intensity if whole else intensity[part.frames],
        geometry=geometry if whole else geometry[part.frames],
        times_s=times - times[0],
        path=header.path,
        valid=valid,
        saturation=saturation,
        warnings=header.findings.as_tuple(),
        attributes={**header.facts, "role": part.role},
        sop_instance_uid=header.identity["sop_instance_uid"],
        series_instance_uid=header.identity["series_instance_uid"],
        study_instance_uid=header.identity["study_instance_uid"],
        patient_key=header.identity["patient_key"],
    )
