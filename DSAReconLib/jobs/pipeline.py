"""The whole way from two DICOM runs to a result folder, as one call."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import DSAReconError, JobCancelled, ResourceError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.atomic import check_writable
from DSAReconLib.io.result_folder import RECORD, write_result
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.loading import load_runs
from DSAReconLib.jobs.log import JobLog, internal_error, missing_package
from DSAReconLib.jobs.record import Plan, identity_of, pictured, run_record, view_metrics, write_report
from DSAReconLib.jobs.recorder import Recorder
from DSAReconLib.jobs.resources import memory_errors, require_memory, resolve_device
from DSAReconLib.jobs.resume import discard_checkpoint, has_state, open_checkpoint
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.registry import method_entry
from DSAReconLib.progress import Progress, SilentProgress
from DSAReconLib.reconstruction import Reconstruction

logger = logging.getLogger(__name__)

GRID_SIZES = {"fast": 96, "balanced": 128, "quality": 192}
"""Voxels per side of the field of view by preset, where neither the job nor the method names them."""

_FEWEST_VOLUMES = 3  # estimate, gradient or weights, and a work copy: what every method holds at once


def run_job(job: ReconstructionJob, progress: Progress | None = None) -> Path:
    """Read, pair, subtract, select, reconstruct, check against the used views, write.

    Returns the result folder. It appears complete or not at all; a checkpoint folder lies
    beside it while the job runs, and stays if the job is cancelled or killed.

    Raises
    ------
    DSAReconError
        Every failure: unusable input (DicomRunError, PairingError, GeometryError),
        options (ConfigError), lacking disk or memory (ResourceError), missing packages
        (DependencyError), cancelled (JobCancelled), or a defect (code ``internal.error``).
    """
    recorder = Recorder(progress or SilentProgress())
    with JobLog() as log:
        try:
            with memory_errors():
                return _run(job, recorder, log)
        except DSAReconError:
            raise
        except Exception as error:
            place = job.out_folder.with_name(job.out_folder.name + ".log")
            raise internal_error(error, log.text(), place) from error


def _run(job: ReconstructionJob, recorder: Recorder, log: JobLog) -> Path:
    check_writable(job.out_folder, overwrite=job.overwrite, marker=RECORD)
    plan = _plan(job, recorder)
    folder = job.checkpoint_folder
    store = open_checkpoint(folder, identity_of(job, plan), resume=job.resume)
    try:
        reconstruction = _reconstruct(job, plan, store, recorder)
        _finish(job, plan, reconstruction, recorder, log)
    except JobCancelled as error:
        raise _cancelled(job) from error
    except ResourceError as error:
        if has_state(folder):
            error.hint = f"{error.hint} Then go on with --resume.".strip()
        else:
            discard_checkpoint(folder)
        raise
    except Exception:
        discard_checkpoint(folder)
        raise
    discard_checkpoint(folder)
    return job.out_folder


def plan_job(
    job: ReconstructionJob, angiogram: Angiogram, pictures: tuple[RotationalRun, RotationalRun], progress: Progress
) -> Plan:
    """Settle views, grid, parameters and device of a job whose runs are read and subtracted."""
    return Plan(
        angiogram=angiogram,
        selected=_select(job, angiogram, progress),
        grid=_grid(job, angiogram.geometry),
        config=_config(job),
        device=resolve_device(job.device),
        pictures=pictures,
    )


def _plan(job: ReconstructionJob, recorder: Recorder) -> Plan:
    """Load the input and settle everything else."""
    resolve_device(job.device)  # a wrong option shows before the runs are read, which takes a while
    _config(job)
    angiogram, pictures = _load(job, recorder)
    with recorder.stage("select"):
        plan = plan_job(job, angiogram, pictures, recorder)
    pixels = plan.selected.size * np.prod(angiogram.geometry.detector_shape)
    needed = 4.0 * (_FEWEST_VOLUMES * plan.grid.num_voxels + pixels)
    require_memory(needed, f"A volume of {' x '.join(map(str, plan.grid.shape_zyx))} voxels")
    return plan


def _load(job: ReconstructionJob, recorder: Recorder) -> tuple[Angiogram, tuple[RotationalRun, RotationalRun]]:
    """Contrast line integrals of all frames, and a few frames of the runs for the report."""
    from DSAReconLib.jobs.subtraction import subtract_runs

    with recorder.stage("read"):
        runs = load_runs(
            job.paths,
            fill=job.fill,
            mask=job.mask,
            header=job.header,
            corrections=job.corrections,
            progress=recorder,
        )
    with recorder.stage("subtract"):
        angiogram = subtract_runs(*runs, registration=job.registration, progress=recorder)
    for code, message in angiogram.warnings:
        recorder.warn(code, message)
    return angiogram, (pictured(runs[0]), pictured(runs[1]))


def _config(job: ReconstructionJob) -> Any:
    overrides = dict(job.overrides)
    names = {field.name for field in dataclasses.fields(method_entry(job.method).config_module().Config)}
    if job.seed is not None and "seed" in names:
        overrides.setdefault("seed", job.seed)
    return build_config(job.method, job.preset, overrides)


def _select(job: ReconstructionJob, angiogram: Angiogram, progress: Progress) -> NDArray[np.int64]:
    """Frame numbers to reconstruct from, increasing."""
    from DSAReconLib.acquisition.selection import parse_view_indices, select_views

    frames = len(angiogram)
    if job.view_indices is not None:
        return parse_view_indices(job.view_indices, frames)
    if job.views is None or job.views >= frames:
        if job.views is not None and job.views > frames:
            progress.warn("views.fewer", f"{job.views} views were asked for, the run has {frames}; all are used.")
        return np.arange(frames)
    return np.asarray(
        select_views(
            angiogram.times_s,
            angiogram.geometry,
            job.views,
            strategy=job.selection,
            line_integrals=angiogram.line_integrals,
        ),
        np.int64,
    )


def _grid(job: ReconstructionJob, geometry: ConeBeamGeometry) -> VolumeGrid:
    size = job.size
    if size is None and job.spacing_mm is None:
        sizes = getattr(method_entry(job.method).config_module(), "GRID_SIZES", GRID_SIZES)
        size = sizes.get(job.preset, GRID_SIZES["balanced"])
    return geometry.field_of_view_grid(shape=size, spacing_mm=job.spacing_mm)


def _reconstruct(job: ReconstructionJob, plan: Plan, store: CheckpointStore, recorder: Recorder) -> Reconstruction:
    recorder.show_previews_in(job.checkpoint_folder, plan.grid)
    with recorder.stage("reconstruct"), _missing_packages_named(method_entry(job.method).title):
        method = method_entry(job.method).reconstruct()
        return method(
            plan.angiogram.select(plan.selected),
            plan.grid,
            plan.config,
            device=plan.device,
            progress=recorder,
            checkpoint=store,
        )


@contextmanager
def _missing_packages_named(method: str) -> Iterator[None]:
    """Turn the failing import of an optional package into the advice to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if missing := missing_package(error, method):
            raise missing from error
        raise


