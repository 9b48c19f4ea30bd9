"""Reconstructing by the panel's buttons: with the real worker, cancelled, crashed, queued, pressed twice."""

# ruff: noqa: E402 - qt and the module exist once the stand-in for the desktop was made

import json
import os
import signal

import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.panel import DESKTOP, doubles_in, row_texts, set_up_quick_job, start_double

pytestmark = pytest.mark.gui

from DSAReconWidgets.controller import State
from DSAReconWidgets.outcome import JobState


@pytest.fixture(autouse=True)
def _packages_are_there(panel, monkeypatch):
    """The check of the packages takes seconds and has its own tests."""
    monkeypatch.setattr(panel.controller._installer, "isKnownGood", lambda needs: True)


def _children():
    return [child for child in psutil.Process().children(recursive=True) if "jobs.worker" in " ".join(child.cmdline())
            or "worker_with_doubles" in " ".join(child.cmdline())]  # fmt: skip


def _wait_until_working(panel):
    """The method itself works, not only what comes before it; a busy machine takes its time."""
    DESKTOP.wait_for(
        lambda: panel.controller.current and panel.controller.current.stage == "fit", timeout_s=90, what="the fit"
    )


def test_click_on_reconstruct_ends_with_the_result_in_the_scene(panel, tiny_case, tmp_path):
    set_up_quick_job(panel, tiny_case, tmp_path)
    panel.ui.reconstructButton.click()
    DESKTOP.spin()
    assert panel.controller.state is State.RUNNING
    assert panel.ui.cancelButton.visible
    assert panel.ui.progressFrame.visible
    DESKTOP.wait_for(lambda: panel.result is not None, timeout_s=120, what="the result")
    DESKTOP.spin()
    assert panel.ui.resultSelector.currentText == "FDK 12 views"
    assert not panel.ui.cancelButton.visible
    assert not panel.ui.progressFrame.visible
    assert row_texts(panel.ui.jobTree)[0][1:] == ["finished", "12"]
    record = json.loads((panel.result.folder / "run.json").read_text())
    assert record["method"] == "fdk"
    assert len(record["selected_views"]) == 12
    assert panel.result.folder.parent == tmp_path
    assert _children() == []


def test_cancel_ends_the_job_within_two_seconds_and_everything_can_start_again(panel, tiny_case, tmp_path):
    set_up_quick_job(panel, tiny_case, tmp_path)
    with doubles_in(panel):
        job = start_double(panel, tiny_case, tmp_path / "a")
        _wait_until_working(panel)
        panel.ui.cancelButton.click()
        panel.ui.cancelButton.click()
        DESKTOP.spin()
        assert not panel.ui.cancelButton.enabled
        DESKTOP.wait_for(lambda: job.state.isFinal, timeout_s=10)
        assert job.state is JobState.CANCELLED
    DESKTOP.spin()
    assert panel.ui.reconstructButton.enabled
    assert panel.ui.reconstructButton.text == "Reconstruct"
    assert not panel.ui.messageFrame.visible
    assert _children() == []


