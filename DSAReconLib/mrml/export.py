"""Copies of a result in formats of other programs, to a place that the user chose."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from DSAReconLib.errors import ResourceError, ResultError
from DSAReconLib.io.result_folder import ResultFolder

_MOVIE_SUFFIXES = (".mp4", ".gif")


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


_SINGLE = {
    "attenuation_nrrd": ("4D attenuation (NRRD sequence)", "attenuation.seq.nrrd"),
    "peak_nrrd": ("Peak attenuation (NRRD)", "attenuation_peak.nrrd"),
    "arrival_nrrd": ("Arrival time (NRRD)", "arrival_time.nrrd"),
    "probability_nrrd": ("Vessel probability (NRRD)", "vessel_probability.nrrd"),
    "surface_stl": ("Vessel surface (STL)", "vessels.stl"),
    "surface_vtp": ("Vessel surface with arrival times (VTP)", "vessels.vtp"),
    "gaussians_ply": ("Gaussians (PLY)", "gaussians.ply"),
}
_ALL_NRRD = ExportKind("all_nrrd", "All volumes (folder of NRRD)", "volumes/")


def export_kinds(result: ResultFolder) -> tuple[ExportKind, ...]:
    """What this result can be exported as, without any package that Slicer lacks."""
    single = [
        ExportKind(key, label, name) for key, (label, name) in _SINGLE.items() if (result.folder / name).is_file()
    ]
    movies = [ExportKind(f"movie/{path.name}", f"Movie ({path.name})", path.name) for path in _movies(result)]
    return (*single, _ALL_NRRD, *movies)


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
    destination = Path(destination)
    if key == _ALL_NRRD.key:
        sources = sorted(result.folder.glob("*.nrrd"))
        return [_copy(source, destination / source.name) for source in sources]
    if key.startswith("movie/"):
        return [_copy(result.folder / Path(key).name, destination)]
    if key not in _SINGLE:
        raise ValueError(f"key must be one of those of export_kinds; got {key!r}")
    return [_copy(result.folder / _SINGLE[key][1], destination)]


def movie_arguments(result: ResultFolder, destination: Path, *, model: str = "gaussians") -> list[str]:
    """Arguments of a child process ``python -u <arguments>`` that renders the acquired path as a movie.

    The suffix of ``destination`` decides: ``.gif`` always works, ``.mp4`` needs imageio-ffmpeg.
    """
    options = ["--acquired", "--model", model, "--out", str(destination)]
    return ["-m", "DSAReconLib", "render", str(result.folder), *options]


def _movies(result: ResultFolder) -> list[Path]:
    return sorted(path for path in result.folder.iterdir() if path.suffix in _MOVIE_SUFFIXES)


def _copy(source: Path, destination: Path) -> Path:
    """Copy through a temporary name beside the destination."""
    if not source.is_file():
        raise ResultError(f"{source} is missing.", hint="Reconstruct again.")
    if destination.exists() and source.samefile(destination):
        return destination
    partial = destination.with_name(f".{destination.name}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, partial)
        os.replace(partial, destination)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise ResourceError(
            f"{destination} cannot be written: {error.strerror}.", hint="Check the folder and the space on the disk."
        ) from error
    return destination
