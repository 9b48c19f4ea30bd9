"""``dsarecon evaluate``: how good a result is, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "compare a result with held-out views and, where it is known, with the truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon evaluate``."""
    parser.add_argument("result", metavar="RESULT", help="result folder")
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="files or folders that hold the two runs it was made from"
    )
    parser.add_argument("--truth", metavar="DIR", help="truth folder of a simulated case")
    parser.add_argument(
        "--correct-geometry", metavar="TABLE", help="the table of geometry corrections that the result was made with"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--report", action="store_true", help="write metrics.json and report.html into RESULT")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:i (auto)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Evaluate and print."""
    from DSAReconLib.evaluation.protocol import prepare_truth
    from DSAReconLib.evaluation.report import build_report
    from DSAReconLib.evaluation.report.tables import text_table
    from DSAReconLib.io.atomic import unwritable
    from DSAReconLib.io.json_text import plain
    from DSAReconLib.io.result_folder import open_result
    from DSAReconLib.jobs.assessment import METRICS_FILE, REPORT_FILE, assess, load_case, read_case_truth, write_metrics
    from DSAReconLib.jobs.resources import resolve_device

    device = resolve_device(args.device)
    result = open_result(Path(args.result))
    truth = None if args.truth is None else read_case_truth(Path(args.truth))
    title = f"{result.record.get('title', 'Result')} from {len(result.selected_views)} views"
    case = load_case(
        args.paths,
        result.record,
        title=title,
        truth=truth,
        corrections=args.correct_geometry,
        progress=console.progress,
    )
    reference = None if truth is None else prepare_truth(truth)
    entry = assess(result, case, reference=reference, device=device, progress=console.progress)
    if args.report:
        try:
            write_metrics(result.folder, entry)
            build_report(result.folder / REPORT_FILE, [entry], case, device=device, progress=console.progress)
        except OSError as error:
            raise unwritable(result.folder, error) from error
        console.note(f"Wrote {METRICS_FILE} and {REPORT_FILE} into {result.folder}.")
    if args.json:
        console.out(json.dumps(plain({"result": result.folder, "metrics": entry.metrics}), indent=1))
    else:
        console.out(text_table([entry.name], [entry.values]))
    console.result = str(result.folder)
    return 0
