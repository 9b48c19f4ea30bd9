"""How much contrast every frame of a run shows, measured in a child process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError, DSAReconError
from DSAReconLib.io.event_lines import decode_event
from DSAReconWidgets.children import NO_WINDOW, childEnvironment, childPython
from DSAReconWidgets.folders import moduleFolder
from DSAReconWidgets.signal import Signal
from DSAReconWidgets.translation import tr as _

_CHILD = "DSAReconWidgets.contrast_child"


class ContrastPending(ConfigError):
    """It is being measured."""

    default_code = "contrast.pending"


class FrameContrast:
    """Total contrast of the frames of runs; each run is measured once.

    Attributes
    ----------
    known : Signal()
        A measurement is over.
    waits : bool
        Whether :meth:`of` waits for the child; a panel does not.
    """

    def __init__(self) -> None:
        self.known = Signal()
        self.waits = True
        self._results: dict[tuple[str, str, str], NDArray[np.float64] | DSAReconError] = {}
        self._children: dict[tuple[str, str, str], Any] = {}

    def of(
        self, fill: Path, mask: Path | str | None = None, header: Mapping[str, Any] | None = None
    ) -> NDArray[np.float64]:
        """Sum of the line integrals of every fill frame (F,); ``header`` holds attributes that the files lack.

        Raises
        ------
        ContrastPending
            It is being measured; :attr:`known` is sent.
        DSAReconError
            Why the runs cannot be used.
        """
        key = (str(fill), str(mask or ""), json.dumps(dict(header or {}), sort_keys=True))
        if key not in self._results:
            if not self.waits:
                self._start(key)
                raise ContrastPending(_("The contrast of the frames is being measured…"))
            done = subprocess.run(
                [childPython(), *_arguments(key)],
                env={**os.environ, **childEnvironment([str(moduleFolder())])},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                encoding="utf-8",
                errors="replace",
                creationflags=NO_WINDOW,
                check=False,
            )
            self._results[key] = _result(done.stdout.splitlines())
        result = self._results[key]
        if isinstance(result, DSAReconError):
            raise result
        return result

    def close(self) -> None:
        """End what is being measured."""
        self.known.disconnectAll()
        for child in self._children.values():
            child.close()
        self._children.clear()

    def _start(self, key: tuple[str, str, str]) -> None:
        from DSAReconWidgets.process import ChildProcess

        if key in self._children:
            return
        child, lines = ChildProcess(), list[str]()

        def onEnded(_ending: Any) -> None:
            del self._children[key]
            self._results[key] = _result(lines)
            self.known()

        self._children[key] = child
        child.line.connect(lines.append)
        child.ended.connect(onEnded)
        child.start(childPython(), _arguments(key), onPath=[str(moduleFolder())])


def _arguments(key: tuple[str, str, str]) -> list[str]:
    return ["-u", "-m", _CHILD, *key]


def _result(lines: list[str]) -> NDArray[np.float64] | DSAReconError:
    for event in filter(None, map(decode_event, lines)):
        if event["event"] == "contrast":
            return np.array(event["total"], float)
        if event["event"] == "failed":
            return DSAReconError(event["message"], hint=event["hint"], code=event["code"])
    last = next((line for line in reversed(lines) if line.strip()), "")
    return DSAReconError(_("The contrast of the frames could not be measured ({reason}).").format(reason=last))
