"""Movies that the page orders: one at a time, made in a thread, offered as downloads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.viewer.areas import public_message
from DSAReconLib.viewer.movie import SHAPE, MovieOrder, make_movie

if TYPE_CHECKING:
    from DSAReconLib.viewer.app import Viewer

KINDS = {"time": "Bolus passage", "rotation": "Rotation"}
_FRAMES = 60
_PROGRESS_S = 0.2


class MovieDesk:
    """Takes orders for movies of the novel view."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._stopped = threading.Event()
        self._fraction = 0.0
        self._busy = False
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, kind: str, suffix: str) -> None:
        """Make a movie of the novel view; an order while one is made is ignored."""
        if self._busy or kind not in KINDS:
            return
        self._busy, self._fraction = True, 0.0
        self._stopped.clear()
        self._task = asyncio.get_running_loop().create_task(self._make(self._order(kind, suffix), kind))

    def stop(self) -> None:
        """Give the present order up."""
        self._stopped.set()

    def _order(self, kind: str, suffix: str) -> MovieOrder:
        viewer = self._viewer
        start, end = viewer.scene.time_range_s
        time_s = viewer.novel.time_s
        times = np.linspace(start, end, _FRAMES).tolist() if kind == "time" else [time_s] * _FRAMES
        return MovieOrder(
            result_folder=viewer.scene.result.folder,
            poses=viewer.viewpoint.movie_poses(kind, SHAPE, _FRAMES),
            times_s=times,
            window=viewer.novel.window,
            inverted=viewer.novel.inverted,
            suffix=suffix,
        )

    async def _make(self, order: MovieOrder, kind: str) -> None:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, make_movie, order, self._progress, self._stopped.is_set)
        self._show(state="making", percent=0, url="", name=KINDS[kind])
        try:
            while not work.done():
                await asyncio.wait([work], timeout=_PROGRESS_S)
                self._show(state="making", percent=round(100 * self._fraction), url="", name=KINDS[kind])
            content = work.result()
        except JobCancelled:
            self._show(state="idle", percent=0, url="", name="")
        except (DSAReconError, OSError, ValueError) as error:
            self._viewer.tell(f"The movie failed: {error}")
            self._show(state="failed", percent=0, url="", name=f"The movie failed: {public_message(error)}")
        else:
            self._count += 1
            url = self._viewer.downloads.offer(f"{kind}-{self._count}{order.suffix}", lambda: content)
            self._show(state="done", percent=100, url=url, name=KINDS[kind])
        finally:
            self._busy = False

    def _progress(self, fraction: float) -> None:
        self._fraction = fraction

    def _show(self, **shown: Any) -> None:
        with self._viewer.state:
            self._viewer.state.movie = shown
