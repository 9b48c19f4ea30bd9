"""``dsarecon view``: results in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.errors import ConfigError, DicomRunError

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "look at results in the browser: 3D, novel views, slices, curves"
_LARGEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon view``."""
    parser.add_argument("results", metavar="RESULT", nargs="+", help="result folders; the page switches between them")
    parser.add_argument(
        "--source", metavar="PATH", nargs="+", default=[], help="mask and fill run, to show acquired frames"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port on this machine (a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(args: argparse.Namespace, console: Console) -> int:
    """Serve until Ctrl-C."""
    from DSAReconLib.io.result_folder import open_result
    from DSAReconLib.viewer.server import check_packages, serve

    if not 0 <= args.port <= _LARGEST_PORT:
        raise ConfigError(f"--port must be 0 to {_LARGEST_PORT}; got {args.port}.")
    results = [open_result(Path(folder).expanduser().resolve()) for folder in args.results]
    sources = [Path(path).expanduser() for path in args.source]
    for path in sources:
        if not path.exists():
            raise DicomRunError(f"--source {path} does not exist.", hint="Give the files or folders of both runs.")
    check_packages()
    console.note("Opening ...")

    def on_ready(address: str) -> None:
        console.out(address)
        console.note("Ctrl-C ends the viewer. Whoever has this address on this machine can see the results.")

    serve(
        results,
        sources,
        port=args.port,
        open_browser=not args.no_browser,
        on_ready=on_ready,
        report=console.note,
    )
    return 0
