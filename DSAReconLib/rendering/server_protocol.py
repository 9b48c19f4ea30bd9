"""What the render server and its client exchange (version 1). Standard library and numpy.

The client starts the server with two picture buffers in shared memory, then they talk in
lines: one JSON object per line. On the server's stdin

=============================================  ==================================================
``{"cmd": "render", id, pose, time_s}``        wanted next; replaces one that was not begun
``{"cmd": "taken", slot}``                     the client has copied the picture out of this buffer
=============================================  ==================================================

and on its stdout, behind the prefix of ``io.event_lines``

=====================================================================  ==========================
``ready {protocol, pid, gaussians, device, times_s, value_range,
bounds_mm}``                                                           requests are answered
``frame {id, slot, rows, columns, time_s, render_ms}``                 float32 line integrals
``refused {id, code, message}``                                        no picture for this request
``failed {code, message, hint}``                                       the server ends
=====================================================================  ==========================

The server ends when its stdin closes. It never writes into a buffer that was announced
and not yet taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from DSAReconLib.errors import ConfigError, DSAReconError, GeometryError
from DSAReconLib.rendering.pose import ViewPose

PROTOCOL_VERSION = 1
MAX_PIXELS = 4096 * 4096
"""Pictures beyond this size are refused whatever the buffers hold."""


@dataclass(frozen=True)
class RenderRequest:
    """A picture that somebody wants.

    Parameters
    ----------
    number
        Grows from request to request.
    pose
        From where, and how many pixels.
    time_s
        Time after the start of the run, s.
    """

    number: int
    pose: ViewPose
    time_s: float


def encode_request(request: RenderRequest) -> str:
    """Line for the server's stdin."""
    return _line({"cmd": "render", "id": request.number, "pose": request.pose.to_dict(), "time_s": request.time_s})


def encode_taken(slot: int) -> str:
    """Line that gives a buffer back to the server."""
    return _line({"cmd": "taken", "slot": slot})


def decode_command(line: str) -> dict[str, Any]:
    """The command in a line of the server's stdin.

    Raises
    ------
    ConfigError
        Not a JSON object with an entry ``cmd``.
    """
    try:
        command = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"A command of the render server must be JSON ({error}).") from error
    if not isinstance(command, dict) or "cmd" not in command:
        raise ConfigError("A command of the render server must be a JSON object with the entry 'cmd'.")
    return command


def request_of(command: Mapping[str, Any], max_pixels: int) -> RenderRequest:
    """The request in a ``render`` command.

    Raises
    ------
    DSAReconError
        The pose or the time cannot be used, or the picture has more than ``max_pixels`` pixels.
    """
    pose = ViewPose.from_dict(_object(command.get("pose")))
    if pose.rows * pose.columns > max_pixels:
        raise GeometryError(
            f"a picture of {pose.rows} x {pose.columns} pixels is too large; at most {max_pixels} pixels",
            code="render.size",
        )
    try:
        number, time = int(command["id"]), float(command["time_s"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"A request needs the numbers id and time_s ({type(error).__name__}: {error}).") from error
    if not abs(time) < float("inf"):
        raise ConfigError(f"time_s must be finite; got {time}")
    return RenderRequest(number, pose, time)


def refusal(number: object, error: DSAReconError) -> dict[str, Any]:
    """Event that says why a request is not answered."""
    return {"event": "refused", "id": number, "code": error.code, "message": error.message}


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise GeometryError("a request needs a pose, a JSON object")
    return value


def _line(command: Mapping[str, Any]) -> str:
    return json.dumps(command) + "\n"