def _finish(
    job: ReconstructionJob, plan: Plan, reconstruction: Reconstruction, recorder: Recorder, log: JobLog
) -> None:
    """Check the result against the views, report and write it."""
    for code, message in reconstruction.warnings:
        recorder.warn(code, message)
    with recorder.stage("check"):
        metrics = view_metrics(plan, reconstruction, recorder)
    report = job.checkpoint_folder / "report.html"
    if job.report:
        with recorder.stage("report"):
            _try_report(report, job, plan, reconstruction, run_record(job, plan, recorder, metrics), recorder)

    def add_report(folder: Path) -> None:
        if report.is_file():
            shutil.copyfile(report, folder / report.name)

    times = plan.angiogram.times_s
    with recorder.stage("write"):
        write_result(
            job.out_folder,
            reconstruction,
            record=run_record(job, plan, recorder, metrics),
            geometry=plan.angiogram.geometry,
            times_s=times,
            sequence_times_s=None if job.output_times is None else np.linspace(times[0], times[-1], job.output_times),
            log_text=log.text(),
            overwrite=job.overwrite,
            finish=add_report,
            progress=recorder,
        )


def _try_report(
    path: Path,
    job: ReconstructionJob,
    plan: Plan,
    reconstruction: Reconstruction,
    record: Mapping[str, Any],
    recorder: Recorder,
) -> None:
    """Write the report; a result without one is still a result."""
    path.unlink(missing_ok=True)
    try:
        write_report(path, job, plan, reconstruction, record, recorder)
    except JobCancelled:
        raise
    except Exception as error:
        logger.debug("no report", exc_info=True)
        path.unlink(missing_ok=True)
        recorder.warn("report.missing", f"The report could not be made ({type(error).__name__}: {error}).")


def _cancelled(job: ReconstructionJob) -> JobCancelled:
    folder = job.checkpoint_folder
    if has_state(folder):
        return JobCancelled(
            f"Cancelled; the state is kept in {folder}.",
            hint="Go on with the same command and --resume.",
            checkpoint=str(folder),
        )
    discard_checkpoint(folder)
    return JobCancelled()
