"""Starts a render server as a child process and asks it for novel views. Standard library and numpy.

Nothing here blocks for longer than a copy takes, except :meth:`RenderClient.render`,
:meth:`RenderClient.wait_until_ready` and :meth:`RenderClient.close`: made for the thread
of a graphical user interface.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DSAReconError
from DSAReconLib.io.event_lines import Event, decode_event
from DSAReconLib.rendering.frame_memory import FrameMemory
from DSAReconLib.rendering.pose import ViewPose
from DSAReconLib.rendering.server_protocol import PROTOCOL_VERSION, RenderRequest, encode_request, encode_taken

_LOG_LINES = 500
_END_LIMIT_S = 1.0  # for each of: telling the server to end, its ending, the end of the threads


class RenderServerError(DSAReconError):
    """The render server cannot start, has ended, or refuses a request."""

    default_code = "render.server"


@dataclass(frozen=True)
class RenderedFrame:
    """A finished picture.

    Parameters
    ----------
    request_id
        What :meth:`RenderClient.request` returned.
    line_integrals
        (R, C), float32, dimensionless; a copy that belongs to the caller.
    time_s
        Time of the request, s.
    render_ms
        Time that the server took for it, ms.
    """

    request_id: int
    line_integrals: NDArray[np.float32]
    time_s: float
    render_ms: float


class RenderClient:
    """A running render server.

    Parameters
    ----------
    result_folder
        Whose Gaussians are rendered.
    python
        Interpreter that has DSAReconLib and numba; default this one.
    on_path
        Folders that the child shall find modules in, before its own.
    device
        ``"auto"``, ``"cpu"`` or a CUDA device.
    max_pixels
        Largest picture that can be asked for.

    Attributes
    ----------
    on_frame
        Called without arguments, from a thread of the client, when a picture is there;
        ``None`` for callers that poll :meth:`newest`.

    Raises
    ------
    RenderServerError
        The interpreter cannot be started.

    Notes
    -----
    Use it as a context manager, or call :meth:`close`. A server that has ended is not
    started again: make a new client.
    """

    def __init__(
        self,
        result_folder: Path,
        *,
        python: str = sys.executable,
        on_path: tuple[str, ...] = (),
        device: str = "auto",
        max_pixels: int = 1024 * 1024,
    ) -> None:
        self.on_frame: Callable[[], None] | None = None
        self.max_pixels = max_pixels
        self._memory = FrameMemory.create(max_pixels)
        self._changed = threading.Condition()
        self._info: dict[str, Any] | None = None
        self._fatal: RenderServerError | None = None
        self._refused: tuple[int, RenderServerError] | None = None
        self._frame: RenderedFrame | None = None
        self._fetched = self._last_id = 0
        self._wanted: RenderRequest | None = None
        self._taken: list[int] = []
        self._closed = False
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        arguments = [str(result_folder), "--device", device, "--frames", self._memory.handle]
        try:
            self._process = _start(python, [*arguments, "--max-pixels", str(max_pixels)], on_path, self._memory)
        except OSError as error:
            self._memory.close()
            raise RenderServerError(f"The render server cannot be started with {python}: {error.strerror}.") from error
        self._threads = [
            threading.Thread(target=work, name=f"render server {name}", daemon=True)
            for name, work in (("events", self._listen), ("log", self._keep_log), ("requests", self._send))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> RenderClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ------------------------------------------------------------------ state
    @property
    def info(self) -> dict[str, Any] | None:
        """What the server said when it was ready (see :meth:`wait_until_ready`), ``None`` before."""
        return self._info

    @property
    def pid(self) -> int:
        """Process number of the server."""
        return self._process.pid

    @property
    def log_lines(self) -> list[str]:
        """The newest lines that the server wrote to stderr."""
        return list(self._log)

    @property
    def ended(self) -> bool:
        """Whether no further picture will come: the server has failed, or :meth:`close` was called."""
        return self._closed or self._fatal is not None

    def problem(self) -> str | None:
        """A sentence for the user: why the server has ended, or why it refused the newest request."""
        with self._changed:
            if self._fatal is not None:
                return str(self._fatal)
            if self._refused is not None and self._refused[0] == self._last_id:
                return self._refused[1].message
            return None

    # ------------------------------------------------------------------ pictures
    def request(self, pose: ViewPose, time_s: float) -> int:
        """Ask for a picture instead of all that were asked for and not begun; returns the number of the request.

        Never blocks. Requests to a server that has ended are forgotten, see :meth:`problem`.

        Raises
        ------
        ValueError
            More than ``max_pixels`` pixels.
        """
        if pose.rows * pose.columns > self.max_pixels:
            raise ValueError(f"at most {self.max_pixels} pixels were agreed upon; got {pose.rows} x {pose.columns}")
        with self._changed:
            self._last_id += 1
            self._wanted = RenderRequest(self._last_id, pose, float(time_s))
            self._changed.notify_all()
            return self._last_id

    def newest(self) -> RenderedFrame | None:
        """The newest finished picture; ``None`` if it was fetched before or there is none."""
        with self._changed:
            if self._frame is None or self._frame.request_id == self._fetched:
                return None
            self._fetched = self._frame.request_id
            return self._frame

    def render(self, pose: ViewPose, time_s: float, timeout_s: float = 10) -> RenderedFrame:
        """Ask for a picture and wait for it.

        Raises
        ------
        RenderServerError
            Refused, replaced by another request, not finished in time, or the server has ended.
        """
        number = self.request(pose, time_s)
        self._wait(lambda: self._answered(number), timeout_s, "The render server gave no picture")
        with self._changed:
            if self._refused is not None and self._refused[0] == number:
                raise self._refused[1]
            if self._frame is None or self._frame.request_id != number:
                raise RenderServerError("Another picture was asked for in the meantime.", code="render.replaced")
            self._fetched = number
            return self._frame

    def wait_until_ready(self, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until requests are answered.

        Returns
        -------
        ``gaussians`` (number), ``device``, ``times_s`` (of the frames of the run),
        ``value_range`` (line integrals [low, high] that a display should show),
        ``bounds_mm`` ([lowest, highest] corner of the Gaussians, LPS).

        Raises
        ------
        RenderServerError
            It could not start, or not in time.
        """
        self._wait(lambda: self._info is not None, timeout_s, "The render server was not ready")
        assert self._info is not None
        return self._info

    def close(self) -> None:
        """End the server, which takes milliseconds, or 2 s if it hangs. Can be called twice."""
        with self._changed:
            already, self._closed = self._closed, True
            self._changed.notify_all()
        if already:
            return
        self._threads[-1].join(_END_LIMIT_S)  # closes the server's stdin
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_END_LIMIT_S)
        self._memory.close()

    # ------------------------------------------------------------------ threads
    def _wait(self, done: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: done() or self.ended, timeout_s)
            if done():
                return
            if self._fatal is not None:
                raise self._fatal
        if self._closed:
            raise RenderServerError("The render server was closed.", code="render.closed")
        raise RenderServerError(f"{complaint} within {timeout_s:g} s.", code="render.silent")

    def _answered(self, number: int) -> bool:
        refused = self._refused is not None and self._refused[0] >= number
        return refused or (self._frame is not None and self._frame.request_id >= number)

    def _send(self) -> None:
        """Write what is wanted to the server, without making anybody wait for its reading."""
        stdin = _pipe(self._process.stdin)
        with contextlib.suppress(OSError, ValueError):  # it has ended
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._wanted is not None or bool(self._taken))
                    if self._closed:
                        break
                    lines = [encode_taken(slot) for slot in self._taken]
                    if self._wanted is not None:
                        lines.append(encode_request(self._wanted))
                    self._taken, self._wanted = [], None
                stdin.write("".join(lines))
                stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            stdin.close()

    def _keep_log(self) -> None:
        for line in _pipe(self._process.stderr):
            self._log.append(line.rstrip())

    def _listen(self) -> None:
        for line in _pipe(self._process.stdout):
            event = decode_event(line)
            if event is None:
                self._log.append(line.rstrip())
                continue
            try:
                self._take(event)
            except (KeyError, TypeError, ValueError) as error:
                self._log.append(f"not understood ({error}): {line.rstrip()}")
        code = self._process.wait()
        with self._changed:
            if self._fatal is None and not self._closed:
                self._fatal = RenderServerError(
                    f"The render server has ended unexpectedly (exit code {code}).",
                    hint="Start the novel view again; its log says more.",
                    code="render.died",
                )
            self._changed.notify_all()

    def _take(self, event: Event) -> None:
        kind = event["event"]
        if kind == "frame":
            self._take_frame(event)
            return
        with self._changed:
            if kind == "ready" and event.get("protocol") == PROTOCOL_VERSION:
                self._info = {name: value for name, value in event.items() if name not in ("event", "protocol")}
            elif kind == "ready":
                self._fatal = RenderServerError("The render server is of another version of DSARecon.")
            elif kind == "failed":
                self._fatal = RenderServerError(event["message"], hint=event.get("hint") or "", code=event.get("code"))
            elif kind == "refused":
                self._refused = int(event.get("id") or 0), RenderServerError(event["message"], code=event.get("code"))
            self._changed.notify_all()

    def _take_frame(self, event: Event) -> None:
        picture = self._memory.picture(event["slot"], (event["rows"], event["columns"])).copy()
        frame = RenderedFrame(event["id"], picture, event["time_s"], event["render_ms"])
        with self._changed:
            self._frame = frame
            self._taken.append(event["slot"])
            self._changed.notify_all()
        if self.on_frame is not None:
            try:
                self.on_frame()
            except Exception as error:  # the listener must live on whatever the caller's code does
                self._log.append(f"on_frame failed: {type(error).__name__}: {error}")


def _start(python: str, arguments: list[str], on_path: tuple[str, ...], memory: FrameMemory) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    paths = [*on_path, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return subprocess.Popen(
        [python, "-u", "-m", "DSAReconLib.rendering.server", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        pass_fds=memory.descriptors,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
