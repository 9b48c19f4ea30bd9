"""The checkpoint folder beside a result: whose state it holds, and whether it may be continued."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import ConfigError
from DSAReconLib.io.atomic import unwritable
from DSAReconLib.io.json_text import plain, read_json, write_json

_JOB = "job.json"
_INTERVAL_S = 10.0


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Digest of everything that decides the result: inputs, views, grid, method, parameters."""
    text = json.dumps(plain(identity), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def open_checkpoint(folder: Path, identity: Mapping[str, Any], *, resume: bool) -> CheckpointStore:
    """Store for the state of the job with this ``identity``; empty unless ``resume``.

    Raises
    ------
    ConfigError
        ``resume`` and the folder belongs to another job.
    ResourceError
        The folder cannot be written.
    """
    digest = fingerprint(identity)
    if resume and (folder / _JOB).is_file():
        stored = read_json(folder / _JOB)
        if stored.get("fingerprint") != digest:
            raise ConfigError(
                f"{folder} belongs to another job: {_difference(stored, identity)}.",
                hint="Repeat the former input and options, or leave out --resume to start anew.",
                code="config.resume",
            )
    else:
        discard_checkpoint(folder)
        try:
            folder.mkdir(parents=True)
            write_json(folder / _JOB, {"fingerprint": digest, **identity})
        except OSError as error:
            raise unwritable(folder, error) from error
    return CheckpointStore(folder, _INTERVAL_S)


def checkpoint_fingerprint(folder: Path) -> str | None:
    """Fingerprint of the job whose state lies in a checkpoint folder; ``None`` if there is none."""
    if not (folder / _JOB).is_file():
        return None
    stored = read_json(folder / _JOB).get("fingerprint")
    return None if stored is None else str(stored)


def has_state(folder: Path) -> bool:
    """Whether there is something to resume from (a saved state is complete: it is renamed into place)."""
    return (folder / "state.npz").is_file()


def discard_checkpoint(folder: Path) -> None:
    """Remove a checkpoint folder, if it is one."""
    if (folder / _JOB).is_file() or not any(folder.glob("*")):
        shutil.rmtree(folder, ignore_errors=True)


def _difference(stored: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    names = [name for name, value in plain(identity).items() if stored.get(name) != value]
    return f"it differs in {', '.join(names)}" if names else "it is of another version"
