"""MRML widgets on a scene of slicer-core."""

from __future__ import annotations

from typing import Any

import vtk
from helpers.slicer_desktop.pythonqt import dressed
from PySide6 import QtCore, QtGui, QtWidgets


class qMRMLWidget(QtWidgets.QWidget):
    """Widget that hands its scene to the widgets in it."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for child in self.findChildren(QtWidgets.QWidget):
            if hasattr(child, "setMRMLScene"):
                child.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)


def _stored(kind: Any, name: str, default: Any) -> QtCore.Property:
    key = f"_stored_{name}"
    return QtCore.Property(
        kind, lambda self: self.__dict__.get(key, default), lambda self, value: self.__dict__.__setitem__(key, value)
    )


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """List of the scene's nodes of some classes."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeTypes = _stored("QStringList", "nodeTypes", [])
    noneEnabled = _stored(bool, "noneEnabled", False)
    noneDisplay = _stored(str, "noneDisplay", "None")
    addEnabled = _stored(bool, "addEnabled", True)
    removeEnabled = _stored(bool, "removeEnabled", True)
    renameEnabled = _stored(bool, "renameEnabled", False)
    editEnabled = _stored(bool, "editEnabled", False)
    showHidden = _stored(bool, "showHidden", False)
    showChildNodeTypes = _stored(bool, "showChildNodeTypes", True)
    selectNodeUponCreation = _stored(bool, "selectNodeUponCreation", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._required: list[tuple[str, str, Any]] = []
        self.currentIndexChanged.connect(self._announce)

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for source, tag in self._observed:
            source.RemoveObserver(tag)
        self._scene, self._observed = scene, []
        if scene is None:  # the widget is about to be destroyed
            return
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)
        self._observed = [(scene, scene.AddObserver(event, self._refill)) for event in events]
        self._refill()

    def addAttribute(self, node_class: str, name: str, value: Any = None) -> None:
        self._required.append((node_class, name, value))
        if self._scene:
            self._refill()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self.currentData()) if self._scene and self.currentData() else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node else "")

    def setCurrentNodeID(self, identifier: str) -> None:
        if self._scene and self.findData(identifier or "") < 0:
            self._refill()  # an attribute may have been set since the node was added
        self.setCurrentIndex(self.findData(identifier or ""))

    def currentData(self) -> Any:
        return QtCore.QObject.property(self, "currentData")

    currentNodeID = QtCore.Property(
        str, lambda self: self.currentData() or "", lambda self, i: self.setCurrentNodeID(i)
    )

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() or not any(node.IsA(name) for name in self.nodeTypes):
            return False
        wanted = [(name, value) for cls, name, value in self._required if node.IsA(cls)]
        return all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)) for name, value in wanted
        )

    def _refill(self, *_: Any) -> None:
        current = self.currentData() or ""
        self.blockSignals(True)
        self.clear()
        if self.noneEnabled:
            self.addItem(self.noneDisplay, "")
        nodes = self._scene.GetNodes()
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if self._fits(node):
                self.addItem(node.GetName(), node.GetID())
        found = self.findData(current)
        self.setCurrentIndex(max(found, 0 if self.findData("") >= 0 or self.model().rowCount() else -1))
        self.blockSignals(False)
        if (self.currentData() or "") != current:
            self._announce()

    def _announce(self, *_: Any) -> None:
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(self.currentData() or "")


class qMRMLUtils:
    """The one conversion that the panel asks for."""

    def vtkImageDataToQImage(self, image: vtk.vtkImageData, picture: QtGui.QImage) -> bool:
        """Copy an RGB(A) image, whose first row is the bottom one, into ``picture``."""
        import numpy as np
        from vtk.util.numpy_support import vtk_to_numpy

        columns, rows, _ = image.GetDimensions()
        components = image.GetNumberOfScalarComponents()
        if components not in (3, 4):
            return False
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, components)
        data = np.ascontiguousarray(values[::-1])
        kind = QtGui.QImage.Format_RGB888 if components == 3 else QtGui.QImage.Format_RGBA8888
        picture.swap(QtGui.QImage(data.data, columns, rows, columns * components, kind).copy())
        return True


QMRML_WIDGETS = {cls.__name__: dressed(cls) for cls in (qMRMLWidget, qMRMLNodeComboBox)}
