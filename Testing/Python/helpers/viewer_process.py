"""``dsarecon view`` as users start it: a process of its own, seen through its address, its output and its page."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = Path("/usr/bin/chromium")
LIMIT_S = 120.0
"""Generous: machines of continuous integration are slow; nothing waits longer than it must."""


class ViewerProcess:
    """A running viewer."""

    def __init__(self, *arguments: object) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "DSAReconLib", "view", *map(str, arguments), "--no-browser"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "".join(self.lines)

    @property
    def address(self) -> str:
        """The address that the viewer printed."""
        wait_for(lambda: any(line.startswith("http") for line in self.lines) or self.process.poll() is not None)
        found = [line.strip() for line in self.lines if line.startswith("http")]
        assert found, self.output
        return found[0]

    @property
    def port(self) -> int:
        """Port of the address."""
        return urlsplit(self.address).port

    @property
    def token(self) -> str:
        """Token of the address."""
        return parse_qs(urlsplit(self.address).query)["secret"][0]

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it as Ctrl-C does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(LIMIT_S / 4)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        return self.process.returncode

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)


def wait_for(condition: Callable[[], object], limit_s: float = LIMIT_S, pause: Callable[[float], None] = time.sleep):
    """Wait until ``condition`` is true and return its value; AssertionError after ``limit_s``."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"nothing happened within {limit_s} s"
        pause(0.05)


class Pane:
    """A picture area of the page as pixels."""

    def __init__(self, page, name: str) -> None:
        self.page = page
        self.locator = page.locator(f".pane.{name}")

    def pixels(self) -> np.ndarray:
        """RGB (rows, columns, 3) as the browser shows it, float."""
        return np.asarray(Image.open(io.BytesIO(self.locator.screenshot())).convert("RGB"), float)

    def settled(self) -> np.ndarray:
        """Pixels once the viewer says that all views are refined, and the picture does not change any more."""
        self.page.wait_for_timeout(500)  # an action takes its way to the viewer, which looks 5 times per second
        last = [np.zeros(0)]

        def same() -> bool:
            before, last[0] = last[0], self.pixels()
            at_rest = self.page.evaluate("trame.state.get('at_rest')")
            return at_rest and last[0].shape == before.shape and np.abs(last[0] - before).mean() < 0.05

        wait_for(same, pause=lambda _: self.page.wait_for_timeout(250))
        return last[0]

    def changed_from(self, before: np.ndarray, least: float = 0.3) -> np.ndarray:
        """Pixels as soon as they differ from ``before`` by ``least`` grey values on average."""

        def different():
            now = self.pixels()
            return now if now.shape != before.shape or np.abs(now - before).mean() > least else None

        found = []
        wait_for(lambda: found.append(different()) or found[-1] is not None, pause=self._pause)
        return found[-1]

    def drag(self, right: float, up: float, steps: int = 6) -> None:
        """Drag from the middle by fractions of the area."""
        box = self.locator.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + right * box["width"], y - up * box["height"], steps=steps)
        self.page.mouse.up()

    def click(self, column: float, row: float) -> None:
        """Click at a pixel of :meth:`pixels`."""
        box = self.locator.bounding_box()
        self.page.mouse.click(box["x"] + column, box["y"] + row)

    def _pause(self, seconds: float) -> None:
        self.page.wait_for_timeout(1000 * seconds)
