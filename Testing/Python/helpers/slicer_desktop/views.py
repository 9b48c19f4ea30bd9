"""Layout manager and views: MRML view nodes are real, their windows are offscreen or missing."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import slicer
import vtk

_CONVENTIONAL = 2
_WITHOUT_3D = {6, 7, 8}


class ThreeDView:
    """A 3D view with an offscreen window, made when it is first asked for."""

    def __init__(self, node: Any) -> None:
        self._node, self._window = node, None

    def mrmlViewNode(self) -> Any:
        return self._node

    def renderWindow(self) -> vtk.vtkRenderWindow:
        if self._window is None:
            self._window = vtk.vtkRenderWindow()
            self._window.SetOffScreenRendering(1)
            self._window.SetSize(160, 120)
            self._window.AddRenderer(vtk.vtkRenderer())
        return self._window

    def resetFocalPoint(self) -> None:
        """Nothing is shown that it could turn to."""

    def scheduleRender(self) -> None:
        """Nobody looks."""

    def forceRender(self) -> None:
        """Nobody looks."""


class ViewWidget:
    """What ``threeDWidget`` returns."""

    def __init__(self, view: ThreeDView) -> None:
        self._view = view

    def threeDView(self) -> ThreeDView:
        return self._view

    def mrmlViewNode(self) -> Any:
        return self._view.mrmlViewNode()


class LayoutManager:
    """``slicer.app.layoutManager()``."""

    def __init__(self) -> None:
        self._views: dict[str, ThreeDView] = {}
        self._observers: list[Any] = []

    @property
    def layout(self) -> int:
        return self._node().GetViewArrangement()

    @layout.setter
    def layout(self, identifier: int) -> None:
        self.setLayout(identifier)

    def setLayout(self, identifier: int) -> None:
        node = self._node()
        old = node.GetViewArrangement()
        node.SetViewArrangement(identifier)
        self._make_views(node)
        if old != identifier:
            for observer in list(self._observers):
                observer(identifier)

    def connect(self, signature: str, receiver: Any) -> bool:
        """Only ``layoutChanged(int)`` is sent."""
        if signature.startswith("layoutChanged"):
            self._observers.append(receiver)
        return True

    def disconnect(self, signature: str, receiver: Any) -> bool:
        if receiver in self._observers:
            self._observers.remove(receiver)
        return True

    def layoutLogic(self) -> Any:
        return _LayoutLogic(self._node())

    @property
    def threeDViewCount(self) -> int:
        return len(self._shown())

    def threeDWidget(self, key: int | str) -> ViewWidget | None:
        shown = self._shown()
        if isinstance(key, str):
            shown = [node for node in shown if key in (node.GetLayoutName(), node.GetName())]
            key = 0
        if not 0 <= key < len(shown):
            return None
        node = shown[key]
        return ViewWidget(self._views.setdefault(node.GetID(), ThreeDView(node)))

    def sliceViewNames(self) -> list[str]:
        return ["Red", "Green", "Yellow"]

    def sliceWidget(self, name: str) -> None:
        return None

    def plotWidget(self, index: int) -> None:
        return None

    def tableWidget(self, index: int) -> None:
        return None

    def resetThreeDViews(self) -> None:
        """Nothing is shown that they could turn to."""

    def resetSliceViews(self) -> None:
        """Nothing is shown that they could turn to."""

    def _node(self) -> Any:
        scene = slicer.mrmlScene
        found = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if found is None:
            found = slicer.vtkMRMLLayoutNode()
            found.SetSingletonTag("vtkMRMLLayoutNode")
            found.AddLayoutDescription(_CONVENTIONAL, _view_xml("1"))
            found = scene.AddNode(found)
            found.SetViewArrangement(_CONVENTIONAL)
        for identifier, tags in _known_layouts().items():
            if not found.IsLayoutDescription(identifier):
                found.AddLayoutDescription(identifier, _view_xml(*tags))
        return found

    def _shown(self) -> list[Any]:
        """3D view nodes of the present layout, in its order."""
        node = self._node()
        if node.GetViewArrangement() in _WITHOUT_3D:
            return []
        return self._make_views(node)

    def _make_views(self, layout: Any) -> list[Any]:
        text = layout.GetLayoutDescription(layout.GetViewArrangement())
        found = []
        for element in ElementTree.fromstring(text or _view_xml("1")).iter("view"):
            cls, tag = element.get("class", ""), element.get("singletontag", "")
            if not cls or not tag:
                continue
            node = slicer.mrmlScene.GetSingletonNode(tag, cls)
            if node is None:
                node = slicer.mrmlScene.CreateNodeByClass(cls)
                node.UnRegister(None)
                node.SetSingletonTag(tag)
                node.SetLayoutName(tag)
                node.SetName(f"View{tag}")
                node = slicer.mrmlScene.AddNode(node)
            if cls == "vtkMRMLViewNode":
                _give_camera(node)
                found.append(node)
        return found


def _give_camera(view: Any) -> None:
    """Every 3D view has a camera, found by the view's name."""
    scene, name = slicer.mrmlScene, view.GetLayoutName()
    count = scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")
    cameras = [scene.GetNthNodeByClass(number, "vtkMRMLCameraNode") for number in range(count)]
    if not any(camera.GetLayoutName() == name for camera in cameras):
        camera = slicer.vtkMRMLCameraNode()
        camera.SetLayoutName(name)
        camera.SetName(f"Camera {name}")
        scene.AddNode(camera)


class _LayoutLogic:
    def __init__(self, node: Any) -> None:
        self._node = node

    def GetLayoutNode(self) -> Any:
        return self._node


def _known_layouts() -> dict[int, tuple[str, ...]]:
    """3D views of the layouts that the panel uses."""
    node = slicer.vtkMRMLLayoutNode
    single = (_CONVENTIONAL, node.SlicerLayoutOneUp3DView, node.SlicerLayoutConventionalPlotView)
    return {**dict.fromkeys(single, ("1",)), node.SlicerLayoutDual3DView: ("1", "2")}


def _view_xml(*tags: str) -> str:
    views = "".join(f'<item><view class="vtkMRMLViewNode" singletontag="{tag}"/></item>' for tag in tags)
    return f"<layout>{views}</layout>"
