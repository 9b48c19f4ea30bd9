"""From two DICOM files to a result folder, with a method that only tests know."""

import json

import numpy as np
import pytest
from helpers import method_doubles
from helpers.method_doubles import double_job

from DSAReconLib.errors import (
    ConfigError,
    DependencyError,
    DSAReconError,
    JobCancelled,
    PairingError,
    ResourceError,
    ResultError,
)
from DSAReconLib.io.result_folder import FILES, open_result
from DSAReconLib.jobs import pipeline
from DSAReconLib.jobs.events import EventProgress
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.jobs.pipeline import run_job
from DSAReconLib.methods.registry import METHODS
from DSAReconLib.progress import SilentProgress


@pytest.fixture(autouse=True)
def _doubles(monkeypatch):
    monkeypatch.setattr("DSAReconLib.methods.registry.METHODS", METHODS)
    method_doubles.install()
    yield
    METHODS.pop(method_doubles.NAME)


class CancelAfter(SilentProgress):
    """Cancels at the given number of reports of the method."""

    def __init__(self, reports):
        super().__init__()
        self.left = reports

    def report(self, stage, fraction, message="", metrics=None):
        self.left -= stage == "fit"

    def check_cancelled(self):
        if self.left <= 0:
            raise JobCancelled


def test_job_leaves_a_complete_result_and_nothing_else(tiny_case, tmp_path):
    out = run_job(double_job(tiny_case, tmp_path / "out", views=8, seed=3, report=True))
    result = open_result(out)
    assert {path.name for path in out.iterdir()} == set(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    record = result.record
    assert record["method"] == "double"
    assert record["config"]["seed"] == 3
    assert record["device"] == "cpu"
    assert len(record["input_sop_instance_uids"]) == 2
    assert len(result.selected_views) == 8
    assert len(result.heldout_views) == 12
    assert not set(result.selected_views) & set(result.heldout_views)
    assert set(record["timings_s"]) >= {"read", "select", "reconstruct", "check"}
    assert set(record["processor_s"]) == set(record["timings_s"])
    assert record["processor_s"]["reconstruct"] > 0
    assert record["peak_memory_mb"] > 50
    assert ["double.warning", "This is a double."] in record["warnings"]
    assert np.isfinite(record["metrics"]["training_views"]["psnr_db"])
    assert "reconstruct took" in (out / "log.txt").read_text()


def test_named_views_are_used(tiny_case, tmp_path):
    out = run_job(double_job(tiny_case, tmp_path / "out", view_indices="1,5:9:2,12"))
    np.testing.assert_array_equal(open_result(out).selected_views, [1, 5, 7, 12])


def test_more_views_than_there_are_gives_all_and_a_warning(tiny_case, tmp_path):
    progress = SilentProgress()
    out = run_job(double_job(tiny_case, tmp_path / "out", views=500), progress)
    assert len(open_result(out).selected_views) == 20
    assert "views.fewer" in dict(progress.warnings)


def test_mask_and_fill_by_name_give_the_same_as_the_folder(tiny_case, tmp_path):
    by_name = {"paths": (), "mask": str(tiny_case / "mask.dcm"), "fill": str(tiny_case / "fill.dcm")}
    first = open_result(run_job(double_job(tiny_case, tmp_path / "a")))
    second = open_result(run_job(double_job(tiny_case, tmp_path / "b", **by_name)))
    assert first.record["fingerprint"] == second.record["fingerprint"]


def test_previews_are_announced_with_the_grid_of_the_job(tiny_case, tmp_path, monkeypatch):
    events = []
    progress = EventProgress(lambda event: events.append(event) or _note_preview(event, shapes))
    shapes = []

    def _note_preview(event, shapes):
        if event["event"] == "preview":
            from pathlib import Path

            from DSAReconLib.io.nrrd import read_volume

            shapes.append(read_volume(Path(event["path"]))[0].shape)

    run_job(double_job(tiny_case, tmp_path / "out"), progress)
    assert shapes == [(16, 16, 16)]


def test_cancelled_job_resumes_to_the_same_result(tiny_case, tmp_path):
    whole = run_job(double_job(tiny_case, tmp_path / "whole", steps=6))
    with pytest.raises(JobCancelled) as cancelled:
        run_job(double_job(tiny_case, tmp_path / "out", steps=6), CancelAfter(3))
    assert cancelled.value.checkpoint == str(tmp_path / "out.checkpoint")
    assert not (tmp_path / "out").exists()
    resumed = run_job(double_job(tiny_case, tmp_path / "out", steps=6, resume=True))
    assert open_result(resumed).record["facts"]["start_step"] == 3
    first, second = (open_result(folder).load_reconstruction().volume.coefficients for folder in (whole, resumed))
    np.testing.assert_array_equal(first, second)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_resuming_with_other_options_is_refused(tiny_case, tmp_path):
    with pytest.raises(JobCancelled):
        run_job(double_job(tiny_case, tmp_path / "out"), CancelAfter(2))
    with pytest.raises(ConfigError, match="belongs to another job: it differs in views"):
        run_job(double_job(tiny_case, tmp_path / "out", views=5, resume=True))
    assert (tmp_path / "out.checkpoint" / "state.npz").exists()


def test_job_cancelled_before_its_first_state_leaves_nothing(tiny_case, tmp_path):
    with pytest.raises(JobCancelled) as cancelled:
        run_job(double_job(tiny_case, tmp_path / "out"), CancelAfter(0))
    assert cancelled.value.checkpoint is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("behavior", "where"), [("memory", "machine"), ("cuda_memory", "GPU")])
