"""The state machine behind the buttons: real workers, a real scene, and users who do not wait."""

# ruff: noqa: E402 - qt and slicer.app exist once the stand-in for the desktop was made

import functools
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.method_doubles import double_job, install
from helpers.slicer_desktop import desktop

DESKTOP = desktop()

import slicer
from DSAReconWidgets.controller import Controller, State
from DSAReconWidgets.frame_contrast import ContrastPending
from DSAReconWidgets.install import InstallResult, Missing
from DSAReconWidgets.logic import DSAReconLogic
from DSAReconWidgets.outcome import JobState
from DSAReconWidgets.process import WorkerProcess
from DSAReconWidgets.queue import JobQueue
from DSAReconWidgets.signal import Signal

from DSAReconLib.methods.registry import METHODS

pytestmark = pytest.mark.gui
TESTS = str(Path(__file__).parents[1])


class Notes:
    """Notifier that writes everything down."""

    def __init__(self):
        self.answer, self.asked, self.said, self.problems = True, [], [], []
        self.meanwhile = lambda: None

    def confirm(self, title, text):
        self.asked.append(text)
        self.meanwhile()
        return self.answer

    def inform(self, text):
        self.said.append(text)

    def problem(self, message, hint="", log=""):
        self.problems.append((message, hint, log))


class FakeInstaller:
    """Installer whose answers a test gives."""

    def __init__(self, known=True):
        self.line, self.idle, self.log = Signal("line"), Signal(), []
        self.known, self.waiting, self.calls = known, None, []

    @property
    def isBusy(self):
        return self.waiting is not None

    def isKnownGood(self, needs):
        return self.known

    def forget(self):
        self.calls.append("forget")

    def check(self, needs, whenDone):
        assert not self.isBusy
        self.calls.append("check")
        self.waiting = whenDone

    def install(self, missing, whenDone):
        assert not self.isBusy
        self.calls.append("install")
        self.waiting = whenDone

    def cancel(self):
        self.calls.append("cancel")

    def close(self):
        self.calls.append("close")

    def answer(self, result):
        """End what goes on."""
        done, self.waiting = self.waiting, None
        done(result)
        if self.waiting is None:
            self.idle()


class Case:
    """Controller, logic and what they said."""

    def __init__(self, case, folder, installer=None):
        self.case, self.folder = case, folder
        self.logic, self.notes, self.installer = DSAReconLogic(), Notes(), installer or FakeInstaller()
        make = functools.partial(WorkerProcess, module="helpers.worker_with_doubles", onPath=(TESTS,))
        self.logic._queue = JobQueue(make)
        self.controller = Controller(self.logic, self.notes, installer=self.installer)
        self.states, self.loaded, self.ended, self.previews = [], [], [], []
        self.controller.stateChanged.connect(self.states.append)
        self.controller.resultLoaded.connect(lambda job, nodes: self.loaded.append(nodes))
        self.controller.jobEnded.connect(self.ended.append)
        self.controller.previewShown.connect(lambda job, node: self.previews.append(node))

    def start(self, name="out", **changes):
        """Press Reconstruct."""
        return self.controller.reconstruct(double_job(self.case, self.folder / name, **changes), label=name)

    def until(self, condition, what=""):
        """Let the application work."""
        return DESKTOP.wait_for(condition, 60, what)

    def fitting(self, job):
        """Wait until the job is in the middle of its work."""
        self.until(lambda: job.stage == "fit", "the fit")
        return job


@pytest.fixture
def case(tiny_case, tmp_path, monkeypatch):
    monkeypatch.setattr("DSAReconLib.methods.registry.METHODS", METHODS)
    install()
    slicer.mrmlScene.Clear(0)
    made = Case(tiny_case, tmp_path)
    yield made
    made.controller.close()
    made.logic.close()
    METHODS.pop("double")
    slicer.mrmlScene.Clear(0)
    assert not psutil.Process().children(recursive=True)
    assert DESKTOP.take_errors() == []


def _volumes(name):
    found = slicer.mrmlScene.GetNodesByName(name)
    return found.GetNumberOfItems()


def test_result_of_a_finished_job_appears_in_the_scene(case):
    job = case.start(steps=3, step_s=0.05)
    case.until(lambda: case.loaded, "the result")
    assert job.state is JobState.FINISHED
    assert case.loaded[0].folder == case.folder / "out"
    assert case.loaded[0].in_scene()
    assert case.states == [State.RUNNING, State.IDLE]
    assert case.ended == [job]
    assert case.notes.problems == []


