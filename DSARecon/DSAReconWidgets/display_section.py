"""Section 4, upper half: time, volume and surface of the shown result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from DSAReconLib.mrml import display
from DSAReconLib.mrml.presets import PRESETS
from DSAReconLib.mrml.sequence import TimeLink, current_time, set_playback
from DSAReconWidgets.section import Section, allow, fillCombo, selectValue, setLimits, showText, showValue

_SPEEDS = (0.25, 0.5, 1.0, 2.0)


class DisplaySection(Section):
    """Shows one of the results in the scene, at a time, with a look."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._link: TimeLink | None = None
        self._linked: tuple[Any, ...] = ()
        self._applied: tuple[Any, ...] = ()
        ui = self.ui
        fillCombo(ui.volumePresetCombo, [(_(name), name, "") for name in PRESETS])
        fillCombo(ui.speedCombo, [(f"{speed:g}x", speed, "") for speed in _SPEEDS])
        selectValue(ui.speedCombo, 1.0)
        ui.resultSelector.connect("currentIndexChanged(int)", self._resultChosen)
        ui.loadResultButton.connect("clicked()", self._askForResult)
        ui.timeSlider.connect("valueChanged(double)", self._timeChosen)
        ui.playButton.connect("toggled(bool)", self._play)
        ui.speedCombo.connect("currentIndexChanged(int)", lambda _index: self._play(ui.playButton.checked))
        ui.volumePresetCombo.connect(
            "currentIndexChanged(int)",
            lambda index: self.panel.setParameter("volumePreset", ui.volumePresetCombo.itemData(index)),
        )
        ui.surfaceOpacitySlider.connect("valueChanged(double)", self._setOpacity)

    def update(self) -> None:
        """Show the state of the shown result."""
        ui, shown = self.ui, self.panel.result
        results = self.panel.results
        fillCombo(ui.resultSelector, [(found.name, found.sequence.GetID(), str(found.folder)) for found in results])
        selectValue(ui.resultSelector, shown.sequence.GetID() if shown else None)
        allow(ui.resultSelector, "" if results else _("There is no result yet."))
        ui.displayControls.visible = shown is not None
        reason = "" if shown else _("A reconstruction appears here when it is finished, or open an earlier result.")
        showText(ui.displayReasonLabel, reason)
        if shown is None:
            self._unlink()
            return
        self._linkTimes(shown)
        self._showTime(shown)
        self._showLook(shown)

    def leave(self) -> None:
        """Stop the playback and let the browsers go."""
        self._play(False)
        self._unlink()
        self._applied = ()

    def show(self, shown: Any) -> None:
        """Make a result the shown one: its volume, its time, its place in the 3D view."""
        others = [found for found in self.panel.results if found is not shown]
        display.show_only(self.panel.context, others, shown)
        self.panel.parameterNode.result = shown.sequence
        self.panel.refresh()

    # Time

    def _linkTimes(self, shown: Any) -> None:
        """Results of one run move together, whoever moves them."""
        browsers = tuple(found.browser for found in self.panel.comparable(shown))
        if browsers == self._linked:
            return
        self._unlink()
        self._link, self._linked = TimeLink(self.panel.context, browsers, self._timeMoved), browsers
        self._link.select_time(self.panel.parameterNode.timeS)

    def _unlink(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link, self._linked = None, ()

    def _showTime(self, shown: Any) -> None:
        ui, times = self.ui, shown.times_s
        now = current_time(shown.browser)
        frame = int(np.argmin(np.abs(times - now)))
        setLimits(ui.timeSlider, float(times[0]), float(max(times[-1], times[0] + 1e-3)))
        showValue(ui.timeSlider, now)
        ui.frameLabel.text = _("frame {frame} of {frames}").format(frame=frame + 1, frames=len(times))
        static = _("This result does not change over time.") if shown.is_static else ""
        for widget in (ui.timeSlider, ui.playButton, ui.speedCombo):
            allow(widget, static)
        playing = bool(shown.browser.GetPlaybackActive())
        if bool(ui.playButton.checked) != playing:
            blocked = ui.playButton.blockSignals(True)
            ui.playButton.checked = playing
            ui.playButton.blockSignals(blocked)
        ui.playButton.text = _("Stop") if playing else _("Play")

    def _timeChosen(self, timeS: float) -> None:
        if self._link is not None:
            self._link.select_time(timeS)

    def _timeMoved(self, timeS: float) -> None:
        """The browsers show another time."""
        shown = self.panel.result
        if shown is None:
            return
        self._showTime(shown)
        if not shown.browser.GetPlaybackActive():  # a parameter that changes 30 times a second would slow playback
            self.panel.setParameter("timeS", float(timeS), quietly=True)
        self.panel.timeMoved(float(timeS))

    def _play(self, active: bool) -> None:
        shown = self.panel.result
        if shown is None:
            return
        speed = self.ui.speedCombo.itemData(self.ui.speedCombo.currentIndex) or 1.0
        set_playback(shown.browser, bool(active), speed=float(speed))
        self._showTime(shown)
        if not active:
            self.panel.setParameter("timeS", current_time(shown.browser), quietly=True)

    # Look

    def _showLook(self, shown: Any) -> None:
        ui, node = self.ui, self.panel.parameterNode
        preset = node.volumePreset or display.current_preset(shown)
        selectValue(ui.volumePresetCombo, preset)
        noSurface = "" if shown.surface is not None else _("This result has no vessel surface.")
        allow(ui.surfaceCheckBox, noSurface)
        hidden = noSurface or ("" if node.showSurface else _("Switch the surface on first."))
        allow(ui.surfaceOpacitySlider, hidden)
        noArrival = "" if shown.arrival is not None else _("This result does not change over time.")
        allow(ui.arrivalCheckBox, noArrival or hidden)
        allow(ui.volumePresetCombo, "" if node.showVolume else _("Switch the volume on first."))
        if shown.surface is not None and shown.surface.GetDisplayNode() is not None:
            showValue(ui.surfaceOpacitySlider, 100 * shown.surface.GetDisplayNode().GetOpacity())
        look = (shown.sequence.GetID(), node.showVolume, preset, node.showSurface, node.colorByArrival)
        if look != self._applied:
            self._applied = look
            self._apply(shown, preset)

    def _apply(self, shown: Any, preset: str) -> None:
        node, context = self.panel.parameterNode, self.panel.context
        if display.current_preset(shown) != preset:
            display.apply_preset(context, shown, preset)
        display.show_volume(shown, bool(node.showVolume))
        display.show_surface(shown, bool(node.showSurface))
        colored = bool(node.colorByArrival and node.showSurface and shown.arrival is not None)
        display.color_surface(shown, "arrival_time" if colored else "plain")
        display.show_legend(context, shown, colored)

    def _setOpacity(self, percent: float) -> None:
        shown = self.panel.result
        if shown is not None and shown.surface is not None:
            display.show_surface(shown, bool(self.panel.parameterNode.showSurface), opacity=percent / 100)

    # Results

    def _resultChosen(self, index: int) -> None:
        identifier = self.ui.resultSelector.itemData(index)
        for found in self.panel.results:
            if found.sequence.GetID() == identifier:
                self.show(found)

    def _askForResult(self) -> None:
        start = str(self.panel.parameterNode.outputFolder)
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Result folder"), start)
        if folder:
            self.panel.openResult(Path(str(folder)))
