"""Fetching a study from an archive into a folder, and sending files to one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DSAReconLib.dicom.network.transfer import (
    Archive,
    DicomFile,
    Meter,
    Outcome,
    StoredInstance,
    describe_file,
    wrong_content,
)
from DSAReconLib.errors import DicomRunError, JobCancelled, NetworkError, ResultError
from DSAReconLib.io.atomic import partial_path, unwritable
from DSAReconLib.io.json_text import write_json
from DSAReconLib.progress import Progress

MARKER = "fetch.json"
_LISTED = 5


@dataclass
class TransferReport:
    """What happened to the objects of one command.

    Parameters
    ----------
    moved
        Objects that arrived now.
    present
        Objects that were there already.
    problems
        Why others did not arrive, by SOP Instance UID.
    """

    moved: int = 0
    present: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome, progress: Progress) -> None:
        """Count one object; say at once if it failed."""
        if outcome.problem:
            self.problems[outcome.sop_uid] = outcome.problem
            progress.warn("network.object", f"{outcome.sop_uid}: {outcome.problem}")
        else:
            self.moved += 1

    def listed(self) -> str:
        """The first problems in one line."""
        listed = [f"{uid} ({problem})" for uid, problem in list(self.problems.items())[:_LISTED]]
        more = len(self.problems) - len(listed)
        return "; ".join(listed) + (f"; and {more} more" if more > 0 else "")


def fetch_study(
    archive: Archive,
    study_uid: str,
    folder: Path,
    progress: Progress,
    *,
    series_uid: str | None = None,
    allow_missing: bool = False,
) -> TransferReport:
    """Bring a study (or one series) into a folder, one folder per series, one file per object.

    The folder appears when everything is there. What came before a failure waits beside it
    (``.NAME.partial``) for the next attempt, which fetches the rest. If the folder exists from
    an earlier fetch of this study, what it lacks is added.

    Parameters
    ----------
    archive
        Where the study is.
    study_uid, series_uid
        What to fetch.
    folder
        Where to.
    progress
        Watches and may cancel.
    allow_missing
        Complete the folder although some objects could not be fetched.

    Raises
    ------
    NetworkError
        Nothing, or not everything, could be fetched.
    ResultError, ResourceError
        The folder holds something else or cannot be written to.
    JobCancelled
        ``checkpoint`` is where the objects are that came before.
    """
    folder = Path(os.path.abspath(folder))
    try:
        work = _work_folder(folder, study_uid)
        try:
            report = _fetch_into(work, archive, study_uid, series_uid, allow_missing, progress)
            if work != folder:
                _appear(work, folder)
        finally:
            if work != folder:
                _drop_if_empty(work)
    except OSError as error:
        raise unwritable(folder, error) from error
    return report


def send_files(archive: Archive, paths: Sequence[Path], progress: Progress) -> TransferReport:
    """Send all DICOM objects in files and folders.

    Raises
    ------
    DicomRunError
        There is no DICOM object, or a file that is named directly is none.
    NetworkError
        The archive cannot be reached, or some objects were not stored; the message lists them.
    """
    files = find_files(paths, progress)
    if not files:
        raise DicomRunError(
            "No DICOM object was found to send.",
            code="dicom.none_found",
            hint="Name DICOM files or the folder that dsarecon export wrote.",
        )
    report = TransferReport()
    meter = Meter(progress, "send", len(files), sum(file.size for file in files))
    for outcome in archive.store(files, meter):
        report.add(outcome, progress)
        meter.finish_object()
    if report.problems:
        raise NetworkError(
            f"{len(report.problems)} of {len(files)} objects were not stored: {report.listed()}.",
            code="network.partial",
            hint="Sending them again does no harm: archives know their objects by UID.",
        )
    return report


def find_files(paths: Iterable[Path], progress: Progress) -> list[DicomFile]:
    """DICOM objects in files and folders (searched through), each object once."""
    found: dict[str, DicomFile] = {}
    for path, named in _candidates(paths):
        progress.check_cancelled()
        file = describe_file(path)
        if file is None and named:
            raise DicomRunError(
                f"{path} is not a DICOM object in the DICOM file format.",
                code="dicom.not_dicom",
                hint="Only such files can be sent.",
            )
        if file is not None:
            found.setdefault(file.sop_uid, file)
    return list(found.values())


def _candidates(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    for given in paths:
        if not given.exists():
            raise DicomRunError(f"{given} does not exist.", code="dicom.not_found", hint="Check the path.")
        if not given.is_dir():
            yield given, True
            continue
        for path in sorted(given.rglob("*")):
            if path.is_file():
                yield path, False


def _work_folder(folder: Path, study_uid: str) -> Path:
    """Where to collect the study: an earlier fetch of it, finished or not, or a new partial folder."""
    if folder.exists() and not folder.is_dir():
        raise ResultError(f"{folder} is a file; a folder is expected.", hint="Choose another path with --out.")
    if folder.is_dir() and any(folder.iterdir()):
        _check_marker(folder, study_uid)
        return folder
    work = partial_path(folder)
    if work.is_dir() and any(work.iterdir()):
        _check_marker(work, study_uid)
        return work
    work.mkdir(parents=True, exist_ok=True)
    _write_marker(work, study_uid, {})
    return work


def _check_marker(folder: Path, study_uid: str) -> None:
    try:
        marker: Any = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        same = marker["study_instance_uid"] == study_uid
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ResultError(
            f"{folder} has content that is not from this study; nothing was written.",
            hint="Choose a new or empty folder with --out.",
            code="result.exists",
        )


def _write_marker(folder: Path, study_uid: str, problems: dict[str, str]) -> None:
    write_json(folder / MARKER, {"schema_version": 1, "study_instance_uid": study_uid, "missing": problems})


def _fetch_into(
    work: Path, archive: Archive, study_uid: str, series_uid: str | None, allow_missing: bool, progress: Progress
) -> TransferReport:
    instances = archive.find(study_uid, series_uid, progress)
    try:
        report = _retrieve(archive, instances, work, progress)
    except JobCancelled as error:
        raise JobCancelled(
            f"Cancelled; what came is kept in {work}.",
            hint="The same command fetches the rest.",
            checkpoint=str(work),
        ) from error
    if report.problems and not allow_missing:
        raise _incomplete(report, len(instances), work)
    _write_marker(work, study_uid, report.problems)
    return report


def _retrieve(archive: Archive, instances: Sequence[StoredInstance], work: Path, progress: Progress) -> TransferReport:
    def target(instance: StoredInstance) -> Path:
        path = _place(work, instance)
        path.parent.mkdir(exist_ok=True)
        return path

    wanted = [instance for instance in instances if wrong_content(_place(work, instance), instance)]
    report = TransferReport(present=len(instances) - len(wanted))
    meter = Meter(progress, "fetch", len(wanted))
    for outcome in archive.retrieve(wanted, target, meter) if wanted else ():
        report.add(outcome, progress)
        meter.finish_object()
    return report


def _place(work: Path, instance: StoredInstance) -> Path:
    return work / instance.series_uid / f"{instance.sop_uid}.dcm"


def _appear(work: Path, folder: Path) -> None:
    if folder.is_dir():
        folder.rmdir()  # it is empty
    os.replace(work, folder)


def _drop_if_empty(work: Path) -> None:
    """Leave no folder behind that holds no object."""
    if work.is_dir() and next(work.rglob("*.dcm"), None) is None:
        shutil.rmtree(work, ignore_errors=True)


def _incomplete(report: TransferReport, count: int, work: Path) -> NetworkError:
    return NetworkError(
        f"{len(report.problems)} of {count} objects could not be fetched: {report.listed()}.",
        code="network.partial",
        hint=f"What came is kept in {work}; the same command tries the rest again, --allow-missing goes without it.",
    )
