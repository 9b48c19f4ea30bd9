"""Section 6, lower half: copies of the shown result for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from DSAReconLib.mrml.export import movie_arguments
from DSAReconWidgets.process import ChildProcess, childPython
from DSAReconWidgets.section import Section, allow, showText

_LOG_LINES = 200


class ExportSection(Section):
    """One button per format; what takes long runs in a child process."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._child: ChildProcess | None = None
        self._lines: list[str] = []
        self._buttons = {
            "nrrd": (self.ui.exportNrrdButton, self._nrrd),
            "stl": (self.ui.exportStlButton, self._stl),
            "ply": (self.ui.exportPlyButton, self._ply),
            "movie": (self.ui.exportMovieButton, self._movie),
            "dicom": (self.ui.exportDicomButton, self._dicom),
        }
        for button, action in self._buttons.values():
            button.connect("clicked()", action)
        showText(self.ui.exportLabel, "")

    def update(self) -> None:
        """Say what can be exported."""
        for kind, (button, _action) in self._buttons.items():
            allow(button, self._reason(kind))

    def close(self) -> None:
        """End an export that still runs."""
        if self._child is not None:
            self._child.close()
        self._child = None

    def _reason(self, kind: str) -> str:
        shown = self.panel.result
        if shown is None:
            return _("A result is needed: reconstruct, or open an earlier one.")
        if shown.result is None:
            return _("The result folder is not there any more: {folder}").format(folder=shown.folder)
        if self._child is not None:
            return _("Another export is being written.")
        if kind == "stl" and shown.surface is None:
            return _("This result has no vessel surface.")
        if kind == "dicom" and not self._sources():
            return _("Needs the DICOM files of both runs: choose the runs in section 1.")
        return ""

    # Formats

    def _nrrd(self) -> None:
        folder = _askFolder(_("Folder for the volumes"))
        if folder is not None:
            self._write(nrrd=folder)

    def _stl(self) -> None:
        path = _askFile(_("Vessel surface"), "vessels.stl", "STL (*.stl)")
        if path is not None:
            self._write(stl=path)

    def _ply(self) -> None:
        path = _askFile(_("Gaussians"), "gaussians.ply", "PLY (*.ply)")
        if path is not None:
            self._write(ply=path)

    def _movie(self) -> None:
        path = _askFile(_("Movie"), "vessels.mp4", "MP4 (*.mp4);;GIF (*.gif)")
        if path is not None:
            self._run(movie_arguments(self.panel.result.result, path), path)

    def _dicom(self) -> None:
        folder = _askFolder(_("Folder for the DICOM objects"))
        if folder is not None:
            arguments = ["-m", "DSAReconLib", "export", str(self.panel.result.folder), "--dicom", str(folder)]
            self._run([*arguments, "--source", *(str(path) for path in self._sources())], folder)

    def _sources(self) -> list[Path]:
        """Files of the runs that are chosen."""
        node, logic = self.panel.parameterNode, self.panel.logic
        files = [logic.runFile(run) for run in (node.maskRun, node.fillRun) if run is not None]
        found = [path for path in files if path is not None]
        folder = Path(node.inputFolder)
        return found or ([folder] if folder != Path() and folder.is_dir() else [])

    # Writing

    def _write(self, **targets: Path) -> None:
        files = self.panel.attempt(
            lambda: self.panel.logic.export(self.panel.result, **targets), _("Writing the files…")
        )
        if files:
            self._done(Path(files[0]))

    def _run(self, arguments: list[str], destination: Path) -> None:
        """Export in a child process."""
        if self._child is not None:
            return
        self._lines = []
        self._child = ChildProcess()
        self._child.line.connect(self._heard)
        self._child.ended.connect(lambda ending: self._ended(ending, destination))
        showText(self.ui.exportLabel, _("Writing {path}…").format(path=destination))
        self._child.start(childPython(), ["-u", *arguments])
        self.panel.refresh()

    def _heard(self, line: str) -> None:
        self._lines = [*self._lines, line][-_LOG_LINES:]

    def _ended(self, ending: Any, destination: Path) -> None:
        self._child = None
        if ending.isGood:
            self._done(destination)
        else:
            showText(self.ui.exportLabel, "")
            message = ending.notStarted or next((line for line in reversed(self._lines) if line.strip()), "")
            text = _("The export was not written. {reason}").format(reason=message)
            self.panel.notifier.problem(text, "", "\n".join(self._lines))
        self.panel.refresh()

    def _done(self, path: Path) -> None:
        showText(self.ui.exportLabel, _("Written: {path}").format(path=path))


def _askFolder(title: str) -> Path | None:
    folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title)
    return Path(str(folder)) if folder else None


def _askFile(title: str, name: str, filters: str) -> Path | None:
    chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, filters)
    path = chosen[0] if isinstance(chosen, tuple) else chosen  # PythonQt gives the name alone
    return Path(str(path)) if path else None