def test_button_pressed_twice_gives_one_job_and_cancel_pressed_twice_one_end(case):
    job = case.start("first", steps=200, step_s=0.05)
    assert case.start("second", steps=200, step_s=0.05) is job
    case.fitting(job)
    start = time.monotonic()
    case.controller.cancel()
    case.controller.cancel()
    case.controller.cancel(job)
    case.until(lambda: job.state.isFinal)
    assert time.monotonic() - start < 2.5
    case.controller.cancel()
    case.controller.cancel(job)
    assert job.state is JobState.CANCELLED
    assert case.states == [State.RUNNING, State.CANCELLING, State.IDLE]
    assert len(case.ended) == 1
    assert case.notes.problems == []


def test_scene_closed_during_a_job_loses_nothing(case):
    job = case.start(steps=40, step_s=0.05)
    case.until(lambda: case.previews, "a preview")
    DESKTOP.close_scene()
    assert not job.state.isFinal
    case.until(lambda: case.loaded, "the result")
    assert case.loaded[0].in_scene()
    assert _volumes("Preview") == 0


def test_preview_is_in_the_scene_while_the_job_runs_even_if_the_user_deletes_it(case):
    job = case.start(steps=100, step_s=0.05)
    case.until(lambda: case.previews, "a preview")
    assert case.previews[0].GetImageData().GetDimensions() == (16, 16, 16)
    assert _volumes("Preview") == 1
    slicer.mrmlScene.RemoveNode(case.previews[0])
    case.until(lambda: job.previewNumber == 2, "another preview")
    assert _volumes("Preview") == 1
    case.controller.cancel()
    case.until(lambda: job.state.isFinal)
    assert _volumes("Preview") == 0


def test_preview_can_be_switched_off(case):
    case.controller.livePreview = False
    job = case.start(steps=3, step_s=0.05)
    case.until(lambda: job.state.isFinal)
    assert case.previews == []


def test_result_waits_until_the_scene_can_take_it(case):
    scene = slicer.mrmlScene
    job = case.start(steps=2)
    scene.StartState(scene.ImportState)
    case.until(lambda: job.state.isFinal)
    DESKTOP.spin(0.3)
    assert case.loaded == []
    scene.EndState(scene.ImportState)
    case.until(lambda: case.loaded)


def test_killed_child_is_one_problem_with_its_log_and_the_next_job_runs(case):
    job, following = case.start("a", steps=200, step_s=0.05), case.start("b", steps=2)
    case.fitting(job)
    os.kill(case.logic.queue._process.pid, signal.SIGKILL)
    case.until(lambda: following.state.isFinal)
    assert (job.state, following.state) == (JobState.FAILED, JobState.FINISHED)
    [(message, hint, log)] = case.notes.problems
    assert "stopped unexpectedly" in message
    assert hint
    assert "took" in log


def test_result_that_cannot_be_shown_is_a_sentence_and_stays_on_the_disk(case, monkeypatch):
    monkeypatch.setattr(case.logic, "loadResult", lambda folder: 1 / 0)
    job = case.start(steps=2)
    case.until(lambda: case.notes.problems)
    assert job.state is JobState.FINISHED
    assert str(case.folder / "out") in case.notes.problems[0][1]
    assert (case.folder / "out" / "run.json").is_file()
    assert case.loaded == []


def test_result_folder_that_was_deleted_is_a_problem_and_no_crash(case):
    case.controller.jobEnded.connect(lambda job: shutil.rmtree(case.folder / "out"))
    case.start(steps=2)
    case.until(lambda: case.notes.problems)
    assert "out" in case.notes.problems[0][0]
    assert case.controller.state is State.IDLE


def test_closing_the_application_ends_the_child_and_says_nothing_more(case):
    job = case.fitting(case.start(steps=200, step_s=0.05))
    child = psutil.Process(case.logic.queue._process.pid)
    case.controller.close()
    case.controller.close()
    assert not child.is_running()
    assert job.state is JobState.CANCELLED
    assert case.ended == []


def test_missing_packages_are_installed_after_a_yes_and_then_the_job_runs(case):
    case.installer.known = False
    job = case.start(steps=2)
    assert (case.controller.state, job.state) == (State.INSTALLING, JobState.WAITING)
    case.installer.answer(Missing(packages=("numba>=0.60",), torch=True))
    assert "numba>=0.60, PyTorch" in case.notes.asked[0]
    assert case.controller.state is State.INSTALLING
    case.installer.answer(InstallResult())
    case.installer.answer(Missing())
    case.until(lambda: case.loaded)
    assert case.installer.calls == ["check", "install", "check"]
    assert job.state is JobState.FINISHED


