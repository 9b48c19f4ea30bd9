"""Life of the viewer's web server: start, address, clean end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from DSAReconLib.errors import DependencyError, ResourceError
from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.viewer.novel import RenderServers
from DSAReconLib.viewer.security import QUERY, Gate, new_token

HOST = "127.0.0.1"
_PACKAGES = ("slicer", "trame_slicer", "trame_vuetify", "trame_rca", "vtk")
_END_LIMIT_S = 3.0


def _quiet_vtk() -> None:
    """Render without a display where there is none, and keep VTK's remarks about that to itself."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)


def check_packages() -> None:
    """Raise DependencyError with the line that installs what the viewer needs."""
    from importlib.util import find_spec

    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"The viewer needs packages that are not installed: {', '.join(missing)}.",
            hint="Install them: pip install dsarecon[viewer]",
        )


def serve(
    results: list[ResultFolder],
    sources: list[Path],
    *,
    port: int,
    open_browser: bool,
    on_ready: Callable[[str], None],
    report: Callable[[str], None],
) -> None:
    """Show results until Ctrl-C or SIGTERM.

    Parameters
    ----------
    results
        Opened result folders.
    sources
        Files and folders of the acquired runs, may be empty.
    port
        0 takes a free one.
    on_ready
        Gets the address, token included.
    report
        Takes messages for the terminal.

    Raises
    ------
    ResourceError
        The port is taken.
    """
    servers = RenderServers()
    servers.of(results[0].folder)  # starts while the packages are imported
    try:
        asyncio.run(_Session(results, sources, servers, report).run(port, open_browser, on_ready))
    finally:
        servers.close()


class _Session:
    def __init__(
        self, results: list[ResultFolder], sources: list[Path], servers: RenderServers, report: Callable[[str], None]
    ) -> None:
        self._results, self._sources, self._servers, self._report = results, sources, servers, report
        self._end = asyncio.Event()
        self._web: Any = None

    async def run(self, port: int, open_browser: bool, on_ready: Callable[[str], None]) -> None:
        from trame.app import get_server

        self._watch_signals()
        _quiet_vtk()
        os.environ["TRAME_ARGS"] = "--server"  # the command line is ours, not trame's
        server = get_server("dsarecon", client_type="vue3")
        viewer = self._viewer(server)
        gate = Gate(new_token(), lambda: self._port())
        server.controller.on_server_bind.add(lambda web: self._bind(web, server, viewer, gate))
        running = server.start(
            port=port,
            host=HOST,
            thread=True,
            open_browser=False,
            show_connection_info=False,
            exec_mode="coroutine",
            timeout=0,
        )
        serving = asyncio.ensure_future(running)
        ended = asyncio.ensure_future(self._end.wait())
        ready = asyncio.ensure_future(_ready(server))
        try:
            await asyncio.wait({serving, ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            _raise_failure(serving, port)
            if not ended.done():
                await self._work(viewer, server, serving, ended, gate, open_browser, on_ready)
        finally:
            ready.cancel()
            await self._stop(server, serving)

    async def _work(
        self, viewer: Any, server: Any, serving: Any, ended: Any, gate: Gate, open_browser: bool, on_ready: Any
    ) -> None:
        for area in viewer.areas:
            server.root_server.controller.rc_area_register(area)
        address = f"http://{HOST}:{self._port()}/?{QUERY}={gate.token}"
        on_ready(address)
        if open_browser:
            asyncio.get_running_loop().run_in_executor(None, webbrowser.open, address)
        working = asyncio.ensure_future(viewer.run())
        await asyncio.wait({working, serving, ended}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # a mistake in the viewer ends it with its traceback
        viewer.stop()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    def _viewer(self, server: Any) -> Any:
        from DSAReconLib.viewer.app import Viewer
        from DSAReconLib.viewer.page import build_page

        viewer = Viewer(server, self._results, self._sources, self._servers, self._report)
        build_page(server)
        return viewer

    def _bind(self, web: Any, server: Any, viewer: Any, gate: Gate) -> None:
        """Before the server listens: the gate in front of everything, the token for the websocket, downloads."""
        self._web = web
        web.app.middlewares.append(gate.middleware())
        web.app.add_routes([*viewer.downloads.routes(), gate.session_route()])
        server.protocol.updateSecret(gate.token)

    def _port(self) -> int:
        return int(self._web.get_port())

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._end.set)
            except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt
                return

    async def _stop(self, server: Any, serving: Any) -> None:
        if self._web is not None and self._web.runner is not None and not serving.done():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(server.stop(), _END_LIMIT_S)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _ready(server: Any) -> None:
    await server.ready


def _raise_failure(serving: Any, port: int) -> None:
    if not serving.done():
        return
    try:
        serving.result()
    except OSError as error:
        raise ResourceError(
            f"Port {port} of {HOST} cannot be used: {error.strerror or error}.",
            hint="Choose another --port, or leave it out to take a free one.",
            code="resource.port",
        ) from error
