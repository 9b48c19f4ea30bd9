"""The lines that a worker and whoever started it exchange (version 1). Standard library only.

A worker prints one JSON object per line behind :data:`PREFIX`; every other line is log
text. The first event is ``started``, the last is exactly one of :data:`TERMINAL`.

======================================================  =================================
``started {protocol, version, pid, device}``            the job begins
``progress {stage, fraction, eta_s, message, metrics}``  at least every second
``preview {path}``                                      an intermediate volume (NRRD)
``warning {code, message}``                             the job goes on
``finished {result}``                                   the result folder
``failed {code, message, hint}``                        nothing was written
``cancelled {checkpoint}``                              folder to resume from, or null
======================================================  =================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from DSAReconLib.io.json_text import plain

PREFIX = "@dsarecon "
PROTOCOL_VERSION = 1
HEARTBEAT_S = 1.0
"""A progress event comes at least this often."""

CANCEL_LIMIT_S = 2.0
"""A cancelled worker has ended after this time."""

CANCEL_LINE = '{"cmd":"cancel"}\n'
TERMINAL = ("finished", "failed", "cancelled")

Event = dict[str, Any]


def encode_event(event: Mapping[str, Any]) -> str:
    """One line (with its end) for an event; numbers that JSON does not know become null."""
    return PREFIX + json.dumps(plain(event), allow_nan=False) + "\n"


def decode_event(line: str) -> Event | None:
    """The event in a line, or ``None`` if the line is log text."""
    if not line.startswith(PREFIX):
        return None
    try:
        event = json.loads(line[len(PREFIX) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def is_cancel(line: str) -> bool:
    """Whether a line on a worker's stdin asks it to stop."""
    try:
        command = json.loads(line)
    except ValueError:
        return False
    return isinstance(command, dict) and command.get("cmd") == "cancel"
