"""Judging a finished result: its runs are read again, and it is compared with unseen views and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import ResultError
from DSAReconLib.evaluation.protocol import Metrics, TruthReference, evaluate_images, evaluate_truth
from DSAReconLib.evaluation.reference import evaluate_reference
from DSAReconLib.evaluation.report import ReportCase, ReportEntry
from DSAReconLib.io.json_text import read_json, write_json
from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.io.truth import Truth, read_truth
from DSAReconLib.jobs.loading import corrections_digest, load_reference, load_runs
from DSAReconLib.progress import Progress, SilentProgress

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
TRUTH_FILE = "truth.json"

MAX_HELDOUT = 40
"""At most this many held-out frames are judged, spread evenly over all of them."""


def load_case(
    paths: Sequence[str | Path],
    record: Mapping[str, Any],
    *,
    title: str,
    truth: Truth | None = None,
    facts: Mapping[str, str] | None = None,
    corrections: str | Path | None = None,
    progress: Progress | None = None,
) -> ReportCase:
    """Read the runs behind a result again.

    Parameters
    ----------
    paths
        Files or folders that hold both runs.
    record
        ``run.json`` of the result: says which frames were used and how they were registered.
    title, truth, facts
        See :class:`ReportCase`.
    corrections
        The table of geometry corrections that the result was made with.

    Raises
    ------
    ResultError
        The result was made from other runs, or the truth is that of another case.
    DicomRunError, PairingError, GeometryError
        The runs cannot be used.
    """
    from DSAReconLib.jobs.subtraction import subtract_runs

    progress = progress or SilentProgress()
    if corrections_digest(corrections) != record.get("corrections"):
        raise ResultError(
            "The result was made with other geometry corrections.",
            hint="Name the table that it was made with by --correct-geometry; leave the option out if there was none.",
        )
    mask_run, fill_run = load_runs(paths, header=record.get("header"), corrections=corrections, progress=progress)
    registration = record.get("registration", "translation")
    angiogram = subtract_runs(mask_run, fill_run, registration=registration, progress=progress)
    _require_same_runs(angiogram, record)
    _require_same_frames(truth, angiogram)
    return ReportCase(
        title=title,
        angiogram=angiogram,
        selected=np.asarray(record["selected_views"], np.int64),
        heldout=spread(np.asarray(record["heldout_views"], np.int64), MAX_HELDOUT),
        mask_run=mask_run,
        fill_run=fill_run,
        truth=truth,
        reference_mm=load_reference(paths),
        facts=dict(facts or {}),
    )


def assess(
    result: ResultFolder,
    case: ReportCase,
    *,
    reference: TruthReference | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ReportEntry:
    """Metrics of a result on the held-out views of a case, against its surface and, with ``reference``, the truth."""
    from DSAReconLib.rendering.views import render_line_integrals

    progress = progress or SilentProgress()
    progress.report("evaluate", 0.0)
    title = str(result.record.get("title", result.record.get("method", "result")))
    entry = ReportEntry(title, result.load_reconstruction(), {}, result.record)
    metrics: Metrics = {}
    rendered = None
    if len(case.heldout):
        heldout = case.angiogram.select(case.heldout)
        poses = entry.reconstruction.poses(heldout.geometry, heldout.times_s)
        rendered = np.asarray(
            render_line_integrals(entry.model, poses, heldout.times_s, device=device, progress=progress)
        )
        progress.report("evaluate", 0.4)
        clean = None if case.clean is None else case.clean[case.heldout]
        share = entry.reconstruction.scatter_share
        metrics |= evaluate_images(rendered, heldout, clean=clean, scatter_share=share)
    if reference is not None:
        metrics |= evaluate_truth(entry.reconstruction, reference, progress=progress)
    if case.reference_mm is not None:
        metrics |= evaluate_reference(entry.reconstruction, case.reference_mm, case.times_s)
    progress.report("evaluate", 1.0)
    return ReportEntry(title, entry.reconstruction, metrics, result.record, rendered)


def read_case_truth(folder: Path) -> Truth:
    """The truth in a folder, or in the ``truth`` folder of a simulated case; ResultError if there is none."""
    nested = folder / "truth"
    return read_truth(nested if (nested / TRUTH_FILE).is_file() else folder)


def write_metrics(folder: Path, entry: ReportEntry, *, basis: str | None = None) -> Path:
    """Write ``metrics.json`` into a result folder; ``run.json`` stays as it is.

    ``basis`` identifies what the metrics were computed from, for who may want to use them again.
    """
    write_json(folder / METRICS_FILE, {"metrics": entry.metrics} | ({} if basis is None else {"basis": basis}))
    return folder / METRICS_FILE


def read_metrics(folder: Path, basis: str) -> Metrics | None:
    """Metrics that were computed from just this ``basis``; ``None`` if there are none."""
    if not (folder / METRICS_FILE).is_file():
        return None
    content = read_json(folder / METRICS_FILE)
    if content.get("basis") != basis:
        return None
    return {name: float("nan") if value is None else float(value) for name, value in content["metrics"].items()}


def spread(frames: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most ``count`` of the frames, evenly spread."""
    if len(frames) <= count:
        return frames
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _require_same_frames(truth: Truth | None, angiogram: Angiogram) -> None:
    if truth is not None and len(truth.frame_times_s) != len(angiogram):
        raise ResultError(
            f"The truth belongs to another case: it has "
            f"{len(truth.frame_times_s)} frames, the fill run {len(angiogram)}.",
            hint="Give the truth folder that was simulated together with these runs.",
            code="result.other_truth",
        )


def _require_same_runs(angiogram: Angiogram, record: Mapping[str, Any]) -> None:
    expected = list(record.get("input_sop_instance_uids") or ())
    frames = len(record["selected_views"]) + len(record["heldout_views"])
    if (expected and sorted(expected) != sorted(angiogram.source_uids)) or frames != len(angiogram):
        raise ResultError(
            f"The result was made from other runs: it knows {frames} frames, the given runs have {len(angiogram)}"
            f"{'' if frames != len(angiogram) else ' but other identifiers'}.",
            hint="Give the files or the folder that the result was reconstructed from.",
            code="result.other_runs",
        )
