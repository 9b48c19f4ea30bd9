"""The DICOM network protocol with a peer that misbehaves."""

import socket
import threading
import time
from contextlib import contextmanager

import pydicom
import pytest
from helpers.certificates import make_certificate, server_context
from helpers.xa_objects import XA_CLASS, compress, stored_frames, write_xa
from pydicom.dataset import Dataset

from DSAReconLib.dicom.network.dimse import DimseArchive
from DSAReconLib.dicom.network.endpoint import DicomPeer, Tls
from DSAReconLib.errors import JobCancelled, NetworkError
from DSAReconLib.jobs.archive import fetch_study, send_files
from DSAReconLib.progress import SilentProgress

pynetdicom = pytest.importorskip("pynetdicom")
STUDY, SERIES = "1.2.3", "1.2.3.1"
FIRST, SECOND = "1.2.3.4", "1.2.3.5"
RLE = "1.2.840.10008.1.2.5"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY_ROOT_FIND, STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "objects"
    folder.mkdir()
    raw = write_xa(
        folder / "a.dcm", stored_frames(seed=1), SOPInstanceUID=FIRST, StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES
    )
    other = write_xa(
        folder / "raw", stored_frames(seed=2), SOPInstanceUID=SECOND, StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES
    )
    packed = compress(other, folder / "b.dcm", RLE)
    other.unlink()
    return [raw, packed]


class Peer:
    """A node on loopback; ``status`` is its answer to C-STORE and C-FIND, ``lacks`` what it fails to send,
    ``stalls`` an event: while it is not set, objects are neither sent nor acknowledged."""

    def __init__(self, files=(), syntaxes=(EXPLICIT, RLE)):
        self.files = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in files}
        self.syntaxes = syntaxes
        self.status = 0x0000
        self.aborts = False
        self.lacks = ()
        self.stored = {}
        self.stalls = None

    @contextmanager
    def serving(self, tls=None):
        entity = pynetdicom.AE(ae_title="ARCHIVE")
        entity.require_called_aet = True
        for syntax in self.syntaxes:
            entity.add_supported_context(XA_CLASS, syntax, scu_role=True, scp_role=True)
        entity.add_supported_context(STUDY_ROOT_FIND)
        entity.add_supported_context(STUDY_ROOT_GET)
        events = pynetdicom.evt
        server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            ssl_context=tls,
            evt_handlers=[
                (events.EVT_C_STORE, self._store),
                (events.EVT_C_FIND, self._find),
                (events.EVT_C_GET, self._get),
            ],
        )
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()

    def _store(self, event):
        if self.stalls:
            self.stalls.wait(20)
        if self.aborts:
            event.assoc.abort()
            return 0xC000
        dataset = pydicom.dcmread(event.dataset_path)
        self.stored[str(dataset.SOPInstanceUID)] = dataset
        return self.status

    def _find(self, event):
        if self.status:
            yield self.status, None
            return
        if event.identifier.QueryRetrieveLevel == "SERIES":
            answers = [{"SeriesInstanceUID": SERIES}] if self.files else []
        else:
            answers = [{"SOPInstanceUID": uid, "SOPClassUID": XA_CLASS} for uid in self.files]
        for answer in answers:
            dataset = Dataset()
            for keyword, value in answer.items():
                setattr(dataset, keyword, value)
            yield 0xFF00, dataset

    def _get(self, event):
        if self.aborts:
            event.assoc.abort()
            yield 0
            return
        if self.stalls:
            self.stalls.wait(20)
        uid = str(event.identifier.SOPInstanceUID)
        if uid in self.lacks:
            yield 1
            yield 0xC000, None
            return
        yield 1
        yield 0xFF00, pydicom.dcmread(self.files[uid])


def _archive(port, **options):
    return DimseArchive(DicomPeer("127.0.0.1", port, called_aet="ARCHIVE", timeout_s=5, **options))


def test_objects_are_stored_in_their_own_encoding(files):
    peer = Peer()
    with peer.serving() as port:
        assert send_files(_archive(port), files, SilentProgress()).moved == 2
    for path in files:
        sent = pydicom.dcmread(path)
        came = peer.stored[sent.SOPInstanceUID]
        assert came.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert came == sent


def test_objects_come_in_their_own_encoding_and_leave_nothing_else(files, tmp_path):
    with Peer(files).serving() as port:
        report = fetch_study(_archive(port), STUDY, tmp_path / "study", SilentProgress())
    assert report.moved == 2
    for path in files:
        sent = pydicom.dcmread(path)
        came = pydicom.dcmread(tmp_path / "study" / SERIES / f"{sent.SOPInstanceUID}.dcm")
        assert came.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert came == sent
    assert len(list((tmp_path / "study" / SERIES).iterdir())) == 2


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_remark_of_the_peer_is_no_failure(files, status):
    peer = Peer()
    peer.status = status
    with peer.serving() as port:
        assert send_files(_archive(port), files, SilentProgress()).moved == 2


def test_refused_object_is_listed_with_its_status(files):
    peer = Peer()
    peer.status = 0xA700
    with peer.serving() as port, pytest.raises(NetworkError, match="2 of 2 objects were not stored") as error:
        send_files(_archive(port), files, SilentProgress())
    assert f"{FIRST} (the server refused it (status 0xA700))" in error.value.message


