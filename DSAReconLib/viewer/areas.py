"""Areas of the page that show pictures made here: sizes, mouse events, and sending pictures no faster than they go."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DSAReconError

_LARGEST_SIDE = 1600
_SMALLEST_SIDE = 16
_PENDING_MESSAGES = 4
_CLICK_RADIUS_PX = 4
MOVING_QUALITY, RESTING_QUALITY = 70, 93


class Area:
    """A picture area; trame-rca calls it when the browser reports a size or a mouse event.

    Subclasses make the pictures. With several browsers the size is that of the browser that
    reported last; mouse positions are taken relative to the browser that they come from.

    Attributes
    ----------
    area_name
        Name of the area in the page.
    size
        (width, height) of the area, pixels.
    sent
        Number of pictures sent so far.
    """

    def __init__(self, name: str) -> None:
        self.area_name = name
        self.size = (640, 480)
        self.sent = 0
        self.last_sent = b""
        self._streamer: Any = None
        self._pressed: tuple[float, float] | None = None
        self._strayed = False

    # ------------------------------------------------------------------ called by trame-rca
    def set_streamer(self, streamer: Any) -> None:
        """Take the channel to the browsers."""
        self._streamer = streamer

    def update_size(self, _origin: str, size: dict[str, Any]) -> None:
        """A browser shows the area with this size."""
        ratio = float(size.get("p") or 1)
        width, height = (max(_SMALLEST_SIDE, float(size.get(side) or 0) * ratio) for side in ("w", "h"))
        shrink = min(1.0, _LARGEST_SIDE / max(width, height))
        new = int(width * shrink), int(height * shrink)
        if new != self.size:
            self.size = new
            self.resized()
        self.refresh()

    def on_interaction(self, _origin: str, event: dict[str, Any]) -> None:
        """A mouse or key event of a browser; positions count from the lower left corner."""
        kind = str(event.get("type", ""))
        event = self._scaled(event)
        at = (float(event.get("x") or 0), float(event.get("y") or 0))
        if kind == "LeftButtonPress":
            self._pressed, self._strayed = at, False
        elif self._pressed is not None and kind == "MouseMove":
            self._strayed |= max(abs(at[0] - self._pressed[0]), abs(at[1] - self._pressed[1])) > _CLICK_RADIUS_PX
        self.interact(kind, at, event)
        if kind == "LeftButtonRelease" and self._pressed is not None:
            clicked, self._pressed = not self._strayed, None
            if clicked:
                self.clicked(at)

    def reset(self) -> None:
        """A browser wants a picture."""
        self.refresh()

    def video_codecs(self) -> list[dict[str, Any]]:
        """No video, only pictures."""
        return []

    def negotiate_video(self, _codecs: list[str]) -> dict[str, Any]:
        """No video, only pictures."""
        return {"error": "not-a-video-stream"}

    # ------------------------------------------------------------------ for subclasses
    def resized(self) -> None:
        """:attr:`size` has changed."""

    def refresh(self) -> None:
        """Send a picture soon."""

    def interact(self, kind: str, at: tuple[float, float], event: dict[str, Any]) -> None:
        """Mouse event ``kind`` (VTK's name without ``Event``) at ``at``, pixels of :attr:`size`."""

    def clicked(self, at: tuple[float, float]) -> None:
        """Pressed and released the left button at one place."""

    async def run(self) -> None:
        """Make and send pictures until cancelled."""
        raise NotImplementedError

    async def send(self, picture: NDArray[np.uint8], *, quality: int = RESTING_QUALITY) -> None:
        """Encode and send a picture (R, C) or (R, C, 3), row 0 at the top; waits while the network is busy."""
        encoded = await asyncio.get_running_loop().run_in_executor(None, _jpeg, picture, quality)
        while self._streamer is not None and self._pending() > _PENDING_MESSAGES:
            await asyncio.sleep(0.005)
        self.sent += 1
        self.last_sent = encoded
        if self._streamer is not None:
            rows, columns = picture.shape[:2]
            meta = {"type": "image/jpeg", "codec": "", "w": columns, "h": rows, "st": int(time.time() * 1000)}
            self._streamer.push_content(self.area_name, meta | {"key": "key", "quality": quality}, encoded)

    def _pending(self) -> int:
        return int(self._streamer.coreServer.network_monitor.pending)

    def _scaled(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event in pixels of :attr:`size` instead of those of the browser it comes from."""
        result = dict(event)
        for position, side, length in (("x", "w", self.size[0]), ("y", "h", self.size[1])):
            shown = float(event.get(side) or length)
            if position in event:
                result[position] = int(float(event[position]) * length / max(shown, 1))
            result[side] = length
        return result


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    from io import BytesIO

    from DSAReconLib.rendering.images import pillow_image

    stream = BytesIO()
    pillow_image().fromarray(np.ascontiguousarray(picture)).save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def public_message(error: BaseException) -> str:
    """What a page may say about an error: its kind, never a message, which may name files."""
    kind = error.code if isinstance(error, DSAReconError) else type(error).__name__
    return f"{kind} (the terminal says more)"
