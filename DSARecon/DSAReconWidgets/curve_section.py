"""Section 4, lower half: how the contrast medium passes at a point or in a segment."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from DSAReconLib.errors import DSAReconError
from DSAReconLib.mrml.curves import Curve, CurveModel, CurvePlot
from DSAReconLib.mrml.sequence import current_time
from DSAReconWidgets import layout
from DSAReconWidgets.plotting import drawCurve
from DSAReconWidgets.section import Section, allow, fillCombo, selectValue, showText

_KEY = "curve"
_POINT = ""


class CurveSection(Section):
    """Time-attenuation curve of a point that the user places on a vessel, or of a segment."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._model: tuple[str, CurveModel] | None = None
        self._plot: CurvePlot | None = None
        self._curve: Curve | None = None
        self._shown: tuple[Any, ...] = ()
        self._timer = qt.QTimer()  # dragging sends many events: the newest is enough
        self._timer.setSingleShot(True)
        self._timer.setInterval(20)
        self._timer.connect("timeout()", self._measure)
        self.ui.curveSourceCombo.connect("currentIndexChanged(int)", self._sourceChosen)
        self.ui.placePointButton.connect("toggled(bool)", self._place)
        self.ui.plotViewButton.connect("toggled(bool)", self._showPlot)

    def update(self) -> None:
        """Show the curve of the point or segment."""
        shown, point = self.panel.result, self.panel.parameterNode.probePoint
        segmentation, segment = self._segment()
        reason = ""
        if shown is None or shown.is_static:
            reason = _("This result does not change over time.")
        elif shown.result is None:
            reason = _("The result folder is not there any more: {folder}").format(folder=shown.folder)
        self._showSources()
        ofSegment = _("The curve is that of a segment: choose “Point” in the list first.") if segment else ""
        allow(self.ui.curveSourceCombo, reason)
        allow(self.ui.placePointButton, reason or ofSegment)
        self.panel.observe("probe", point, _pointEvents(), self._pointMoved)
        self.panel.observe("probe segment", segmentation, _segmentEvents(), self._segmentChanged)
        place = point if segmentation is None else segmentation
        asked = (shown.sequence.GetID() if shown else "", place.GetID() if place else "", segment, reason)
        if asked != self._shown:
            self._shown = asked
            self._measure()
        self._allowPlot()

    def leave(self) -> None:
        """Give the mouse and the layout back."""
        self._timer.stop()
        self.panel.observe("probe", None, (), self._pointMoved)
        self.panel.observe("probe segment", None, (), self._segmentChanged)
        for button in (self.ui.placePointButton, self.ui.plotViewButton):
            button.checked = False
        self._model, self._plot, self._shown = None, None, ()

    def setTime(self, timeS: float) -> None:
        """Move the cursor."""
        if self._curve is not None:
            self._draw(timeS)
            if self._plot is not None:
                self._plot.set_time(timeS)

    # The point

    def _place(self, active: bool) -> None:
        markups = slicer.modules.markups.logic()
        if not active:
            if self.panel.isPlacing():
                self.panel.stopPlacing()
            return
        point = self.panel.parameterNode.probePoint
        if point is None:
            point = self.panel.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Vessel point"))
            point.CreateDefaultDisplayNodes()
            point.SetMaximumNumberOfControlPoints(1)
            self.panel.parameterNode.probePoint = point
            self.panel.update()  # the point is watched before it can be placed
        point.RemoveAllControlPoints()
        markups.SetActiveList(point)
        markups.StartPlaceMode(False)

    def _pointMoved(self, *_arguments: Any) -> None:
        point = self.panel.parameterNode.probePoint if self.panel.parameterNode else None
        if point is not None and point.GetNumberOfDefinedControlPoints() and self.ui.placePointButton.checked:
            self.ui.placePointButton.checked = False
        self._timer.start()

    # The segment

    def _segment(self) -> tuple[Any, str]:
        """The chosen segmentation and segment ID; ``(None, "")`` if the curve is that of the point."""
        node = self.panel.parameterNode
        segmentation = node.probeSegmentation
        if segmentation is None or segmentation.GetSegmentation().GetSegment(node.probeSegment) is None:
            return None, ""
        return segmentation, node.probeSegment

    def _showSources(self) -> None:
        """The list has no use in a scene without segments."""
        scene, entries = self.panel.scene, [(_("Point"), _POINT, _("Curve of the vessel nearest to the placed point."))]
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
            segmentation = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
            segments = segmentation.GetSegmentation()
            for identifier in segments.GetSegmentIDs():
                name = segments.GetSegment(identifier).GetName()
                entries.append((name, f"{segmentation.GetID()} {identifier}", segmentation.GetName()))
        fillCombo(self.ui.curveSourceCombo, entries)
        segmentation, segment = self._segment()
        selectValue(self.ui.curveSourceCombo, f"{segmentation.GetID()} {segment}" if segment else _POINT)
        self.ui.curveSourceCombo.visible = len(entries) > 1

    def _sourceChosen(self, index: int) -> None:
        node = self.panel.parameterNode
        if node is None:
            return
        identifier, _space, segment = str(self.ui.curveSourceCombo.itemData(index) or _POINT).partition(" ")
        self.ui.placePointButton.checked = False
        node.probeSegmentation = self.panel.scene.GetNodeByID(identifier) if identifier else None
        node.probeSegment = segment

    def _segmentChanged(self, *_arguments: Any) -> None:
        self._timer.start()
        self.panel.refresh()

    # The curve

    def _allowPlot(self) -> None:
        allow(self.ui.plotViewButton, "" if self._curve is not None else _("Place a point on a vessel first."))

    def _measure(self) -> None:
        """Curve of the segment, or of the vessel nearest to the point."""
        self._curve = None
        problem = self._measured()
        if self._curve is None:
            self.ui.curvePlotLabel.visible = False
            showText(self.ui.curveLabel, problem, warning=bool(problem))
            if self._plot is not None:
                self._plot.drop(_KEY)
        else:
            self._showCurve(self._curve)
        self._allowPlot()

    def _measured(self) -> str:
        """Measure; a sentence if that was not possible."""
        node, shown = self.panel.parameterNode, self.panel.result
        if node is None or shown is None or shown.result is None or shown.is_static:
            return ""
        segmentation, segment = self._segment()
        try:
            if segment:
                self._curve = self._modelOf(shown).in_segment(segmentation, segment)
                return "" if self._curve is not None else _("The segment is empty, or lies outside of the result.")
            return self._measuredAtPoint(shown, node.probePoint)
        except DSAReconError as error:
            return str(error.message)

    def _measuredAtPoint(self, shown: Any, point: Any) -> str:
        if point is None or not point.GetNumberOfDefinedControlPoints():
            return ""
        position = [0.0, 0.0, 0.0]
        point.GetNthControlPointPositionWorld(0, position)
        self._curve = self._modelOf(shown).at_point(position, name=point.GetName())
        return "" if self._curve is not None else _("There is no vessel within 5 mm of the point.")

    def _modelOf(self, shown: Any) -> CurveModel:
        key = str(shown.folder)
        if self._model is None or self._model[0] != key:
            self._model = key, CurveModel(shown.result)
        return self._model[1]

    def _showCurve(self, curve: Curve) -> None:
        now = current_time(self.panel.result.browser)
        self._draw(now)
        text = _("Arrival <b>{arrival:.2f} s</b>, peak <b>{peak:.3g} 1/mm</b> at <b>{time:.2f} s</b>").format(
            arrival=curve.arrival_s, peak=curve.peak, time=curve.peak_s
        )
        showText(self.ui.curveLabel, text)
        self.ui.curveLabel.toolTip = _("Arrival: when the curve has risen to half of its peak.")
        if self._plot is not None and self._plot.chart is not None:
            self._plot.show(_KEY, curve)
            self._plot.set_time(now)

    def _draw(self, timeS: float) -> None:
        label, curve = self.ui.curvePlotLabel, self._curve
        label.visible = True
        width = max(240, min(int(label.width), 900))
        drawCurve(label, curve.times_s, curve.attenuation, nowS=timeS, arrivalS=curve.arrival_s, width=width)

    # The large plot

    def _showPlot(self, active: bool) -> None:
        if not active or self._curve is None:
            self.panel.arrangement.leave(layout.WITH_PLOT)
            return
        if self._plot is None or self._plot.chart is None:
            self._plot = CurvePlot(self.panel.context)
        self._plot.show(_KEY, self._curve)
        self._plot.set_time(current_time(self.panel.result.browser))
        self.panel.arrangement.use(layout.WITH_PLOT)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if selection is not None:
            selection.SetActivePlotChartID(self._plot.chart.GetID())
            slicer.app.applicationLogic().PropagatePlotChartSelection()


def _segmentEvents() -> tuple[int, ...]:
    segmentation = slicer.vtkSegmentation
    return (
        segmentation.SegmentAdded,
        segmentation.SegmentRemoved,
        segmentation.SegmentModified,
        segmentation.SourceRepresentationModified,
    )


def _pointEvents() -> tuple[int, ...]:
    node = slicer.vtkMRMLMarkupsNode
    return node.PointModifiedEvent, node.PointPositionDefinedEvent, node.PointRemovedEvent
