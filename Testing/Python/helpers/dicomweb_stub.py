"""A DICOMweb server on loopback that misbehaves as told."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

STUDY, SERIES = "1.2.3", "1.2.3.1"
_CLASS = "1.2.840.10008.5.1.4.1.1.12.1"
_BOUNDARY = b"limit"


@dataclass
class Behavior:
    """What the server has and how it answers; ``faults`` maps an object to what happens on each request.

    Faults: an HTTP status, ``"cut"`` (the line breaks in the middle), ``"stall"`` (it falls silent in
    the middle), or another object's UID, which is sent instead. A request beyond the list is served.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list] = field(default_factory=dict)
    search_status: int = 200
    search_body: bytes | None = None
    location: str = ""
    single_part: bool = False
    refuse_store: str = ""
    empty_series: str = ""
    requests: list[str] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def next_fault(self, uid: str) -> object:
        queue = self.faults.get(uid, [])
        return queue.pop(0) if queue else None


@contextmanager
def serving(behavior: Behavior, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """URL of the running server."""
    handler = type("Handler", (_Handler,), {"behavior": behavior})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        behavior.ending.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    behavior: Behavior
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._note()
        match = re.search(r"/instances/([^/?]+)$", self.path)
        if match:
            self._send_object(match[1])
        else:
            self._search()

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = re.search(r"boundary=(\S+)", self.headers["Content-Type"])[1].encode()
        self.behavior.stored.append(body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + boundary + b"--", 1)[0])
        fault = self.behavior.next_fault("store")
        if isinstance(fault, int):
            self._answer(fault, b"")
        elif self.behavior.refuse_store:
            item = {"00081155": {"Value": [self.behavior.refuse_store]}, "00081197": {"Value": [272]}}
            self._answer(409, json.dumps({"00081198": {"Value": [item]}}).encode())
        else:
            self._answer(200, b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _note(self) -> None:
        self.behavior.requests.append(self.path)
        self.behavior.headers.append(dict(self.headers))

    def _search(self) -> None:
        behavior = self.behavior
        if behavior.search_status != 200 or behavior.search_body is not None:
            self._answer(behavior.search_status, behavior.search_body or b"")
            return
        offset = int(parse_qs(urlsplit(self.path).query).get("offset", ["0"])[0])
        items = [{"0020000E": {"Value": [uid]}} for uid in (behavior.empty_series, SERIES) if uid]
        if behavior.empty_series and behavior.empty_series in self.path:
            items = []
        elif "/instances" in self.path:
            items = [{"00080018": {"Value": [uid]}, "00080016": {"Value": [_CLASS]}} for uid in behavior.objects]
        self._answer(200, json.dumps(items[offset:]).encode())

    def _send_object(self, uid: str) -> None:
        fault = self.behavior.next_fault(uid)
        if isinstance(fault, int):
            self._answer(fault, b"")
            return
        content = self.behavior.objects[fault if fault in self.behavior.objects else uid]
        kind = "application/dicom"
        if not self.behavior.single_part:
            head = b"--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
            content = head + content + b"\r\n--" + _BOUNDARY + b"--\r\n"
            kind = f'multipart/related; type="application/dicom"; boundary="{_BOUNDARY.decode()}"'
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault in ("cut", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if fault == "stall":
                self.behavior.ending.wait(30)
            self.close_connection = True
            return
        self.wfile.write(content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if self.behavior.location:
            self.send_header("Location", self.behavior.location)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def read_objects(paths: list[Path]) -> dict[str, bytes]:
    """Content of DICOM files by SOP Instance UID."""
    import pydicom

    return {str(pydicom.dcmread(path).SOPInstanceUID): path.read_bytes() for path in paths}
