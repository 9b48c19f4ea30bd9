"""Section 5: X-ray views of the result from any direction at any time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from DSAReconLib.errors import DSAReconError
from DSAReconLib.rendering.images import grey_levels
from DSAReconLib.rendering.pose import angle_text
from DSAReconWidgets import layout
from DSAReconWidgets.acquired_frames import AcquiredFrames
from DSAReconWidgets.novel_view import NovelView, difference
from DSAReconWidgets.pictures import showPicture
from DSAReconWidgets.section import Section, allow, setLimits, showText, showValue

_TICK_MS = 15


class NovelViewSection(Section):
    """Starts and steers the novel view, with the acquired frame beside it."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._view: NovelView | None = None
        self._ready = False
        self._range = (0.0, 1.0)
        self._acquired: tuple[Any, AcquiredFrames] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", self._tick)
        ui = self.ui
        ui.novelViewButton.connect("toggled(bool)", self._toggled)
        ui.windowSlider.connect("valueChanged(double)", lambda _value: self._windowChosen())
        ui.levelSlider.connect("valueChanged(double)", lambda _value: self._windowChosen())
        ui.besideCheckBox.connect("toggled(bool)", lambda _on: self._compareAgain())

    def update(self) -> None:
        """Say whether a novel view is possible, and steer it."""
        ui, shown, node = self.ui, self.panel.result, self.panel.parameterNode
        if self._view is not None and (shown is None or shown.sequence is not self._view.result.sequence):
            self._restart(shown)
        reason = self._reason(shown)
        allow(ui.novelViewButton, reason)
        showText(ui.novelReasonLabel, reason)
        ui.novelControls.visible = self._view is not None
        ui.novelViewButton.text = _("Hide novel view") if self._view is not None else _("Show novel view")
        steered = _("Switch “Follow the 3D view” off first.") if node.followCamera else ""
        for slider in (ui.primarySlider, ui.secondarySlider):
            allow(slider, steered)
        if self._view is None:
            return
        if node.followCamera:
            self._view.follow()
        else:
            self._view.lookFrom(node.primaryAngleDeg, node.secondaryAngleDeg)
        self._showWindow()

    def leave(self) -> None:
        """End the novel view."""
        self._stop()
        self._acquired = None

    def setTime(self, timeS: float) -> None:
        """Show another time."""
        if self._view is not None:
            self._view.setTime(timeS)

    def _reason(self, shown: Any) -> str:
        if shown is None:
            return _("A result is needed: reconstruct, or open an earlier one.")
        if shown.result is None:
            return _("The result folder is not there any more: {folder}").format(folder=shown.folder)
        if layout.threeDView() is None and self._view is None:
            return _("Needs a 3D view.")
        return ""

    # Start and stop

    def _toggled(self, active: bool) -> None:
        if active:
            self._start(self.panel.result)
        else:
            self._stop()
        self.panel.refresh()

    def _start(self, shown: Any) -> None:
        if shown is None or self._view is not None:
            return
        client = self.panel.attempt(lambda: self.panel.logic.startNovelView(shown), _("Starting the novel view…"))
        if client is None:
            self.ui.novelViewButton.checked = False
            return
        self.panel.arrangement.use(layout.TWO_3D)
        first, second = layout.threeDView(0), layout.threeDView(1)
        if second is None:
            client.close()
            self.ui.novelViewButton.checked = False
            self.panel.notifier.problem(_("The novel view needs a second 3D view, which this layout does not have."))
            return
        self._view = NovelView(client, shown, first, second, self._compared)
        self._ready = False
        self._showOnlyIn(shown, first)
        self._view.setTime(self.panel.parameterNode.timeS)
        showText(self.ui.novelStatusLabel, _("Starting…"))
        self._clearPictures(_("The pictures appear when the view is at rest."))
        self._timer.start()

    def _stop(self) -> None:
        self._timer.stop()
        if self._view is None:
            return
        view, self._view = self._view, None
        view.close()
        self.panel.logic.stopNovelView()
        if view.result.in_scene():
            self._showOnlyIn(view.result, None)
        self.panel.arrangement.leave(layout.TWO_3D)
        blocked = self.ui.novelViewButton.blockSignals(True)
        self.ui.novelViewButton.checked = False
        self.ui.novelViewButton.blockSignals(blocked)

    def _restart(self, shown: Any) -> None:
        """Another result is shown: the novel view goes along."""
        self._stop()
        if shown is not None and shown.result is not None:
            self._start(shown)
            blocked = self.ui.novelViewButton.blockSignals(True)
            self.ui.novelViewButton.checked = self._view is not None
            self.ui.novelViewButton.blockSignals(blocked)

    def _showOnlyIn(self, shown: Any, view: Any) -> None:
        """Volume and surface would cover the novel view: they stay in the main one."""
        displays = [shown.rendering, shown.surface.GetDisplayNode() if shown.surface is not None else None]
        for displayNode in displays:
            if displayNode is None:
                continue
            displayNode.RemoveAllViewNodeIDs()
            if view is not None:
                displayNode.AddViewNodeID(view.mrmlViewNode().GetID())

    # Work

    def _tick(self) -> None:
        view = self._view
        if view is None:
            return
        problem = view.client.problem()
        if view.client.ended:
            self._stop()
            self.panel.notifier.problem(problem or _("The novel view has ended."), "", "\n".join(view.client.log_lines))
            self.panel.refresh()
            return
        if view.client.info is not None and not self._ready:
            self._ready = True
            self._range = tuple(float(value) for value in view.client.info["value_range"])
            self._showWindow()
            self._compareAgain()
        if view.tick() and self.panel.parameterNode is not None:
            self._showAngles(view)
            showText(self.ui.novelStatusLabel, problem or view.status(), warning=bool(problem))

    def _showAngles(self, view: NovelView) -> None:
        primary, secondary = view.angles
        if not (math.isfinite(primary) and math.isfinite(secondary)):
            return
        if self.panel.parameterNode.followCamera:
            showValue(self.ui.primarySlider, primary)
            showValue(self.ui.secondarySlider, secondary)

    # Window and level

    def _windowLevel(self) -> tuple[float, float]:
        node, (low, high) = self.panel.parameterNode, self._range
        if node.window > 0:
            return node.window, node.level
        return max(high - low, 1e-3), (low + high) / 2

    def _showWindow(self) -> None:
        window, level = self._windowLevel()
        top = max(2 * (self._range[1] - self._range[0]), window, level, 0.1)
        setLimits(self.ui.windowSlider, 0.01, top)
        setLimits(self.ui.levelSlider, min(self._range[0], 0.0), top)
        showValue(self.ui.windowSlider, window)
        showValue(self.ui.levelSlider, level)
        if self._view is not None:
            self._view.presenter.set_window_level(window, level)

    def _windowChosen(self) -> None:
        node = self.panel.parameterNode
        if node is None:
            return
        window, level = float(self.ui.windowSlider.value), float(self.ui.levelSlider.value)
        if window > 0:
            node.window, node.level = window, level
            self._compareAgain()

    # Comparison

    def _compareAgain(self) -> None:
        wanted = bool(self.ui.besideCheckBox.checked)
        self.ui.pictures.visible = wanted
        if self._view is not None:
            self._view.wantsComparison = wanted
            self._view.compareAgain()

    def _compared(self, number: int, novel: Any) -> None:
        """The novel view at the angle and time of a frame is there."""
        window, level = self._windowLevel()
        grey = (level - window / 2, level + window / 2)
        showPicture(self.ui.novelPictureLabel, grey_levels(novel, grey))
        acquired = self._acquiredFrame(number)
        result = self._view.result.result if self._view is not None else None
        if acquired is None or result is None:
            for label in (self.ui.acquiredPictureLabel, self.ui.differencePictureLabel):
                label.clear()
            showText(self.ui.picturesLabel, _("Load both runs (section 1) to see the acquired frame here."))
            return
        showPicture(self.ui.acquiredPictureLabel, grey_levels(acquired, grey))
        change = difference(novel, acquired)
        showPicture(self.ui.differencePictureLabel, grey_levels(change, (-window / 2, window / 2)))
        view = result.geometry[number]
        angles = angle_text(float(view.primary_angle_deg[0]), float(view.secondary_angle_deg[0]))
        text = _("Frame {number} at {time:.2f} s, {angles}; mean difference {error:.3g}").format(
            number=number + 1, time=float(result.times_s[number]), angles=angles, error=float(np.abs(change).mean())
        )
        showText(self.ui.picturesLabel, text)

    def _acquiredFrame(self, number: int) -> Any:
        node = self.panel.parameterNode
        if node is None or node.maskRun is None or node.fillRun is None:
            return None
        key = (node.maskRun, node.fillRun)
        try:
            if self._acquired is None or self._acquired[0] != key:
                self._acquired = key, AcquiredFrames(self.panel.context, *key)
            return self._acquired[1].frame(number)
        except (ValueError, DSAReconError):
            return None

    def _clearPictures(self, text: str) -> None:
        for label in (self.ui.novelPictureLabel, self.ui.acquiredPictureLabel, self.ui.differencePictureLabel):
            label.clear()
        showText(self.ui.picturesLabel, text)
