"""Section 1: which runs are reconstructed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from DSAReconLib.acquisition.summary import RunSummary
from DSAReconLib.errors import DSAReconError
from DSAReconWidgets.found_runs import FoundRun, RunSearch, middleFrame, runsInScene
from DSAReconWidgets.header_values import LACKING, parseHeader
from DSAReconWidgets.pictures import greyByQuantiles, pixmapFromArray
from DSAReconWidgets.runs import ROLE_ATTRIBUTE
from DSAReconWidgets.section import Section, bindPath, fitRows, showPath, showText

_THUMBNAIL_PX = 48


class InputSection(Section):
    """Run selectors, a folder, and a list of what was found, with pictures and warnings."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._thumbnails: dict[tuple[str, int], Any] = {}
        self._listed: list[FoundRun] = []
        self._sceneRuns: list[FoundRun] | None = None
        self._refusedInScene: list[RunSummary] = []
        self._header: dict[str, str] = {}
        self._search = RunSearch(self._found)
        self._pictureTimer = qt.QTimer()
        self._pictureTimer.setInterval(0)
        self._pictureTimer.connect("timeout()", self._nextThumbnail)
        for selector in (self.ui.fillRunSelector, self.ui.maskRunSelector):
            selector.addAttribute("vtkMRMLSequenceNode", "DSARecon.PrimaryAnglesDeg")
        bindPath(self.panel, self.ui.inputFolderEdit, "inputFolder")
        tree = self.ui.runTree
        tree.setHeaderLabels([_("Run"), _("Frames"), _("Arc"), _("Time")])
        for column, width in ((0, 180), (1, 58), (2, 58)):
            tree.setColumnWidth(column, width)
        tree.connect("itemDoubleClicked(QTreeWidgetItem*,int)", self._useClicked)

    def sceneChanged(self) -> None:
        """Runs may have come or gone."""
        self._sceneRuns = None

    def update(self) -> None:
        """List the runs and say whether they can be reconstructed."""
        folder = Path(self.panel.parameterNode.inputFolder)
        showPath(self.ui.inputFolderEdit, folder)
        header = self.header()
        if folder != self._search.folder or header != self._search.header:
            self._search.start(folder, header)
        if self._sceneRuns is None or header != self._header:
            self._header = header
            self._sceneRuns, self._refusedInScene = runsInScene(self.panel.logic, header)
            self._choosePair()
        self._list()
        self._showHeader()
        problem, exchanged = self.problem(), self._exchanged()
        showText(
            self.ui.inputStatusLabel,
            problem or exchanged or self._ready(),
            warning=bool(exchanged) or (bool(problem) and self._anythingGiven()),
        )

    def leave(self) -> None:
        """Stop searching."""
        self._search.stop()
        self._pictureTimer.stop()

    def header(self) -> dict[str, str]:
        """DICOM attributes that the user gave; none while they are not understood."""
        try:
            return parseHeader(self.panel.parameterNode.header)
        except DSAReconError:
            return {}

    def _lacking(self) -> list[RunSummary]:
        """Runs that given header values could make usable."""
        refused = [*self._refusedInScene, *self._search.refused]
        return [summary for summary in refused if summary.refusal_code in LACKING]

    def _showHeader(self) -> None:
        """The place for missing values is shown only where values are missing."""
        needed = bool(self._lacking()) or bool(self.panel.parameterNode.header)
        self.ui.headerLabel.visible = self.ui.headerEdit.visible = needed

    def problem(self) -> str:
        """Why the input is not enough for a reconstruction; empty if it is."""
        if self._search.active:
            return _("Searching the folder… {count} files so far.").format(count=self._search.files)
        if not self._anythingGiven():
            return _(
                "Load a mask run and a fill run (with contrast medium) from the DICOM database, or choose their folder."
            )
        node = self.panel.parameterNode
        if node.maskRun is not None and node.maskRun is node.fillRun:
            return _("The same run is chosen twice. Choose the one without contrast medium as mask run.")
        try:
            parseHeader(node.header)
            self.panel.logic.inputOf(node)
            if not self._runsChosen():
                self.panel.logic.pairRuns([found.summary for found in self._search.runs])
        except DSAReconError as error:
            reasons = [refused.refusal for refused in self._search.refused[:2]] if len(self._search.runs) < 2 else []
            return " ".join([error.message, self._search.problem, *reasons, self._whereToGive()]).strip()
        return self._lackingOfChosen()

    def _whereToGive(self) -> str:
        return _("Give them in section 3, Advanced options, Missing values.") if self._lacking() else ""

    def _lackingOfChosen(self) -> str:
        """Why a run that is chosen in the scene can be looked at, but not reconstructed."""
        node, logic = self.panel.parameterNode, self.panel.logic
        files = [logic.runFile(run) for run in (node.maskRun, node.fillRun) if run is not None]
        refusal = next((summary.refusal for summary in self._refusedInScene if summary.path in files), "")
        return f"{refusal} {self._whereToGive()}".strip()

    def fillRun(self) -> Any:
        """Node or file of the fill run, as ``logic.selectViews`` takes it; ``None`` if there is none yet."""
        node = self.panel.parameterNode
        if self._runsChosen():
            return node.fillRun
        pair = self._pairInFolder()
        return pair.fill.path if pair else None

    def maskFile(self) -> Path | None:
        """File of the mask run, as far as it is known."""
        node = self.panel.parameterNode
        if self._runsChosen():
            return self.panel.logic.runFile(node.maskRun) if node.maskRun is not None else None
        pair = self._pairInFolder()
        return pair.mask.path if pair else None

    def _pairInFolder(self) -> Any:
        try:
            return self.panel.logic.pairRuns([found.summary for found in self._search.runs])[0]
        except DSAReconError:
            return None

    def _runsChosen(self) -> bool:
        node = self.panel.parameterNode
        return node.maskRun is not None or node.fillRun is not None

    def _anythingGiven(self) -> bool:
        return self._runsChosen() or self._search.folder != Path()

    def _exchanged(self) -> str:
        """A remark if the headers of the chosen runs say the opposite of how they were chosen."""
        node = self.panel.parameterNode
        roles = [run.GetAttribute(ROLE_ATTRIBUTE) if run is not None else None for run in (node.maskRun, node.fillRun)]
        if roles[0] == "fill" or roles[1] == "mask":
            return _("The runs seem to be exchanged: by their headers, the mask run is the other one.")
        return ""

    def _ready(self) -> str:
        warnings = [text for found in self._listed for _code, text in found.summary.warnings]
        count = len(dict.fromkeys(warnings))
        if not count:
            return ""
        return _("Ready. {count} remark(s) about these runs: hold the mouse over a run to read them.").format(
            count=count
        )

    # The list

    def _found(self) -> None:
        self.panel.refresh()

    def _list(self) -> None:
        runs = [*(self._sceneRuns or []), *self._search.runs]
        runs = list({run.key: run for run in reversed(runs)}.values())[::-1]
        self.ui.runTree.visible = bool(runs)
        if [(run.key, run.node) for run in runs] == [(run.key, run.node) for run in self._listed]:
            return
        self._listed = runs
        self.ui.runTree.clear()
        for run in runs:
            self.ui.runTree.addTopLevelItem(self._item(run))
        fitRows(self.ui.runTree, _THUMBNAIL_PX + 2, 4)
        self._pictureTimer.start()

    def _item(self, run: FoundRun) -> Any:
        summary = run.summary
        item = qt.QTreeWidgetItem()
        mark = " ⚠" if summary.warnings else ""
        texts = (
            f"{_roleName(summary)}{mark}",
            str(summary.frames),
            f"{summary.arc_deg:.0f}°",
            f"{summary.duration_s:.1f} s",
        )
        for column, text in enumerate(texts):
            item.setText(column, text)
            item.setToolTip(column, _details(summary))
        item.setIcon(0, self._thumbnails.get(run.key) or _emptyThumbnail())
        return item

    def _nextThumbnail(self) -> None:
        """One picture per turn of the event loop."""
        for row, run in enumerate(self._listed):
            if run.key not in self._thumbnails:
                frame = middleFrame(run)
                picture = None if frame is None else pixmapFromArray(greyByQuantiles(frame, logarithmic=True))
                self._thumbnails[run.key] = _emptyThumbnail() if picture is None else qt.QIcon(_square(picture))
                item = self.ui.runTree.topLevelItem(row)
                if item is not None:
                    item.setIcon(0, self._thumbnails[run.key])
                return
        self._pictureTimer.stop()

    # Choosing

    def _choosePair(self) -> None:
        """Two runs that belong together need not be chosen by hand."""
        node = self.panel.parameterNode
        if self._runsChosen() or len(self._sceneRuns or []) < 2:
            return
        try:
            pairs = self.panel.logic.pairRuns([run.summary for run in self._sceneRuns])
        except DSAReconError:
            return
        if len(pairs) == 1:
            byKey = {run.key: run.node for run in self._sceneRuns}
            node.fillRun = byKey.get(FoundRun(pairs[0].fill).key)
            node.maskRun = byKey.get(FoundRun(pairs[0].mask).key)

    def _useClicked(self, item: Any, _column: int) -> None:
        row = self.ui.runTree.indexOfTopLevelItem(item)
        if not 0 <= row < len(self._listed):
            return
        run = self._listed[row]
        node = run.node or self.panel.attempt(
            lambda: self.panel.logic.loadRun(run.summary.path, part=run.summary.part, header=self.header()),
            _("Loading the run…"),
        )
        if node is None:
            return
        parameters = self.panel.parameterNode
        isMask = run.summary.role == "mask" or (run.summary.role != "fill" and parameters.fillRun is not None)
        setattr(parameters, "maskRun" if isMask else "fillRun", node)


