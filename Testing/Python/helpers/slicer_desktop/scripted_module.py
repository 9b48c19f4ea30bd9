"""Bases of a scripted module, as ``slicer.ScriptedLoadableModule`` offers them."""

from __future__ import annotations

import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer


class ScriptedLoadableModule:
    """Describes a module to the application."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return ""


class ScriptedLoadableModuleWidget:
    """Panel of a module; ``parent`` is the widget that it fills."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent or qt.QWidget()
        if self.parent.layout() is None:
            self.parent.setLayout(qt.QVBoxLayout())
        self.layout = self.parent.layout()

    def resourcePath(self, filename: str) -> str:
        """Path of a file in the module's Resources folder."""
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Build the panel."""

    def cleanup(self) -> None:
        """End of the application or reload of the module."""


class ScriptedLoadableModuleLogic:
    """What a module does, without its panel."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's node in the scene; made if there is none."""
        found = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        return found or slicer.mrmlScene.AddNode(self.createParameterNode())

    def createParameterNode(self) -> Any:
        """A new node for the module's state."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        self.setDefaultParameters(node)
        return node

    def setDefaultParameters(self, parameterNode: Any) -> None:
        """For modules without a wrapper."""


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Self-test of a module."""

    def __init__(self, methodName: str = "runTest", *arguments: Any) -> None:
        super().__init__(methodName, *arguments)
        self.messageDelay = 0

    def delayDisplay(self, message: str, *arguments: Any, **keywords: Any) -> None:
        """Say what is being tested."""

    def runTest(self) -> None:
        """To be replaced."""


def module_parent() -> SimpleNamespace:
    """What a module's constructor decorates."""
    return SimpleNamespace(
        title="", categories=[], dependencies=[], contributors=[], helpText="", acknowledgementText="", hidden=False
    )
