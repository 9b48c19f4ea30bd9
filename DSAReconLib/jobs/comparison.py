"""Several methods on the same runs, views and metrics: results, rows and the report."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError, DependencyError, DSAReconError, JobCancelled
from DSAReconLib.evaluation.protocol import VERSION, TruthReference, prepare_truth
from DSAReconLib.evaluation.report import (
    ComparedCase,
    ReportCase,
    ReportEntry,
    ResultRow,
    compose_case,
    write_csv,
    write_statistics,
)
from DSAReconLib.io.result_folder import RECORD, open_result
from DSAReconLib.jobs.assessment import (
    MAX_HELDOUT,
    TRUTH_FILE,
    assess,
    read_case_truth,
    read_metrics,
    spread,
    write_metrics,
)
from DSAReconLib.jobs.child import run_in_child
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.loading import load_reference, load_runs
from DSAReconLib.jobs.log import internal_error
from DSAReconLib.jobs.pipeline import plan_job
from DSAReconLib.jobs.record import identity_of, pictured
from DSAReconLib.jobs.resources import memory_errors
from DSAReconLib.jobs.resume import checkpoint_fingerprint, fingerprint
from DSAReconLib.methods.registry import METHODS
from DSAReconLib.progress import Progress

TABLE_FILE = "results.csv"
STATISTICS_FILE = "statistics.csv"
FEWEST_SHARED = 5  # held-out frames; with fewer, every number of views is judged on its own


@dataclass(frozen=True)
class Study:
    """One case of a comparison.

    Parameters
    ----------
    name
        Folder below the output folder.
    paths
        Files or folders that hold both runs.
    truth
        Truth folder, of a simulated case.
    """

    name: str
    paths: tuple[str, ...]
    truth: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared.

    Parameters
    ----------
    studies, methods, view_counts
        Every method reconstructs every study from every number of views.
    out
        Folder for ``<study>/<method>-<views>/``, ``results.csv`` and ``statistics.csv``.
    preset, device, seed
        Of every method.
    presets
        Methods with a preset of their own.
    corrections
        Table of measured deviations from the nominal poses, for all cases.
    resume
        Keep finished results that the same job would repeat, and go on from checkpoints.
    optional
        Leave out methods whose packages are not installed, rather than call them failed.
    """

    studies: tuple[Study, ...]
    methods: tuple[str, ...]
    view_counts: tuple[int, ...]
    out: Path
    preset: str = "balanced"
    device: str = "cpu"
    seed: int | None = None
    presets: Mapping[str, str] = field(default_factory=dict)
    corrections: str | None = None
    resume: bool = False
    optional: bool = False

    def __post_init__(self) -> None:
        for method in self.methods:
            known = METHODS[method].config_module().PRESETS
            if self.preset_of(method) not in known:
                raise ConfigError(
                    f"{METHODS[method].title} has no preset {self.preset_of(method)!r}; it has {', '.join(known)}.",
                    hint=f"Give it one of its own, e.g. --preset {self.preset},{method}={next(iter(known))}.",
                )

    def preset_of(self, method: str) -> str:
        """The preset of one method."""
        return self.presets.get(method, self.preset)

    @property
    def pictured_views(self) -> int:
        """Number of views whose results are shown as pictures."""
        return max(self.view_counts)


def find_studies(paths: Sequence[str | Path], truth: str | Path | None = None) -> tuple[Study, ...]:
    """One study per folder; files that are named directly are one study together.

    The truth of a study is in its folder ``truth``, or in ``truth`` if there is one study.

    Raises
    ------
    ConfigError
        A path does not exist, or ``truth`` is given for several studies.
    """
    given = [Path(path).expanduser().absolute() for path in paths]
    missing = [str(path) for path in given if not path.exists()]
    if missing:
        raise ConfigError(f"There is no {', '.join(missing)}.")
    files = [path for path in given if path.is_file()]
    groups = [[path] for path in given if path.is_dir()] + ([files] if files else [])
    if truth is not None and len(groups) > 1:
        raise ConfigError(
            f"A truth is given for {len(groups)} cases.", hint="Put the truth of every case into its folder 'truth'."
        )
    studies: list[Study] = []
    for group in groups:
        home = group[0] if group[0].is_dir() else group[0].parent
        own = home / "truth" if (home / "truth" / TRUTH_FILE).is_file() else None
        name = _new_name(home.name or "case", [study.name for study in studies])
        studies.append(Study(name, tuple(map(str, group)), own if truth is None else Path(truth).expanduser()))
    return tuple(studies)