def test_running_out_of_memory_is_said_clearly(tiny_case, tmp_path, behavior, where):
    with pytest.raises(ResourceError, match=f"memory of this {where} does not suffice"):
        run_job(double_job(tiny_case, tmp_path / "out", behavior=behavior))
    assert list(tmp_path.iterdir()) == []


def test_absurd_size_is_refused_before_the_work_starts(tiny_case, tmp_path):
    with pytest.raises(ResourceError, match="30000 x 30000 x 30000 voxels needs at least") as caught:
        run_job(double_job(tiny_case, tmp_path / "out", size=30000))
    assert "--size" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_package_that_a_method_lacks_is_named(tiny_case, tmp_path):
    with pytest.raises(DependencyError, match="Double needs the package torch"):
        run_job(double_job(tiny_case, tmp_path / "out", behavior="package"))
    assert list(tmp_path.iterdir()) == []


def test_defect_of_a_method_leaves_a_log_file_only(tiny_case, tmp_path):
    with pytest.raises(DSAReconError, match="defect of this program") as caught:
        run_job(double_job(tiny_case, tmp_path / "out", behavior="crash"))
    assert caught.value.code == "internal.error"
    assert [path.name for path in tmp_path.iterdir()] == ["out.log"]
    assert "Traceback" in (tmp_path / "out.log").read_text()


def test_existing_result_is_refused_before_the_input_is_read(tmp_path, tiny_case):
    run_job(double_job(tiny_case, tmp_path / "out"))
    with pytest.raises(ResultError, match="holds a result already"):
        run_job(ReconstructionJob(paths=("does not exist",), out=str(tmp_path / "out")))
    run_job(double_job(tiny_case, tmp_path / "out", overwrite=True))


def test_one_run_alone_is_refused(tiny_case, tmp_path):
    with pytest.raises(PairingError, match="mask run and a fill run are needed"):
        run_job(double_job(tiny_case / "fill.dcm", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_run_record_names_nobody(tiny_case, tmp_path):
    import pydicom

    for name in ("mask.dcm", "fill.dcm"):
        dataset = pydicom.dcmread(tiny_case / name)
        dataset.PatientName, dataset.PatientID = "Unmistakable^Jane", "ID-47110815"
        dataset.PatientBirthDate = "19700101"  # all long enough not to be in an encoded picture by chance
        (tmp_path / "study").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "study" / name)
    out = run_job(double_job(tmp_path / "study", tmp_path / "out", report=True))
    for name in ("run.json", "log.txt", "geometry.json", "report.html"):
        text = (out / name).read_text()
        assert not any(secret in text for secret in ("Unmistakable", "47110815", "19700101")), name


def test_report_that_fails_is_a_warning(tiny_case, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("no picture")

    monkeypatch.setattr(pipeline, "write_report", fail)
    progress = SilentProgress()
    out = run_job(double_job(tiny_case, tmp_path / "out", report=True), progress)
    assert "report.missing" in dict(progress.warnings)
    assert ["report.missing", dict(progress.warnings)["report.missing"]] in json.loads((out / "run.json").read_text())[
        "warnings"
    ]
    assert not (out / "report.html").exists()
