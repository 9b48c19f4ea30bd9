"""Events between processes as lines of text: one JSON object behind a prefix. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from DSAReconLib.io.json_text import plain

PREFIX = "@dsarecon "

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
