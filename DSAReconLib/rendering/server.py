"""``python -u -m DSAReconLib.rendering.server RESULT_FOLDER --frames HANDLE``: novel views from a resident process.

Started by ``jobs.render_client``, talks as ``rendering.server_protocol`` says. The main
thread renders the newest request; a second one reads stdin, keeps only the newest
request, and ends the process when the client has gone, whatever is being computed.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from DSAReconLib.errors import ConfigError, DSAReconError
from DSAReconLib.io.event_lines import Event, encode_event
from DSAReconLib.io.result_folder import ResultFolder, open_result
from DSAReconLib.rendering.frame_memory import FRAME_SLOTS, FrameMemory
from DSAReconLib.rendering.server_protocol import (
    MAX_PIXELS,
    PROTOCOL_VERSION,
    RenderRequest,
    decode_command,
    refusal,
    request_of,
)
from DSAReconLib.rendering.splat_session import SplatSession

_PARENT_CHECK_S = 0.5
_logger = logging.getLogger(__name__)

Send = Callable[[Event], None]


class Inbox:
    """The newest request and the free picture buffers, filled by a thread and emptied by another.

    Parameters
    ----------
    send
        Where refusals go.
    max_pixels
        Larger pictures are refused.
    """

    def __init__(self, send: Send, max_pixels: int) -> None:
        self._send, self._max_pixels = send, max_pixels
        self._changed = threading.Condition()
        self._request: RenderRequest | None = None
        self._free = set(range(FRAME_SLOTS))

    def read(self, lines: Iterable[str]) -> None:
        """Take commands until there are no more."""
        for line in lines:
            try:
                self._take(line)
            except DSAReconError as error:
                self._send(refusal(None, error))

    def next(self) -> tuple[RenderRequest, int]:
        """Wait for a request and a free buffer; takes both."""
        with self._changed:
            self._changed.wait_for(lambda: self._request is not None and bool(self._free))
            request, self._request = self._request, None
            assert request is not None
            return request, self._free.pop()

    def release(self, slot: int) -> None:
        """Give a buffer back."""
        with self._changed:
            if 0 <= slot < FRAME_SLOTS:
                self._free.add(slot)
            self._changed.notify_all()

    def _take(self, line: str) -> None:
        command = decode_command(line)
        if command["cmd"] == "taken":
            self.release(_slot(command.get("slot")))
        elif command["cmd"] == "render":
            try:
                request = request_of(command, self._max_pixels)
            except DSAReconError as error:
                self._send(refusal(command.get("id"), error))
                return
            with self._changed:
                self._request = request
                self._changed.notify_all()
        else:
            raise ConfigError(f"The render server knows no command {command['cmd']!r}.")


def serve(session: SplatSession, inbox: Inbox, memory: FrameMemory, send: Send) -> None:
    """Answer requests for ever."""
    while True:
        request, slot = inbox.next()
        try:
            event = _frame(session, request, slot, memory)
        except Exception as error:  # one bad picture must not end the server
            _logger.exception("request %d failed", request.number)
            inbox.release(slot)
            event = refusal(request.number, _as_ours(error))
        send(event)


def main(argv: list[str] | None = None) -> int:
    """Serve until stdin closes; returns an exit code only if that could not begin."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the parent, whose end ends us
    send = _sender()
    options = _options(argv)
    inbox = Inbox(send, options.max_pixels)
    threading.Thread(target=_read_and_end, args=(inbox,), name="stdin", daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()
    try:
        memory = FrameMemory.attach(options.frames, options.max_pixels)
        result = open_result(options.result)
        session = SplatSession(result.load_gaussians(), _device(options.device))
        send(_ready(session, result))
        serve(session, inbox, memory, send)
    except Exception as error:
        _logger.exception("the render server cannot start")
        ours = _as_ours(error)
        send({"event": "failed", "code": ours.code, "message": ours.message, "hint": ours.hint})
    return 1


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m DSAReconLib.rendering.server")
    parser.add_argument("result", type=Path, help="result folder whose Gaussians are rendered")
    parser.add_argument("--frames", required=True, help="handle of the client's shared memory")
    parser.add_argument("--max-pixels", type=int, default=1024 * 1024, help="pixels of one picture buffer")
    parser.add_argument("--device", default="auto", help="auto, cpu or a CUDA device")
    options = parser.parse_args(argv)
    if not 1 <= options.max_pixels <= MAX_PIXELS:
        parser.error(f"--max-pixels must lie between 1 and {MAX_PIXELS}")
    return options


def _device(wanted: str) -> str:
    from DSAReconLib.kernels.backend import resolve_device
    from DSAReconLib.kernels.cuda.launch import has_driver

    if wanted == "auto" and not has_driver():
        return "cpu"
    try:
        return resolve_device(wanted)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _ready(session: SplatSession, result: ResultFolder) -> Event:
    """First event; renders a few pictures, which also compiles the kernels."""
    return {
        "event": "ready",
        "protocol": PROTOCOL_VERSION,
        "pid": os.getpid(),
        "gaussians": len(session.gaussians),
        "device": session.device,
        "times_s": result.times_s,
        "value_range": session.value_range(result.geometry, result.times_s),
        "bounds_mm": session.bounds_mm(),
    }


def _frame(session: SplatSession, request: RenderRequest, slot: int, memory: FrameMemory) -> Event:
    """Render into a buffer; the event that announces it."""
    start = time.perf_counter()
    session.render(request.pose, request.time_s, memory.picture(slot, request.pose.shape))
    rows, columns = request.pose.shape
    return {
        "event": "frame",
        "id": request.number,
        "slot": slot,
        "rows": rows,
        "columns": columns,
        "time_s": request.time_s,
        "render_ms": 1e3 * (time.perf_counter() - start),
    }


def _as_ours(error: Exception) -> DSAReconError:
    if isinstance(error, DSAReconError):
        return error
    if isinstance(error, MemoryError):
        return DSAReconError("Not enough memory for this picture.", code="resource.memory")
    return DSAReconError(f"The render server failed: {type(error).__name__}: {error}", code="internal")


def _slot(value: object) -> int:
    if not isinstance(value, int):
        raise ConfigError(f"'taken' needs the number of a buffer; got {value!r}")
    return value


def _sender() -> Send:
    """Writes events to the real stdout; what libraries print goes to stderr instead."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            stream.write(encode_event(event))
            stream.flush()

    return send


def _read_and_end(inbox: Inbox) -> None:
    """End the process with the client, even if the main thread is inside a long call."""
    try:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        inbox.read(sys.stdin)
    finally:
        os._exit(0)


def _end_with_parent(parent: int) -> None:
    """End the process with its parent even if a fork of the parent still holds our stdin open (POSIX)."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(0)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
