"""``dsarecon demo``: simulate a case, reconstruct it with several methods, compare them."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.cli.options import claim_folder, method_names
from DSAReconLib.methods.registry import METHODS

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console
    from DSAReconLib.evaluation.report import ReportCase, ReportEntry
    from DSAReconLib.io.truth import Truth

HELP = "simulate a carotid case, reconstruct it with several methods from 30 views, and compare them"

DEMO_METHODS = ("fdk", "dsa4d", "tiavox", "transit")
"""Methods of the demo, as far as they are registered: the whole takes a few minutes on two cores."""

_MARKER = "demo.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon demo``."""
    available = [name for name in DEMO_METHODS if name in METHODS]
    parser.add_argument("--out", metavar="DIR", default="dsarecon-demo", help="folder to write (dsarecon-demo)")
    parser.add_argument("--tree", metavar="NAME", default="carotid", help="preset of the simulated case (carotid)")
    parser.add_argument("--views", type=int, metavar="N", default=30, help="frames to reconstruct from (30)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulated case (0)")
    parser.add_argument(
        "--methods", metavar="A,B,...", type=method_names, default=available, help=f"methods ({','.join(available)})"
    )
    parser.add_argument("--preset", default="balanced", help="preset of every method (balanced)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:i (auto)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run the demo and print where its results are."""
    from DSAReconLib.evaluation.report import build_report
    from DSAReconLib.evaluation.report.tables import text_table
    from DSAReconLib.io.atomic import unwritable

    out = Path(args.out).expanduser().absolute()
    try:
        facts = {"tree": args.tree, "seed": args.seed, "views": args.views, "methods": args.methods}
        claim_folder(out, _MARKER, facts, what="a demo", reuse=True)
        (out / "report.html").unlink(missing_ok=True)
        truth = _simulate(args, out, console)
        case, entries = _reconstruct_and_judge(args, out, truth, console)
        report = build_report(out / "report.html", entries, case, device="cpu", progress=console.progress)
    except OSError as error:
        raise unwritable(out, error) from error
    console.out(text_table([entry.name for entry in entries], [entry.values for entry in entries]))
    results = [str(out / name) for name in args.methods if (out / name).is_dir()]
    console.out(f"\nReport:  {report}\nResults: {', '.join(results)}")
    console.out(f"Look:    {shlex.join(['dsarecon', 'view', *reversed(results), '--source', str(out / 'case')])}")
    console.result = str(out)
    return 0


def _simulate(args: argparse.Namespace, out: Path, console: Console) -> Truth:
    from DSAReconLib.simulation.case import simulate_case
    from DSAReconLib.simulation.config import preset
    from DSAReconLib.simulation.writing import write_case

    console.note(f"Simulating the {args.tree} case (seed {args.seed}) ...")
    simulated = simulate_case(dataclasses.replace(preset(args.tree), seed=args.seed), console.progress)
    write_case(out / "case", simulated)
    return simulated.truth


def _reconstruct(args: argparse.Namespace, out: Path, runs: tuple[str, str], console: Console) -> list[Path]:
    """Result folders of the methods; one that needs a package which is not installed is left out."""
    from DSAReconLib.errors import DependencyError, DSAReconError
    from DSAReconLib.jobs.child import run_in_child
    from DSAReconLib.jobs.job import ReconstructionJob

    folders: list[Path] = []
    for name in args.methods:
        console.note(f"Reconstructing with {METHODS[name].title} from {args.views} views ...")
        job = ReconstructionJob(
            out=str(out / name),
            paths=runs,
            method=name,
            preset=args.preset,
            views=args.views,
            device=args.device,
            overwrite=True,
        )
        try:
            folders.append(run_in_child(job, console.progress))
        except DSAReconError as error:
            if error.code != DependencyError.default_code:
                raise
            console.progress.warn(error.code, f"{error.message} It is left out.")
    if not folders:
        raise DependencyError("None of the methods can run here.", hint="See 'dsarecon info' for what is missing.")
    return folders


def _reconstruct_and_judge(
    args: argparse.Namespace, out: Path, truth: Truth, console: Console
) -> tuple[ReportCase, list[ReportEntry]]:
    from DSAReconLib.evaluation.protocol import prepare_truth
    from DSAReconLib.io.result_folder import open_result
    from DSAReconLib.jobs.assessment import assess, load_case, write_metrics
    from DSAReconLib.jobs.resources import resolve_device

    device = resolve_device(args.device)
    runs = str(out / "case" / "mask.dcm"), str(out / "case" / "fill.dcm")
    folders = _reconstruct(args, out, runs, console)
    console.note("Evaluating ...")
    reference = prepare_truth(truth)
    results = [open_result(folder) for folder in folders]
    title = f"{args.tree.capitalize()}, simulated (seed {args.seed})"
    case = load_case(runs, results[0].record, title=title, truth=truth, progress=console.progress)
    entries = []
    for result in results:
        entry = assess(result, case, reference=reference, device=device, progress=console.progress)
        write_metrics(result.folder, entry)
        entries.append(entry)
    return case, entries