def test_encoding_that_the_peer_does_not_take_is_named(files):
    peer = Peer(syntaxes=[EXPLICIT])
    with peer.serving() as port, pytest.raises(NetworkError, match="1 of 2 objects were not stored") as error:
        send_files(_archive(port), files, SilentProgress())
    assert "does not take X-Ray Angiographic Image Storage as RLE Lossless" in error.value.message
    assert list(peer.stored) == [FIRST]


def test_object_that_does_not_come_is_listed_and_the_others_do(files, tmp_path):
    peer = Peer(files)
    peer.lacks = (FIRST,)
    with peer.serving() as port:
        with pytest.raises(NetworkError, match=f"1 of 2 .*{FIRST} .*0xC000"):
            fetch_study(_archive(port), STUDY, tmp_path / "study", SilentProgress())
        peer.lacks = ()
        report = fetch_study(_archive(port), STUDY, tmp_path / "study", SilentProgress())
    assert (report.moved, report.present) == (1, 1)


def test_aborted_transfer_is_one_sentence(files, tmp_path):
    peer = Peer(files)
    peer.aborts = True
    with peer.serving() as port:
        with pytest.raises(NetworkError, match="broke the connection"):
            send_files(_archive(port), files, SilentProgress())
        with pytest.raises(NetworkError, match="broke the connection"):
            fetch_study(_archive(port), STUDY, tmp_path / "study", SilentProgress())
    assert not list(tmp_path.glob("*study*"))


def test_refused_query_and_unknown_study_are_told_apart(files, tmp_path):
    peer = Peer()
    with peer.serving() as port:
        with pytest.raises(NetworkError, match="does not know this study or series"):
            fetch_study(_archive(port), STUDY, tmp_path / "study", SilentProgress())
        peer.status = 0xA900
        with pytest.raises(NetworkError, match="refused the query \\(status 0xA900\\)"):
            fetch_study(_archive(port), STUDY, tmp_path / "study", SilentProgress())


def test_unknown_title_is_named(tmp_path):
    with Peer().serving() as port, pytest.raises(NetworkError, match="rejected the association") as error:
        DimseArchive(DicomPeer("127.0.0.1", port, called_aet="OTHER")).find(STUDY, None, SilentProgress())
    assert "'OTHER' (--called-aet)" in error.value.hint


def test_tls_needs_the_named_authority_and_client_certificate(files, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    client = make_certificate(tmp_path, "client")
    peer = Peer()
    with peer.serving(server_context(certificate, key, client[0])) as port:
        with pytest.raises(NetworkError, match="No trusted TLS connection"):
            send_files(_archive(port, tls=Tls()), files, SilentProgress())
        with pytest.raises(NetworkError):
            send_files(_archive(port, tls=Tls(certificate)), files, SilentProgress())
        assert send_files(_archive(port, tls=Tls(certificate, *client)), files, SilentProgress()).moved == 2


@pytest.fixture
def silent_port():
    """A listener that accepts and never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _network_threads():
    return [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]


def test_silent_peer_is_left_at_the_timeout(silent_port):
    archive = DimseArchive(DicomPeer("127.0.0.1", silent_port, timeout_s=0.5))
    start = time.monotonic()
    with pytest.raises(NetworkError, match="did not open an association"):
        archive.find(STUDY, None, SilentProgress())
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("command", ["fetch", "send"])
def test_peer_that_falls_silent_midway_is_left_at_the_timeout(files, tmp_path, command):
    peer = Peer(files)
    peer.stalls = threading.Event()
    start = time.monotonic()
    with peer.serving() as port:
        archive = DimseArchive(DicomPeer("127.0.0.1", port, called_aet="ARCHIVE", timeout_s=1))
        commands = {
            "fetch": lambda: fetch_study(archive, STUDY, tmp_path / "study", SilentProgress()),
            "send": lambda: send_files(archive, files, SilentProgress()),
        }
        with pytest.raises(NetworkError, match="did not answer in time"):
            commands[command]()
        assert time.monotonic() - start < 6
        peer.stalls.set()
    assert not list(tmp_path.glob("*study*"))


class _Impatient(SilentProgress):
    def __init__(self, seconds):
        super().__init__()
        self._end = time.monotonic() + seconds

    def check_cancelled(self):
        if time.monotonic() > self._end:
            raise JobCancelled


def test_cancelling_midway_takes_two_seconds_at_most(files, tmp_path):
    peer = Peer(files)
    peer.stalls = threading.Event()
    with peer.serving() as port:
        start = time.monotonic()
        with pytest.raises(JobCancelled):
            fetch_study(_archive(port), STUDY, tmp_path / "study", _Impatient(1.5))
        assert time.monotonic() - start < 1.5 + 2
        peer.stalls.set()


def test_cancelling_leaves_no_thread_that_would_keep_the_program_alive(silent_port):
    before = len(_network_threads())
    with pytest.raises(JobCancelled):
        DimseArchive(DicomPeer("127.0.0.1", silent_port)).find(STUDY, None, _Impatient(0.7))
    end = time.monotonic() + 2
    while len(_network_threads()) > before and time.monotonic() < end:
        time.sleep(0.05)
    assert len(_network_threads()) <= before
