"""From paths to contrast line integrals: what every command that needs the frames calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.acquisition.subtraction import DEFAULT_REGISTRATION
from DSAReconLib.errors import ConfigError, GeometryError, PairingError
from DSAReconLib.progress import Progress


def load_runs(
    paths: Sequence[str | Path] = (),
    *,
    fill: str | Path | None = None,
    mask: str | Path | None = None,
    header: Mapping[str, Any] | None = None,
    corrections: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[RotationalRun, RotationalRun]:
    """Find, pair and read the two runs: (mask run, fill run).

    Parameters
    ----------
    paths
        Files and folders that hold both runs; they are paired automatically. Or the folder
        of a case in the layout of another program (:mod:`DSAReconLib.io.datasets`).
    fill, mask
        The runs by name, instead of ``paths``.
    header
        DICOM attributes by keyword that replace missing or wrong ones.
    corrections
        Table of measured deviations from the nominal poses
        (:func:`~DSAReconLib.acquisition.corrections.corrected_run`).
    progress
        Watches and may cancel.

    Raises
    ------
    DicomRunError, PairingError, GeometryError, ResourceError, DatasetError
        With a message that names the file or run that cannot be used.
    """
    from DSAReconLib.dicom.load import load_pair
    from DSAReconLib.io.datasets.find import find_dataset

    folder = find_dataset(paths)
    if folder is not None:
        return _dataset_runs(folder, header, corrections)
    try:
        return load_pair(
            paths, mask=mask, fill=fill, overrides=header or None, corrections=corrections, progress=progress
        )
    except PairingError as error:
        raise _with_refusals(error, [path for path in (mask, fill, *paths) if path is not None]) from error


def load_angiogram(
    paths: Sequence[str | Path] = (),
    *,
    fill: str | Path | None = None,
    mask: str | Path | None = None,
    registration: str = DEFAULT_REGISTRATION,
    header: Mapping[str, Any] | None = None,
    corrections: str | Path | None = None,
    progress: Progress | None = None,
) -> Angiogram:
    """Read and subtract: all frames of the fill run that have a mask.

    ``registration`` of the frames is ``"rigid3d"``, ``"rigid"``, ``"translation"`` or ``"none"``; the
    other parameters and errors are those of :func:`load_runs`.
    """
    from DSAReconLib.jobs.subtraction import subtract_runs

    mask_run, fill_run = load_runs(
        paths, fill=fill, mask=mask, header=header, corrections=corrections, progress=progress
    )
    return subtract_runs(mask_run, fill_run, registration=registration, progress=progress)


def load_reference(paths: Sequence[str | Path]) -> NDArray[np.float32] | None:
    """Vertices (P, 3) in LPS, mm, of the reference surface that the case in these paths brings, if it does."""
    from DSAReconLib.io.datasets.find import find_dataset
    from DSAReconLib.io.datasets.fourdrgs import is_fourdrgs, read_reference

    folder = find_dataset(paths)
    surface = None if folder is None or not is_fourdrgs(folder) else read_reference(folder)
    return None if surface is None else surface.vertices_mm


def corrections_digest(table: str | Path | None) -> str | None:
    """What tells one table of geometry corrections from another; ``None`` for no table."""
    if table is None:
        return None
    try:
        return hashlib.sha256(Path(table).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise GeometryError(
            f"The geometry corrections {Path(table).name} cannot be read: {error.strerror or error}.",
            code="geometry.corrections",
            hint="Check --correct-geometry.",
        ) from None


def _dataset_runs(
    folder: Path, header: Mapping[str, Any] | None, corrections: str | Path | None
) -> tuple[RotationalRun, RotationalRun]:
    """(mask run, fill run) of a case in the layout of another program."""
    from DSAReconLib.acquisition.corrections import corrected_run
    from DSAReconLib.io.datasets.find import read_dataset

    if header:
        raise ConfigError(
            f"{folder} is no DICOM: there are no attributes {', '.join(header)} to replace.", hint="Leave --header out."
        )
    case = read_dataset(folder)
    if corrections is None:
        return case.mask_run, case.fill_run
    return corrected_run(case.mask_run, corrections), corrected_run(case.fill_run, corrections)


def _with_refusals(error: PairingError, paths: Sequence[str | Path]) -> PairingError:
    """Where a run is missing: the same error, with the reason why a file that is there was not taken."""
    from DSAReconLib.dicom.find import find_runs

    if error.code != "acquisition.missing_run":
        return error
    refused = [summary for summary in find_runs(paths) if not summary.is_run]
    if not refused:
        return error
    reasons = "; ".join(f"{summary.path.name}: {summary.refusal}" for summary in refused[:3])
    return PairingError(f"{error.message} Not usable: {reasons}", code=error.code, hint=error.hint)
