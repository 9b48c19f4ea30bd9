"""Intermediate state of a method on disk, so that a killed job can go on."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from DSAReconLib.errors import ResourceError


class CheckpointStore:
    """Keeps the newest state of one job in a folder; every write is atomic.

    Parameters
    ----------
    folder
        Folder of its own; made when the first state is saved.
    interval_s
        :meth:`due` becomes true this long after the last save.
    """

    def __init__(self, folder: Path, interval_s: float = 10.0) -> None:
        self._folder = folder
        self._interval_s = interval_s
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self._interval_s

    def save(self, **state: Any) -> None:
        """Replace the stored state by named arrays and numbers."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = self._folder / "state.npz.partial"
            with open(partial, "wb") as file:
                np.savez(file, **state)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._folder / "state.npz")
        except OSError as error:
            raise ResourceError(
                f"The checkpoint could not be written to {self._folder}: {error.strerror}.",
                hint="Free disk space or choose another output folder, then run again with --resume.",
            ) from error
        self._last = time.monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        """The stored state, or ``None`` if there is none or it cannot be read."""
        try:
            with np.load(self._folder / "state.npz", allow_pickle=False) as data:
                return {name: data[name] for name in data.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
