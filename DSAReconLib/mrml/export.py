"""Copies of a result in formats of other programs, to a place that the user chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from DSAReconLib.io.result_folder import ResultFolder


@dataclass(frozen=True)
class ExportKind:
    """One thing that can be exported.

    Parameters
    ----------
    key
        Stable name, e.g. ``"surface_stl"``.
    label
        What the user sees.
    file_name
        Name that is suggested; ends in ``/`` if the export is a folder.
    """

    key: str
    label: str
    file_name: str


def export_kinds(result: ResultFolder) -> tuple[ExportKind, ...]:
    """What this result can be exported as, without any package that Slicer lacks."""
    raise NotImplementedError


def export_result(result: ResultFolder, key: str, destination: Path) -> list[Path]:
    """Write one kind (see :func:`export_kinds`) to a file or folder; the files written.

    Existing files are replaced, each at once: a failed export leaves the old ones.

    Raises
    ------
    ResultError
        The result does not have it.
    ResourceError
        The destination cannot be written.
    """
    raise NotImplementedError


def movie_arguments(result: ResultFolder, destination: Path, *, model: str = "gaussians") -> list[str]:
    """Arguments of a child process ``python -u <arguments>`` that renders the acquired path as a movie."""
    raise NotImplementedError
