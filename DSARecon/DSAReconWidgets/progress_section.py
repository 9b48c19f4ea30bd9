"""The lower half of section 3: progress, messages and the queue."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from DSAReconLib.jobs.resume import has_state
from DSAReconWidgets.outcome import JobState, QueuedJob
from DSAReconWidgets.pictures import showPicture, volumeFromFront
from DSAReconWidgets.section import Section, allow, fitRows, showText

_ROW_PX = 20
_STATES = {
    JobState.WAITING: "waiting",
    JobState.RUNNING: "running",
    JobState.CANCELLING: "being cancelled",
    JobState.FINISHED: "finished",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class ProgressSection(Section):
    """What the running job does, what went wrong, and which jobs there are."""

    def setup(self) -> None:
        """Connect the widgets and the controller."""
        self._preview: tuple[Path, float] | None = None
        self._listed: list[int] = []
        ui, controller = self.ui, self.panel.controller
        ui.jobTree.setHeaderLabels([_("Reconstruction"), _("State"), _("Views")])
        ui.jobTree.setColumnWidth(0, 180)
        ui.jobTree.setColumnWidth(1, 130)
        ui.jobTree.connect("itemSelectionChanged()", self._showJobButtons)
        ui.jobLogButton.connect("clicked()", lambda: self._withSelected(self._showLog))
        ui.jobShowButton.connect("clicked()", lambda: self._withSelected(self._showResult))
        ui.jobResumeButton.connect("clicked()", lambda: self._withSelected(self._resume))
        ui.jobCancelButton.connect("clicked()", lambda: self._withSelected(controller.cancel))
        controller.jobChanged.connect(self._jobChanged)

    def update(self) -> None:
        """Show the running job and the queue."""
        self._showCurrent(self.panel.controller.current)
        self._showQueue()

    def close(self) -> None:
        """Listen no more."""
        self.panel.controller.jobChanged.disconnect(self._jobChanged)

    def _jobChanged(self, job: QueuedJob) -> None:
        if job is self.panel.controller.current:
            self._showCurrent(job)
        self._showQueue()

    # The running job

    def _showCurrent(self, job: QueuedJob | None) -> None:
        ui = self.ui
        ui.progressFrame.visible = job is not None
        if job is None:
            self._preview = None
            ui.previewLabel.clear()
            return
        ui.stageLabel.text = " · ".join(part for part in (stageText(job), timeLeft(job.etaS)) if part)
        ui.progressBar.value = round(1000 * min(max(job.fraction, 0.0), 1.0))
        details = [metricText(name, value) for name, value in job.metrics.items() if math.isfinite(value)]
        showText(ui.metricsLabel, "   ".join([*details[:3], *([job.message] if job.message and not details else [])]))
        self._showPreview(job.preview)

    def _showPreview(self, path: Path | None) -> None:
        """The newest intermediate volume; the child may be replacing or deleting it right now."""
        self.ui.previewLabel.visible = path is not None
        if path is None:
            return
        from DSAReconLib.io.nrrd import read_volume

        try:
            stamp = (path, path.stat().st_mtime)
            if stamp == self._preview:
                return
            showPicture(self.ui.previewLabel, volumeFromFront(read_volume(path)[0]))
            self._preview = stamp
        except Exception:  # half written or gone: the next one comes soon
            return

    # The queue

    def _showQueue(self) -> None:
        tree, jobs = self.ui.jobTree, list(self.panel.controller.jobs)
        tree.visible = self.ui.jobButtons.visible = bool(jobs)
        if [job.number for job in jobs] != self._listed:
            self._listed = [job.number for job in jobs]
            tree.clear()
            for _job in jobs:
                tree.addTopLevelItem(qt.QTreeWidgetItem())
            fitRows(tree, _ROW_PX, 4)
        for row, job in enumerate(jobs):
            item = tree.topLevelItem(row)
            views = job.job.views
            texts = (f"{job.number}  {job.label}", _stateText(job), _("all") if views is None else str(views))
            for column, text in enumerate(texts):
                if item.text(column) != text:
                    item.setText(column, text)
                    item.setToolTip(column, _jobDetails(job))
        self._showJobButtons()

    def _selected(self) -> QueuedJob | None:
        jobs = list(self.panel.controller.jobs)
        row = self.ui.jobTree.currentIndex().row()
        return jobs[row] if 0 <= row < len(jobs) else (jobs[-1] if jobs else None)

    def _withSelected(self, action: Any) -> None:
        job = self._selected()
        if job is not None:
            action(job)
        self.panel.refresh()

    def _showJobButtons(self) -> None:
        job = self._selected()
        nothing = _("Select a reconstruction in the list.")
        final = job is not None and job.state.isFinal
        allow(
            self.ui.jobLogButton, nothing if job is None else "" if job.log else _("It has not written anything yet.")
        )
        finished = job is not None and job.state == JobState.FINISHED
        allow(self.ui.jobShowButton, nothing if job is None else "" if finished else _("It has no result."))
        allow(self.ui.jobResumeButton, nothing if job is None else self._notResumable(job))
        allow(self.ui.jobCancelButton, nothing if job is None else _("It has ended already.") if final else "")

    def _notResumable(self, job: QueuedJob) -> str:
        """Why a job cannot go on from its checkpoint; empty if it can."""
        if job.state == JobState.FINISHED:
            return _("It has finished.")
        if not job.state.isFinal:
            return _("It has not ended.")
        if not has_state(job.job.checkpoint_folder):
            return _("Nothing was kept to go on from.")
        others = [other for other in self.panel.controller.jobs if not other.state.isFinal]
        return _("It goes on already.") if any(other.job.out == job.job.out for other in others) else ""

    def _resume(self, job: QueuedJob) -> None:
        if not self._notResumable(job):
            self.panel.notifier.clear()
            self.panel.controller.reconstruct(replace(job.job, resume=True), label=job.label)

    def _showLog(self, job: QueuedJob) -> None:
        self.panel.notifier.showText(_("Log of reconstruction {number}").format(number=job.number), job.logText)

    def _showResult(self, job: QueuedJob) -> None:
        if job.outcome is not None and job.outcome.result is not None:
            self.panel.openResult(job.outcome.result)


def stageText(job: QueuedJob) -> str:
    """Name of the stage in words, with its share."""
    if not job.stage:
        return _("Starting…")
    name = job.stage.replace("_", " ").replace(".", " ")
    return f"{name[:1].upper()}{name[1:]}: {100 * job.fraction:.0f} %"


def timeLeft(seconds: float | None) -> str:
    """Time left in the stage in words."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 1.5:
        return _("almost done")
    if seconds < 90:
        return _("about {seconds:.0f} s left").format(seconds=seconds)
    return _("about {minutes:.0f} min left").format(minutes=seconds / 60)


def metricText(name: str, value: float) -> str:
    """A number of the worker with its unit, which its name ends in."""
    words, unit = name, ""
    for suffix, text in (("_db", " dB"), ("_mm", " mm"), ("_s", " s"), ("_percent", " %")):
        if name.endswith(suffix):
            words, unit = name.removesuffix(suffix), text
    return f"{words.replace('_', ' ')} {value:.4g}{unit}"


def _stateText(job: QueuedJob) -> str:
    text = _(_STATES[job.state])
    return f"{text} {100 * job.fraction:.0f} %" if job.state == JobState.RUNNING and job.stage else text


def _jobDetails(job: QueuedJob) -> str:
    outcome = job.outcome
    lines = [job.job.out]
    if outcome is not None:
        lines += [outcome.message, outcome.hint]
    lines += [f"⚠ {text}" for _code, text in job.warnings]
    return "\n".join(line for line in lines if line)
