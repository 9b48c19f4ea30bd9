"""``dsarecon render``: novel views of a result as line integrals, pictures or a film."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console
    from DSAReconLib.io.result_folder import ResultFolder
    from DSAReconLib.reconstruction import Model

HELP = "render views of a result: line integrals, pictures, films"
MODELS = ("native", "volume", "gaussians")
_STACK = "line_integrals"
_FRAMES_PER_S = 10.0
_MAX_FRAMES_PER_S = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon render``."""
    # argparse takes "-30,10" for an option unless its idea of a negative number includes it
    parser._negative_number_matcher = re.compile(r"^-\d*\.?\d+(,-?\d*\.?\d+)?$")
    parser.add_argument("result", metavar="RESULT", help="result folder")
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--heldout", action="store_true", help="the frames that were not used (default)")
    views.add_argument("--acquired", action="store_true", help="all frames of the fill run")
    views.add_argument(
        "--angles", metavar="P[,S]", nargs="+", type=_angle, help="primary and secondary angles in degrees, LAO/CRA +"
    )
    parser.add_argument("--times", metavar="T", nargs="+", type=float, help="times in s of --angles (all frame times)")
    parser.add_argument("--model", choices=MODELS, default="native", help="what is rendered (what the method fitted)")
    parser.add_argument(
        "--window", nargs=2, type=float, metavar=("LOW", "HIGH"), help="line integrals at both ends of the grey scale"
    )
    parser.add_argument("--fps", type=float, default=_FRAMES_PER_S, help="frames per second of a film (10)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda[:i]")
    parser.add_argument(
        "--out", required=True, metavar="DIR_OR_FILE", help="a folder for everything, or one .nrrd, .gif or .mp4"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Render, write, and print what was written."""
    from DSAReconLib.io.result_folder import open_result
    from DSAReconLib.rendering.movie import check_movie
    from DSAReconLib.rendering.views import render_line_integrals

    out = Path(args.out)
    if out.suffix.lower() not in ("", ".nrrd", ".gif", ".mp4"):
        raise ConfigError(f"--out {out} is of no known kind.", hint="Name a folder or a .nrrd, .gif or .mp4 file.")
    if not 0 < args.fps <= _MAX_FRAMES_PER_S:
        raise ConfigError(f"--fps must be greater than 0 and at most {_MAX_FRAMES_PER_S}; got {args.fps:g}.")
    check_movie(out)
    result = open_result(Path(args.result))
    geometry, times, frames = _requested_views(args, result)
    images = render_line_integrals(
        _model(args.model, result), geometry, times, device=args.device, progress=console.progress
    )
    description = {"geometry": geometry.to_dict(), "times_s": times.tolist(), "frames": frames, "model": args.model}
    for path in _write(out, images, geometry, description, tuple(args.window) if args.window else None, args.fps):
        console.out(str(path))
    return 0


def _angle(text: str) -> tuple[float, float]:
    """Primary and secondary angle of ``P`` or ``P,S``."""
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) not in (1, 2) or not np.all(np.isfinite(numbers)):
        raise argparse.ArgumentTypeError(f"expected P or P,S in degrees, got {text!r}")
    return numbers[0], numbers[1] if len(numbers) == 2 else 0.0


def _requested_views(
    args: argparse.Namespace, result: ResultFolder
) -> tuple[ConeBeamGeometry, NDArray[np.float64], list[int] | None]:
    """Poses, times, and the frames of the fill run that they belong to."""
    if args.angles:
        return *_free_views(args.angles, args.times, result), None
    if args.times:
        raise ConfigError("--times belongs to --angles.", hint="Name angles, or leave --times out.")
    frames = np.arange(len(result.geometry)) if args.acquired else result.heldout_views
    if not len(frames):
        raise ConfigError("The result holds out no frame.", hint="Render --acquired frames or --angles.")
    return result.geometry[frames], result.times_s[frames], frames.tolist()


def _free_views(
    angles: list[tuple[float, float]], times_s: list[float] | None, result: ResultFolder
) -> tuple[ConeBeamGeometry, NDArray[np.float64]]:
    """One angle at many times, many angles at one time, or pairs; detector and distances of the run."""
    times = np.asarray(result.times_s if times_s is None else times_s, float)
    if len(angles) > 1 and times_s is None:
        times = np.linspace(result.times_s[0], result.times_s[-1], len(angles))
    count = max(len(angles), len(times))
    if {len(angles), len(times)} - {1, count}:
        raise ConfigError(
            f"{len(angles)} angles do not go with {len(times)} times.", hint="Give equally many, or one of either."
        )
    poses = np.broadcast_to(np.asarray(angles, float), (count, 2))
    acquired = result.geometry
    geometry = ConeBeamGeometry.from_angles(
        poses[:, 0],
        poses[:, 1],
        sod_mm=float(np.median(acquired.sod_mm)),
        sdd_mm=float(np.median(acquired.sdd_mm)),
        detector_shape=acquired.detector_shape,
        detector_spacing_mm=acquired.detector_spacing_mm,
    )
    return geometry, np.broadcast_to(times, (count,)).copy()


def _model(kind: str, result: ResultFolder) -> Model:
    """The model to render."""
    if kind == "gaussians":
        return result.load_gaussians()
    reconstruction = result.load_reconstruction()
    return reconstruction.model if kind == "native" else reconstruction.volume


def _write(
    out: Path,
    images: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    description: dict[str, Any],
    window: tuple[float, float] | None,
    frames_per_s: float,
) -> list[Path]:
    """Write what ``out`` asks for; returns the files."""
    from DSAReconLib.io.atomic import unwritable
    from DSAReconLib.rendering.images import contrast_window, grey_levels, write_png
    from DSAReconLib.rendering.movie import MOVIE_SUFFIXES, write_movie

    shown = window or contrast_window(images)
    suffix = out.suffix.lower()
    try:
        (out.parent if suffix else out).mkdir(parents=True, exist_ok=True)
        if suffix in MOVIE_SUFFIXES:
            write_movie(out, grey_levels(images, shown), frames_per_s)
            return [out]
        stack = out if suffix else out / f"{_STACK}.nrrd"
        written = _write_line_integrals(stack, images, geometry, description | {"window": list(shown)})
        if not suffix:
            for view, picture in enumerate(grey_levels(images, shown)):
                written.append(out / f"view_{view:03d}.png")
                write_png(written[-1], picture)
        return written
    except OSError as error:
        raise unwritable(out, error) from error


def _write_line_integrals(
    path: Path, images: NDArray[np.float32], geometry: ConeBeamGeometry, description: dict[str, Any]
) -> list[Path]:
    """The images as NRRD (view, row, column), spaced as pixels at the detector, and their poses and times beside it:
    ``views.json`` in a folder of views, else named as the images, so that several stacks may share a folder.
    """
    from DSAReconLib.io.json_text import write_json
    from DSAReconLib.io.nrrd import write_volume

    row_mm, column_mm = geometry.detector_spacing_mm
    grid = VolumeGrid(images.shape, (column_mm, row_mm, 1.0), (0.0, 0.0, 0.0))
    write_volume(path, images, grid, keys={"axes": "view row column", "content": "line integrals"})
    views = path.with_name("views.json") if path.stem == _STACK else path.with_suffix(".views.json")
    write_json(views, description)
    return [path, views]