def test_no_to_the_installation_cancels_the_job_without_a_complaint(case):
    case.installer.known, case.notes.answer = False, False
    job = case.start()
    case.installer.answer(Missing(packages=("numba>=0.60",)))
    assert job.state is JobState.CANCELLED
    assert case.installer.calls == ["check"]
    assert case.notes.problems == []
    assert case.controller.state is State.IDLE


@pytest.mark.parametrize(
    ("checked", "installed", "again", "part"),
    [
        (Missing(problem="python does not run."), None, None, "does not run"),
        (Missing(packages=("a",)), InstallResult("No network.", "Try later."), None, "No network."),
        (Missing(packages=("a",)), InstallResult(), Missing(packages=("a",)), "Still missing"),
    ],
)
def test_failed_check_or_installation_fails_the_job_with_a_sentence(case, checked, installed, again, part):
    case.installer.known = False
    job = case.start()
    for answer in (checked, installed, again):
        if answer is not None:
            case.installer.answer(answer)
    assert job.state is JobState.FAILED
    assert part in case.notes.problems[0][0]
    assert "forget" in case.installer.calls


def test_job_cancelled_during_the_question_is_not_installed_for(case):
    case.installer.known = False
    job = case.start()
    case.notes.meanwhile = case.controller.cancel
    case.installer.answer(Missing(packages=("a",)))
    assert job.state is JobState.CANCELLED
    assert "install" not in case.installer.calls


def test_job_cancelled_during_the_installation_lets_the_next_one_wait_for_its_end(case):
    case.installer.known = False
    first, second = case.start("a", seed=1), case.start("b", seed=2)
    case.installer.answer(Missing(packages=("a",)))
    case.controller.cancel()
    assert (first.state, second.state) == (JobState.CANCELLED, JobState.WAITING)
    assert case.installer.calls[-1] == "cancel"
    case.installer.answer(InstallResult(cancelled=True))
    assert case.installer.calls[-1] == "check"
    case.installer.answer(Missing())
    case.until(lambda: second.state.isFinal)
    assert second.state is JobState.FINISHED


def test_install_button_tells_its_end_and_does_nothing_while_a_job_runs(case):
    answers = []
    case.controller.install(whenDone=answers.append)
    assert answers == [True]
    case.installer.known = False
    case.controller.install(torch=True, whenDone=answers.append)
    case.controller.install(whenDone=answers.append)
    assert answers == [True, False]
    case.controller.cancel()
    assert case.installer.calls[-1] == "cancel"
    case.installer.answer(Missing(packages=("a",)))
    case.installer.answer(InstallResult(cancelled=True))
    assert answers == [True, False, False]
    assert case.notes.problems == []


def test_logic_calls_back_exactly_once(case):
    progress, ends = [], []
    job = double_job(case.case, case.folder / "out", steps=3, step_s=0.05)
    queued = case.logic.reconstruct(job, onProgress=lambda job: progress.append(job.stage), onEnded=ends.append)
    case.until(lambda: ends)
    DESKTOP.spin(0.2)
    assert ends == [queued]
    assert "fit" in progress


def test_contrast_of_the_frames_is_measured_without_waiting(case):
    known = []
    case.logic.contrast.known.connect(lambda: known.append(True))
    fill = case.case / "fill.dcm"
    assert len(case.logic.selectViews(fill).selected) == 20
    for _ in range(3):
        with pytest.raises(ContrastPending):
            case.logic.selectViews(fill, views=8, selection="bolus")
    case.until(lambda: known)
    chosen = case.logic.selectViews(fill, views=8, selection="bolus")
    assert len(chosen.selected) == 8
    assert chosen.doseFraction == pytest.approx(0.4)
    assert list(chosen.selected) != list(case.logic.selectViews(fill, views=8).selected)


def test_run_nodes_lead_to_their_files_and_a_missing_one_is_named(case):
    fill, mask = (case.logic.loadRun(case.case / f"{name}.dcm") for name in ("fill", "mask"))
    parameters = case.logic.getParameterNode()
    parameters.fillRun, parameters.maskRun = fill, mask
    job = case.logic.job(parameters)
    assert (job.fill, job.mask) == (str(case.case / "fill.dcm"), str(case.case / "mask.dcm"))
    assert not Path(job.out).exists()
    parameters.maskRun = None
    with pytest.raises(Exception, match="mask run, too"):
        case.logic.job(parameters)
    fill.SetAttribute("DSARecon.SourceFile", "/nowhere/fill.dcm")
    fill.SetAttribute("DICOM.instanceUIDs", "")
    parameters.maskRun = mask
    with pytest.raises(Exception, match="not there any more"):
        case.logic.job(parameters)
