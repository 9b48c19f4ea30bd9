"""The novel view: X-ray pictures of the Gaussians from a render server, at any pose and time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.jobs.render_client import RenderClient
from DSAReconLib.rendering.images import grey_levels
from DSAReconLib.rendering.pacing import PicturePacing
from DSAReconLib.rendering.pose import ViewPose
from DSAReconLib.viewer.areas import MOVING_QUALITY, RESTING_QUALITY, Area

_TICK_S = 0.008
_IDLE_TICK_S = 0.03
_PIXELS = 1024 * 1024
_WAITING_GREY = 24


class RenderServers:
    """One render server per result, started when the result is first shown, all ended at the end."""

    def __init__(self) -> None:
        self._clients: dict[Path, RenderClient] = {}

    def of(self, folder: Path) -> RenderClient:
        """The server of a result; starts it, or starts it again if it has ended."""
        client = self._clients.get(folder)
        if client is None or client.ended:
            if client is not None:
                client.close()
            client = self._clients[folder] = RenderClient(folder, max_pixels=_PIXELS)
        return client

    def close(self) -> None:
        """End all servers."""
        for client in self._clients.values():
            client.close()
        self._clients = {}


class NovelArea(Area):
    """The novel view.

    Parameters
    ----------
    pose
        Gives the pose of a picture of (rows, columns) that fills the area.
    on_drag
        Called with the horizontal and vertical part (fractions of the area) of dragging.
    on_wheel
        Called with the spin of the mouse wheel, positive to zoom in.
    on_click
        Called with the pose and place of a click.
    """

    def __init__(
        self,
        pose: Callable[[tuple[int, int]], ViewPose],
        on_drag: Callable[[float, float], None],
        on_wheel: Callable[[float], None],
        on_click: Callable[[ViewPose, tuple[float, float]], None],
    ) -> None:
        super().__init__("novel")
        self._pose, self._on_drag, self._on_wheel, self._on_click = pose, on_drag, on_wheel, on_click
        self.client: RenderClient | None = None
        self.time_s = 0.0
        self.window, self.inverted = (0.0, 1.0), False
        self.line_integrals: NDArray[np.float32] | None = None
        self._pacing = PicturePacing(max_pixels=_PIXELS)
        self._seen: Any = None
        self._asked: tuple[int, int] | None = None
        self._requested: dict[int, ViewPose] = {}
        self.shown_pose: ViewPose | None = None
        self._again = False
        self._dragged: tuple[float, float] | None = None

    def use(self, client: RenderClient) -> None:
        """Take the pictures from this server."""
        if client is not self.client:
            self.client, self._seen, self._requested = client, None, {}

    def set_window(self, low: float, high: float, *, inverted: bool) -> None:
        """Show line integrals from ``low`` to ``high``; ``inverted`` = light vessels on dark."""
        self.window, self.inverted = (low, max(high, low + 1e-6)), inverted
        self.refresh()

    def refresh(self) -> None:
        """Send the picture again."""
        self._again = True

    @property
    def at_rest(self) -> bool:
        """Whether the picture in full size was sent and nothing has changed since."""
        if self._again or self._pacing.is_moving(time.monotonic()) or self.line_integrals is None:
            return False
        return self.line_integrals.shape == self._asked

    @property
    def is_dragged(self) -> bool:
        """Whether somebody drags in it at the moment."""
        return self._dragged is not None

    def picture(self) -> NDArray[np.uint8]:
        """The newest picture, grey (R, C)."""
        if self.line_integrals is None:
            return np.full((self.size[1], self.size[0]), _WAITING_GREY, np.uint8)
        return grey_levels(self.line_integrals, self.window, vessels_dark=not self.inverted)

    def interact(self, kind: str, at: tuple[float, float], event: dict[str, Any]) -> None:
        """Dragging turns, the wheel zooms."""
        if kind == "LeftButtonPress":
            self._dragged = at
        elif kind == "LeftButtonRelease":
            self._dragged = None
        elif kind == "MouseMove" and self._dragged is not None:
            before, self._dragged = self._dragged, at
            self._on_drag((at[0] - before[0]) / self.size[0], (at[1] - before[1]) / self.size[1])
        elif kind == "MouseWheel":
            self._on_wheel(-float(event.get("spinY") or 0.0))

    def clicked(self, at: tuple[float, float]) -> None:
        """Report the click with the pose of the picture that was clicked on."""
        if self.shown_pose is not None:
            self._on_click(self.shown_pose, at)

    async def run(self) -> None:
        """Ask for what is missing and send what has come."""
        while True:
            frame = None
            if self.client is not None:
                with contextlib.suppress(GeometryError):  # a camera that looks nowhere, for a moment
                    self._ask(time.monotonic())
                frame = self.client.newest()
            if frame is not None:
                self._pacing.measured(frame.line_integrals.shape, frame.render_ms)
                self.line_integrals = frame.line_integrals
                self.shown_pose = self._requested.pop(frame.request_id, self.shown_pose)
                self._requested = {key: pose for key, pose in self._requested.items() if key > frame.request_id}
            moving = self._pacing.is_moving(time.monotonic())
            if frame is not None or self._again:
                self._again = False
                await self.send(self.picture(), quality=MOVING_QUALITY if moving else RESTING_QUALITY)
            await asyncio.sleep(_TICK_S if moving else _IDLE_TICK_S)

    def _ask(self, now: float) -> None:
        assert self.client is not None
        width, height = self.size
        seen = self._pose((height, width)), self.time_s
        if seen != self._seen:
            if self._seen is not None:
                self._pacing.moved(now)
            self._seen, self._asked = seen, None
        shape = self._pacing.shape((height, width), now)
        if self._asked != shape:
            self._asked = shape
            pose = self._pose(shape)
            self._requested[self.client.request(pose, self.time_s)] = pose


def filling(pose: ViewPose, shape: tuple[int, int]) -> ViewPose:
    """The view widened to the aspect of ``shape`` = (rows, columns), with square pixels; all of it stays visible."""
    rows, columns = shape
    width, height = (
        count * float(np.linalg.norm(step))
        for count, step in ((pose.columns, pose.detector_u_mm), (pose.rows, pose.detector_v_mm))
    )
    pixel = max(width / columns, height / rows)
    return replace(
        pose,
        detector_u_mm=pose.detector_u_mm * (pixel * pose.columns / width),
        detector_v_mm=pose.detector_v_mm * (pixel * pose.rows / height),
        rows=rows,
        columns=columns,
    )


def zoomed(pose: ViewPose, factor: float) -> ViewPose:
    """The same view through a detector smaller by ``factor``."""
    return replace(pose, detector_u_mm=pose.detector_u_mm / factor, detector_v_mm=pose.detector_v_mm / factor)
