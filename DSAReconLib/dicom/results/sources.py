"""The objects that a result was made from: what of them every result object repeats."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.attributes import Attributes, read_header
from DSAReconLib.dicom.find import find_runs
from DSAReconLib.dicom.header import read_run_header
from DSAReconLib.errors import DicomRunError, ResultError
from DSAReconLib.progress import Progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DATE_TIMES = ("Acquisition", "Content", "Series")


@dataclass(frozen=True, kw_only=True)
class SourceRuns:
    """Headers of the source objects.

    Parameters
    ----------
    headers
        One data set per object without pixels, mask run first, fill run last; one data set
        if a single object holds both.
    fill_offset_s
        First fill frame after the first frame of its object, s (0 unless the mask frames come before).
    """

    headers: tuple[Dataset, ...] = field(repr=False)
    fill_offset_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.headers:
            raise ValueError("headers must hold at least one data set")

    @property
    def fill(self) -> Dataset:
        """Header of the object that holds the fill run; patient and study are taken from here."""
        return self.headers[-1]

    @property
    def instance_uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs, mask run first."""
        return tuple(str(header.SOPInstanceUID) for header in self.headers)

    @property
    def fill_started(self) -> dt.datetime | None:
        """Date and time of the first fill frame, local time of the scanner; ``None`` if not recorded."""
        started = acquisition_start(Attributes(self.fill))
        return None if started is None else started + dt.timedelta(seconds=self.fill_offset_s)


def read_sources(
    paths: Iterable[Path | str],
    instance_uids: Sequence[str],
    *,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> SourceRuns:
    """Headers of the objects with the given SOP Instance UIDs.

    Parameters
    ----------
    paths
        Files and folders; other objects in them do not matter.
    instance_uids
        Mask run first, fill run last; one UID if one object holds both.
    overrides
        Attributes by keyword that the reconstruction replaced, without which a run may be unreadable.
    progress
        May cancel.

    Raises
    ------
    ResultError
        ``result.source``: an object is not among the files.
    """
    if not instance_uids:
        raise ResultError(
            "The result does not say which DICOM objects it was made from.",
            hint="Only results that were reconstructed from DICOM runs can be written as DICOM objects.",
            code="result.source",
        )
    found: dict[str, Path] = {}
    for run in find_runs(paths, overrides=overrides, progress=progress):
        if run.is_run:
            found.setdefault(run.sop_instance_uid, run.path)
    missing = [uid for uid in instance_uids if uid not in found]
    if missing:
        raise _other_sources(missing, found)
    headers = tuple(read_header(found[uid])[0].dataset for uid in instance_uids)
    return SourceRuns(headers=headers, fill_offset_s=_fill_offset_s(found[instance_uids[-1]], overrides))


def acquisition_start(header: Attributes) -> dt.datetime | None:
    """When the first frame was acquired, without time zone; ``None`` if the header has no usable date."""
    from pydicom.valuerep import DA, DT, TM

    whole = header.text("AcquisitionDateTime")
    if whole:
        try:
            return dt.datetime.fromisoformat(DT(whole).isoformat()).replace(tzinfo=None)
        except (TypeError, ValueError, AttributeError):
            pass
    for name in _DATE_TIMES:
        time = header.text(f"{name}Time")
        date = header.text(f"{name}Date") or header.text("StudyDate")
        try:
            day, clock = DA(date), TM(time)
            if day is not None and clock is not None:
                return dt.datetime(day.year, day.month, day.day) + _since_midnight(clock)
        except (TypeError, ValueError, AttributeError):
            continue
    return None


def _since_midnight(clock: dt.time) -> dt.timedelta:
    return dt.timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)


def _fill_offset_s(path: Path, overrides: Mapping[str, Any] | None) -> float:
    """Time of the first fill frame in an object that holds mask and fill."""
    header = read_run_header(path, overrides)
    if len(header.parts) < 2:
        return 0.0
    fill = next((part for part in header.parts if part.role == "fill"), header.parts[-1])
    return float(header.times_s[fill.frames[0]] - header.times_s[0])


def _other_sources(missing: Sequence[str], found: Mapping[str, Path]) -> DicomRunError | ResultError:
    if not found:
        return ResultError(
            f"No rotational run was found in the source; the result was made from {', '.join(missing)}.",
            hint="Name the files or folders of the mask and fill run with --source.",
            code="result.source",
        )
    others = ", ".join(sorted(found))
    return ResultError(
        f"The source is not the one that the result was made from: {', '.join(missing)} is missing, found {others}.",
        hint="Name the mask and fill run of this result with --source (their SOP Instance UIDs are in run.json).",
        code="result.source",
    )
