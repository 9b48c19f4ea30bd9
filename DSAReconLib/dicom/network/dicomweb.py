"""An archive that speaks DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from DSAReconLib.dicom.network.endpoint import DicomWebServer, is_loopback
from DSAReconLib.dicom.network.http_errors import TemporaryError, explained, refusal, status_error
from DSAReconLib.dicom.network.multipart import StoreRequest, save_object
from DSAReconLib.dicom.network.transfer import (
    ATTEMPTS,
    CONNECT_TIMEOUT_S,
    DicomFile,
    Meter,
    ObjectError,
    Outcome,
    StoredInstance,
    interruptible,
    missing_package,
    pause,
    wrong_content,
)
from DSAReconLib.progress import Progress

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

_PAGE = 1000
_CHUNK = 1 << 20
_STUDY, _SERIES, _SOP, _SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
_FAILED_OBJECTS, _FAILURE_REASON, _REFERENCED_SOP = "00081198", "00081197", "00081155"


class DicomWebArchive:
    """DICOMweb service behind an address.

    Parameters
    ----------
    server
        Where it is and how it is reached.

    Raises
    ------
    DependencyError
        ``dicomweb-client`` is not installed.
    """

    def __init__(self, server: DicomWebServer) -> None:
        try:
            from dicomweb_client.web import DICOMwebClient
        except ImportError as error:
            raise missing_package("dicomweb-client", error) from error
        self.label = server.label
        self._url = server.url.rstrip("/")
        self._session = _session(server)
        self._timeout = (CONNECT_TIMEOUT_S, server.timeout_s)
        self._client = DICOMwebClient(self._url, session=self._session, permissive_uid=True, timeout=self._timeout)
        self._client.set_http_retry_params(retry=False)
        self._client.host = server.label  # it writes this into the header Host, where the port belongs, too

    def find(self, study_uid: str, series_uid: str | None, progress: Progress) -> list[StoredInstance]:
        """All objects of a study (or of one series of it).

        Raises
        ------
        NetworkError
            The server cannot be reached, refuses, or knows no such study.
        """
        series = [series_uid] if series_uid else self._series(study_uid, progress)
        found = []
        for number, uid in enumerate(series):
            found += self._instances(study_uid, uid, progress)
            progress.report("query", (number + 1) / len(series), f"{len(found)} objects")
        if not found:
            raise refusal(self.label, 404)
        return found

    def retrieve(
        self, instances: Sequence[StoredInstance], target: Callable[[StoredInstance], Path], meter: Meter
    ) -> Iterator[Outcome]:
        """Write each object to its target, as the archive stores it (no transcoding)."""
        for instance in instances:
            download = partial(self._download, instance, target(instance), meter)
            yield self._outcome(instance.sop_uid, download, meter.progress)

    def store(self, files: Sequence[DicomFile], meter: Meter) -> Iterator[Outcome]:
        """Send the files, one request for each."""
        if files:
            self._attempt(partial(self._check_access, files[0].study_uid), meter.progress)
        for file in files:
            yield self._outcome(file.sop_uid, partial(self._upload, file, meter), meter.progress)

    def _outcome(self, sop_uid: str, call: Callable[[threading.Event], None], progress: Progress) -> Outcome:
        try:
            self._attempt(call, progress)
        except ObjectError as error:
            return Outcome(sop_uid, str(error))
        return Outcome(sop_uid)

    def _series(self, study_uid: str, progress: Progress) -> list[str]:
        def page(offset: int, stop: threading.Event) -> list[dict[str, Any]]:
            return self._client.search_for_series(study_uid, limit=_PAGE, offset=offset)

        return [_value(item, _SERIES) for item in self._search(page, _SERIES, progress)]

    def _instances(self, study_uid: str, series_uid: str, progress: Progress) -> list[StoredInstance]:
        def page(offset: int, stop: threading.Event) -> list[dict[str, Any]]:
            return self._client.search_for_instances(study_uid, series_uid, limit=_PAGE, offset=offset)

        found = self._search(page, _SOP, progress)
        return [StoredInstance(study_uid, series_uid, _value(item, _SOP), _value(item, _SOP_CLASS)) for item in found]

    def _search(
        self, page: Callable[[int, threading.Event], list[dict[str, Any]]], key: str, progress: Progress
    ) -> list[dict[str, Any]]:
        """All pages of a search; one that brings nothing new is the last, also if the server ignores the offset."""
        found: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            items = self._attempt(partial(page, offset), progress)
            new = {_value(item, key): item for item in items}
            if not new.keys() - found.keys():
                return list(found.values())
            found |= new
            offset += len(items)

    def _download(self, instance: StoredInstance, path: Path, meter: Meter, stop: threading.Event) -> None:
        url = f"{self._url}/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"
        # Servers that gzip pixels spend more time on it than the line saves (Orthanc: 12 s for 150 MB).
        headers = {
            "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
            "Accept-Encoding": "identity",
        }
        incoming = path.with_name(f".{path.name}.partial")
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self._timeout)
            with closing(response):
                _check_object_status(response.status_code, self.label)
                with open(incoming, "wb") as file:
                    save_object(_counted(response, stop, meter), response.headers.get("Content-Type", ""), file)
            problem = wrong_content(incoming, instance)
            if problem:
                raise ObjectError(problem)
            os.replace(incoming, path)
        finally:
            incoming.unlink(missing_ok=True)

    def _check_access(self, study_uid: str, stop: threading.Event) -> None:
        """Learn of a wrong password before an object is on its way: some servers then only break the line."""
        url = f"{self._url}/studies"
        query = {"StudyInstanceUID": study_uid, "limit": "1"}
        response = self._session.get(
            url, params=query, headers={"Accept": "application/dicom+json"}, timeout=self._timeout
        )
        if response.status_code in (401, 407):
            raise refusal(self.label, response.status_code)

    def _upload(self, file: DicomFile, meter: Meter, stop: threading.Event) -> None:
        with open(file.path, "rb") as opened:
            body = StoreRequest(opened, stop, meter.add_bytes)
            headers = {"Content-Type": body.content_type, "Accept": "application/dicom+json"}
            response = self._session.post(f"{self._url}/studies", data=body, headers=headers, timeout=self._timeout)
        problem = _store_problem(response, file.sop_uid)
        if problem:
            raise ObjectError(problem)
        _check_object_status(response.status_code, self.label)

    def _attempt(self, call: Callable[[threading.Event], Result], progress: Progress) -> Result:
        """Result of ``call``, tried again if the line breaks or the server is busy."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return interruptible(lambda stop: explained(lambda: call(stop), self.label), progress)
            except TemporaryError as error:
                if attempt == ATTEMPTS:
                    raise error.final from error
                pause(0.5 * 2**attempt, progress)
        raise AssertionError("unreachable")


