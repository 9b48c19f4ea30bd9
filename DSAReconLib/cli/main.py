"""The command ``dsarecon``: finds the sub-command, runs it, turns errors into exit codes."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from DSAReconLib import __version__
from DSAReconLib.cli.console import Console
from DSAReconLib.errors import ConfigError, DSAReconError, JobCancelled
from DSAReconLib.io.atomic import unwritable
from DSAReconLib.jobs.events import beating
from DSAReconLib.jobs.log import internal_error, missing_package
from DSAReconLib.jobs.protocol import PROTOCOL_VERSION
from DSAReconLib.jobs.resources import memory_errors

COMMANDS = (
    "simulate",
    "inspect",
    "reconstruct",
    "render",
    "export",
    "fetch",
    "send",
    "evaluate",
    "compare",
    "convert",
    "view",
    "demo",
    "info",
)
DONE, FAILED, USAGE, CANCELLED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``dsarecon`` with the given arguments; returns the exit code (0, 1, 2 or 130)."""
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # before the console handles signals, e.g. while modules are loaded
        sys.stderr.write(f"{JobCancelled()}\n")
        return CANCELLED


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        return _without_command(arguments)
    module = _command(arguments[0])
    parser = argparse.ArgumentParser(
        prog=f"dsarecon {arguments[0]}",
        description=module.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=getattr(module, "EPILOG", None),
    )
    module.add_arguments(parser)
    _add_common_arguments(parser)
    try:
        options = parser.parse_args(arguments[1:])
    except SystemExit as end:
        return int(end.code or 0)
    console = Console(quiet=options.quiet, json_progress=options.json_progress)
    with _signals_cancel(console):
        return _run(module, options, console)


def _run(module: Any, options: argparse.Namespace, console: Console) -> int:
    progress = console.progress
    if console.json_progress:
        progress.send("started", protocol=PROTOCOL_VERSION, version=__version__, pid=os.getpid(), device=None)
    try:
        heartbeat = beating(progress) if console.json_progress else nullcontext()
        with _log_file(options.log), heartbeat, memory_errors():
            code = int(module.run(options, console))
        console.close()
        if code == DONE:
            progress.send("finished", result=console.result)
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has gone
        return FAILED
    except KeyboardInterrupt:
        return _failed(console, JobCancelled())
    except DSAReconError as error:
        return _failed(console, error)
    except Exception as error:
        return _failed(console, missing_package(error) or internal_error(error))


def _failed(console: Console, error: DSAReconError) -> int:
    console.close()
    if isinstance(error, JobCancelled):
        console.progress.send("cancelled", checkpoint=error.checkpoint)
        console.note(str(error))
        return CANCELLED
    console.progress.send("failed", code=error.code, message=error.message, hint=error.hint)
    console.error(error)
    return USAGE if isinstance(error, ConfigError) else FAILED


def _without_command(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dsarecon",
        description="From a rotational DSA acquisition to a 4D vessel volume. Research software, not a medical device.",
        epilog="'dsarecon COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"dsarecon {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name in COMMANDS:
        commands.add_parser(name, help=_command(name).HELP if {"-h", "--help"} & set(arguments) else None)
    try:
        parser.parse_args(arguments)
        parser.print_usage(sys.stderr)
    except SystemExit as end:
        return int(end.code or 0)
    return USAGE


def _command(name: str) -> Any:
    return importlib.import_module(f"DSAReconLib.cli.{name}")


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--quiet", "-q", action="store_true", help="print data and errors only")
    group.add_argument(
        "--json-progress", action="store_true", help="print progress and outcome as '@dsarecon {json}' lines on stdout"
    )
    group.add_argument("--log", metavar="FILE", help="write a detailed log to FILE")


@contextmanager
def _log_file(path: str | None) -> Iterator[None]:
    """Everything that the library logs goes to ``path`` as well."""
    if path is None:
        yield
        return
    root = logging.getLogger("DSAReconLib")
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise unwritable(Path(path), error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    former = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(former)
        handler.close()


@contextmanager
def _signals_cancel(console: Console) -> Iterator[None]:
    """Ctrl-C or SIGTERM cancels (and leaves a checkpoint); a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():  # signals belong to whoever called us
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if console.progress.cancelled.is_set():
            raise KeyboardInterrupt
        console.progress.cancel()
        console.note("Cancelling; once more to stop at once.")

    former = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
