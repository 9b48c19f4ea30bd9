"""Writing a simulated case: ``mask.dcm``, ``fill.dcm`` and ``truth/``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.dicom.xa_writer import XaEncoding, XaIdentity, XaRun, write_xa_pair, write_xa_run
from DSAReconLib.errors import ConfigError, ResultError
from DSAReconLib.io.atomic import unwritable
from DSAReconLib.io.truth import write_truth
from DSAReconLib.simulation.carm import RunPoses
from DSAReconLib.simulation.case import SimulatedCase

OWN_FILES = ("mask.dcm", "fill.dcm", "run.dcm", "truth")


def write_case(
    folder: Path, case: SimulatedCase, encoding: XaEncoding | None = None, *, one_object: bool = False
) -> Path:
    """Write a case into ``folder`` (created; an older case in it is replaced) and return the folder.

    With ``one_object`` both runs go into ``run.dcm`` (mask frames first, TID) instead of
    ``mask.dcm`` and ``fill.dcm``. Either everything is written or nothing.

    Raises
    ------
    ResultError
        The folder holds files or folders of these names that are not a simulated case.
    ResourceError
        The folder cannot be written.
    ConfigError
        The runs differ in their number of frames, so that one object cannot hold them.
    """
    folder = Path(folder)
    if one_object and len(case.mask_run) != len(case.fill_run):
        raise ConfigError(
            f"One object holds as many mask frames as fill frames; got {len(case.mask_run)} and {len(case.fill_run)}.",
            hint="Leave out --one-object or --mask-views.",
        )
    check_case_folder(folder)
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".simulate-", dir=folder))
        try:
            _write_runs(partial, case, encoding, one_object)
            write_truth(partial / "truth", case.truth)
            for name in OWN_FILES:
                _replace(partial / name, folder / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if not existed:
                with contextlib.suppress(OSError):  # not empty: the case is complete
                    folder.rmdir()
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def check_case_folder(folder: Path) -> None:
    """Refuse to replace runs that may be somebody's only copy; ours have ``truth/truth.json`` beside them.

    Raises
    ------
    ResultError
        The folder holds files or folders with the names of a case, but none of ours.
    """
    present = [name for name in OWN_FILES if (folder / name).exists()]
    if present and not (folder / "truth" / "truth.json").is_file():
        raise ResultError(
            f"{folder} holds {', '.join(present)}, but not of a simulated case; nothing was written.",
            hint="Choose a new or empty folder with --out.",
            code="result.exists",
        )


def xa_runs(case: SimulatedCase) -> tuple[XaRun, XaRun]:
    """Mask and fill run of a case, ready to be written."""
    return (
        _xa_run(case, case.mask_run, case.mask_poses, contrast=False),
        _xa_run(case, case.fill_run, case.fill_poses, contrast=True),
    )


def _write_runs(folder: Path, case: SimulatedCase, encoding: XaEncoding | None, one_object: bool) -> None:
    mask, fill = xa_runs(case)
    key = hashlib.sha256(json.dumps(case.config.to_dict(), sort_keys=True, default=str).encode()).hexdigest()
    name = Path(case.config.tree).stem.lower()
    if one_object:
        both = XaIdentity(study_key=key, series_number=3, series_description=f"Rotation {name} mask and fill")
        write_xa_pair(folder / "run.dcm", mask, fill, both, encoding)
        return
    first = XaIdentity(study_key=key, series_number=1, series_description=f"Rotation {name} mask")
    second = XaIdentity(
        study_key=key, series_number=2, series_description=f"Rotation {name} fill", acquisition_time="120030"
    )
    write_xa_run(folder / "mask.dcm", mask, first, encoding)
    write_xa_run(folder / "fill.dcm", fill, second, encoding)


def _xa_run(case: SimulatedCase, run: RotationalRun, poses: RunPoses, *, contrast: bool) -> XaRun:
    config = case.config
    return XaRun(
        intensity=run.intensity,
        primary_deg=poses.primary_deg,
        secondary_deg=poses.secondary_deg,
        times_s=poses.times_s,
        sod_mm=config.sod_mm,
        sdd_mm=config.sdd_mm,
        detector_spacing_mm=(config.detector_spacing_mm,) * 2,
        principal_point_offset_px=config.principal_point_offset_px,
        contrast=contrast,
    )


def _replace(source: Path, target: Path) -> None:
    """Move a file or folder into place, or take an outdated one away."""
    if target.is_dir():
        shutil.rmtree(target)
    elif target.exists():
        target.unlink()
    if source.exists():
        source.rename(target)
