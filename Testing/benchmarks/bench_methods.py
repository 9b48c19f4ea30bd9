"""All methods on the built-in cases, with one command; writes into RESULTS.md.

    python Testing/benchmarks/bench_methods.py

Simulates carotid, aneurysm and AVM (``--cases`` knows imperfect scans and other flow as well),
runs ``dsarecon compare`` on them with 10, 15 and 30 views and writes a section with the
date, the machine, the versions and one table per case, and all numbers as CSV beside it.
``--cases``, ``--views``, ``--methods``, ``--preset`` and ``--detector`` make it smaller. A run
that was stopped goes on with ``--resume``. Before anything is timed, every method
reconstructs the ``tiny`` case once, so that no time holds the compilation of kernels. On a
machine with other work to do only the processor time is worth quoting.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import shutil
import sys
from pathlib import Path

from DSAReconLib.cli.main import main as dsarecon
from DSAReconLib.cli.options import method_names, view_counts
from DSAReconLib.evaluation.report.tables import formatted
from DSAReconLib.io.result_folder import RECORD
from DSAReconLib.jobs.environment import machine
from DSAReconLib.methods.registry import METHODS

RESULTS = Path(__file__).with_name("RESULTS.md")
CASES = ("carotid", "aneurysm", "avm")
IMPERFECT: dict[str, tuple[str, ...]] = {
    "misregistered": ("--misregistration", "0.4"),
    "wobbling": ("--wobble", "0.4"),
    "rolling": ("--roll", "0.3"),
    "pulsatile": ("--flow", "pulsatile"),
    "two-phase": ("--flow", "two-phase"),
    "recirculation": ("--flow", "recirculation"),
    "advection": ("--flow", "advection-diffusion"),
    "blush": ("--flow", "blush"),
    "layering": ("--flow", "layering"),
}
"""The carotid tree with an imperfection of the scan, or flow that breaks Transit's assumption."""
BEGIN, END = "<!-- bench_methods: begin -->", "<!-- bench_methods: end -->"
TABLE = "methods.csv"
TITLE = "# Results\n\nWritten by the programs in this folder; do not edit.\n"
COLUMNS = (
    ("psnr_clean_db", "PSNR clean (dB)", 1),
    ("psnr_normalized_db", "normalized PSNR (dB)", 1),
    ("cldice_auto", "clDice auto", 3),
    ("cldice_best", "clDice best", 3),
    ("dice_auto", "Dice auto", 3),
    ("hd95_auto_mm", "HD95 auto (mm)", 2),
    ("arrival_mae_s", "arrival error (s)", 3),
    ("reconstruction_s", "time (s)", 1),
    ("processor_s", "processor time (s)", 1),
    ("peak_memory_mb", "peak memory (MB)", 0),
)
EXPLANATION = """\
Simulated runs with known truth. PSNR clean: held-out frames against noise-free line integrals, fixed range.
Normalized PSNR: against the noisy frames, every image scaled to [0, 1] by itself, as in the papers. auto: at the
threshold that the method finds itself; best: at the one with the largest Dice. Every method runs alone in a process
of its own; times are without the compilation of kernels. The report of `dsarecon compare` explains every number.
"""


def main() -> int:
    """Simulate, compare, write; returns the exit code of the comparison."""
    args = _arguments()
    cases = [_simulated(args, name) for name in args.cases]
    out = args.out / "comparison"
    if not args.resume:
        _warm_up(args)
    resume = ["--resume"] if args.resume and out.is_dir() else []
    code = dsarecon(
        ["compare", *map(str, cases), "--out", str(out), "--views", _listed(args.views), *_options(args), *resume]
    )
    if code == 0:
        table = args.results.with_name(TABLE)
        shutil.copyfile(out / "results.csv", table)
        write_section(args.results, section(out, args))
        print(f"Wrote {args.results} and {table}; the report is {out / 'report.html'}.")
    return code


