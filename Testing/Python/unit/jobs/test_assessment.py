"""Judging a result: its runs are read again, compared with unseen views and the truth."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import method_doubles
from helpers.method_doubles import double_job

from DSAReconLib.errors import ResultError
from DSAReconLib.evaluation.protocol import prepare_truth
from DSAReconLib.fitting.head_alignment import HeadAlignment
from DSAReconLib.fitting.head_poses import HeadCourse, seen_from_head
from DSAReconLib.io.result_folder import open_result
from DSAReconLib.io.truth import read_truth
from DSAReconLib.jobs.assessment import MAX_HELDOUT, assess, load_case, spread, write_metrics
from DSAReconLib.jobs.pipeline import run_job
from DSAReconLib.methods.registry import METHODS


@pytest.fixture(scope="module")
def result(tiny_case, tmp_path_factory):
    method_doubles.install()
    yield open_result(run_job(double_job(tiny_case, tmp_path_factory.mktemp("assessed") / "out", views=8)))
    METHODS.pop(method_doubles.NAME)


@pytest.fixture(scope="module")
def case(result, tiny_case):
    return load_case([tiny_case], result.record, title="Tiny", truth=read_truth(tiny_case / "truth"))


def test_the_case_has_the_frames_that_the_result_used_and_held_out(case, result):
    np.testing.assert_array_equal(case.selected, result.selected_views)
    np.testing.assert_array_equal(case.heldout, result.heldout_views)
    assert len(case.angiogram) == 20
    assert len(case.mask_run) == len(case.fill_run) == 20


def test_with_truth_every_group_of_metrics_is_there(case, result):
    entry = assess(result, case, reference=prepare_truth(case.truth))
    assert {"psnr_db", "psnr_clean_db", "dice_best", "cldice_auto", "tac_nrmse"} <= set(entry.metrics)
    assert entry.name == "Double"
    assert entry.rendered.shape == (12, 32, 32)
    assert entry.values["reconstruction_s"] > 0


def test_without_truth_only_views_are_judged(case, result):
    metrics = assess(result, dataclasses.replace(case, truth=None)).metrics
    assert "psnr_db" in metrics
    assert "psnr_clean_db" not in metrics
    assert "dice_best" not in metrics


def test_a_result_whose_poses_follow_the_head_is_judged_at_those_poses(tiny_case, tmp_path, monkeypatch):
    motion = np.linspace(-1, 1, 20)[:, None] * np.array([0.5, -0.2, 0.4, 0.3, 0.1, -0.2])
    monkeypatch.setattr(HeadAlignment, "course", lambda aligner: HeadCourse(motion, 0.0))
    moved = open_result(run_job(double_job(tiny_case, tmp_path / "out", views=8, registration="rigid3d")))
    assert [code for code, _ in moved.record["warnings"]].count("acquisition.head_moved") == 1
    np.testing.assert_allclose(moved.record["geometry"]["head_motion_mm"], motion, atol=1e-3)
    header = load_case([tiny_case], {**moved.record, "registration": "rigid"}, title="").angiogram.geometry
    assert moved.geometry == seen_from_head(header, motion)
    assert load_case([tiny_case], moved.record, title="").angiogram.geometry == moved.geometry


def test_metrics_file_is_json_and_leaves_the_record_alone(case, result):
    before = (result.folder / "run.json").read_bytes()
    path = write_metrics(result.folder, assess(result, case))
    assert np.isfinite(json.loads(path.read_text())["metrics"]["psnr_db"])
    assert (result.folder / "run.json").read_bytes() == before


def test_other_runs_are_refused(tiny_case, result):
    record = {**result.record, "input_sop_instance_uids": ["1.2.3", "1.2.4"]}
    with pytest.raises(ResultError, match="made from other runs"):
        load_case([tiny_case], record, title="Tiny")


def test_the_truth_of_another_case_is_refused(tiny_case, result):
    truth = read_truth(tiny_case / "truth")
    other = dataclasses.replace(truth, frame_times_s=truth.frame_times_s[:-1], clean_line_integrals=None, geometry=None)
    with pytest.raises(ResultError, match="19 frames"):
        load_case([tiny_case], result.record, title="Tiny", truth=other)


def test_frames_are_spread_over_all():
    frames = np.arange(103)
    chosen = spread(frames, MAX_HELDOUT)
    assert len(chosen) == MAX_HELDOUT
    assert chosen[0] == 0
    assert chosen[-1] == 102
    assert np.diff(chosen).max() <= 3
    np.testing.assert_array_equal(spread(frames, 200), frames)
