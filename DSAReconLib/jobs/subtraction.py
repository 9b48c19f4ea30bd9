"""Subtraction of two runs with any registration, the one that needs projectors included."""

from __future__ import annotations

from dataclasses import replace

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.acquisition.subtraction import subtract
from DSAReconLib.progress import Progress, SilentProgress


def subtract_runs(
    mask_run: RotationalRun, fill_run: RotationalRun, *, registration: str, progress: Progress | None = None
) -> Angiogram:
    """Contrast line integrals of all frames that have a mask.

    Where the mask run is too short for a volume of the head, ``"rigid3d"`` becomes ``"rigid"``; else
    the poses follow a head that moved during the fill run (warning ``acquisition.head_moved``).

    Parameters
    ----------
    mask_run, fill_run
        Runs without and with contrast.
    registration
        One of :data:`~DSAReconLib.acquisition.subtraction.REGISTRATIONS`.
    progress
        Watches and may cancel.

    Raises
    ------
    PairingError
        The runs do not belong together.
    ValueError
        Unknown ``registration``.
    """
    from DSAReconLib.fitting.head_alignment import HeadAlignment

    progress = progress or SilentProgress()
    if registration != "rigid3d":
        return subtract(mask_run, fill_run, register=registration, progress=progress)
    aligner = HeadAlignment(mask_run, fill_run, progress)
    if not aligner.possible:
        return subtract(mask_run, fill_run, register="rigid", progress=progress)
    angiogram = subtract(mask_run, fill_run, register="rigid3d", aligner=aligner, progress=progress)
    course = aligner.course()
    if course is None:
        return angiogram
    warning = ("acquisition.head_moved", course.message)
    progress.warn(*warning)
    return replace(course.followed(angiogram), warnings=(*angiogram.warnings, warning))
