"""DICOMweb with a server that misbehaves: clear sentences, nothing lost, nothing hangs."""

import json
import logging
import time

import pytest
from helpers.certificates import make_certificate, server_context
from helpers.dicomweb_stub import SERIES, STUDY, Behavior, read_objects, serving
from helpers.xa_objects import stored_frames, write_xa

from DSAReconLib.dicom.network import transfer
from DSAReconLib.dicom.network.credentials import Credentials
from DSAReconLib.dicom.network.dicomweb import DicomWebArchive
from DSAReconLib.dicom.network.endpoint import DicomWebServer, Tls
from DSAReconLib.errors import JobCancelled, NetworkError, ResourceError, ResultError
from DSAReconLib.jobs.archive import fetch_study, send_files
from DSAReconLib.progress import SilentProgress

pytest.importorskip("dicomweb_client")
FIRST, SECOND, THIRD = "1.2.3.4", "1.2.3.5", "1.2.3.6"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("DSAReconLib.dicom.network.dicomweb.pause", lambda seconds, progress: None)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "objects"
    folder.mkdir()
    return [
        write_xa(folder / f"{uid}.dcm", stored_frames(seed=k), SOPInstanceUID=uid, StudyInstanceUID=STUDY)
        for k, uid in enumerate((FIRST, SECOND, THIRD))
    ]


@pytest.fixture
def behavior(files):
    return Behavior(objects=read_objects(files))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "study"


def _archive(url, timeout_s=5.0, **options):
    return DicomWebArchive(DicomWebServer(url, timeout_s=timeout_s, **options))


def _fetch(url, out, progress=None, **options):
    return fetch_study(_archive(url), STUDY, out, progress or SilentProgress(), **options)


def _content(folder):
    return {path.stem: path.read_bytes() for path in folder.rglob("*.dcm")}


@pytest.mark.parametrize("single_part", [False, True])
def test_objects_arrive_byte_for_byte(behavior, out, single_part):
    behavior.single_part = single_part
    with serving(behavior) as url:
        report = _fetch(url, out)
    assert (report.moved, report.present, report.problems) == (3, 0, {})
    assert _content(out) == behavior.objects
    assert {path.parent.name for path in out.rglob("*.dcm")} == {SERIES}


def test_series_is_fetched_alone_by_its_uid(behavior, out):
    with serving(behavior) as url:
        _fetch(url, out, series_uid=SERIES)
    assert all(f"/series/{SERIES}/" in path for path in behavior.requests)


@pytest.mark.parametrize("fault", ["cut", 503, 429])
def test_broken_transfer_is_tried_again(behavior, out, fault):
    behavior.faults = {SECOND: [fault, fault]}
    with serving(behavior) as url:
        report = _fetch(url, out)
    assert report.moved == 3
    assert _content(out) == behavior.objects


def test_server_that_dies_midway_ends_the_fetch_and_the_next_one_goes_on(behavior, out):
    behavior.faults = {SECOND: ["cut"] * 3}
    with serving(behavior) as url:
        with pytest.raises(NetworkError, match="broke the connection") as error:
            _fetch(url, out)
        assert error.value.code == "network.broken"
        assert not out.exists()
        partial = out.with_name(".study.partial")
        assert _content(partial) == {FIRST: behavior.objects[FIRST]}
        behavior.requests.clear()
        report = _fetch(url, out)
    assert (report.moved, report.present) == (2, 1)
    assert not any(path.endswith(FIRST) for path in behavior.requests)
    assert not partial.exists()
    assert _content(out) == behavior.objects


def test_damaged_file_of_an_earlier_fetch_is_fetched_again(behavior, out):
    with serving(behavior) as url:
        _fetch(url, out)
        (out / SERIES / f"{FIRST}.dcm").write_bytes(b"")
        assert _fetch(url, out).moved == 1
    assert _content(out) == behavior.objects


