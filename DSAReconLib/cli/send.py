"""``dsarecon send``: DICOM files to a PACS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.cli.pacs_options import EPILOG as EPILOG
from DSAReconLib.cli.pacs_options import add_archive_arguments, archive_from_arguments

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "send DICOM files, such as exported results, to a PACS (DICOMweb or C-STORE)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon send``."""
    parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="DICOM files or folders (searched through)")
    add_archive_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Send and say how many objects were stored."""
    from DSAReconLib.jobs.archive import send_files

    archive = archive_from_arguments(args, console)
    report = send_files(archive, args.paths, console.progress)
    console.note(f"{archive.label} stored {report.moved} objects.")
    return 0
