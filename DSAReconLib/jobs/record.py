"""What a finished job says about itself: the run record and the report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.evaluation.protocol import evaluate_heldout
from DSAReconLib.evaluation.report import ReportCase, ReportEntry, build_report
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.jobs.assessment import MAX_HELDOUT, spread
from DSAReconLib.jobs.environment import versions
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.loading import corrections_digest
from DSAReconLib.jobs.recorder import Recorder
from DSAReconLib.jobs.resources import peak_memory_mb
from DSAReconLib.jobs.resume import fingerprint
from DSAReconLib.methods.parameters import config_to_dict
from DSAReconLib.methods.registry import method_entry
from DSAReconLib.reconstruction import Reconstruction

_PICTURED_FRAMES = 16


@dataclass(frozen=True)
class Plan:
    """What a job comes down to once its input is known.

    Parameters
    ----------
    angiogram
        All frames that can be used.
    selected
        Frames (positions in ``angiogram``) to reconstruct from, increasing.
    grid, config, device
        What the method gets.
    pictures
        A few frames of mask and fill run, for the report.
    """

    angiogram: Angiogram
    selected: NDArray[np.int64]
    grid: VolumeGrid
    config: Any
    device: str
    pictures: tuple[RotationalRun, RotationalRun]

    @property
    def heldout(self) -> NDArray[np.int64]:
        """Frames that the reconstruction does not see."""
        return np.setdiff1d(np.arange(len(self.angiogram)), self.selected)


def identity_of(job: ReconstructionJob, plan: Plan) -> dict[str, Any]:
    """Everything that decides the result (for ``--resume``)."""
    return {
        "input": list(plan.angiogram.source_uids),
        "registration": job.registration,
        "header": dict(job.header),
        "corrections": corrections_digest(job.corrections),
        "views": plan.selected.tolist(),
        "grid": grid_facts(plan.grid),
        "method": job.method,
        "config": config_to_dict(plan.config),
        "version": versions()["dsarecon"],
    }


def run_record(
    job: ReconstructionJob, plan: Plan, recorder: Recorder, metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Content of ``run.json``: enough to repeat the run, nothing about the patient."""
    return {
        "method": job.method,
        "title": method_entry(job.method).title,
        "preset": job.preset,
        "config": config_to_dict(plan.config),
        "seed": getattr(plan.config, "seed", None),
        "fingerprint": fingerprint(identity_of(job, plan)),
        "finished_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        "device": plan.device,
        "input_sop_instance_uids": list(plan.angiogram.source_uids),
        "registration": job.registration,
        "header": dict(job.header),
        "corrections": corrections_digest(job.corrections),
        "geometry": _geometry_facts(plan.angiogram),
        "selection": "indices" if job.view_indices is not None else job.selection,
        "frame_numbers": plan.angiogram.frame_index,
        "selected_views": plan.selected,
        "heldout_views": plan.heldout,
        "timings_s": {name: round(value, 3) for name, value in recorder.timings_s.items()},
        "processor_s": {name: round(value, 3) for name, value in recorder.processor_s.items()},
        "peak_memory_mb": peak_memory_mb(),
        "warnings": list(recorder.warnings),
        "metrics": metrics,
    }


def view_metrics(plan: Plan, reconstruction: Reconstruction, recorder: Recorder) -> dict[str, dict[str, float]]:
    """How well the result explains the views that it was made from, and those held out."""

    def measured(views: NDArray[np.int64]) -> dict[str, float]:
        frames = plan.angiogram.select(spread(views, MAX_HELDOUT))
        return evaluate_heldout(reconstruction, frames, device=plan.device, progress=recorder)

    training = {name.removeprefix("heldout_"): value for name, value in measured(plan.selected).items()}
    return {"training_views": training} | ({"heldout_views": measured(plan.heldout)} if len(plan.heldout) else {})


def write_report(
    path: Path,
    job: ReconstructionJob,
    plan: Plan,
    reconstruction: Reconstruction,
    record: Mapping[str, Any],
    recorder: Recorder,
) -> None:
    """Write ``report.html`` of one result."""
    mask_run, fill_run = plan.pictures
    title = method_entry(job.method).title
    case = ReportCase(
        title=f"{title} from {len(plan.selected)} views",
        angiogram=plan.angiogram,
        selected=plan.selected,
        heldout=spread(plan.heldout, MAX_HELDOUT),
        mask_run=mask_run,
        fill_run=fill_run,
    )
    entry = ReportEntry(title, reconstruction, record["metrics"].get("heldout_views", {}), record)
    build_report(path, [entry], case, device=plan.device, progress=recorder)


def pictured(run: RotationalRun) -> RotationalRun:
    """A few frames of a run, so that the others need not stay in memory."""
    frames = np.unique(np.linspace(0, len(run) - 1, _PICTURED_FRAMES).round().astype(int))
    return replace(run, intensity=run.intensity[frames], geometry=run.geometry[frames], times_s=run.times_s[frames])


def grid_facts(grid: VolumeGrid) -> dict[str, list[float]]:
    """A grid for JSON."""
    return {"shape_zyx": [*grid.shape_zyx], "spacing_mm": [*grid.spacing_mm], "origin_mm": [*grid.origin_mm]}


def _geometry_facts(angiogram: Angiogram) -> dict[str, Any]:
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
        "head_motion_mm": None if angiogram.head_motion_mm is None else angiogram.head_motion_mm.round(3).tolist(),
    }