@pytest.mark.parametrize(
    ("fault", "reason"), [(500, "HTTP 500"), (404, "HTTP 404"), (THIRD, "the answer is another object")]
)
def test_object_that_fails_is_listed_and_the_others_come(behavior, out, fault, reason):
    behavior.faults = {SECOND: [fault] * 2}
    progress = SilentProgress()
    with serving(behavior) as url:
        with pytest.raises(NetworkError, match="1 of 3 objects could not be fetched") as error:
            _fetch(url, out, progress)
        assert SECOND in error.value.message
        assert reason in error.value.message
        assert not out.exists()
        assert progress.warnings[0][1].startswith(SECOND)
        report = _fetch(url, out, allow_missing=True)
    assert (report.moved, report.present, list(report.problems)) == (0, 2, [SECOND])
    assert list(json.loads((out / "fetch.json").read_text())["missing"]) == [SECOND]


def test_silence_in_the_middle_ends_at_the_timeout(behavior, out):
    behavior.faults = {FIRST: ["stall"] * 3}
    start = time.monotonic()
    with serving(behavior) as url, pytest.raises(NetworkError, match="did not answer in time"):
        fetch_study(_archive(url, timeout_s=0.5), STUDY, out, SilentProgress())
    assert time.monotonic() - start < 5
    assert not out.with_name(".study.partial").exists()


def test_cancelling_during_silence_takes_two_seconds_at_most(behavior, out):
    behavior.faults = {SECOND: ["stall"]}
    start = time.monotonic()
    with serving(behavior) as url, pytest.raises(JobCancelled, match="what came is kept") as error:
        _fetch(url, out, _CancelledWhen(lambda: SECOND in behavior.requests[-1] if behavior.requests else False))
    assert time.monotonic() - start < 4
    partial = out.with_name(".study.partial")
    assert error.value.checkpoint == str(partial)
    assert _content(partial) == {FIRST: behavior.objects[FIRST]}


class _CancelledWhen(SilentProgress):
    def __init__(self, condition):
        super().__init__()
        self._condition = condition

    def check_cancelled(self):
        if self._condition():
            raise JobCancelled


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"search_status": 401}, "network.denied", "refuses user and password"),
        ({"search_status": 403}, "network.denied", "does not permit"),
        ({"search_status": 404}, "network.not_found", "does not know this study"),
        ({"search_status": 500}, "network.failed", "HTTP 500"),
        ({"search_status": 503}, "network.failed", "HTTP 503"),
        ({"search_body": b"[]"}, "network.not_found", "does not know this study"),
        ({"search_body": b"<html>"}, "network.answer", "does not answer as a DICOMweb service"),
        ({"search_status": 302, "location": "http://127.0.0.1:9/"}, "network.redirect", "points to another address"),
    ],
)
def test_refused_search_is_one_sentence_and_leaves_nothing(behavior, out, change, code, text):
    for name, value in change.items():
        setattr(behavior, name, value)
    with serving(behavior) as url, pytest.raises(NetworkError, match=text) as error:
        _fetch(url, out)
    assert error.value.code == code
    assert not list(out.parent.glob("*study*"))


def test_search_of_many_objects_asks_for_all_pages(behavior, out, monkeypatch):
    monkeypatch.setattr("DSAReconLib.dicom.network.dicomweb._PAGE", 1)
    with serving(behavior) as url:
        assert _fetch(url, out).moved == 3
    assert any("offset=3" in path for path in behavior.requests)


def test_series_without_objects_does_not_hide_the_others(behavior, out):
    behavior.empty_series = "1.2.3.9"
    with serving(behavior) as url:
        assert _fetch(url, out).moved == 3


def test_object_name_that_leaves_the_folder_is_refused(behavior, out):
    behavior.objects = {"../../evil": b""}
    with serving(behavior) as url, pytest.raises(NetworkError, match="no DICOM UID"):
        _fetch(url, out)


