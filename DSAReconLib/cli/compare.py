"""``dsarecon compare``: several methods on the same runs, views and metrics."""

from __future__ import annotations

import argparse
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from DSAReconLib.cli.options import claim_folder, method_names, method_presets, view_counts
from DSAReconLib.errors import DSAReconError
from DSAReconLib.methods.registry import METHODS

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console
    from DSAReconLib.evaluation.report import ComparedCase, ResultRow
    from DSAReconLib.jobs.comparison import Comparison

HELP = "compare methods on the same runs, views and metrics, over one or more cases"
EPILOG = (
    "writes DIR/<case>/<method>-<views>/ (result folders), DIR/results.csv, DIR/report.html and, of several\n"
    "cases, DIR/statistics.csv\n\n"
    "methods:\n" + "\n".join(f"  {entry.name:<12} {entry.summary}" for entry in METHODS.values())
)

_MARKER = "compare.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon compare``."""
    add = parser.add_argument
    add(
        "paths",
        metavar="PATH",
        nargs="+",
        help="folders with one case each, or the files of one case",
    )
    add("--out", metavar="DIR", required=True, help="folder to write")
    add("--methods", metavar="A,B,...", type=method_names, help="methods (all that can run here)")
    add("--views", metavar="N,N,...", type=view_counts, default=[10, 30], help="numbers of frames to use (10,30)")
    add(
        "--preset",
        metavar="P,M=P,...",
        type=method_presets,
        default={"": "balanced"},
        help="preset of every method, and of methods with one of their own, e.g. balanced,vpal=fast (balanced)",
    )
    add(
        "--correct-geometry",
        dest="corrections",
        metavar="TABLE",
        help="measured deviations from the nominal poses, for every case",
    )
    add("--truth", metavar="DIR", help="truth folder, of one case (CASE/truth if it is there)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:i (auto)")
    add("--seed", type=int, help="seed of everything random")
    add("--resume", action="store_true", help="keep finished results in DIR and go on where a stopped run ended")


def run(args: argparse.Namespace, console: Console) -> int:
    """Compare and print where the results are."""
    from DSAReconLib.evaluation.report.comparison_sections import headlines
    from DSAReconLib.evaluation.report.rows import RowTable, aligned, text_rows
    from DSAReconLib.io.atomic import unwritable
    from DSAReconLib.jobs.comparison import TABLE_FILE, compare

    comparison = _comparison(args)
    out = comparison.out
    marker = {"presets": _presets(comparison), "methods": comparison.methods, "views": comparison.view_counts}
    try:
        claim_folder(out, _MARKER, marker, what="a comparison", reuse=args.resume)
        rows, cases = compare(comparison, console.progress, console.note)
        if all(row.failure for row in rows):
            raise DSAReconError(
                f"No method gave a result; the first: {rows[0].failure}" if rows else "No method can run here.",
                hint="See 'dsarecon info' for what is missing, and results.csv for the reasons.",
                code="compare.nothing",
            )
        report = _report(comparison, rows, cases)
    except OSError as error:
        raise unwritable(out, error) from error
    console.out(aligned(text_rows(rows, headlines(RowTable(rows)))))
    console.out(f"\nReport:  {report}\nTable:   {out / TABLE_FILE}")
    console.result = str(out)
    return 0


def _comparison(args: argparse.Namespace) -> Comparison:
    from DSAReconLib.jobs.comparison import Comparison, find_studies
    from DSAReconLib.jobs.resources import resolve_device

    return Comparison(
        studies=find_studies(args.paths, args.truth),
        methods=tuple(args.methods or METHODS),
        view_counts=tuple(args.views),
        out=Path(args.out).expanduser().absolute(),
        preset=args.preset.get("", "balanced"),
        presets={method: preset for method, preset in args.preset.items() if method},
        corrections=None if args.corrections is None else str(Path(args.corrections).expanduser().absolute()),
        device=resolve_device(args.device),
        seed=args.seed,
        resume=args.resume,
        optional=args.methods is None,
    )


def _presets(comparison: Comparison) -> dict[str, str]:
    return {method: comparison.preset_of(method) for method in comparison.methods}


def _preset_words(comparison: Comparison) -> str:
    """``balanced``, or ``balanced (vpal: fast)``."""
    own = [f"{method}: {preset}" for method, preset in _presets(comparison).items() if preset != comparison.preset]
    return comparison.preset + (f" ({', '.join(own)})" if own else "")


def _report(comparison: Comparison, rows: list[ResultRow], cases: list[ComparedCase]) -> Path:
    import datetime

    from DSAReconLib.acquisition.subtraction import DEFAULT_REGISTRATION
    from DSAReconLib.evaluation.report import build_comparison
    from DSAReconLib.evaluation.report.resources import resource
    from DSAReconLib.evaluation.statistics import MINIMUM_CASES
    from DSAReconLib.jobs.assessment import MAX_HELDOUT, REPORT_FILE
    from DSAReconLib.jobs.comparison import FEWEST_SHARED
    from DSAReconLib.jobs.environment import machine, versions

    here, known = machine(), versions()
    preset_words = _preset_words(comparison)
    facts = {
        "preset": preset_words,
        "device": f"{comparison.device} ({here['cores']} cores, {here['machine']})",
        "DSARecon": str(known["dsarecon"]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "packages": ", ".join(f"{name} {known[name]}" for name in ("numpy", "numba", "torch") if known[name]),
    }
    words = Template(resource("protocol_comparison.html")).substitute(
        preset=preset_words,
        corrections="" if comparison.corrections is None else ", poses corrected by a table of measured deviations",
        registration=DEFAULT_REGISTRATION,
        max_heldout=MAX_HELDOUT,
        fewest_shared=FEWEST_SHARED,
        reference=rows[0].title,
        minimum_cases=MINIMUM_CASES,
    )
    return build_comparison(comparison.out / REPORT_FILE, rows, cases, facts, words)