def _session(server: DicomWebServer) -> requests.Session:
    """HTTP session with credentials and TLS.

    Settings of the environment are read here and not by ``requests``: it would let
    ``REQUESTS_CA_BUNDLE`` replace the CA file, and take passwords from ``.netrc``.
    """
    import requests

    session = requests.Session()
    session.trust_env = False
    if not is_loopback(server.host):
        session.proxies = requests.utils.get_environ_proxies(server.url)
    session.max_redirects = 0  # patient data and password go where the user said
    if server.tls.ca_file:
        session.verify = str(server.tls.ca_file)
    if server.tls.certificate:
        key = server.tls.key
        session.cert = (str(server.tls.certificate), str(key)) if key else str(server.tls.certificate)
    if server.credentials:
        if server.credentials.token:
            session.headers["Authorization"] = f"Bearer {server.credentials.token}"
        else:
            user, password = server.credentials.user, server.credentials.password
            session.auth = requests.auth.HTTPBasicAuth(user.encode("utf-8"), password.encode("utf-8"))
    return session


def _counted(response: requests.Response, stop: threading.Event, meter: Meter) -> Iterator[bytes]:
    for chunk in response.iter_content(_CHUNK):
        if stop.is_set():
            raise InterruptedError("given up")
        meter.add_bytes(len(chunk))
        yield chunk


def _check_object_status(status: int, label: str) -> None:
    """Tell what concerns one object from what concerns all."""
    if status < 300:
        return
    error = status_error(label, status)
    if isinstance(error, TemporaryError) or status < 400 or status in (401, 403, 407):
        raise error
    raise ObjectError(f"the server answered HTTP {status}")


def _store_problem(response: requests.Response, sop_uid: str) -> str:
    """Failure that a STOW-RS answer reports (PS3.18 table 10.5.3-2), or an empty text."""
    try:
        answer = response.json() if response.content else {}
    except ValueError:
        return ""
    content = answer[0] if isinstance(answer, list) and answer else answer
    if not isinstance(content, Mapping):
        return ""
    for item in (content.get(_FAILED_OBJECTS) or {}).get("Value") or []:
        if _value(item, _REFERENCED_SOP) in (sop_uid, ""):
            reason = _value(item, _FAILURE_REASON)
            return f"the server refused it (failure reason {reason or 'not given'})"
    return ""


def _value(item: Mapping[str, Any], tag: str) -> str:
    """First value of an attribute in the DICOM JSON model, as text; empty if it is not there."""
    try:
        return str(item[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        return ""
