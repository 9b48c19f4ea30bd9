"""Finding rotational runs in files and folders by their headers alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from DSAReconLib.acquisition.summary import RunSummary, acquisition_order, pose_facts
from DSAReconLib.dicom.attributes import explaining
from DSAReconLib.dicom.header import RunHeader, read_run_header
from DSAReconLib.dicom.intensity import intensity_transform
from DSAReconLib.dicom.pixels import has_decoder
from DSAReconLib.errors import ConfigError, DicomRunError, DSAReconError
from DSAReconLib.progress import Progress, SilentProgress

# Not worth a line when a whole folder is searched: reports, pictures, indexes, result files.
_SILENT_CODES = {"dicom.not_dicom", "dicom.index", "dicom.empty"}


def find_runs(
    paths: Iterable[Path | str],
    *,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[RunSummary]:
    """Rotational runs, and the reasons why other files are none.

    Folders are searched recursively; files there that are not DICOM are left out, while a
    file that is named directly always gets a summary. A copy of an object that was seen
    already (same SOP Instance UID) is left out. No pixels are read. ``overrides`` as in
    :func:`~DSAReconLib.dicom.reader.read_run`.
    """
    progress = progress or SilentProgress()
    found: list[RunSummary] = []
    seen: set[str] = set()
    for path, named in _files(paths):
        progress.check_cancelled()
        for summary in summarize_file(path, overrides):
            key = f"{summary.sop_instance_uid}#{summary.part}"
            if summary.sop_instance_uid and key in seen:
                continue
            if named or summary.refusal_code not in _SILENT_CODES:
                found.append(summary)
                seen.add(key)
    return found


def summarize_file(path: Path | str, overrides: Mapping[str, Any] | None = None) -> list[RunSummary]:
    """Summaries of the runs in one file: one, two if it holds mask and fill, or one refusal."""
    path = Path(path)
    try:
        header = read_run_header(path, overrides)
        _note_pixel_meaning(header)
    except ConfigError:  # a wrong option, not a wrong file
        raise
    except DSAReconError as error:
        return [RunSummary(path=path, refusal_code=error.code, refusal=error.message, hint=error.hint)]
    return [_summary(header, index) for index in range(len(header.parts))]


def _note_pixel_meaning(header: RunHeader) -> None:
    """Warnings about the stored values, also about those that reading them will refuse."""
    with explaining(header.path):
        try:
            intensity_transform(header.attributes, header.layout, header.findings)
        except DicomRunError as error:
            header.findings.add(error.code, error.message)


def _summary(header: RunHeader, index: int) -> RunSummary:
    part = header.parts[index]
    times = header.times_s[part.frames]
    syntax = header.layout.syntax
    return RunSummary(
        path=header.path,
        role=part.role,
        part=index + 1 if len(header.parts) > 1 else 0,
        encoding=syntax.name,
        decodable=has_decoder(syntax),
        sop_instance_uid=header.identity["sop_instance_uid"],
        study_key=header.identity["study_instance_uid"],
        patient_key=header.identity["patient_key"],
        order=acquisition_order(header.facts),
        plane=header.facts.get("plane", ""),
        description=header.facts.get("series_description", ""),
        warnings=header.findings.as_tuple(),
        **pose_facts(header.geometry[part.frames], times - times[0]),
    )


def _files(paths: Iterable[Path | str]) -> Iterator[tuple[Path, bool]]:
    """Every file once, and whether it was named directly."""
    visited: set[Path] = set()
    for given in paths:
        given = Path(given)
        candidates = _inside(given) if given.is_dir() else [given]
        for path in candidates:
            key = path.resolve()
            if key not in visited:
                visited.add(key)
                yield path, path is given


def _inside(folder: Path) -> Iterator[Path]:
    """Regular files below a folder in a stable order; folders that cannot be opened are passed over."""
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(base, name)
            if path.is_file():
                yield path
