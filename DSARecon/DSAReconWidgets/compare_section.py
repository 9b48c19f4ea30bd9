"""Section 6, upper half: several results of one run, one at a time, at one time and from one viewpoint."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from DSAReconLib.mrml.result import remove_result
from DSAReconWidgets.section import Section, allow, fitRows

ROW_PX = 20


class CompareSection(Section):
    """List of the results in the scene; those of the shown run can be switched between."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._listed: list[tuple[str, bool]] = []
        ui = self.ui
        ui.compareTree.setHeaderLabels([_("Result"), _("Views"), _("Agreement"), _("Computed in")])
        for column, width in ((0, 160), (1, 50), (2, 78)):
            ui.compareTree.setColumnWidth(column, width)
        ui.compareTree.connect("itemClicked(QTreeWidgetItem*,int)", self._clicked)
        ui.previousResultButton.connect("clicked()", lambda: self._step(-1))
        ui.nextResultButton.connect("clicked()", lambda: self._step(1))
        ui.removeResultButton.connect("clicked()", self._remove)

    def update(self) -> None:
        """List the results."""
        tree, results, shown = self.ui.compareTree, self.panel.results, self.panel.result
        comparable = self.panel.comparable(shown) if shown else []
        listed = [(found.sequence.GetID(), found in comparable) for found in results]
        if listed != self._listed:
            self._listed = listed
            tree.clear()
            for found in results:
                tree.addTopLevelItem(self._item(found, found in comparable))
            fitRows(tree, ROW_PX, 5)
        if shown is not None:
            row = [identifier for identifier, _same in listed].index(shown.sequence.GetID())
            if tree.currentIndex().row() != row:
                tree.setCurrentItem(tree.topLevelItem(row))
        tree.visible = len(results) > 0
        alone = _("There is no other result of this run. Reconstruct it with another method or other views.")
        for button in (self.ui.previousResultButton, self.ui.nextResultButton):
            allow(button, "" if len(comparable) > 1 else alone)
        allow(self.ui.removeResultButton, "" if shown else _("There is no result yet."))

    def _item(self, found: Any, comparable: bool) -> Any:
        item = qt.QTreeWidgetItem()
        record = found.result.record if found.result is not None else {}
        views = f"{len(record['selected_views'])}" if record.get("selected_views") else "-"
        duration = _totalSeconds(record)
        texts = (found.name, views, _agreement(record), f"{duration:.0f} s" if duration else "-")
        tooltip = str(found.folder) if comparable else _("Result of another run: {folder}").format(folder=found.folder)
        for column, text in enumerate(texts):
            item.setText(column, text)
            item.setToolTip(column, tooltip)
            if not comparable:
                item.setForeground(column, qt.QBrush(qt.QColor("#909090")))
        agreement = _("How well the result explains frames that it did not see (else those that it saw).")
        item.setToolTip(2, agreement + " " + _("PSNR in dB, higher is better."))
        item.setToolTip(3, _("Computing time."))
        return item

    def _clicked(self, item: Any, _column: int) -> None:
        row = self.ui.compareTree.indexOfTopLevelItem(item)
        if 0 <= row < len(self.panel.results):
            self.panel.display.show(self.panel.results[row])

    def _step(self, step: int) -> None:
        shown = self.panel.result
        comparable = self.panel.comparable(shown) if shown else []
        if len(comparable) > 1:
            self.panel.display.show(comparable[(comparable.index(shown) + step) % len(comparable)])

    def _remove(self) -> None:
        shown = self.panel.result
        if shown is None:
            return
        self.panel.leaveResult()
        remove_result(self.panel.context, shown)
        self.panel.forgetResults()
        left = self.panel.results
        if left:
            self.panel.display.show(left[-1])
        self.panel.refresh()


def _totalSeconds(record: dict[str, Any]) -> float:
    return float(sum(value for value in record.get("timings_s", {}).values() if isinstance(value, int | float)))


def _agreement(record: dict[str, Any]) -> str:
    metrics = record.get("metrics") or {}
    views = metrics.get("heldout_views") or metrics.get("training_views") or {}
    value = views.get("psnr_db")
    return f"{value:.1f} dB" if isinstance(value, int | float) else "-"
