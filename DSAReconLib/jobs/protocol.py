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

from DSAReconLib.io.event_lines import PREFIX, Event, decode_event, encode_event

__all__ = [
    "CANCEL_LIMIT_S",
    "CANCEL_LINE",
    "HEARTBEAT_S",
    "PREFIX",
    "PROTOCOL_VERSION",
    "TERMINAL",
    "Event",
    "decode_event",
    "encode_event",
    "is_cancel",
]

PROTOCOL_VERSION = 1
HEARTBEAT_S = 1.0
"""A progress event comes at least this often."""

CANCEL_LIMIT_S = 2.0
"""A cancelled worker has ended after this time."""

CANCEL_LINE = '{"cmd":"cancel"}\n'
TERMINAL = ("finished", "failed", "cancelled")


def is_cancel(line: str) -> bool:
    """Whether a line on a worker's stdin asks it to stop."""
    try:
        command = json.loads(line)
    except ValueError:
        return False
    return isinstance(command, dict) and command.get("cmd") == "cancel"
