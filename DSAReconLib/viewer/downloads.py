"""Files that the page offers: screenshots made when asked for, finished movies."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREFIX = "/download"
_TYPES = {"png": "image/png", "gif": "image/gif", "mp4": "video/mp4"}


class Downloads:
    """Files by name; every name is fixed or a number, nothing of the machine or the patient."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], bytes]] = {}

    def offer(self, name: str, make: Callable[[], bytes]) -> str:
        """Offer a file whose content ``make`` gives when it is asked for; its address on the page."""
        self._makers[name] = make
        return f"{PREFIX}/{name}".lstrip("/")

    def routes(self) -> list[Any]:
        """Routes of an aiohttp application."""
        from aiohttp import web

        async def download(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            make = self._makers.get(name)
            if make is None:
                raise web.HTTPNotFound
            headers = {"Content-Disposition": f'attachment; filename="dsarecon-{name}"'}
            return web.Response(body=make(), content_type=_TYPES[name.rpartition(".")[2]], headers=headers)

        return [web.get(f"{PREFIX}/{{name}}", download)]


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture (R, C) or (R, C, 3) as PNG."""
    from DSAReconLib.rendering.images import pillow_image

    stream = BytesIO()
    pillow_image().fromarray(np.ascontiguousarray(picture)).save(stream, format="PNG")
    return stream.getvalue()
