"""``dsarecon export``: a result as DICOM objects, or as files of other programs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.errors import ConfigError

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console
    from DSAReconLib.io.result_folder import ResultFolder

HELP = "write a result as DICOM objects for a PACS, or as NRRD, STL, PLY, movie"
EPILOG = "The DICOM objects need the mask and fill run (--source): patient and study are copied from there."
_TARGETS = ("dicom", "nrrd", "stl", "ply", "movie")
_COMPRESSIONS = ("none", "jpeg-ls", "rle")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon export``."""
    parser.add_argument("result", metavar="RESULT", help="result folder")
    parser.add_argument(
        "--dicom", metavar="DIR", help="X-Ray 3D volumes, vessel mask, arrival times, surface, pictures"
    )
    parser.add_argument("--source", metavar="PATH", nargs="+", default=[], help="mask and fill run: files or folders")
    parser.add_argument(
        "--times", metavar="N", type=int, help="number of volumes over time (as many as the result has)"
    )
    parser.add_argument("--compression", choices=_COMPRESSIONS, default="none", help="lossless, of the DICOM volumes")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in --dicom")
    parser.add_argument("--nrrd", metavar="DIR", help="all volumes as NRRD")
    parser.add_argument("--stl", metavar="FILE", help="vessel surface")
    parser.add_argument("--ply", metavar="FILE", help="Gaussians")
    parser.add_argument("--movie", metavar="FILE", help="contrast along the acquired path as .gif or .mp4")
    parser.add_argument("--device", default="cpu", help="cpu or cuda[:i], for pictures")


def run(args: argparse.Namespace, console: Console) -> int:
    """Write what was asked for, and print it."""
    from DSAReconLib.io.result_folder import open_result

    if not any(getattr(args, target) for target in _TARGETS):
        raise ConfigError("Nothing to export.", hint="Name at least one of --dicom, --nrrd, --stl, --ply, --movie.")
    if args.dicom and not args.source:
        raise ConfigError(
            "DICOM objects need the runs that the result was made from.",
            hint="Name their files or folders with --source: patient and study are copied from there.",
        )
    if args.times is not None and args.times < 1:
        raise ConfigError(f"--times must be at least 1; got {args.times}.")
    if args.movie:
        _check_movie(Path(args.movie))
    result = open_result(Path(args.result))
    if args.dicom:
        _export_dicom(args, console)
    _export_copies(args, result, console)
    if args.movie:
        _export_movie(args, result, console)
    console.result = next(str(value) for target in _TARGETS if (value := getattr(args, target)))
    return 0


def _export_dicom(args: argparse.Namespace, console: Console) -> None:
    from DSAReconLib.jobs.export import DicomExport, export_dicom

    job = DicomExport(
        result=Path(args.result),
        sources=tuple(Path(path) for path in args.source),
        out=Path(args.dicom),
        times=args.times,
        compression=args.compression,
        overwrite=args.overwrite,
        device=args.device,
    )
    for path in export_dicom(job, console.progress):
        console.out(str(path))


def _export_copies(args: argparse.Namespace, result: ResultFolder, console: Console) -> None:
    from DSAReconLib.mrml.export import export_result

    for key, target in (("all_nrrd", args.nrrd), ("surface_stl", args.stl), ("gaussians_ply", args.ply)):
        if target:
            for path in export_result(result, key, Path(target)):
                console.out(str(path))


def _check_movie(path: Path) -> None:
    from DSAReconLib.rendering.movie import MOVIE_SUFFIXES, check_movie

    if path.suffix.lower() not in MOVIE_SUFFIXES:
        raise ConfigError(f"--movie {path} has no suffix of a movie.", hint=f"Use one of: {', '.join(MOVIE_SUFFIXES)}.")
    check_movie(path)


def _export_movie(args: argparse.Namespace, result: ResultFolder, console: Console) -> None:
    """As ``dsarecon render --acquired --model gaussians``, through a temporary name: complete or not there."""
    from DSAReconLib.io.atomic import unwritable
    from DSAReconLib.rendering.images import grey_levels
    from DSAReconLib.rendering.movie import write_movie
    from DSAReconLib.rendering.views import render_line_integrals

    path = Path(args.movie)
    partial = path.with_name(f".partial-{path.name}")
    images = render_line_integrals(
        result.load_gaussians(), result.geometry, result.times_s, device=args.device, progress=console.progress
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_movie(partial, grey_levels(images))
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
    console.out(str(path))
