"""The acquired frames beside the novel view, if the DICOM runs were given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.progress import SilentProgress
from DSAReconLib.rendering.images import grey_levels
from DSAReconLib.viewer.areas import Area, public_message

NOT_GIVEN = "Start the viewer with --source PATH (mask and fill run) to compare with acquired frames."
_OTHER_RUNS = "The runs given with --source are not those of this result."
_LOADING = "The runs are being read and subtracted ..."
_BACKGROUND_GREY = 12
_TICK_S = 0.03


class AcquiredFrames:
    """Contrast line integrals of the fill run, read in the background.

    Attributes
    ----------
    angiogram
        ``None`` until it was read.
    reason
        Why there are no frames, a sentence for the page; empty when there are.
    """

    def __init__(self, sources: list[Path], result: ResultFolder) -> None:
        self._sources, self._result = sources, result
        self._progress = _Cancellable()
        self.angiogram: Angiogram | None = None
        self.reason = _LOADING if sources else NOT_GIVEN

    async def load(self, on_done: Callable[[], None], report: Callable[[str], None]) -> None:
        """Read the runs in a thread; ``report`` gets the full message of an error, for the terminal."""
        if not self._sources:
            return
        try:
            self.angiogram = await asyncio.get_running_loop().run_in_executor(None, self._read)
            self.reason = ""
        except JobCancelled:
            return
        except (DSAReconError, OSError, ValueError) as error:
            report(f"The runs of --source cannot be used: {error}")
            self.reason = f"The runs of --source cannot be used: {public_message(error)}."
        on_done()

    def cancel(self) -> None:
        """Stop reading: the viewer ends."""
        self._progress.cancelled.set()

    def reason_for(self, result: ResultFolder) -> str:
        """Why the frames cannot be shown beside this result; empty if they can."""
        if self.angiogram is None:
            return self.reason
        known = set(map(str, result.record.get("input_sop_instance_uids", ())))
        return "" if not known or known == set(self.angiogram.source_uids) else _OTHER_RUNS

    def frame(self, time_s: float) -> NDArray[np.float32]:
        """The frame nearest to a time, line integrals (R, C)."""
        assert self.angiogram is not None
        number = int(np.abs(self.angiogram.times_s - time_s).argmin())
        image: NDArray[np.float32] = self.angiogram.line_integrals[number]
        return image

    def _read(self) -> Angiogram:
        from DSAReconLib.jobs.loading import load_angiogram

        return load_angiogram([str(path) for path in self._sources], progress=self._progress)


class _Cancellable(SilentProgress):
    """Progress that nobody watches, but that can stop the work."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = threading.Event()

    def check_cancelled(self) -> None:
        """Raise JobCancelled once :attr:`cancelled` is set."""
        if self.cancelled.is_set():
            raise JobCancelled()


class AcquiredArea(Area):
    """The acquired frame of the displayed time, with the window of the novel view."""

    def __init__(self) -> None:
        super().__init__("acquired")
        self.frames: AcquiredFrames | None = None
        self.time_s = 0.0
        self.window, self.inverted = (0.0, 1.0), False
        self.visible = False
        self._again = False

    def refresh(self) -> None:
        """Send the picture again."""
        self._again = True

    def show(self, time_s: float) -> None:
        """Show the frame nearest to a time."""
        if time_s != self.time_s:
            self.time_s = time_s
            self.refresh()

    def set_window(self, low: float, high: float, *, inverted: bool) -> None:
        """As :meth:`DSAReconLib.viewer.novel.NovelArea.set_window`."""
        self.window, self.inverted = (low, max(high, low + 1e-6)), inverted
        self.refresh()

    def picture(self) -> NDArray[np.uint8]:
        """The frame, grey, widened to the aspect of the area as the novel view is."""
        if self.frames is None or self.frames.angiogram is None:
            return np.full((self.size[1], self.size[0]), _BACKGROUND_GREY, np.uint8)
        image = self.frames.frame(self.time_s)
        angiogram = self.frames.angiogram
        row_mm, column_mm = angiogram.geometry.detector_spacing_mm
        grey = grey_levels(image, self.window, vessels_dark=not self.inverted)
        background = grey_levels(np.zeros(1, np.float32), self.window, vessels_dark=not self.inverted)[0]
        return _padded(grey, int(background), self.size[0] / self.size[1] * row_mm / column_mm)

    async def run(self) -> None:
        """Send the picture when it changes."""
        while True:
            if self._again and self.visible:
                self._again = False
                await self.send(self.picture())
            await asyncio.sleep(_TICK_S)


def _padded(picture: NDArray[np.uint8], background: int, aspect: float) -> NDArray[np.uint8]:
    """The picture in the middle of a canvas whose columns / rows are ``aspect``."""
    rows, columns = picture.shape
    height, width = (rows, round(rows * aspect)) if columns / rows < aspect else (round(columns / aspect), columns)
    canvas = np.full((height, width), background, np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[top : top + rows, left : left + columns] = picture
    return canvas
