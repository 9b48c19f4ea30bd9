"""The whole way from two DICOM runs to a result folder, as one call."""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import DSAReconError, JobCancelled, ResourceError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.atomic import check_writable
from DSAReconLib.io.result_folder import RECORD, write_result
from DSAReconLib.jobs.environment import versions
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.loading import load_angiogram
from DSAReconLib.jobs.log import JobLog, internal_error
from DSAReconLib.jobs.recorder import Recorder
from DSAReconLib.jobs.resources import memory_errors, peak_memory_mb, require_memory, resolve_device
from DSAReconLib.jobs.resume import discard_checkpoint, fingerprint, has_state, open_checkpoint
from DSAReconLib.methods.parameters import build_config, config_to_dict
from DSAReconLib.methods.registry import method_entry
from DSAReconLib.progress import Progress, SilentProgress
from DSAReconLib.reconstruction import Reconstruction

logger = logging.getLogger(__name__)

GRID_SIZES = {"fast": 96, "balanced": 128, "quality": 192}
"""Voxels per side of the field of view by preset, where a job names neither size nor spacing."""

_FEWEST_VOLUMES = 3  # estimate, gradient or weights, and a work copy: what every method holds at once


@dataclass(frozen=True)
class _Plan:
    """What a job comes down to once its input is known."""

    angiogram: Angiogram
    selected: NDArray[np.int64]
    grid: VolumeGrid
    config: Any
    device: str

    @property
    def heldout(self) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(len(self.angiogram)), self.selected)


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
    identity = _identity(job, plan)
    store = open_checkpoint(job.checkpoint_folder, identity, resume=job.resume)
    try:
        reconstruction = _reconstruct(job, plan, store, recorder)
        metrics = _training_metrics(plan, reconstruction, recorder)
        for code, message in (*plan.angiogram.warnings, *reconstruction.warnings):
            recorder.warn(code, message)
        with recorder.stage("write"):
            record = _record(job, plan, recorder, metrics, identity)
            _write(job, plan, reconstruction, record, recorder, log)
    except JobCancelled as error:
        raise _cancelled(job) from error
    except ResourceError as error:
        if has_state(job.checkpoint_folder):
            error.hint = f"{error.hint} Then go on with --resume.".strip()
        else:
            discard_checkpoint(job.checkpoint_folder)
        raise
    except Exception:
        discard_checkpoint(job.checkpoint_folder)
        raise
    discard_checkpoint(job.checkpoint_folder)
    return job.out_folder


def _plan(job: ReconstructionJob, recorder: Recorder) -> _Plan:
    """Load the input and settle views, grid, parameters and device."""
    device = resolve_device(job.device)
    config = _config(job)
    angiogram = _load(job, recorder)
    with recorder.stage("select"):
        selected = _select(job, angiogram, recorder)
    grid = _grid(job, angiogram.geometry)
    needed = 4.0 * (_FEWEST_VOLUMES * grid.num_voxels + selected.size * np.prod(angiogram.geometry.detector_shape))
    require_memory(needed, f"A volume of {' x '.join(map(str, grid.shape_zyx))} voxels")
    return _Plan(angiogram, selected, grid, config, device)


def _load(job: ReconstructionJob, recorder: Recorder) -> Angiogram:
    with recorder.stage("read"):
        return load_angiogram(
            job.paths,
            fill=job.fill,
            mask=job.mask,
            registration=job.registration,
            header=job.header,
            progress=recorder,
        )


def _config(job: ReconstructionJob) -> Any:
    overrides = dict(job.overrides)
    names = {field.name for field in dataclasses.fields(method_entry(job.method).config_module().Config)}
    if job.seed is not None and "seed" in names:
        overrides.setdefault("seed", job.seed)
    return build_config(job.method, job.preset, overrides)


def _select(job: ReconstructionJob, angiogram: Angiogram, recorder: Recorder) -> NDArray[np.int64]:
    """Frame numbers to reconstruct from, increasing."""
    from DSAReconLib.acquisition.selection import parse_view_indices, select_views

    frames = len(angiogram)
    if job.view_indices is not None:
        return parse_view_indices(job.view_indices, frames)
    if job.views is None or job.views >= frames:
        if job.views is not None and job.views > frames:
            recorder.warn("views.fewer", f"{job.views} views were asked for, the run has {frames}; all are used.")
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