def compare(
    comparison: Comparison, progress: Progress, announce: Callable[[str], None] = lambda text: None
) -> tuple[list[ResultRow], list[ComparedCase]]:
    """Reconstruct and judge everything; what fails is a row that says why.

    ``results.csv`` is up to date after every result; ``statistics.csv`` is there at the end
    if there are several cases.

    Returns
    -------
    All rows, and the report sections of every case that could be read.

    Raises
    ------
    JobCancelled
        Go on with ``resume``.
    """
    runner = _Runner(comparison, progress, announce)
    cases = []
    for study in comparison.studies:
        announce(f"{study.name}: reading the runs ...")
        try:
            with memory_errors():
                bench = _read(study, comparison, progress)
        except JobCancelled:
            raise
        except Exception as error:
            runner.refuse(study, error)
            continue
        entries = runner.judge(bench)
        if entries:
            cases.append(compose_case(bench.case(comparison.pictured_views), entries, progress=progress))
    if len(comparison.studies) > 1:
        write_statistics(comparison.out / STATISTICS_FILE, runner.rows)
    return runner.rows, cases


@dataclass(frozen=True)
class _Bench:
    """A study that was read: jobs can be planned on it and results judged."""

    study: Study
    base: ReportCase
    selected: dict[int, NDArray[np.int64]]
    reference: TruthReference | None
    basis: str

    def case(self, views: int) -> ReportCase:
        """The acquisition with the views used for results of this number of views, and the frames to judge."""
        frames = np.arange(len(self.base.angiogram))
        used = np.unique(np.concatenate(list(self.selected.values())))
        shared = np.setdiff1d(frames, used)
        if len(shared) < FEWEST_SHARED:
            shared = np.setdiff1d(frames, self.selected[views])
        return dataclasses.replace(self.base, selected=self.selected[views], heldout=spread(shared, MAX_HELDOUT))


def _read(study: Study, comparison: Comparison, progress: Progress) -> _Bench:
    from DSAReconLib.jobs.subtraction import subtract_runs

    runs = load_runs(study.paths, corrections=comparison.corrections, progress=progress)
    job = _job(study, comparison, comparison.methods[0], comparison.view_counts[0])
    angiogram = subtract_runs(*runs, registration=job.registration, progress=progress)
    pictures = (pictured(runs[0]), pictured(runs[1]))
    truth = None if study.truth is None else read_case_truth(study.truth)
    nobody = np.empty(0, np.int64)
    selected = {
        views: plan_job(dataclasses.replace(job, views=views), angiogram, pictures, progress).selected
        for views in comparison.view_counts
    }
    surface = load_reference(study.paths)
    judged_by = {
        "truth": None if truth is None else truth.facts,
        "runs": list(angiogram.source_uids),
        "surface": None if surface is None else hashlib.sha256(surface.tobytes()).hexdigest(),
    }
    return _Bench(
        study=study,
        base=ReportCase(study.name, angiogram, nobody, nobody, *pictures, truth=truth, reference_mm=surface),
        selected=selected,
        reference=None if truth is None else prepare_truth(truth),
        basis=fingerprint(judged_by),
    )


