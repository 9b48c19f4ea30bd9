"""``dsarecon reconstruct``: two DICOM runs in, a result folder out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.acquisition.subtraction import DEFAULT_REGISTRATION, REGISTRATIONS
from DSAReconLib.errors import ConfigError
from DSAReconLib.jobs.job import SELECTIONS, ReconstructionJob
from DSAReconLib.methods.registry import DEFAULT_METHOD, METHODS

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "reconstruct a 4D vessel volume from a mask run and a fill run"
EPILOG = (
    "methods:\n"
    + "\n".join(f"  {entry.name:<12} {entry.summary}" for entry in METHODS.values())
    + ("\n\n'dsarecon info --method NAME' lists the parameters that --set knows.")
)

_PLAIN_OPTIONS = (
    *("fill", "mask", "corrections", "registration", "views", "view_indices", "selection", "method", "preset", "size"),
    *("spacing_mm", "seed", "device", "out", "output_times", "report", "overwrite", "resume"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon reconstruct``; those left out stay as the job has them."""
    _add_input(parser)
    _add_method(parser)
    output = parser.add_argument_group("result")
    output.add_argument("--out", metavar="DIR", help="result folder to write")
    output.add_argument("--times", dest="output_times", type=int, metavar="N", help="volumes over time (at most 30)")
    output.add_argument(
        "--no-report", dest="report", action="store_false", default=None, help="leave report.html out (saves seconds)"
    )
    output.add_argument("--overwrite", action="store_true", default=None, help="replace an older result in DIR")
    output.add_argument("--resume", action="store_true", default=None, help="go on where a killed run stopped")
    parser.add_argument("--config", metavar="FILE", help="a job, or the run.json of a result to repeat; options win")


def _add_input(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("input")
    source.add_argument("paths", metavar="PATH", nargs="*", help="files or folders that hold both runs")
    source.add_argument("--fill", metavar="FILE", help="the run with contrast, instead of PATH")
    source.add_argument("--mask", metavar="FILE", help="the run without contrast, instead of PATH")
    source.add_argument(
        "--registration", choices=REGISTRATIONS, help=f"registration of mask and fill frames ({DEFAULT_REGISTRATION})"
    )
    source.add_argument(
        "--header",
        metavar="KEYWORD=VALUE",
        nargs="+",
        action="extend",
        type=_assignment,
        help="DICOM attributes that are missing or wrong in the files, e.g. DistanceSourceToPatient=750",
    )
    source.add_argument(
        "--correct-geometry",
        dest="corrections",
        metavar="TABLE",
        help="measured deviations from the nominal poses (CSV or JSON: frame or primary_deg, row_px, column_px, "
        "roll_deg)",
    )
    views = parser.add_argument_group("views")
    views.add_argument("--views", type=int, metavar="N", help="number of frames to use (all)")
    views.add_argument("--view-indices", metavar="LIST", help="the frames to use, e.g. 0,4,8 or 0:133:4")
    views.add_argument("--selection", choices=SELECTIONS, help="how N frames are chosen (uniform)")


def _add_method(parser: argparse.ArgumentParser) -> None:
    method = parser.add_argument_group("method")
    method.add_argument("--method", choices=tuple(METHODS), help=f"reconstruction method ({DEFAULT_METHOD})")
    method.add_argument("--preset", help="fast, balanced or quality (balanced)")
    method.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        type=_assignment,
        help="parameters of the method",
    )
    method.add_argument("--size", type=int, metavar="N", help="voxels per side (from the preset)")
    method.add_argument("--spacing", dest="spacing_mm", type=float, metavar="MM", help="voxel size")
    method.add_argument("--seed", type=int, help="seed of everything random")
    method.add_argument("--device", help="auto, cpu, cuda or cuda:i (auto)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Reconstruct and print the result folder."""
    from DSAReconLib.jobs.pipeline import run_job

    folder = run_job(job_from_arguments(args), console.progress)
    console.result = str(folder)
    console.out(str(folder))
    return 0


def job_from_arguments(args: argparse.Namespace) -> ReconstructionJob:
    """The job that the options (and ``--config``) describe; ConfigError if they contradict."""
    content = _read_config(Path(args.config)) if args.config else {}
    given = {name: getattr(args, name) for name in _PLAIN_OPTIONS if getattr(args, name) is not None}
    if "views" in given:
        content.pop("view_indices", None)
    if given.get("method", content.get("method")) != content.get("method"):
        content.pop("overrides", None)
    content |= given
    if content.pop("corrected", False) and "corrections" not in content:
        raise ConfigError(
            "The result to repeat was made with geometry corrections.", hint="Name their table by --correct-geometry."
        )
    for name in ("overrides", "header"):
        content[name] = {**content.get(name, {}), **dict(getattr(args, name) or ())}
    if args.paths:
        content["paths"] = tuple(str(path) for path in args.paths)
    if "out" not in content:
        raise ConfigError("No result folder is given.", hint="Name one with --out DIR.")
    return ReconstructionJob.from_json(json.dumps(content))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}).", hint="Check --config.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object.", hint="Check --config.")
    return _job_of_record(content) if "schema_version" in content else content


def _job_of_record(record: dict[str, Any]) -> dict[str, Any]:
    """Entries of the job that wrote a ``run.json``; the input is not part of the record."""
    try:
        return {
            "method": record["method"],
            "preset": record["preset"],
            "overrides": record["config"],
            "view_indices": ",".join(map(str, record["selected_views"])),
            "registration": record["registration"],
            "header": record["header"],
            "corrected": record.get("corrections") is not None,
            "size": record["grid"]["shape_zyx"][0],
            "spacing_mm": record["grid"]["spacing_mm"][0],
        }
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"The run record lacks {error}.", hint="Check --config.") from error


def _assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value