@pytest.mark.parametrize("name", ["study", ".study.partial"])
def test_folder_with_something_else_is_left_alone(behavior, out, name):
    other = out.with_name(name)
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with serving(behavior) as url, pytest.raises(ResultError, match="content that is not from this study"):
        _fetch(url, out)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    assert not behavior.requests


def test_empty_folder_is_filled_and_a_file_is_refused(behavior, out):
    out.mkdir()
    with serving(behavior) as url:
        _fetch(url, out)
        file = out / "fetch.json"
        with pytest.raises(ResultError, match="is a file"):
            _fetch(url, file)
        with pytest.raises(ResourceError):
            _fetch(url, file / "study")
    assert _content(out) == behavior.objects


def test_credentials_travel_and_stay_out_of_the_log(behavior, out, caplog):
    caplog.set_level(logging.DEBUG, logger="DSAReconLib")
    with serving(behavior) as url:
        for credentials in (Credentials("nurse", "hunter2"), Credentials(token="hunter2")):
            archive = _archive(url, credentials=credentials)
            fetch_study(archive, STUDY, out, SilentProgress())
    sent = {headers.get("Authorization") for headers in behavior.headers}
    assert sent == {"Basic bnVyc2U6aHVudGVyMg==", "Bearer hunter2"}
    assert "hunter2" not in caplog.text
    assert "SECRET-4711" not in caplog.text


def test_environment_cannot_redirect_or_unlock_the_line(behavior, out, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(behavior) as url:
        assert _fetch(url, out).moved == 3
    assert not any("Authorization" in headers for headers in behavior.headers)


def test_files_are_stored_byte_for_byte(behavior, files):
    with serving(behavior) as url:
        report = send_files(_archive(url), [files[0].parent, files[0]], SilentProgress())
    assert report.moved == 3
    assert sorted(behavior.stored) == sorted(path.read_bytes() for path in files)


def test_refused_object_is_listed_with_its_reason(behavior, files):
    behavior.refuse_store = SECOND
    with serving(behavior) as url, pytest.raises(NetworkError, match="of 3 objects were not stored") as error:
        send_files(_archive(url), files, SilentProgress())
    assert f"{SECOND} (the server refused it (failure reason 272))" in error.value.message


def test_busy_server_gets_the_object_again(behavior, files):
    behavior.faults = {"store": [503, 503]}
    with serving(behavior) as url:
        assert send_files(_archive(url), files[:1], SilentProgress()).moved == 1
    assert behavior.stored == [files[0].read_bytes()] * 3


def test_wrong_password_stops_before_an_object_is_sent(behavior, files):
    behavior.search_status = 401
    with serving(behavior) as url, pytest.raises(NetworkError, match="refuses user and password"):
        send_files(_archive(url), files, SilentProgress())
    assert not behavior.stored


def test_tls_needs_the_named_authority_and_client_certificate(behavior, out, tmp_path, monkeypatch):
    certificate, key = make_certificate(tmp_path, "server")
    client = make_certificate(tmp_path, "client")
    other, _ = make_certificate(tmp_path, "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    with serving(behavior, server_context(certificate, key, client[0])) as url:
        for tls in (Tls(), Tls(ca_file=other)):
            with pytest.raises(NetworkError, match=r"No trusted TLS connection.*certificate not accepted"):
                fetch_study(_archive(url, tls=tls), STUDY, out, SilentProgress())
        with pytest.raises(NetworkError):
            fetch_study(_archive(url, tls=Tls(ca_file=certificate)), STUDY, out, SilentProgress())
        report = fetch_study(_archive(url, tls=Tls(certificate, *client)), STUDY, out, SilentProgress())
    assert report.moved == 3


def test_call_that_is_given_up_tells_its_thread():
    seen = []
    broken = []
    with pytest.raises(JobCancelled):
        transfer.interruptible(
            lambda stop: seen.append(stop.wait(5)),
            _CancelledWhen(lambda: True),
            give_up=lambda: broken.append(True),
        )
    assert seen == [True]
    assert broken == [True]
