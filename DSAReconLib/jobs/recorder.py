"""Progress that also keeps what the run record needs: times per stage and warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.io.atomic import unwritable
from DSAReconLib.io.nrrd import write_volume
from DSAReconLib.jobs.events import EventProgress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from DSAReconLib.geometry import VolumeGrid
    from DSAReconLib.progress import Progress

logger = logging.getLogger(__name__)

_PREVIEW_INTERVAL_S = 3.0
_LOG_INTERVAL_S = 5.0


class Recorder:
    """Passes everything on to another :class:`~DSAReconLib.progress.Progress` and takes notes.

    Parameters
    ----------
    progress
        Who watches the job.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last_preview_s = -_PREVIEW_INTERVAL_S
        self._logged = ("", 0.0)
        self._preview_place: tuple[Path, VolumeGrid] | None = None
        self.warnings: list[tuple[str, str]] = []
        self.timings_s: dict[str, float] = {}
        self.processor_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage (by the clock, and all cores together) and check for cancelling before it."""
        self.check_cancelled()
        self.report(name, 0.0)
        start, used = time.perf_counter(), time.process_time()
        yield
        self.timings_s[name] = time.perf_counter() - start
        self.processor_s[name] = time.process_time() - used
        logger.info("%s took %.2f s", name, self.timings_s[name])
        if self._logged[0] == name:  # else the work has reported stages of its own
            self.report(name, 1.0)

    def show_previews_in(self, folder: Path, grid: VolumeGrid) -> None:
        """Where previews are written from now on, and the grid that they lie on."""
        self._preview_place = (folder, grid)

    def report(
        self, stage: str, fraction: float, message: str = "", metrics: Mapping[str, float] | None = None
    ) -> None:
        """Pass a report on."""
        now = time.monotonic()
        if stage != self._logged[0] or now - self._logged[1] >= _LOG_INTERVAL_S:
            self._logged = (stage, now)
            logger.debug("%s %.0f %% %s %s", stage, 100 * fraction, message, dict(metrics or {}))
        self._progress.report(stage, fraction, message, metrics)

    def warn(self, code: str, message: str) -> None:
        """Pass a warning on, once."""
        if (code, message) not in self.warnings:
            self.warnings.append((code, message))
            logger.warning("%s: %s", code, message)
            self._progress.warn(code, message)

    def preview(self, volume: NDArray[np.float32]) -> None:
        """Write an intermediate volume (z, y, x) for a watcher that can show it, now and then."""
        self._progress.preview(volume)
        if not isinstance(self._progress, EventProgress) or self._preview_place is None:
            return
        folder, grid = self._preview_place
        now = time.monotonic()
        if volume.shape != grid.shape_zyx or now - self._last_preview_s < _PREVIEW_INTERVAL_S:
            return
        path = folder / "preview.nrrd"
        partial = folder / "preview.nrrd.partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_volume(partial, volume, grid)
            partial.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error
        self._last_preview_s = now
        self._progress.announce_preview(path)

    def check_cancelled(self) -> None:
        """Raise :class:`~DSAReconLib.errors.JobCancelled` if the watcher wants the job to stop."""
        self._progress.check_cancelled()
