"""Where a command's words go: data to stdout, everything else to stderr, progress as asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from DSAReconLib.errors import DSAReconError
from DSAReconLib.jobs.events import EventProgress
from DSAReconLib.jobs.protocol import Event, encode_event

_LINE_INTERVAL_S = 2.0


class Console:
    """Output of one command.

    Parameters
    ----------
    quiet
        Nothing but data and errors.
    json_progress
        Progress and the outcome as protocol lines on stdout (see ``jobs.protocol``).
    stdout, stderr
        Streams; default those of the process.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        json_progress: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.quiet = quiet
        self.json_progress = json_progress
        self.result: str | None = None
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._show: _JsonLines | _Bars | _Lines | None = self._display()
        self.progress = EventProgress(self._on_event)

    def out(self, text: str) -> None:
        """Print data."""
        print(text, file=self._stdout, flush=True)

    def note(self, text: str) -> None:
        """Print a remark for people, unless quiet."""
        if not self.quiet and not self.json_progress:
            self._interrupt_bar()
            print(text, file=self._stderr, flush=True)

    def error(self, error: DSAReconError) -> None:
        """Print what went wrong and what to do."""
        self._interrupt_bar()
        print(f"error: {error.message}", file=self._stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=self._stderr)
        self._stderr.flush()

    def close(self) -> None:
        """End the progress display."""
        self._interrupt_bar()

    def _display(self) -> _JsonLines | _Bars | _Lines | None:
        if self.json_progress:
            return _JsonLines(self._stdout)
        if self.quiet:
            return None
        return _Bars(self._stderr) if self._stderr.isatty() else _Lines(self._stderr)

    def _on_event(self, event: Event) -> None:
        if self._show is not None:
            self._show(event)

    def _interrupt_bar(self) -> None:
        if isinstance(self._show, _Bars):
            self._show.close()


class _JsonLines:
    """Every event as a line of the protocol."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        self._stream.write(encode_event(event))
        self._stream.flush()


class _Lines:
    """A line per stage and now and then one in between, for log files."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stage = ""
        self._last_s = 0.0

    def __call__(self, event: Event) -> None:
        if event["event"] == "warning":
            self._print(f"warning: {event['message']}")
        elif event["event"] == "progress":
            self._progress(event)

    def _progress(self, event: Event) -> None:
        now = self._clock()
        if event["stage"] == self._stage and now - self._last_s < _LINE_INTERVAL_S:
            return
        self._stage, self._last_s = event["stage"], now
        self._print(f"{event['stage']}: {event['fraction']:.0%}{_details(event)}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _Bars:
    """One tqdm bar per stage."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ""
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        if event["event"] == "warning":
            self.close()
            print(f"warning: {event['message']}", file=self._stream, flush=True)
        elif event["event"] == "progress":
            self._progress(event)

    def _progress(self, event: Event) -> None:
        from tqdm import tqdm

        if event["stage"] != self._stage or self._bar is None:
            self.close()
            self._stage = event["stage"]
            self._bar = tqdm(
                total=1.0,
                desc=f"{self._stage:<12}",
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{desc}{percentage:3.0f} % |{bar}| {elapsed} {postfix}",
            )
        self._bar.n = event["fraction"]
        self._bar.set_postfix_str(_details(event).strip(), refresh=True)

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _details(event: Event) -> str:
    parts = [event["message"]] if event.get("message") else []
    parts += [f"{name} {value:.4g}" for name, value in (event.get("metrics") or {}).items()]
    if event.get("eta_s") is not None and event["fraction"] < 1:
        parts.append(f"{event['eta_s']:.0f} s left")
    return " " + ", ".join(parts) if parts else ""
