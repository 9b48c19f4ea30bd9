"""Options and folders that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DSAReconLib.errors import ResultError
from DSAReconLib.methods.registry import METHODS


def method_names(text: str) -> list[str]:
    """Names of methods, separated by commas; each once."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    return names


def view_counts(text: str) -> list[int]:
    """Numbers of views, separated by commas; each once, increasing."""
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        counts = []
    if not counts or counts[0] < 2:
        raise argparse.ArgumentTypeError(f"numbers of at least 2, separated by commas, are expected; got {text!r}")
    return counts


def method_presets(text: str) -> dict[str, str]:
    """Presets by method from ``balanced``, ``vpal=fast`` or ``balanced,vpal=fast``; that of all others under ``""``."""
    presets: dict[str, str] = {}
    for part in text.split(","):
        method, separator, preset = (piece.strip() for piece in part.rpartition("="))
        if not preset or bool(method) != bool(separator) or (method and method not in METHODS) or method in presets:
            raise argparse.ArgumentTypeError(f"PRESET or METHOD=PRESET, separated by commas, is expected; got {text!r}")
        presets[method] = preset
    return presets


def claim_folder(folder: Path, marker: str, content: Mapping[str, Any], *, what: str, reuse: bool) -> None:
    """Make a folder ours, or take up one that is; anything else in it is refused.

    Parameters
    ----------
    folder
        Need not exist.
    marker
        Name of the JSON file with ``content`` that says that the folder is ours.
    what
        What the folder holds, for messages.
    reuse
        Whether an older one may be taken up.

    Raises
    ------
    ResultError
        The folder has other content, or is an older one and ``reuse`` is off.
    """
    from DSAReconLib.io.json_text import write_json

    if folder.exists() and not folder.is_dir():
        raise ResultError(f"{folder} is a file; a folder is expected.", hint="Choose another path with --out.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / marker).is_file():
            raise ResultError(
                f"{folder} has content that is not {what} of DSARecon; nothing was written.",
                hint="Choose a new or empty folder with --out.",
                code="result.exists",
            )
        if not reuse:
            raise ResultError(
                f"{folder} holds {what} already; nothing was written.",
                hint="Go on with it with --resume, or choose another folder with --out.",
                code="result.exists",
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / marker, content)