def test_broken_off_job_goes_on_where_it_was(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        job = start_double(panel, tiny_case, tmp_path / "a", steps=30)
        _wait_until_working(panel)
        assert not panel.ui.jobResumeButton.enabled
        DESKTOP.wait_for((tmp_path / "a.checkpoint" / "state.npz").is_file, what="the checkpoint")
        os.kill(_children()[0].pid, signal.SIGKILL)
        DESKTOP.wait_for(lambda: job.state.isFinal)
        DESKTOP.spin()
        assert panel.ui.jobResumeButton.enabled
        assert "Resume" in panel.ui.messageLabel.text
        panel.ui.jobResumeButton.click()
        panel.ui.jobResumeButton.click()
        DESKTOP.spin()
        assert not panel.ui.messageFrame.visible
        assert len(panel.controller.jobs) == 2
        resumed = panel.controller.jobs[-1]
        DESKTOP.wait_for(lambda: resumed.state.isFinal, timeout_s=90, what="the resumed job")
    assert resumed.state is JobState.FINISHED, resumed.logText
    assert json.loads((tmp_path / "a" / "run.json").read_text())["facts"]["start_step"] > 0
    DESKTOP.spin()
    panel.ui.jobTree.setCurrentItem(panel.ui.jobTree.topLevelItem(0))
    assert "Nothing was kept" in panel.ui.jobResumeButton.toolTip


def test_crash_of_the_child_is_one_sentence_with_its_log(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        job = start_double(panel, tiny_case, tmp_path / "a")
        _wait_until_working(panel)
        os.kill(_children()[0].pid, signal.SIGKILL)
        DESKTOP.wait_for(lambda: job.state.isFinal)
    DESKTOP.spin()
    assert job.state is JobState.FAILED
    assert panel.ui.messageFrame.visible
    assert panel.ui.messageLabel.text.count("\n") == 0
    assert panel.ui.logButton.visible
    panel.ui.logButton.click()
    assert panel.notifier._dialog.visible
    panel.notifier._dialog.close()
    assert row_texts(panel.ui.jobTree)[0][1] == "failed"
    assert panel.controller.state is State.IDLE


def test_second_job_waits_and_can_be_taken_out_of_the_queue(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        first = start_double(panel, tiny_case, tmp_path / "a")
        second = start_double(panel, tiny_case, tmp_path / "b", seed=1)
        third = start_double(panel, tiny_case, tmp_path / "c", steps=2)
        _wait_until_working(panel)
        DESKTOP.spin()
        assert [row[1].split()[0] for row in row_texts(panel.ui.jobTree)] == ["running", "waiting", "waiting"]
        panel.ui.jobTree.setCurrentItem(panel.ui.jobTree.topLevelItem(1))
        assert panel.ui.jobCancelButton.enabled
        panel.ui.jobCancelButton.click()
        assert second.state is JobState.CANCELLED
        assert first.state is JobState.RUNNING
        panel.ui.cancelButton.click()
        DESKTOP.wait_for(lambda: third.state.isFinal, timeout_s=60)
        assert [job.state for job in (first, second, third)] == [
            JobState.CANCELLED, JobState.CANCELLED, JobState.FINISHED,
        ]  # fmt: skip


def test_pressing_reconstruct_twice_runs_it_once_and_other_settings_queue(panel, tiny_case, tmp_path):
    set_up_quick_job(panel, tiny_case, tmp_path)
    panel.ui.reconstructButton.click()
    panel.ui.reconstructButton.click()
    DESKTOP.spin()
    assert len(panel.controller.jobs) == 1
    assert not panel.ui.reconstructButton.enabled
    assert "already" in panel.ui.reconstructButton.toolTip
    panel.ui.viewsSpinBox.value = 10
    DESKTOP.spin()
    assert panel.ui.reconstructButton.text == "Add to the queue"
    panel.ui.reconstructButton.click()
    jobs = panel.controller.jobs
    assert len({job.job.out for job in jobs}) == 2
    panel.ui.jobTree.setCurrentItem(panel.ui.jobTree.topLevelItem(1))
    panel.ui.jobCancelButton.click()
    DESKTOP.wait_for(lambda: all(job.state.isFinal for job in jobs), timeout_s=180, what="the jobs")
    DESKTOP.spin(0.2)
    assert [found.name for found in panel.results] == ["FDK 12 views"]


def test_closing_the_scene_during_a_run_keeps_the_result(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        job = start_double(panel, tiny_case, tmp_path / "a", steps=20)
        _wait_until_working(panel)
        DESKTOP.close_scene()
        assert not job.state.isFinal
        assert panel.ui.progressFrame.visible
        DESKTOP.wait_for(lambda: job.state.isFinal, timeout_s=60)
        DESKTOP.wait_for(lambda: panel.result is not None, what="the result in the new scene")
    assert job.state is JobState.FINISHED


def test_leaving_the_module_during_a_run_keeps_the_job_and_coming_back_shows_it(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        job = start_double(panel, tiny_case, tmp_path / "a", steps=10)
        _wait_until_working(panel)
        panel.exit()
        DESKTOP.wait_for(lambda: job.state.isFinal, timeout_s=60)
        panel.enter()
        DESKTOP.spin()
        assert panel.result is not None
        assert row_texts(panel.ui.jobTree)[0][1] == "finished"


def test_closing_slicer_during_a_run_leaves_no_child(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        start_double(panel, tiny_case, tmp_path / "a")
        _wait_until_working(panel)
        children = _children()
        panel.cleanup()
        assert children
        _gone, alive = psutil.wait_procs(children, timeout=3)
        assert alive == []


def test_progress_shows_stage_time_and_preview(panel, tiny_case, tmp_path):
    with doubles_in(panel):
        start_double(panel, tiny_case, tmp_path / "a")
        DESKTOP.wait_for(lambda: panel.ui.stageLabel.text.startswith("Fit: "), what="the stage")
        assert "loss" in panel.ui.metricsLabel.text
        DESKTOP.wait_for(lambda: panel.ui.previewLabel.visible, what="the preview")
        DESKTOP.wait_for(lambda: "left" in panel.ui.stageLabel.text, what="the time left")
        panel.ui.cancelButton.click()
        DESKTOP.wait_for(lambda: panel.controller.state is State.IDLE)
