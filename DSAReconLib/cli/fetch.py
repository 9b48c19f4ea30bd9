"""``dsarecon fetch``: a study from a PACS into a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.cli.pacs_options import EPILOG as EPILOG
from DSAReconLib.cli.pacs_options import add_archive_arguments, archive_from_arguments
from DSAReconLib.dicom.network.transfer import checked_uid

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "fetch a study from a PACS into a folder (DICOMweb or C-GET)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon fetch``."""
    parser.add_argument("--study", metavar="UID", required=True, help="Study Instance UID")
    parser.add_argument("--series", metavar="UID", help="one series of it (Series Instance UID)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write; it appears complete")
    parser.add_argument(
        "--allow-missing", action="store_true", help="finish the folder although objects could not be fetched"
    )
    add_archive_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Fetch and print the folder."""
    from DSAReconLib.jobs.archive import fetch_study

    study = checked_uid(args.study, "--study")
    series = checked_uid(args.series, "--series") if args.series else None
    archive = archive_from_arguments(args, console)
    report = fetch_study(
        archive, study, args.out, console.progress, series_uid=series, allow_missing=args.allow_missing
    )
    there = f", {report.present} were there already" if report.present else ""
    missing = f", {len(report.problems)} are missing" if report.problems else ""
    console.note(f"Fetched {report.moved} objects{there}{missing}.")
    console.result = str(args.out)
    console.out(str(args.out))
    return 0