def _roleName(summary: RunSummary) -> str:
    return {"mask": _("Mask run"), "fill": _("Fill run")}.get(summary.role, _("Mask or fill run"))


def _details(summary: RunSummary) -> str:
    lines = [
        summary.description or summary.label,
        _("{rows} x {columns} pixels of {spacing:.3f} mm").format(
            rows=summary.rows, columns=summary.columns, spacing=summary.detector_spacing_mm[0]
        ),
        _("Primary angle {first:.0f}° to {last:.0f}° (LAO +), secondary {secondary:.0f}° (CRA +)").format(
            first=summary.primary_deg[0], last=summary.primary_deg[1], secondary=summary.secondary_deg[0]
        ),
        _("Source to patient {sod:.0f} mm, source to detector {sdd:.0f} mm").format(
            sod=summary.sod_mm, sdd=summary.sdd_mm
        ),
        str(summary.path),
        *(f"⚠ {text}" for _code, text in summary.warnings),
    ]
    return "\n".join(lines)


def _square(picture: Any) -> Any:
    return picture.scaled(_THUMBNAIL_PX, _THUMBNAIL_PX, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)


def _emptyThumbnail() -> Any:
    pixmap = qt.QPixmap(_THUMBNAIL_PX, _THUMBNAIL_PX)
    pixmap.fill(qt.QColor("#e0e0e0"))
    return qt.QIcon(pixmap)
