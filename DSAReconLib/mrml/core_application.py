"""A Slicer without windows, made of slicer-core: for tests, batch scripts and pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from DSAReconLib.errors import ResourceError, ResultError
from DSAReconLib.mrml.context import SceneContext

_MODULE_LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",  # without it, saving a segmentation ends the process
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Colors": "vtkSlicerColorLogic",
}
"""Setting the scene of a logic makes its node classes known; the order is Slicer's."""


def core_context(*, default_mapper: str = "cpu") -> SceneContext:
    """A new scene with logics, color nodes and what saving as ``.mrb`` needs.

    Also sets ``slicer.mrmlScene`` and ``slicer.modules``, which helper functions of Slicer
    use. The context keeps everything alive.
    """
    import slicer
    import vtk

    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    for factory in (
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        slicer.vtkMRMLSliceViewDisplayableManagerFactory,
    ):
        factory.GetInstance().SetMRMLApplicationLogic(application)
    modules = {name: _module_logic(name, scene, application) for name in _MODULE_LOGICS}
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.mrmlScene = scene
    slicer.modules = SimpleNamespace(
        **{name.lower(): SimpleNamespace(name=name, logic=lambda logic=logic: logic) for name, logic in modules.items()}
    )
    files = _file_logics(scene, application)
    return SceneContext(
        scene,
        modules["Sequences"],
        modules["VolumeRendering"],
        application,
        default_mapper,
        keep_alive=(*modules.values(), *files),
    )


def save_bundle(context: SceneContext, path: Path) -> Path:
    """Write the scene as ``.mrb`` (all data inside); ResourceError if that fails."""
    path = Path(path)
    if not path.parent.is_dir() or not context.scene.WriteToMRB(str(path)) or not path.is_file():
        raise ResourceError(f"{path} cannot be written.", hint="Check the folder and the space on the disk.")
    return path


def read_bundle(context: SceneContext, path: Path) -> None:
    """Replace the scene's content by that of a ``.mrb``; ResultError if that fails."""
    if not Path(path).is_file() or not context.scene.ReadFromMRB(str(path), True):
        raise ResultError(f"{path} cannot be read as a scene of 3D Slicer.", hint="Give a file that ends in .mrb.")


def _module_logic(name: str, scene: Any, application: Any) -> Any:
    import slicer

    logic = getattr(slicer, _MODULE_LOGICS[name])()
    logic.SetMRMLApplicationLogic(application)
    with _quiet():  # terminology and preset files are the desktop's
        logic.SetMRMLScene(scene)
    application.SetModuleLogic(name, logic)
    return logic


@contextmanager
def _quiet() -> Iterator[None]:
    """Without VTK's messages; what fails is told by return values."""
    import vtk

    shown = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(shown)


def _file_logics(scene: Any, application: Any) -> tuple[Any, ...]:
    """What reading and writing bundles needs: a place for temporary files, and its cleaner."""
    import slicer

    cache = tempfile.TemporaryDirectory(prefix="dsarecon-scene-", ignore_cleanup_errors=True)
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(application)
    remote.GetCacheManager().SetRemoteCacheDirectory(cache.name)
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLScene(scene)
    manager.SetMRMLApplicationLogic(application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    application.SetTemporaryPath(cache.name)
    return cache, remote, manager