@dataclass
class _Runner:
    """Makes the rows one after another."""

    comparison: Comparison
    progress: Progress
    announce: Callable[[str], None]
    rows: list[ResultRow] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def judge(self, bench: _Bench) -> list[ReportEntry]:
        """All results of one study; the entries that are shown as pictures."""
        shown = []
        for views in self.comparison.view_counts:
            for slot, method in enumerate(self.comparison.methods):
                entry = self._attempt(bench, method, views)
                if entry is not None and views == self.comparison.pictured_views:
                    shown.append(dataclasses.replace(entry, slot=slot))
        return shown

    def refuse(self, study: Study, error: Exception) -> None:
        """Rows of a study that cannot be read."""
        for views in self.comparison.view_counts:
            for method in self.comparison.methods:
                self._fail(study.name, method, views, error)

    def _attempt(self, bench: _Bench, method: str, views: int) -> ReportEntry | None:
        if method in self.left_out:
            return None
        try:
            with memory_errors():
                entry = self._judged(bench, method, views)
        except JobCancelled:
            raise
        except Exception as error:
            if self.comparison.optional and getattr(error, "code", "") == DependencyError.default_code:
                self.left_out.add(method)
                self.progress.warn(DependencyError.default_code, f"{METHODS[method].title} is left out: {error}")
                return None
            self._fail(bench.study.name, method, views, error)
            return None
        self._add(_row(bench.study.name, method, views, entry))
        return entry

    def _judged(self, bench: _Bench, method: str, views: int) -> ReportEntry:
        folder = self._result(bench, method, views)
        result, case = open_result(folder), bench.case(views)
        basis = fingerprint(
            {
                "protocol": VERSION,
                "case": bench.basis,
                "result": [result.record["fingerprint"], result.record["finished_at"]],
                "heldout": case.heldout.tolist(),
            }
        )
        known = read_metrics(folder, basis) if self.comparison.resume else None
        if known is not None:
            return ReportEntry(METHODS[method].title, result.load_reconstruction(), known, result.record)
        entry = assess(result, case, reference=bench.reference, device=self.comparison.device, progress=self.progress)
        write_metrics(folder, entry, basis=basis)
        return entry

    def _result(self, bench: _Bench, method: str, views: int) -> Path:
        """Folder of the result: the one that is there if the same job made it, otherwise a new one."""
        job = _job(bench.study, self.comparison, method, views)
        assert bench.base.mask_run is not None
        assert bench.base.fill_run is not None
        pictures = (bench.base.mask_run, bench.base.fill_run)
        digest = fingerprint(identity_of(job, plan_job(job, bench.base.angiogram, pictures, self.progress)))
        label = f"{bench.study.name}, {METHODS[method].title}, {views} views"
        folder = job.out_folder
        finished = self.comparison.resume and (folder / RECORD).is_file()
        if finished and open_result(folder).record.get("fingerprint") == digest:
            self.announce(f"{label}: finished before")
            return folder
        self.announce(f"{label} ...")
        resume = self.comparison.resume and checkpoint_fingerprint(job.checkpoint_folder) == digest
        return run_in_child(dataclasses.replace(job, resume=resume, overwrite=True), self.progress, label)

    def _fail(self, case: str, method: str, views: int, error: Exception) -> None:
        known = error if isinstance(error, DSAReconError) else internal_error(error)
        self.progress.warn(known.code, f"{case}, {METHODS[method].title}, {views} views: {known.message}")
        self._add(ResultRow(case, method, METHODS[method].title, views, failure=known.message))

    def _add(self, row: ResultRow) -> None:
        self.rows.append(row)
        write_csv(self.comparison.out / TABLE_FILE, self.rows)


def _job(study: Study, comparison: Comparison, method: str, views: int) -> ReconstructionJob:
    return ReconstructionJob(
        out=str(comparison.out / study.name / f"{method}-{views}"),
        paths=study.paths,
        method=method,
        preset=comparison.preset_of(method),
        corrections=comparison.corrections,
        views=views,
        device=comparison.device,
        seed=comparison.seed,
        report=False,
    )


def _row(case: str, method: str, views: int, entry: ReportEntry) -> ResultRow:
    record = entry.record
    stages = {f"stage_{name}_s": float(seconds) for name, seconds in (record.get("timings_s") or {}).items()}
    seed = record.get("seed")
    facts = {
        "preset": str(record.get("preset", "")),
        "seed": "" if seed is None else str(seed),
        "device": str(record.get("device", "")),
        "version": str(record["versions"]["dsarecon"]),
        "finished_at": str(record.get("finished_at", "")),
    }
    return ResultRow(case, method, METHODS[method].title, views, {**entry.values, **stages}, facts)


def _new_name(name: str, taken: Sequence[str]) -> str:
    """``name``, or with a number behind it if it is taken."""
    number, candidate = 2, name
    while candidate in taken:
        number, candidate = number + 1, f"{name}-{number}"
    return candidate
