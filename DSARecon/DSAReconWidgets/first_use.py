"""The card on top of the panel: what is missing, how to install it, and what to send when something fails."""

from __future__ import annotations

import re

import slicer
from slicer.i18n import tr as _

from DSAReconWidgets.controller import State
from DSAReconWidgets.section import Section, allow, showText


class FirstUseSection(Section):
    """Shown while something is missing, and whenever the diagnosis is asked for."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._missing: list[str] | None = None
        self._diagnosing = False
        ui, controller = self.ui, self.panel.controller
        ui.installButton.connect("clicked()", self._install)
        ui.diagnoseButton.connect("clicked()", self._diagnose)
        ui.copyDiagnosisButton.connect("clicked()", self._copy)
        ui.closeDiagnosisButton.connect("clicked()", self._closeDiagnosis)
        ui.diagnosisFrame.visible = False
        controller.installChanged.connect(self._progress)

    def update(self) -> None:
        """Show the card if something is missing or going on."""
        ui, state = self.ui, self.panel.controller.state
        installing = state == State.INSTALLING
        if self._missing is None:
            self._missing = self.panel.controller.missing()
        ui.setupProgress.visible = installing or self._diagnosing
        ui.installButton.text = _("Cancel") if installing else _("Install…")
        ui.installButton.visible = installing or bool(self._missing)
        busy = _("A reconstruction is running.") if state in (State.RUNNING, State.CANCELLING) else ""
        allow(ui.installButton, busy)
        allow(ui.diagnoseButton, _("The check is running.") if self._diagnosing else "")
        if installing:
            return
        if self._missing:
            text = _("<b>Before the first reconstruction</b> some packages have to be installed: {names}.")
            showText(
                ui.setupText, text.format(names=", ".join(re.split("[<>=!~ ]", name)[0] for name in self._missing))
            )
        else:
            showText(ui.setupText, _("Research software, not a medical device."))

    def close(self) -> None:
        """Listen no more."""
        self.panel.controller.installChanged.disconnect(self._progress)

    def _install(self) -> None:
        controller = self.panel.controller
        if controller.state == State.INSTALLING:
            controller.cancel()
        else:
            controller.install(whenDone=self._installed)
        self.panel.refresh()

    def forget(self) -> None:
        """Look again what is missing."""
        self._missing = None

    def _installed(self, _good: bool) -> None:
        self.forget()
        self.panel.refresh()

    def _progress(self, line: str) -> None:
        if self.panel.controller.state == State.INSTALLING:
            showText(self.ui.setupText, line)

    def _diagnose(self) -> None:
        if self._diagnosing:
            return
        self._diagnosing = True
        self.panel.controller.diagnose(self._diagnosed)
        self.panel.refresh()

    def _diagnosed(self, page: str) -> None:
        self._diagnosing = False
        self.ui.diagnosisText.plainText = page
        self.ui.diagnosisFrame.visible = True
        self.panel.refresh()

    def _copy(self) -> None:
        slicer.app.clipboard().setText(self.ui.diagnosisText.plainText)
        self.panel.notifier.inform(_("The page was copied."))

    def _closeDiagnosis(self) -> None:
        self.ui.diagnosisFrame.visible = False