def _reconstruct(job: ReconstructionJob, plan: _Plan, store: CheckpointStore, recorder: Recorder) -> Reconstruction:
    recorder.show_previews_in(job.checkpoint_folder, plan.grid)
    with recorder.stage("reconstruct"):
        method = method_entry(job.method).reconstruct()
        return method(
            plan.angiogram.select(plan.selected),
            plan.grid,
            plan.config,
            device=plan.device,
            progress=recorder,
            checkpoint=store,
        )


def _training_metrics(plan: _Plan, reconstruction: Reconstruction, recorder: Recorder) -> dict[str, float]:
    """How well the result explains the views that it was made from."""
    from DSAReconLib.evaluation.protocol import evaluate_heldout

    model = reconstruction.volume
    if reconstruction.native == "gaussians" and reconstruction.gaussians is not None:
        model = reconstruction.gaussians  # type: ignore[assignment]
    with recorder.stage("check"):
        return evaluate_heldout(model, plan.angiogram.select(plan.selected), device=plan.device, progress=recorder)


def _write(
    job: ReconstructionJob,
    plan: _Plan,
    reconstruction: Reconstruction,
    record: Mapping[str, Any],
    recorder: Recorder,
    log: JobLog,
) -> None:
    times = plan.angiogram.times_s
    wanted = None if job.output_times is None else np.linspace(times[0], times[-1], job.output_times)
    write_result(
        job.out_folder,
        reconstruction,
        record=record,
        geometry=plan.angiogram.geometry,
        times_s=times,
        sequence_times_s=wanted,
        log_text=log.text(),
        overwrite=job.overwrite,
        progress=recorder,
    )


def _identity(job: ReconstructionJob, plan: _Plan) -> dict[str, Any]:
    """Everything that decides the result (for ``--resume``)."""
    return {
        "input": list(plan.angiogram.source_uids),
        "registration": job.registration,
        "header": dict(job.header),
        "views": plan.selected.tolist(),
        "grid": dataclasses.asdict(plan.grid),
        "method": job.method,
        "config": config_to_dict(plan.config),
        "version": versions()["dsarecon"],
    }


def _record(
    job: ReconstructionJob, plan: _Plan, recorder: Recorder, metrics: Mapping[str, float], identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Content of ``run.json``: enough to repeat the run, nothing about the patient."""
    return {
        "method": job.method,
        "title": method_entry(job.method).title,
        "preset": job.preset,
        "config": config_to_dict(plan.config),
        "seed": getattr(plan.config, "seed", None),
        "fingerprint": fingerprint(identity),
        "finished_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        "device": plan.device,
        "input_sop_instance_uids": list(plan.angiogram.source_uids),
        "registration": job.registration,
        "header": dict(job.header),
        "geometry": _geometry_summary(plan.angiogram),
        "selection": "indices" if job.view_indices is not None else job.selection,
        "frame_numbers": plan.angiogram.frame_index,
        "selected_views": plan.selected,
        "heldout_views": plan.heldout,
        "timings_s": {name: round(value, 3) for name, value in recorder.timings_s.items()},
        "peak_memory_mb": peak_memory_mb(),
        "warnings": recorder.warnings,
        "metrics": {"training_views": dict(metrics)},
    }


def _geometry_summary(angiogram: Angiogram) -> dict[str, Any]:
    geometry = angiogram.geometry
    return {
        "frames": len(geometry),
        "scan_arc_deg": geometry.scan_arc_deg,
        "first_primary_angle_deg": geometry.primary_angle_deg[0],
        "last_primary_angle_deg": geometry.primary_angle_deg[-1],
        "mean_secondary_angle_deg": geometry.secondary_angle_deg.mean(),
        "sod_mm": geometry.sod_mm.mean(),
        "sdd_mm": geometry.sdd_mm.mean(),
        "detector_shape": geometry.detector_shape,
        "detector_spacing_mm": geometry.detector_spacing_mm,
        "duration_s": angiogram.duration_s,
    }


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
