"""From runs to the layouts of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.errors import ConfigError, ResultError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.io.datasets.find import LAYOUTS
from DSAReconLib.io.mesh import Surface
from DSAReconLib.io.truth import Truth
from DSAReconLib.jobs.loading import load_runs
from DSAReconLib.progress import Progress, SilentProgress

DEFAULT_SIZE = 256
DEFAULT_TRAINING_VIEWS = 30
_SURFACE_OCCUPANCY = 0.5


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is written where.

    Parameters
    ----------
    paths, corrections
        As of :func:`~DSAReconLib.jobs.loading.load_runs`.
    out
        New or empty folder.
    layout
        ``"4drgs"`` or ``"togs"``.
    registration
        Of mask and fill frames. The authors use none.
    subtracted
        Write line integrals (``proj.nii.gz``) rather than both runs; 4drgs only.
    size
        Voxels per side of the volume that ``transforms.json`` asks for.
    training_views
        Frames of the training set, evenly spread; togs only.
    truth
        Its vessel surface becomes ``mesh_ref.obj``; 4drgs only.
    """

    paths: tuple[str, ...]
    out: Path
    layout: str
    corrections: str | None = None
    registration: str = "none"
    subtracted: bool = False
    size: int = DEFAULT_SIZE
    training_views: int = DEFAULT_TRAINING_VIEWS
    truth: Truth | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ConfigError(f"There is no layout {self.layout!r}.", hint=f"Choose one of: {', '.join(LAYOUTS)}.")
        if self.size < 8 or self.training_views < 1:
            raise ConfigError(
                f"size must be at least 8 and training_views at least 1; got {self.size}, {self.training_views}."
            )


def convert(conversion: Conversion, progress: Progress | None = None) -> Path:
    """Read the runs and write the case; returns its folder.

    Raises
    ------
    DSAReconError
        The runs cannot be used, the layout cannot hold their poses (GeometryError), or the
        folder has content (ResultError).
    """
    from DSAReconLib.jobs.subtraction import subtract_runs

    progress = progress or SilentProgress()
    out = conversion.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ResultError(
            f"{out} exists already; nothing was written.",
            hint="Choose a new or empty folder with --out.",
            code="result.exists",
        )
    runs = load_runs(conversion.paths, corrections=conversion.corrections, progress=progress)
    angiogram = subtract_runs(*runs, registration=conversion.registration, progress=progress)
    progress.report("write", 0.0)
    (_write_fourdrgs if conversion.layout == "4drgs" else _write_togs)(conversion, runs, angiogram)
    progress.report("write", 1.0)
    return out


def _write_fourdrgs(conversion: Conversion, runs: tuple[RotationalRun, RotationalRun], angiogram: Angiogram) -> None:
    from DSAReconLib.io.datasets.fourdrgs import write_fourdrgs

    mask, fill = _frames(conversion, runs, angiogram)
    write_fourdrgs(
        conversion.out,
        fill,
        angiogram.geometry,
        angiogram.times_s,
        angiogram.geometry.field_of_view_grid(shape=conversion.size),
        mask=mask,
        reference=None if conversion.truth is None else _surface(conversion.truth),
    )


def _write_togs(conversion: Conversion, runs: tuple[RotationalRun, RotationalRun], angiogram: Angiogram) -> None:
    from DSAReconLib.io.datasets.togs import write_togs

    count = min(conversion.training_views, len(angiogram))
    training = np.arange(count) * len(angiogram) // count
    write_togs(conversion.out, _measured(angiogram), angiogram.geometry, angiogram.times_s, training.astype(np.int64))


def _frames(
    conversion: Conversion, runs: Sequence[RotationalRun], angiogram: Angiogram
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """Mask and fill intensities of the same poses, or nothing and line integrals.

    The mask is the run itself where it has the poses of the fill run; otherwise (and if the
    frames are registered) the one that gives the line integrals of the subtraction.
    """
    mask_run, fill_run = runs
    if conversion.subtracted or mask_run.attributes.get("subtracted"):
        return None, _measured(angiogram)
    fill = fill_run.intensity[angiogram.frame_index]
    if conversion.registration == "none" and _same_poses(mask_run.geometry, fill_run.geometry):
        mask = mask_run.intensity[angiogram.frame_index]
    else:
        mask = fill * np.exp(angiogram.line_integrals)
    usable = (mask > 0) & (fill > 0) & np.isfinite(np.broadcast_to(angiogram.variance, fill.shape))
    return np.where(usable, mask, 1).astype(np.float32), np.where(usable, fill, 1).astype(np.float32)


def _measured(angiogram: Angiogram) -> NDArray[np.float32]:
    """Line integrals, 0 where nothing was measured."""
    measured = np.isfinite(np.broadcast_to(angiogram.variance, angiogram.line_integrals.shape))
    return np.where(measured, angiogram.line_integrals, 0).astype(np.float32)


def _same_poses(first: ConeBeamGeometry, second: ConeBeamGeometry) -> bool:
    return len(first) == len(second) and first == second


def _surface(truth: Truth) -> Surface:
    from DSAReconLib.io.mesh import extract_surface

    return extract_surface(truth.occupancy, truth.volume.grid, _SURFACE_OCCUPANCY)
