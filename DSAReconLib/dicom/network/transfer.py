"""What both protocols share: the objects that travel, their outcome, progress, and calls that can be given up."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from DSAReconLib.errors import ConfigError, DependencyError, NetworkError
from DSAReconLib.progress import Progress

Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 10.0
DEFAULT_TIMEOUT_S = 60.0
ATTEMPTS = 3
_POLL_S = 0.1
_LEAVING_S = 1.0  # cancelling must take effect within 2 s
_REPORT_INTERVAL_S = 0.25
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class StoredInstance:
    """An object that the archive has. UIDs are checked: they become names of files."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str = ""

    def __post_init__(self) -> None:
        for uid in (self.study_uid, self.series_uid, self.sop_uid):
            if not is_uid(uid):
                raise NetworkError(
                    f"The server names an object {uid[:80]!r}, which is no DICOM UID.", code="network.answer"
                )


@dataclass(frozen=True)
class DicomFile:
    """An object to send.

    Parameters
    ----------
    path
        File in the DICOM file format (PS3.10).
    study_uid, sop_uid, sop_class, transfer_syntax
        UIDs from its header.
    size
        Bytes on disk.
    """

    path: Path
    study_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    size: int


@dataclass(frozen=True)
class Outcome:
    """What became of one object; ``problem`` is empty if it arrived."""

    sop_uid: str
    problem: str = ""


class ObjectError(Exception):
    """One object could not be moved; the others may."""


class Archive(Protocol):
    """A server that keeps DICOM objects. ``label`` names it in messages, without credentials."""

    label: str

    def find(self, study_uid: str, series_uid: str | None, progress: Progress) -> list[StoredInstance]:
        """All objects of a study (or of one series of it)."""

    def retrieve(
        self, instances: Sequence[StoredInstance], target: Callable[[StoredInstance], Path], meter: Meter
    ) -> Iterator[Outcome]:
        """Write each object to its target, which appears complete or not at all."""

    def store(self, files: Sequence[DicomFile], meter: Meter) -> Iterator[Outcome]:
        """Send the files."""


class Meter:
    """Counts objects and bytes and reports both, a few times a second."""

    def __init__(self, progress: Progress, stage: str, objects: int, size: int = 0) -> None:
        self.progress = progress
        self._stage, self._objects, self._size = stage, objects, size
        self._done = 0
        self._bytes = 0
        self._last_s = 0.0

    def add_bytes(self, count: int) -> None:
        """``count`` more bytes have gone over the line."""
        self._bytes += count
        if time.monotonic() - self._last_s > _REPORT_INTERVAL_S:
            self.report()

    def finish_object(self) -> None:
        """One more object is done, with or without success."""
        self._done += 1
        self.report()

    def report(self) -> None:
        """Report now."""
        self._last_s = time.monotonic()
        done = self._bytes / self._size if self._size else self._done / max(self._objects, 1)
        text = f"{self._done} of {self._objects} objects, {self._bytes / 1e6:.1f} MB"
        self.progress.report(self._stage, min(done, 1.0), text)


def is_uid(text: str) -> bool:
    """Whether ``text`` is a UID (PS3.5 section 9.1; leading zeros occur and are harmless)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def checked_uid(text: str, option: str) -> str:
    """``text`` if it is a UID, else a :class:`~DSAReconLib.errors.ConfigError` that names the option."""
    if not is_uid(text):
        raise ConfigError(
            f"{option} is {text[:80]!r}, which is no DICOM UID.", hint="A UID has digits and dots, e.g. 1.2.840.1."
        )
    return text


def wrong_content(path: Path, instance: StoredInstance) -> str:
    """Why a received file is not the object that was asked for, or an empty text."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, specific_tags=["SOPInstanceUID", "StudyInstanceUID"], stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError, EOFError):
        return "the answer is not a DICOM object"
    if str(header.get("SOPInstanceUID", "")) != instance.sop_uid:
        return "the answer is another object"
    return ""


def describe_file(path: Path) -> DicomFile | None:
    """Header of a file to send; ``None`` if it is no object in the DICOM file format (or a DICOMDIR)."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        dataset = dcmread(path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError, EOFError):
        return None
    meta = dataset.file_meta
    uids = {
        "study_uid": str(dataset.get("StudyInstanceUID", "")),
        "sop_uid": str(meta.get("MediaStorageSOPInstanceUID", "")),
        "sop_class": str(meta.get("MediaStorageSOPClassUID", "")),
        "transfer_syntax": str(meta.get("TransferSyntaxUID", "")),
    }
    return DicomFile(path=path, size=path.stat().st_size, **uids) if all(uids.values()) else None


def interruptible(
    work: Callable[[threading.Event], Result],
    progress: Progress,
    *,
    watch: Callable[[], None] = lambda: None,
    give_up: Callable[[], None] = lambda: None,
) -> Result:
    """Result of a call that may wait for the network, left within 2 s when the user cancels.

    Parameters
    ----------
    work
        Runs in a thread of its own; its event is set when nobody waits for it any more.
    progress
        Asked whether the user cancelled.
    watch
        Called while waiting; an error that it raises ends the waiting, too.
    give_up
        Called when waiting ends early: breaks the connection.
    """
    stop = threading.Event()
    outcome: Future[Result] = Future()

    def body() -> None:
        try:
            outcome.set_result(work(stop))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=body, name="dsarecon-network", daemon=True)
    thread.start()
    try:
        while not wait([outcome], timeout=_POLL_S).done:
            progress.check_cancelled()
            watch()
    except BaseException:
        stop.set()
        give_up()
        thread.join(_LEAVING_S)
        raise
    return outcome.result()


def pause(seconds: float, progress: Progress) -> None:
    """Wait before another attempt."""
    interruptible(lambda stop: stop.wait(seconds), progress)


def missing_package(package: str, error: ImportError) -> DependencyError:
    """The error to show without an optional package."""
    return DependencyError(
        f"Exchange with a PACS needs the package {package}, which cannot be imported ({error}).",
        hint="Install the extra 'pacs' (pip install dsarecon[pacs]).",
    )
