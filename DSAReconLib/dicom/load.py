"""From paths to the mask and the fill run in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from DSAReconLib.acquisition.corrections import corrected_run
from DSAReconLib.acquisition.pairing import check_pair, choose_pair, order_by_contrast, pair_runs
from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.acquisition.summary import RunSummary
from DSAReconLib.dicom.find import find_runs
from DSAReconLib.dicom.reader import read_runs
from DSAReconLib.errors import DicomRunError, DSAReconError, PairingError
from DSAReconLib.progress import Progress, SilentProgress


def load_pair(
    paths: Sequence[Path | str] = (),
    *,
    mask: Path | str | None = None,
    fill: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    corrections: Path | str | None = None,
    progress: Progress | None = None,
) -> tuple[RotationalRun, RotationalRun]:
    """(mask run, fill run) read from disk.

    Parameters
    ----------
    paths
        Files and folders that hold both runs; they are paired automatically.
    mask, fill
        Files that name a run explicitly. One of them may be missing if ``paths`` hold it.
    overrides
        Attributes by keyword that replace missing or wrong ones in both runs.
    corrections
        Table of measured deviations from the nominal poses, for both runs
        (:func:`~DSAReconLib.acquisition.corrections.corrected_run`).
    progress
        Watches and may cancel.

    Raises
    ------
    DicomRunError, GeometryError, PairingError, ResourceError
        With a message that says which file or which run is the problem.
    """
    progress = _WarningOnce(progress or SilentProgress())
    if mask is not None and fill is not None:
        runs = _named_pair(Path(mask), Path(fill), overrides, progress)
    else:
        runs = _found_pair(paths, mask, fill, overrides, progress)
    if corrections is None:
        return runs
    return corrected_run(runs[0], corrections), corrected_run(runs[1], corrections)


class _WarningOnce:
    """Passes everything on, but no warning twice: what holds for the mask mostly holds for the fill run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._progress, name)

    def warn(self, code: str, message: str) -> None:
        if (code, message) not in self._said:
            self._said.add((code, message))
            self._progress.warn(code, message)


def _found_pair(
    paths: Sequence[Path | str],
    mask: Path | str | None,
    fill: Path | str | None,
    overrides: Mapping[str, Any] | None,
    progress: Progress,
) -> tuple[RotationalRun, RotationalRun]:
    named = [Path(path) for path in (mask, fill) if path is not None]
    summaries = find_runs([*named, *paths], overrides=overrides, progress=progress)
    runs = [_with_role(run, mask, fill) for run in summaries if run.is_run]
    if not runs:
        raise _nothing_found(summaries)
    pairs = pair_runs(runs)
    if named:
        pairs = [pair for pair in pairs if pair.mask.path in named or pair.fill.path in named]
    pair = choose_pair(pairs)
    mask_run = _read(pair.mask, overrides, progress)
    fill_run = _read(pair.fill, overrides, progress)
    if not pair.certain:
        mask_run, fill_run = order_by_contrast(mask_run, fill_run)
        progress.warn(
            "acquisition.roles_from_pixels",
            f"Mask and fill were told apart by their contrast: mask {_label(mask_run)}, fill {_label(fill_run)}.",
        )
    return mask_run, fill_run


def _named_pair(
    mask: Path, fill: Path, overrides: Mapping[str, Any] | None, progress: Progress
) -> tuple[RotationalRun, RotationalRun]:
    mask_runs = read_runs(mask, overrides=overrides, progress=progress)
    same = mask.resolve() == fill.resolve()
    fill_runs = mask_runs if same else read_runs(fill, overrides=overrides, progress=progress)
    if same and len(mask_runs) < 2:
        raise PairingError(
            f"--mask and --fill name the same file {mask.name}, which holds one run.",
            code="acquisition.same_file",
            hint="Name two different files.",
        )
    chosen = _part_with_role(mask_runs, "mask", 0), _part_with_role(fill_runs, "fill", -1)
    check_pair(*chosen)
    return chosen


def _part_with_role(runs: Sequence[RotationalRun], role: str, default: int) -> RotationalRun:
    return next((run for run in runs if run.attributes.get("role") == role), runs[default])


def _with_role(run: RunSummary, mask: Path | str | None, fill: Path | str | None) -> RunSummary:
    """The summary with the role that the caller gave its file."""
    from dataclasses import replace

    for role, path in (("mask", mask), ("fill", fill)):
        if path is not None and not run.part and run.path == Path(path):
            return replace(run, role=role)
    return run


def _read(summary: RunSummary, overrides: Mapping[str, Any] | None, progress: Progress) -> RotationalRun:
    runs = read_runs(summary.path, overrides=overrides, progress=progress)
    return runs[max(summary.part - 1, 0)]


def _label(run: RotationalRun) -> str:
    return run.path.name if run.path else "run"


def _nothing_found(summaries: Sequence[RunSummary]) -> DSAReconError:
    """The refusal of the only file, or a summary of why there is no run."""
    if len(summaries) == 1:
        only = summaries[0]
        return DicomRunError(only.refusal, code=only.refusal_code, hint=only.hint)
    if not summaries:
        return DicomRunError(
            "No DICOM file was found.",
            code="dicom.none_found",
            hint="Give the files or folder of the mask and fill run.",
        )
    reasons = "; ".join(f"{run.path.name}: {run.refusal}" for run in summaries[:3])
    return DicomRunError(
        f"None of {len(summaries)} DICOM files is a rotational run. {reasons}",
        code="dicom.none_found",
        hint="See dsarecon inspect for all of them.",
    )
