"""The scene and the logics behind ``slicer.mrmlScene`` and ``slicer.modules``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import slicer

from DSAReconLib.mrml.core_application import core_context

_kept: list[Any] = []


def boot() -> Any:
    """Make the scene with what only the desktop adds; the application logic."""
    context = core_context()
    _kept.append(context)
    context.volume_rendering_logic.SetDefaultRenderingMethod("vtkMRMLCPURayCastVolumeRenderingDisplayNode")
    cameras = slicer.vtkSlicerCamerasModuleLogic()
    cameras.SetMRMLApplicationLogic(context.application_logic)
    cameras.SetMRMLScene(slicer.mrmlScene)
    slicer.modules.cameras = SimpleNamespace(name="Cameras", logic=lambda: cameras)
    for name, tag in (("vtkMRMLSelectionNode", "Singleton"), ("vtkMRMLInteractionNode", "Singleton")):
        if slicer.mrmlScene.GetSingletonNode(tag, name) is None:
            node = getattr(slicer, name)()
            node.SetSingletonTag(tag)
            slicer.mrmlScene.AddNode(node)
    return context.application_logic
