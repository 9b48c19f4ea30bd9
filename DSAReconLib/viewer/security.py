"""Who may talk to the viewer: programs of this machine that know the token of the address."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

QUERY = "secret"
"""Name of the token in the address; trame's client sends it on over the websocket."""

SESSION_PATH = "/paraview/"
"""Where trame's client looks for a session launcher."""

_HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """A random token; it begins with a letter because trame's client turns digits into numbers."""
    return "v" + secrets.token_hex(16)


class Gate:
    """Refuses requests (page, files, websocket, downloads) that do not bring the token.

    The token comes in the address first; the answer stores it in a cookie of this page, with
    which the browser asks for everything else. Requests for another host name (DNS
    rebinding) or from another page's script are refused too.

    Parameters
    ----------
    token
        The secret.
    port
        Port of the server; known when the server listens.
    """

    def __init__(self, token: str, port: Callable[[], int]) -> None:
        self.token, self._port = token, port

    def allows(self, host: str, origin: str | None, query: str | None, cookie: str | None) -> bool:
        """Whether a request with these header fields may be answered."""
        if not self._is_ours(host) or (origin is not None and not self._is_ours(urlsplit(origin).netloc)):
            return False
        return self._right(query) or self._right(cookie)

    def middleware(self) -> Callable[..., Awaitable[Any]]:
        """The gate for an aiohttp application."""
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
            query, cookie = request.query.get(QUERY), request.cookies.get(self.cookie)
            if not self.allows(request.headers.get("Host", ""), request.headers.get("Origin"), query, cookie):
                return web.Response(status=403, text="Use the address that 'dsarecon view' printed.\n")
            try:
                response = await handler(request)
            except web.HTTPException as error:
                self._finish(error, query)
                raise
            if not response.prepared:
                self._finish(response, query)
            return response

        return guard

    def session_route(self) -> Any:
        """Where trame's client asks for the websocket and its token: a page loaded again has the cookie only."""
        from aiohttp import web

        async def session(_request: web.Request) -> web.Response:
            return web.json_response({"sessionURL": "ws://USE_HOST/ws", "secret": self.token})

        return web.post(SESSION_PATH, session)

    @property
    def cookie(self) -> str:
        """Name of the cookie: cookies of all ports of a machine live together."""
        return f"dsarecon-{self._port()}"

    def _finish(self, response: Any, query: str | None) -> None:
        response.headers.update(_HEADERS)
        if self._right(query):
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")

    def _right(self, candidate: str | None) -> bool:
        return candidate is not None and hmac.compare_digest(candidate.encode(), self.token.encode())

    def _is_ours(self, netloc: str) -> bool:
        return netloc in {f"{host}:{self._port()}" for host in _HOSTS}
