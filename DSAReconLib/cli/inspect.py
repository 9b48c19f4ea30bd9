"""``dsarecon inspect``: the rotational runs in files and folders, their pairing, and every warning."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.acquisition.pairing import RunPair, pair_runs
from DSAReconLib.acquisition.summary import RunSummary
from DSAReconLib.errors import DicomRunError, PairingError

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "list the rotational runs in files and folders, their pairing, geometry and warnings"

_COLUMNS = ("run", "role", "frames", "size", "primary", "secondary", "arc", "time", "SOD / SDD", "pixel", "encoding")
_LEFT_ALIGNED = {"run", "role", "encoding"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon inspect``."""
    parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="DICOM files or folders (searched through)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print what was found; fails if there is no rotational run."""
    from DSAReconLib.dicom.find import find_runs

    summaries = find_runs(args.paths, progress=console.progress)
    runs = [summary for summary in summaries if summary.is_run]
    pairs, problem = _pairs(runs)
    if args.json:
        console.out(json.dumps(_report(summaries, pairs, problem), indent=1))
    elif summaries:
        console.out(_text(summaries, pairs, problem))
    if not runs:
        raise _no_run(summaries, args.paths)
    return 0


def _pairs(runs: Sequence[RunSummary]) -> tuple[list[RunPair], PairingError | None]:
    if not runs:
        return [], None
    try:
        return pair_runs(runs), None
    except PairingError as error:
        return [], error


def _no_run(summaries: Sequence[RunSummary], paths: Sequence[Path]) -> DicomRunError:
    if len(summaries) == 1:
        return DicomRunError(summaries[0].refusal, code=summaries[0].refusal_code, hint=summaries[0].hint)
    if summaries:
        return DicomRunError(
            f"None of {len(summaries)} DICOM files is a rotational run.",
            code="dicom.none_found",
            hint="The reasons are listed above.",
        )
    return DicomRunError(
        f"No DICOM file was found in {', '.join(str(path) for path in paths)}.",
        code="dicom.none_found",
        hint="Give the folder or the files of the mask and fill run.",
    )


def _report(summaries: Sequence[RunSummary], pairs: Sequence[RunPair], problem: PairingError | None) -> dict[str, Any]:
    return {
        "runs": [summary.to_dict() for summary in summaries if summary.is_run],
        "refused": [
            {"path": str(s.path), "code": s.refusal_code, "message": s.refusal, "hint": s.hint}
            for s in summaries
            if not s.is_run
        ],
        "pairs": [
            {
                "mask": {"path": str(pair.mask.path), "part": pair.mask.part},
                "fill": {"path": str(pair.fill.path), "part": pair.fill.part},
                "certain": pair.certain,
                "warnings": [list(warning) for warning in pair.warnings],
            }
            for pair in pairs
        ],
        "pairing_problem": None if problem is None else {"code": problem.code, "message": problem.message},
    }


def _text(summaries: Sequence[RunSummary], pairs: Sequence[RunPair], problem: PairingError | None) -> str:
    runs = [summary for summary in summaries if summary.is_run]
    refused = [summary for summary in summaries if not summary.is_run]
    blocks = []
    if runs:
        blocks.append("\n".join([f"Rotational runs: {len(runs)}", *_table([_row(run) for run in runs])]))
        blocks.append(_pairing_text(pairs, problem))
    warnings = [f"  {run.label}: {message}  [{code}]" for run in runs for code, message in run.warnings]
    warnings += [
        f"  {run.label}: {run.encoding} cannot be decoded here; install python-gdcm  [dicom.decoder]"
        for run in runs
        if not run.decodable
    ]
    if warnings:
        blocks.append("\n".join(["Warnings:", *warnings]))
    if refused:
        lines = [f"  {_named(summary)}  [{summary.refusal_code}]" for summary in refused]
        blocks.append("\n".join([f"Not rotational runs: {len(refused)}", *lines]))
    return "\n\n".join(blocks)


def _named(summary: RunSummary) -> str:
    name = summary.path.name
    return summary.refusal if name in summary.refusal else f"{name}: {summary.refusal}"


def _pairing_text(pairs: Sequence[RunPair], problem: PairingError | None) -> str:
    if problem is not None:
        return f"Pairs: none. {problem.message}"
    lines = [f"Pairs: {len(pairs)}"]
    for pair in pairs:
        doubt = "" if pair.certain else "  (the header does not tell which is which: the pixels will)"
        lines.append(f"  mask {pair.mask.label}  +  fill {pair.fill.label}{doubt}")
        lines += [f"    {message}  [{code}]" for code, message in pair.warnings]
    return "\n".join(lines)


def _row(run: RunSummary) -> tuple[str, ...]:
    return (
        run.label,
        run.role,
        str(run.frames),
        f"{run.rows} x {run.columns}",
        _angles(run.primary_deg),
        _angles(run.secondary_deg),
        f"{run.arc_deg:.1f} deg",
        f"{run.duration_s:.2f} s",
        f"{run.sod_mm:.0f} / {run.sdd_mm:.0f} mm",
        f"{run.detector_spacing_mm[0]:.3f} mm",
        run.encoding,
    )


def _angles(first_and_last: tuple[float, float]) -> str:
    first, last = (round(angle, 1) + 0.0 for angle in first_and_last)  # adding 0 takes the sign off a zero
    return f"{first:.1f} .. {last:.1f}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(_COLUMNS, *rows, strict=True)]
    lines = []
    for row in (_COLUMNS, *rows):
        cells = [
            cell.ljust(width) if name in _LEFT_ALIGNED else cell.rjust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
