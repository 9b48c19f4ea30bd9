"""Reconstruct every study below a folder, and keep one scene per study. No window is needed.

    Slicer --no-main-window --python-script batch_in_slicer.py STUDIES RESULTS

It also runs with slicer-core instead of Slicer (then the checkout must be on PYTHONPATH):

    python batch_in_slicer.py STUDIES RESULTS
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from DSAReconWidgets.logic import DSAReconLogic

from DSAReconLib.errors import DSAReconError
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.core_application import core_context, save_bundle


def main() -> int:
    """Exit code: 0 if every study was reconstructed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, help="folder with one folder of DICOM files per study")
    parser.add_argument("results", type=Path)
    parser.add_argument("--method", default="transit")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--views", type=int, help="use this many frames only (default: all)")
    options = parser.parse_args()
    context = scene_context()
    logic = DSAReconLogic(context=context)
    failures = 0
    for study in sorted(path for path in options.studies.iterdir() if path.is_dir()):
        try:
            print(reconstruct(logic, context, study, options), flush=True)  # noqa: T201
        except DSAReconError as error:
            failures += 1
            print(f"{study.name}: {error}", file=sys.stderr)  # noqa: T201
    logic.close()
    return 1 if failures else 0


def reconstruct(logic: DSAReconLogic, context: SceneContext, study: Path, options: argparse.Namespace) -> Path:
    """One study: result folder and scene file."""
    job = ReconstructionJob(
        paths=(str(study),),
        out=str(options.results / study.name),
        method=options.method,
        preset=options.preset,
        views=options.views,
    )
    folder = logic.reconstructAndWait(job)
    context.scene.Clear(0)
    logic.showResult(logic.loadResult(folder), surface=True, arrivalColors=True)
    return save_bundle(context, folder.with_suffix(".mrb"))


def scene_context() -> SceneContext:
    """The scene of the running Slicer, or one of our own on slicer-core."""
    import slicer

    return SceneContext.of_desktop() if hasattr(slicer, "app") else core_context()


if __name__ == "__main__":
    sys.exit(main())
