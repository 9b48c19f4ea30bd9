"""A folder that appears complete or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from DSAReconLib.errors import ResourceError, ResultError


def partial_path(folder: Path) -> Path:
    """Where the content of ``folder`` is collected until it is complete (beside it, same file system)."""
    return folder.with_name(f".{folder.name}.partial")


def check_writable(folder: Path, *, overwrite: bool, marker: str) -> None:
    """Refuse early what :func:`replace_folder` would refuse at the end.

    Raises
    ------
    ResultError
        ``folder`` is a file or has content, and ``overwrite`` is off or the content is
        not ours (no file ``marker``).
    ResourceError
        The place cannot be written to.
    """
    try:
        _check_content(folder, overwrite, marker)
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(folder)
        partial.mkdir(exist_ok=True)
        (partial / "probe").write_bytes(b"0")
        shutil.rmtree(partial)
    except OSError as error:
        raise unwritable(folder, error) from error


@contextmanager
def replace_folder(folder: Path, *, overwrite: bool, marker: str, own: Collection[str]) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes ``folder`` if the block ends without an error.

    With ``overwrite``, an older result (recognized by the file ``marker``) is replaced;
    files in it that are not in ``own`` are carried over, never deleted. On any error
    nothing is left behind, and an older result stays as it was.

    Raises
    ------
    ResultError, ResourceError
        See :func:`check_writable`; also a full disk while the block writes.
    """
    partial = partial_path(folder)
    try:
        _check_content(folder, overwrite, marker)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        _sync(partial)
        _commit(partial, folder, own)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> ResourceError:
    """The error to show when writing to ``path`` failed."""
    error = _system_error(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"The disk is full: {path} could not be written.",
            hint="Free some space or choose another folder with --out.",
            code="resource.disk",
        )
    return ResourceError(
        f"{path} could not be written: {error.strerror or error}.",
        hint="Choose a folder that you may write to with --out.",
        code="resource.unwritable",
    )


def _system_error(error: OSError) -> OSError:
    """The error with a number behind one without: pydicom wraps them, with a traceback as the message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        cause = cause.__cause__ or cause.__context__
    return error


def _check_content(folder: Path, overwrite: bool, marker: str) -> None:
    if folder.exists() and not folder.is_dir():
        raise ResultError(f"{folder} is a file; a folder is expected.", hint="Choose another path with --out.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / marker).is_file():
        raise ResultError(
            f"{folder} has content that is not a result of DSARecon; nothing was written.",
            hint="Choose a new or empty folder with --out.",
            code="result.exists",
        )
    if not overwrite:
        raise ResultError(
            f"{folder} holds a result already; nothing was written.",
            hint="Choose another folder with --out, or replace the result with --overwrite.",
            code="result.exists",
        )


def _sync(folder: Path) -> None:
    """Bring every file to the disk, so that the rename cannot come before the content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())


def _commit(partial: Path, folder: Path, own: Collection[str]) -> None:
    if not folder.exists():
        os.replace(partial, folder)
        return
    old = folder.with_name(f".{folder.name}.old")
    os.replace(folder, old)
    try:
        os.replace(partial, folder)
    except OSError:
        os.replace(old, folder)
        raise
    for path in old.iterdir():
        if path.name not in own:
            os.replace(path, folder / path.name)
    shutil.rmtree(old, ignore_errors=True)
