"""The panel of the DSARecon module: sections from top to bottom, one state, the scene's comings and goings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from DSAReconLib.errors import DSAReconError
from DSAReconLib.mrml.display import prepare_threed_view
from DSAReconLib.mrml.result import results_in_scene, same_run
from DSAReconLib.mrml.sequence import current_time
from DSAReconWidgets import layout
from DSAReconWidgets.compare_section import CompareSection
from DSAReconWidgets.controller import Controller
from DSAReconWidgets.curve_section import CurveSection
from DSAReconWidgets.display_section import DisplaySection
from DSAReconWidgets.export_section import ExportSection
from DSAReconWidgets.first_use import FirstUseSection
from DSAReconWidgets.input_section import InputSection
from DSAReconWidgets.logic import DSAReconLogic
from DSAReconWidgets.notifier import PanelNotifier
from DSAReconWidgets.novel_view_section import NovelViewSection
from DSAReconWidgets.progress_section import ProgressSection
from DSAReconWidgets.reconstruction_section import ReconstructionSection
from DSAReconWidgets.section import Section
from DSAReconWidgets.views_section import ViewsSection


class DSAReconWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Builds the panel, keeps its sections up to date, and forgets nothing when the scene changes.

    Parameters
    ----------
    parent
        As Slicer gives it.
    logic, controller
        For tests; default those of the application.

    Attributes
    ----------
    ui
        Widgets by object name.
    parameterNode
        State of the panel; ``None`` while a scene closes.
    """

    def __init__(self, parent: Any = None, *, logic: Any = None, controller: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic, self.controller = logic, controller
        self.parameterNode: Any = None
        self.arrangement = layout.LayoutKeeper()
        self._guiTag: Any = None
        self._results: list[Any] | None = None
        self._observed: dict[str, Any] = {}
        self._sections: list[Section] = []
        self._updating = False
        self._quiet = False
        self._entered = False

    # Life of the widget

    def setup(self) -> None:
        """Build the panel; once."""
        super().setup()
        panel = slicer.util.loadUI(self.resourcePath("UI/DSARecon.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.logic or DSAReconLogic()
        self.notifier = PanelNotifier(self.ui)
        self.controller = self.controller or Controller(self.logic, self.notifier)
        self._refreshTimer = qt.QTimer()
        self._refreshTimer.setSingleShot(True)
        self._refreshTimer.setInterval(0)
        self._refreshTimer.connect("timeout()", self.update)
        self._makeSections()
        self._connect()
        self.initializeParameterNode()
        self.update()

    def cleanup(self) -> None:
        """End everything: Slicer closes, or the module is reloaded."""
        self._refreshTimer.stop()
        for section in self._sections:
            section.close()
        self.controller.close()
        self.logic.close()
        self.arrangement.restore()
        self._setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """The user comes to the module."""
        self._entered = True
        self.initializeParameterNode()
        self.update()

    def exit(self) -> None:
        """The user goes to another module; jobs go on."""
        self._entered = False
        self._refreshTimer.stop()
        for section in self._sections:
            section.leave()
        self.arrangement.restore()

    def onSceneStartClose(self, *_arguments: Any) -> None:
        """Let go of everything that is about to be deleted."""
        self._refreshTimer.stop()
        for section in self._sections:
            section.leave()
        self._setParameterNode(None)
        self.forgetResults()

    def onSceneEndClose(self, *_arguments: Any) -> None:
        """Start again in the empty scene."""
        if self._entered:
            self.initializeParameterNode()
            self.refresh()

    def onSceneImported(self, *_arguments: Any) -> None:
        """A scene was loaded: its parameter node counts."""
        self.forgetResults()
        self._setParameterNode(None)
        self.initializeParameterNode()
        self.refresh()

    def onNodeAddedOrRemoved(self, *_arguments: Any) -> None:
        """Runs or results may have come or gone."""
        self.forgetResults()
        self.refresh()

    def initializeParameterNode(self) -> None:
        """Take the scene's parameter node, or make one."""
        if self.parameterNode is None and not slicer.mrmlScene.IsClosing():
            self._setParameterNode(self.logic.getParameterNode())

    def _makeSections(self) -> None:
        self.firstUse = FirstUseSection(self)
        self.input = InputSection(self)
        self.views = ViewsSection(self)
        self.reconstruction = ReconstructionSection(self)
        self.progress = ProgressSection(self)
        self.display = DisplaySection(self)
        self.curve = CurveSection(self)
        self.novelView = NovelViewSection(self)
        self.compare = CompareSection(self)
        self.export = ExportSection(self)
        self._sections = [
            self.firstUse, self.input, self.views, self.reconstruction, self.progress, self.display, self.curve,
            self.novelView, self.compare, self.export,
        ]  # fmt: skip
        for section in self._sections:
            section.setup()

    def _connect(self) -> None:
        scene = slicer.mrmlScene
        for event, method in (
            (scene.StartCloseEvent, self.onSceneStartClose),
            (scene.EndCloseEvent, self.onSceneEndClose),
            (scene.EndImportEvent, self.onSceneImported),
            (scene.NodeAddedEvent, self.onNodeAddedOrRemoved),
            (scene.NodeRemovedEvent, self.onNodeAddedOrRemoved),
        ):
            self.addObserver(scene, event, method)
        self.controller.stateChanged.connect(self._stateChanged)
        self.controller.resultLoaded.connect(self._resultLoaded)

    def _setParameterNode(self, node: Any) -> None:
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self._guiTag)
            self.observe("parameters", None, (), self._parametersChanged)
            for key in ("probe", "probe segment"):
                self.observe(key, None, (), self._parametersChanged)
        self.parameterNode = node
        if node is not None:
            self._guiTag = node.connectGui(self.ui)
            self.observe("parameters", node, (vtk.vtkCommand.ModifiedEvent,), self._parametersChanged)

    # What sections ask for

    @property
    def scene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    @property
    def context(self) -> Any:
        """Scene and logics for DSAReconLib.mrml."""
        return self.logic.context

    @property
    def results(self) -> list[Any]:
        """Results in the scene, in the order of loading."""
        if self._results is None or not all(found.in_scene() for found in self._results):
            self._results = results_in_scene(self.context)
        return self._results

    @property
    def result(self) -> Any:
        """The shown result; ``None`` if there is none."""
        node = self.parameterNode.result if self.parameterNode is not None else None
        return next((found for found in self.results if found.sequence is node), None)

    def comparable(self, shown: Any) -> list[Any]:
        """Results of the same run, with the shown one."""
        return [found for found in self.results if found is shown or same_run(found, shown)]

    def forgetResults(self) -> None:
        """The scene has changed."""
        self._results = None
        self.input.sceneChanged()
        self.views.sceneChanged()

    def refresh(self) -> None:
        """Update all sections soon; many changes give one update."""
        if self._entered and not self._refreshTimer.active:
            self._refreshTimer.start()

    def update(self) -> None:
        """Update all sections now."""
        if self.parameterNode is None or self._updating or slicer.mrmlScene.IsBatchProcessing():
            return
        self._updating = True
        try:
            for section in self._sections:
                section.update()
        finally:
            self._updating = False

    def setParameter(self, name: str, value: Any, *, quietly: bool = False) -> None:
        """Set a parameter; ``quietly`` without an update of the panel."""
        if self.parameterNode is None or value is None or getattr(self.parameterNode, name) == value:
            return
        quiet, self._quiet = self._quiet, quietly or self._quiet
        try:
            setattr(self.parameterNode, name, value)
        finally:
            self._quiet = quiet

    def observe(self, key: str, node: Any, events: Sequence[int], callback: Callable[..., None]) -> None:
        """Observe a node instead of the one that was observed under this key before."""
        before = self._observed.get(key)
        if before is not None and before[0] is node:
            return
        if before is not None:
            for event in before[1]:
                self.removeObserver(before[0], event, before[2])
            del self._observed[key]
        if node is not None:
            for event in events:
                self.addObserver(node, event, callback)
            self._observed[key] = (node, events, callback)

    def attempt(self, action: Callable[[], Any], message: str = "") -> Any:
        """Do something that may fail; the user is told why, and ``None`` is returned."""
        if message:
            self.notifier.inform(message)
        qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
        try:
            return action()
        except DSAReconError as error:
            self.notifier.problem(error.message, error.hint or "")
        except OSError as error:
            self.notifier.problem(str(error))
        finally:
            qt.QApplication.restoreOverrideCursor()
        return None

    def openResult(self, folder: Any) -> None:
        """Show a result folder, which is loaded if it is not in the scene."""
        found = next((found for found in self.results if found.folder == folder), None)
        found = found or self.attempt(lambda: self.controller.loadResult(folder), _("Loading the result…"))
        if found is not None:
            self._resultLoaded(None, found)

    def timeMoved(self, timeS: float) -> None:
        """The shown time has changed."""
        self.curve.setTime(timeS)
        self.novelView.setTime(timeS)

    def leaveResult(self) -> None:
        """Let go of the shown result."""
        for section in (self.display, self.curve, self.novelView):
            section.leave()
        if self.parameterNode is not None:
            self.parameterNode.result = None

    def isPlacing(self) -> bool:
        """Whether the mouse places points."""
        node = slicer.app.applicationLogic().GetInteractionNode()
        return node is not None and node.GetCurrentInteractionMode() == node.Place

    def stopPlacing(self) -> None:
        """Give the mouse back to the views."""
        node = slicer.app.applicationLogic().GetInteractionNode()
        if node is not None:
            node.SetCurrentInteractionMode(node.ViewTransform)

    # What happens

    def _parametersChanged(self, *_arguments: Any) -> None:
        if not self._quiet:
            self.refresh()

    def _stateChanged(self, _state: Any) -> None:
        self.refresh()

    def _resultLoaded(self, _job: Any, loaded: Any) -> None:
        """A result is in the scene: show it."""
        self._results = None
        self.initializeParameterNode()
        shown = next((found for found in self.results if found.sequence is loaded.sequence), None)
        if shown is None or self.parameterNode is None:
            return
        first = len(self.results) == 1
        moving = [found for found in self.comparable(shown) if found is not shown and not found.is_static]
        if not moving:  # else the results are compared at the time that is shown
            self.setParameter("timeS", current_time(shown.browser))
        for button in (self.ui.displaySection, self.ui.novelSection, self.ui.compareSection):
            button.collapsed = False
        self.display.show(shown)
        if self._entered:
            self.arrangement.use(layout.ONE_3D)
            if first:
                self._lookFromTheFront(shown)

    def _lookFromTheFront(self, shown: Any) -> None:
        """The first result appears as the C-arm's frontal view shows it."""
        view = layout.threeDView()
        if view is None or shown.result is None:
            return
        from DSAReconLib.mrml.camera import aim_camera
        from DSAReconLib.rendering.pose import pose_from_angles

        prepare_threed_view(view.mrmlViewNode())
        aim_camera(layout.cameraOf(view), pose_from_angles(shown.result.geometry, 0.0, 0.0))
