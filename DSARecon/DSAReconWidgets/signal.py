"""A signal in plain Python: custom Qt signals crash in PythonQt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Signal:
    """Calls every connected function; a receiver that fails is logged and does not keep the others from being called.

    Parameters
    ----------
    *arguments
        Names of what is sent, for the reader.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self._receivers: list[Callable[..., Any]] = []

    def connect(self, receiver: Callable[..., Any]) -> None:
        """Call ``receiver`` from now on; connecting it twice changes nothing."""
        if receiver not in self._receivers:
            self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[..., Any]) -> None:
        """Call it no longer; harmless if it never was connected."""
        if receiver in self._receivers:
            self._receivers.remove(receiver)

    def disconnectAll(self) -> None:
        """Forget every receiver."""
        self._receivers.clear()

    def __call__(self, *values: Any) -> None:
        """Send."""
        for receiver in list(self._receivers):
            if receiver not in self._receivers:  # an earlier receiver disconnected it
                continue
            try:
                receiver(*values)
            except Exception:
                logger.exception("a receiver of the signal (%s) failed", ", ".join(self.arguments))
