"""``dsarecon convert``: runs as a case of 4DRGS, VPAL or TOGS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.acquisition.subtraction import REGISTRATIONS
from DSAReconLib.io.datasets.find import LAYOUTS

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "write runs in the layout of other programs (4DRGS, VPAL, TOGS)"
EPILOG = (
    "layouts:\n"
    "  4drgs        mask_run.nii.gz, fill_run.nii.gz, transforms.json (and mesh_ref.obj of a simulated case);\n"
    "               with --subtracted proj.nii.gz, as VPAL reads it\n"
    "  togs         transforms_train.json, transforms_test.json and PNG frames, as D-NeRF has them\n\n"
    "Every command that takes PATH reads such folders, too."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon convert``."""
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="+", help="files or folders that hold both runs")
    add("--layout", choices=LAYOUTS, required=True, help="what to write")
    add("--out", metavar="DIR", required=True, help="new folder")
    add("--registration", choices=REGISTRATIONS, default="none", help="registration of mask and fill frames (none)")
    add("--correct-geometry", metavar="TABLE", help="measured deviations from the nominal poses")
    add("--subtracted", action="store_true", help="4drgs: line integrals instead of both runs")
    add("--size", type=int, metavar="N", default=256, help="4drgs: voxels per side (256)")
    add("--truth", metavar="DIR", help="4drgs: truth folder whose surface becomes mesh_ref.obj (PATH/truth)")
    add("--views", type=int, metavar="N", default=30, help="togs: frames of the training set (30)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Convert and print the folder."""
    from DSAReconLib.io.atomic import unwritable
    from DSAReconLib.jobs.assessment import read_case_truth
    from DSAReconLib.jobs.comparison import find_studies
    from DSAReconLib.jobs.conversion import Conversion, convert

    truth = args.truth or (find_studies(args.paths)[0].truth if args.layout == "4drgs" else None)
    out = Path(args.out).expanduser().absolute()
    conversion = Conversion(
        paths=tuple(args.paths),
        out=out,
        layout=args.layout,
        corrections=args.correct_geometry,
        registration=args.registration,
        subtracted=args.subtracted,
        size=args.size,
        training_views=args.views,
        truth=None if truth is None else read_case_truth(Path(truth)),
    )
    try:
        convert(conversion, console.progress)
    except OSError as error:
        raise unwritable(out, error) from error
    console.out(str(out))
    console.result = str(out)
    return 0
