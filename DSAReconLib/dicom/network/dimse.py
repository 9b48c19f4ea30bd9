"""An archive that speaks the DICOM network protocol: C-FIND, C-GET and C-STORE (PS3.4 annexes B and C)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.network.association import MAX_CONTEXTS, Association
from DSAReconLib.dicom.network.endpoint import DicomPeer
from DSAReconLib.dicom.network.transfer import (
    DicomFile,
    Meter,
    Outcome,
    StoredInstance,
    missing_package,
    wrong_content,
)
from DSAReconLib.errors import NetworkError
from DSAReconLib.progress import Progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.presentation import PresentationContext

# Each is proposed on its own, so that every object comes as it is stored: servers pick one syntax of a
# list, and then transcode or fail where an object has another one.
_TRANSFER_SYNTAXES = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
    *("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57"),
    *("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90"),
    *("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),
)
_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700


class DimseArchive:
    """Application entity that answers C-FIND, C-GET and C-STORE.

    Parameters
    ----------
    peer
        Where it is and how it is reached.

    Raises
    ------
    DependencyError
        ``pynetdicom`` is not installed.
    """

    def __init__(self, peer: DicomPeer) -> None:
        try:
            import pynetdicom  # noqa: F401 - asked before anything is written
        except ImportError as error:
            raise missing_package("pynetdicom", error) from error
        self.label = peer.label
        self._peer = peer

    def find(self, study_uid: str, series_uid: str | None, progress: Progress) -> list[StoredInstance]:
        """All objects of a study (or of one series of it).

        Raises
        ------
        NetworkError
            The peer cannot be reached, refuses, or knows no such study.
        """
        from pynetdicom import build_context

        found: list[StoredInstance] = []
        with Association(self._peer, [build_context(_STUDY_ROOT_FIND)], progress) as association:
            series = [series_uid] if series_uid else self._series(association, study_uid)
            for number, uid in enumerate(series):
                for answer in self._answers(association, _image_query(study_uid, uid)):
                    sop_uid, sop_class = str(answer.get("SOPInstanceUID", "")), str(answer.get("SOPClassUID", ""))
                    found.append(StoredInstance(study_uid, uid, sop_uid, sop_class))
                progress.report("query", (number + 1) / len(series), f"{len(found)} objects")
        if not found:
            raise NetworkError(
                f"{self.label} does not know this study or series.",
                code="network.not_found",
                hint="Check the UID, and whether the server permits queries.",
            )
        return list(dict.fromkeys(found))

    def retrieve(
        self, instances: Sequence[StoredInstance], target: Callable[[StoredInstance], Path], meter: Meter
    ) -> Iterator[Outcome]:
        """Write each object to its target; one C-GET for each, so that one failure stays one."""
        from pynetdicom import build_context

        per_association = (MAX_CONTEXTS - 1) // len(_TRANSFER_SYNTAXES)
        classes = sorted({instance.sop_class for instance in instances})
        if "" in classes:
            yield from (
                Outcome(instance.sop_uid, "the server does not tell its SOP class")
                for instance in instances
                if not instance.sop_class
            )
            classes.remove("")
        for first in range(0, len(classes), per_association):
            group = classes[first : first + per_association]
            contexts = [build_context(_STUDY_ROOT_GET)]
            contexts += [build_context(uid, syntax) for uid in group for syntax in _TRANSFER_SYNTAXES]
            wanted = [instance for instance in instances if instance.sop_class in group]
            yield from self._get(wanted, group, contexts, target, meter)

    def store(self, files: Sequence[DicomFile], meter: Meter) -> Iterator[Outcome]:
        """Send the files as they are, without transcoding."""
        from pynetdicom import build_context

        kinds = sorted({(file.sop_class, file.transfer_syntax) for file in files})
        for first in range(0, len(kinds), MAX_CONTEXTS):
            group = kinds[first : first + MAX_CONTEXTS]
            contexts = [build_context(*kind) for kind in group]
            with Association(self._peer, contexts, meter.progress, on_bytes=meter.add_bytes) as association:
                for file in files:
                    if (file.sop_class, file.transfer_syntax) in group:
                        yield Outcome(file.sop_uid, _send(association, file))

    def _get(
        self,
        instances: Sequence[StoredInstance],
        classes: Sequence[str],
        contexts: Sequence[PresentationContext],
        target: Callable[[StoredInstance], Path],
        meter: Meter,
    ) -> Iterator[Outcome]:
        inbox = _Inbox()
        with (
            _incoming_folder(target(instances[0]).parent),
            Association(
                self._peer,
                contexts,
                meter.progress,
                roles=classes,
                on_store=inbox.receive,
                on_bytes=meter.add_bytes,
            ) as association,
        ):
            for instance in instances:
                inbox.expect(instance, target(instance))
                status = self._final_status(association, _instance_query(instance))
                yield Outcome(instance.sop_uid, inbox.problem(status))

    def _series(self, association: Association, study_uid: str) -> list[str]:
        query = _query("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID="")
        return [str(answer.get("SeriesInstanceUID", "")) for answer in self._answers(association, query)]

    def _answers(self, association: Association, query: Dataset) -> list[Dataset]:
        def ask() -> list[tuple[Dataset, Dataset | None]]:
            return list(association.network.send_c_find(query, _STUDY_ROOT_FIND))

        answers = []
        for status, identifier in association.call(ask):
            value = _status(association, status)
            if value in _PENDING and identifier is not None:
                answers.append(identifier)
            elif value != _SUCCESS:
                raise NetworkError(
                    f"{self.label} refused the query (status {_hex(value)}).",
                    code="network.denied",
                    hint="Ask its administrator whether queries are permitted.",
                )
        return answers

    def _final_status(self, association: Association, query: Dataset) -> int:
        def ask() -> list[Dataset]:
            return [status for status, _ in association.network.send_c_get(query, _STUDY_ROOT_GET)]

        return _status(association, association.call(ask)[-1])


class _Inbox:
    """Takes the one object that is expected."""

    def __init__(self) -> None:
        self._instance: StoredInstance | None = None
        self._target = Path()
        self._problem = ""
        self._arrived = False

    def expect(self, instance: StoredInstance, target: Path) -> None:
        self._instance, self._target, self._problem, self._arrived = instance, target, "", False

    def receive(self, event: Any) -> int:
        """Handle a C-STORE request: the status of PS3.4 table B.2-1."""
        path = Path(event.dataset_path)
        handle = getattr(event.request, "_dataset_file", None)
        if handle is not None:  # the package closes it only where it is a server
            handle.close()
        try:
            if self._instance is None or event.request.AffectedSOPInstanceUID != self._instance.sop_uid:
                return _OUT_OF_RESOURCES
            self._problem = wrong_content(path, self._instance)
            if not self._problem:
                os.replace(path, self._target)
                self._arrived = True
        except OSError as error:
            self._problem = f"it could not be written ({error.strerror})"
        finally:
            path.unlink(missing_ok=True)
        return _OUT_OF_RESOURCES if self._problem else _SUCCESS

    def problem(self, status: int) -> str:
        """Why the object has not arrived, or an empty text."""
        if self._arrived:
            return ""
        if self._problem:
            return self._problem
        return (
            f"the server did not send it (status {_hex(status)})" if status != _SUCCESS else "the server sent nothing"
        )


@contextmanager
def _incoming_folder(beside: Path) -> Iterator[None]:
    """Where ``pynetdicom`` collects objects: next to where they go, and never left behind.

    It offers no option for that; its temporary files follow ``tempfile.tempdir``.
    """
    folder = Path(tempfile.mkdtemp(prefix=".incoming-", dir=beside))
    former, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = former
        shutil.rmtree(folder, ignore_errors=True)


def _send(association: Association, file: DicomFile) -> str:
    """Why the file was not stored, or an empty text."""
    if not association.accepts(file.sop_class, file.transfer_syntax):
        from pydicom.uid import UID

        return f"the server does not take {UID(file.sop_class).name} as {UID(file.transfer_syntax).name}"
    value = _status(association, association.call(association.network.send_c_store, file.path))
    stored = value == _SUCCESS or value & 0xF000 == 0xB000  # Bxxx: stored with a remark
    return "" if stored else f"the server refused it (status {_hex(value)})"


def _query(level: str, **attributes: str) -> Dataset:
    from pydicom.dataset import Dataset

    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in attributes.items():
        setattr(query, keyword, value)
    return query


def _image_query(study_uid: str, series_uid: str) -> Dataset:
    return _query("IMAGE", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid, SOPInstanceUID="", SOPClassUID="")


def _instance_query(instance: StoredInstance) -> Dataset:
    return _query(
        "IMAGE",
        StudyInstanceUID=instance.study_uid,
        SeriesInstanceUID=instance.series_uid,
        SOPInstanceUID=instance.sop_uid,
    )


def _status(association: Association, answer: Dataset) -> int:
    """Status of an answer; without one, the association has ended."""
    if "Status" not in answer:
        raise association.broken()
    return int(answer.Status)


def _hex(status: int) -> str:
    return f"0x{status:04X}"
