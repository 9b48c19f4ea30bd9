"""Section 3: method, options, and the button that starts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from DSAReconLib.errors import DSAReconError
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.registry import METHODS, method_entry
from DSAReconWidgets import parameters
from DSAReconWidgets.advanced_options import OptionEditor
from DSAReconWidgets.controller import State
from DSAReconWidgets.section import Section, allow, bindPath, describe, fillCombo, selectValue, showPath, showText

_LABEL_WIDTH = 96


class ReconstructionSection(Section):
    """What is computed, how and where."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._optionsShown: tuple[Any, ...] | None = None
        self._editors: list[OptionEditor] = []
        ui = self.ui
        fillCombo(ui.methodCombo, [(entry.title, name, entry.summary) for name, entry in METHODS.items()])
        fillCombo(ui.deviceCombo, _devices())
        fillCombo(ui.registrationCombo, _registrations())
        combos = (
            (ui.methodCombo, "method"), (ui.presetCombo, "preset"), (ui.deviceCombo, "device"),
            (ui.registrationCombo, "registration"),
        )  # fmt: skip
        for combo, name in combos:
            combo.connect(
                "currentIndexChanged(int)",
                lambda index, combo=combo, name=name: self.panel.setParameter(name, combo.itemData(index)),
            )
        bindPath(self.panel, ui.outputFolderEdit, "outputFolder")
        ui.resetOptionsButton.connect("clicked()", self._resetOptions)
        ui.reconstructButton.connect("clicked()", self._reconstruct)
        ui.cancelButton.connect("clicked()", self._cancel)
        self._optionsForm = qt.QFormLayout()
        self._optionsForm.setContentsMargins(0, 0, 0, 0)
        self._optionsForm.setFieldGrowthPolicy(qt.QFormLayout.AllNonFixedFieldsGrow)
        ui.methodOptions.setLayout(self._optionsForm)

    def update(self) -> None:
        """Show the choices, and whether a reconstruction can start."""
        ui, node = self.ui, self.panel.parameterNode
        fillCombo(ui.presetCombo, [_preset(name) for name in parameters.presetNames(node.method)])
        if node.preset not in parameters.presetNames(node.method):
            self.panel.setParameter("preset", "balanced")
        for combo, value in (
            (ui.methodCombo, node.method), (ui.presetCombo, node.preset), (ui.deviceCombo, node.device),
            (ui.registrationCombo, node.registration),
        ):  # fmt: skip
            selectValue(combo, value)
        if node.outputFolder == Path():
            self.panel.setParameter("outputFolder", Path.home() / "Documents" / "DSARecon", quietly=True)
        showPath(ui.outputFolderEdit, Path(node.outputFolder))
        describe(ui.methodCombo, method_entry(node.method).summary)
        self.panel.controller.livePreview = bool(node.livePreview)
        self._showOptions()
        self._showButtons()

    def problem(self) -> str:
        """Why a reconstruction cannot start; empty if it can."""
        problem = self.panel.input.problem() or self.panel.views.problem()
        if problem:
            return problem
        try:
            job = self.panel.logic.job(self.panel.parameterNode)
        except DSAReconError as error:
            return str(error.message)
        return _("This very reconstruction is running or waiting already.") if self._isQueued(job) else ""

    def _isQueued(self, job: ReconstructionJob) -> bool:
        pending = [queued.job for queued in self.panel.controller.jobs if not queued.state.isFinal]
        return any(replace(other, out="") == replace(job, out="") for other in pending)

    def _showButtons(self) -> None:
        ui, state = self.ui, self.panel.controller.state
        busy = state != State.IDLE
        problem = _("Slicer installs what is missing. This takes some minutes.") if state == State.INSTALLING else ""
        problem = problem or self.problem()
        ui.reconstructButton.text = _("Add to the queue") if busy else _("Reconstruct")
        ui.cancelButton.visible = busy
        ui.reconstructButton.visible = not busy or state == State.RUNNING
        describe(ui.reconstructButton, _("Starts in the background: Slicer can be used meanwhile."))
        allow(ui.reconstructButton, problem)
        allow(ui.cancelButton, _("It is being cancelled…") if state == State.CANCELLING else "")
        ui.cancelButton.text = _("Cancelling…") if state == State.CANCELLING else _("Cancel")
        said = bool(self.panel.input.problem())  # in section 1
        showText(
            ui.reconstructReasonLabel, "" if busy else _("Choose the runs in section 1 first.") if said else problem
        )

    # Options of the method

    def _showOptions(self) -> None:
        node = self.panel.parameterNode
        shown = (node.method, node.preset, node.overrides)
        if shown == self._optionsShown:
            return
        rebuild = self._optionsShown is None or shown[:2] != self._optionsShown[:2] or not self._editing()
        self._optionsShown = shown
        values = parameters.methodOverrides(node)
        allow(self.ui.resetOptionsButton, "" if values else _("Every option has the preset's value."))
        if rebuild:
            self._buildOptions(values)

    def _editing(self) -> bool:
        """Whether the user's change came from an editor, which must not be replaced while it has the focus."""
        return any(editor.widget.focus for editor in self._editors)

    def _buildOptions(self, values: dict[str, Any]) -> None:
        node = self.panel.parameterNode
        while self._optionsForm.rowCount():
            self._optionsForm.removeRow(0)
        self._editors = []
        for spec in parameters.methodOptions(node.method, node.preset):
            if spec.name == "seed":  # above, for every method
                continue
            editor = OptionEditor(spec, values.get(spec.name, spec.default), self._setOption)
            editor.label.setMinimumWidth(_LABEL_WIDTH)
            self._optionsForm.addRow(editor.label, editor.widget)
            self._editors.append(editor)
        self.ui.methodOptionsTitle.text = _("<b>{method}</b>").format(method=method_entry(node.method).title)

    def _setOption(self, name: str, value: Any) -> None:
        try:
            parameters.setMethodOverride(self.panel.parameterNode, name, value)
        except DSAReconError as error:
            self.panel.notifier.problem(error.message, error.hint or "")
            self._optionsShown = None
            self.panel.refresh()

    def _resetOptions(self) -> None:
        self._optionsShown = None
        parameters.clearMethodOverrides(self.panel.parameterNode)
        self.panel.refresh()

    # Buttons

    def _reconstruct(self) -> None:
        if self.panel.parameterNode is None or self.problem():
            self.panel.refresh()
            return
        self.panel.notifier.clear()
        node = self.panel.parameterNode
        job = self.panel.attempt(lambda: self.panel.logic.job(node))
        if job is not None:
            label = f"{method_entry(job.method).title}, {_preset(job.preset)[0].lower()}"
            self.panel.controller.reconstruct(job, label=label)
        self.panel.refresh()

    def _cancel(self) -> None:
        self.panel.controller.cancel()
        self.panel.refresh()


def _preset(name: str) -> tuple[str, str, str]:
    known = {
        "fast": (_("Fast"), _("Coarse, for a first look.")),
        "balanced": (_("Balanced"), _("The default.")),
        "quality": (_("Quality"), _("Finer, takes several times longer.")),
        "paper": (_("As published"), _("The values of the method's publication; slow.")),
    }
    text, tooltip = known.get(name, (name.capitalize(), ""))
    return text, name, tooltip


def _devices() -> list[tuple[str, str, str]]:
    return [
        (_("Automatic"), "auto", _("The graphics card if it can compute, else the processor.")),
        (_("Processor (CPU)"), "cpu", _("Works everywhere.")),
        (_("Graphics card (CUDA)"), "cuda", _("Needs an NVIDIA card and PyTorch.")),
    ]


def _registrations() -> list[tuple[str, str, str]]:
    return [
        (_("motion in space"), "rigid3d", _("Each frame of the mask is moved as the head moved in space.")),
        (_("shift and turn"), "rigid", _("Each frame is shifted and turned onto the mask.")),
        (_("shift only"), "translation", _("Each frame is shifted onto the mask.")),
        (_("none"), "none", _("For runs without any motion of the patient.")),
    ]
