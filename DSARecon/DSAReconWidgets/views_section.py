"""Section 2: which frames of the run are used."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DSAReconLib.errors import DSAReconError
from DSAReconWidgets.frame_contrast import ContrastPending
from DSAReconWidgets.plotting import drawViews
from DSAReconWidgets.section import Section, allow, fillCombo, selectValue, showText


class ViewsSection(Section):
    """Number of views, how they are chosen, where they lie on the arc, and their share of the dose."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._shown: tuple[Any, ...] | None = None
        self._problem = ""
        self._frames = 0
        fillCombo(
            self.ui.selectionCombo,
            [
                (_("evenly along the arc"), "uniform", _("Every n-th frame of the run.")),
                (
                    _("denser at wash-in"),
                    "bolus",
                    _("More frames while the contrast medium flows in. The frames are read once for this."),
                ),
            ],
        )
        self.panel.logic.contrast.known.connect(self._contrastKnown)
        self.ui.selectionCombo.connect("currentIndexChanged(int)", self._selectionChosen)

    def update(self) -> None:
        """Draw the frames that would be used."""
        node = self.panel.parameterNode
        selectValue(self.ui.selectionCombo, node.selection)
        fill = self.panel.input.fillRun()
        allow(
            self.ui.viewsSpinBox, "" if not node.view_indices else _("Exact frames are given in the advanced options.")
        )
        all_used = node.views == 0 or bool(node.view_indices)
        allow(self.ui.selectionCombo, _("Only matters when fewer than all frames are used.") if all_used else "")
        identifier = fill.GetID() if hasattr(fill, "GetID") else str(fill)
        asked = (identifier, node.views, node.selection, node.view_indices, node.header)
        if asked != self._shown:
            self._shown = asked
            self._draw(fill)

    def _contrastKnown(self, *_arguments: Any) -> None:
        self._shown = None
        self.panel.refresh()

    def sceneChanged(self) -> None:
        """Runs may have come or gone."""
        self._shown = None

    def problem(self) -> str:
        """Why these views cannot be used; empty if they can."""
        return self._problem

    def _draw(self, fill: Any) -> None:
        node = self.panel.parameterNode
        self._problem = waiting = ""
        views = None
        if fill is not None:
            try:
                views = self.panel.logic.selectViews(
                    fill,
                    views=node.views,
                    selection=node.selection,
                    viewIndices=node.view_indices,
                    mask=self.panel.input.maskFile(),
                    header=self.panel.input.header(),
                )
            except ContrastPending as pending:  # the job measures it anyhow
                waiting = pending.message
            except DSAReconError as error:
                self._problem = error.message
        if views is None:
            drawViews(self.ui.polarPlotLabel, [], [0.0], [])
            text = self._problem or waiting or _("The frames are drawn here once the runs are chosen.")
            showText(self.ui.doseLabel, text, warning=bool(self._problem))
            return
        self._frames = len(views.timesS)
        drawViews(self.ui.polarPlotLabel, views.primaryDeg, views.timesS, views.selected)
        text = _("{used} of {frames} frames = <b>{share:.0f} %</b> of the run's dose.").format(
            used=len(views.selected), frames=self._frames, share=100 * views.doseFraction
        )
        times = _("{first:.1f} s (red) to {last:.1f} s (blue).").format(first=views.timesS[0], last=views.timesS[-1])
        showText(self.ui.doseLabel, f"{text}<br>{times}")

    def _selectionChosen(self, index: int) -> None:
        self.panel.setParameter("selection", self.ui.selectionCombo.itemData(index))