def section(folder: Path, args: argparse.Namespace) -> str:
    """Markdown about the comparison in a folder."""
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    here = machine()
    versions = _versions(folder)
    lines = [
        "## Methods on the built-in cases",
        "",
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, preset `{args.preset}`, seed {args.seed}, "
        f"device {', '.join(sorted({row['device'] for row in rows if row['device']}))}, {here['cores']} cores "
        f"({here['system']}), " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
        EXPLANATION,
        "    python Testing/benchmarks/bench_methods.py " + " ".join(_command(args)),
        "",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        lines += [f"### {case}", "", *_table([row for row in rows if row["case"] == case]), ""]
    return "\n".join(lines)


def write_section(path: Path, text: str) -> None:
    """Put the section into the file; what others wrote there stays."""
    content = path.read_text(encoding="utf-8") if path.is_file() else TITLE
    before, _, rest = content.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before.rstrip()}\n\n{BEGIN}\n{text.rstrip()}\n{END}\n{after.lstrip()}", encoding="utf-8")


def _table(rows: list[dict[str, str]]) -> list[str]:
    lines = [["method", "views", *(label for _, label, _ in COLUMNS)]]
    lines.append(["---", *["---:"] * (1 + len(COLUMNS))])
    for row in sorted(rows, key=lambda row: int(row["views"])):
        cells = [formatted(float(row[name]) if row.get(name) else None, digits) for name, _, digits in COLUMNS]
        failed = [f"no result: {row['reason']}", *[""] * (len(COLUMNS) - 1)]
        lines.append([METHODS[row["method"]].title, row["views"], *(cells if row["status"] == "done" else failed)])
    return [f"| {' | '.join(line)} |" for line in lines]


def _versions(folder: Path) -> dict[str, str]:
    """Versions that the first result knows of."""
    for record in sorted(folder.glob(f"*/*/{RECORD}")):
        known = json.loads(record.read_text(encoding="utf-8"))["versions"]
        return {name: known[name] for name in ("dsarecon", "python", "numpy", "numba", "torch") if known.get(name)}
    return {}


def _simulated(args: argparse.Namespace, preset: str) -> Path:
    detector = [] if args.detector is None else ["--detector", str(args.detector)]
    folder = args.out / "cases" / (preset if args.detector is None else f"{preset}-{args.detector}")
    if not (folder / "truth" / "truth.json").is_file():
        tree = ["--preset", "carotid", *IMPERFECT[preset]] if preset in IMPERFECT else ["--preset", preset]
        command = ["simulate", *tree, "--seed", str(args.seed), "--out", str(folder), *detector]
        if dsarecon(command) != 0:
            sys.exit(f"The case {preset} could not be simulated.")
    return folder


def _warm_up(args: argparse.Namespace) -> None:
    tiny = _simulated(argparse.Namespace(**{**vars(args), "detector": None}), "tiny")
    out = args.out / "warm-up"
    again = ["--resume"] if out.is_dir() else []
    dsarecon(["compare", str(tiny), "--out", str(out), "--views", "6", "--quiet", *_options(args), *again])


def _options(args: argparse.Namespace) -> list[str]:
    methods = ["--methods", ",".join(args.methods)] if args.methods else []
    return ["--preset", args.preset, "--device", args.device, "--seed", str(args.seed), *methods]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cases", metavar="A,B,...", type=_names, default=list(CASES), help=f"of {', '.join((*CASES, *IMPERFECT))}")
    add("--views", metavar="N,N,...", type=view_counts, default=[10, 15, 30], help="numbers of views (10,15,30)")
    add("--methods", metavar="A,B,...", type=method_names, help="methods (all that can run here)")
    add("--preset", default="balanced", help="preset of every method, e.g. balanced,vpal=fast (balanced)")
    add("--detector", type=int, metavar="N", help="pixels per side of the detector (that of the case)")
    add("--device", default="auto")
    add("--seed", type=int, default=0)
    add("--out", metavar="DIR", type=Path, default=Path("bench-methods"), help="folder for cases and results")
    add(
        "--results", metavar="FILE", type=Path, default=RESULTS, help=f"file to write the section into ({RESULTS.name})"
    )
    add("--resume", action="store_true", help="go on where a stopped run ended")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _command(args: argparse.Namespace) -> list[str]:
    """The options that repeat this benchmark."""
    options = ["--cases", ",".join(args.cases), "--views", _listed(args.views), "--preset", args.preset]
    options += ["--seed", str(args.seed)] if args.seed else []
    options += ["--methods", ",".join(args.methods)] if args.methods else []
    return options + ([] if args.detector is None else ["--detector", str(args.detector)])


def _listed(counts: list[int]) -> str:
    return ",".join(map(str, counts))


if __name__ == "__main__":
    sys.exit(main())
