"""How the panel talks to the user: in the panel where possible, in a dialog only where an answer is needed."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from DSAReconWidgets.section import showText


class PanelNotifier:
    """The controller's :class:`~DSAReconWidgets.controller.Notifier` of the panel.

    Parameters
    ----------
    ui
        The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._log = ""
        ui.logButton.connect("clicked()", lambda: self.showText(_("Log"), self._log))
        ui.dismissButton.connect("clicked()", self.clear)
        self.clear()

    def confirm(self, title: str, text: str) -> bool:
        """Ask a yes/no question."""
        return bool(slicer.util.confirmYesNoDisplay(text, windowTitle=title))

    def inform(self, text: str) -> None:
        """Say something in the status bar."""
        slicer.util.showStatusMessage(text, 5000)

    def problem(self, message: str, hint: str = "", log: str = "") -> None:
        """Show in the panel what happened and what to do."""
        self._log = log
        showText(self._ui.messageLabel, " ".join(part for part in (message, hint) if part))
        self._ui.messageLabel.toolTip = ""
        self._ui.logButton.visible = bool(log)
        self._ui.messageFrame.visible = True

    def clear(self) -> None:
        """Take the message away."""
        self._log = ""
        self._ui.messageFrame.visible = False

    def showText(self, title: str, text: str) -> Any:
        """A window with a long text that can be copied; it does not block Slicer."""
        dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.setWindowTitle(title)
        dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        layout = qt.QVBoxLayout()
        dialog.setLayout(layout)
        edit = qt.QPlainTextEdit()
        edit.readOnly = True
        edit.setLineWrapMode(qt.QPlainTextEdit.NoWrap)
        edit.plainText = text
        layout.addWidget(edit)
        copy = qt.QPushButton(_("Copy"))
        copy.connect("clicked()", lambda: slicer.app.clipboard().setText(text))
        layout.addWidget(copy)
        dialog.resize(760, 480)
        dialog.show()
        self._dialog = dialog
        return dialog
