"""A 3D view without a window, on slicer-core: pictures for scripts, documentation and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.coordinates import matrix_array
from DSAReconLib.mrml.display import prepare_threed_view

_MANAGERS = (
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
_VIEW_ANGLE_DEG = 30.0


class OffscreenView:
    """One 3D view of a scene, rendered by EGL or OSMesa without a display.

    Parameters
    ----------
    context
        A scene of :func:`DSAReconLib.mrml.core_application.core_context`.
    width, height
        Pixels.
    """

    def __init__(self, context: SceneContext, width: int = 512, height: int = 512) -> None:
        import slicer
        import vtk

        self._renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetSize(width, height)
        self.window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(context.application_logic)
        for manager in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(context.application_logic)
        self._logic.SetMRMLScene(context.scene)
        context.application_logic.GetViewLogics().AddItem(self._logic)
        self.node = self._logic.AddViewNode("Offscreen")
        prepare_threed_view(self.node)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(self._renderer)
        self._managers.Initialize(factory, self._renderer)
        self._managers.SetMRMLDisplayableNode(self.node)

    @property
    def camera(self) -> Any:
        """The vtkMRMLCameraNode of the view."""
        return self._managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def look(self, from_direction_ras: ArrayLike, up_ras: ArrayLike = (0, 0, 1), *, zoom: float = 1.0) -> None:
        """Look at everything visible from a direction, e.g. ``(0, 1, 0)`` from anterior; perspective."""
        bounds = np.array(self._renderer.ComputeVisiblePropBounds()).reshape(3, 2)
        center, radius = bounds.mean(1), 0.5 * float(np.linalg.norm(np.diff(bounds, axis=1)))
        direction = np.asarray(from_direction_ras, float) / np.linalg.norm(from_direction_ras)
        distance = radius / np.sin(np.radians(_VIEW_ANGLE_DEG / 2)) / zoom
        camera = self.camera
        camera.SetViewAngle(_VIEW_ANGLE_DEG)
        camera.SetFocalPoint(*center)
        camera.SetPosition(*(center + distance * direction))
        camera.SetViewUp(*np.asarray(up_ras, float))
        self._renderer.ResetCameraClippingRange()

    def picture(self) -> NDArray[np.uint8]:
        """What the view shows now, RGB (height, width, 3), row 0 at the top."""
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        self._renderer.ResetCameraClippingRange()
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        columns, rows, _ = image.GetDimensions()
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
        return np.ascontiguousarray(values[::-1, :, :3])

    def project(self, points_ras: ArrayLike) -> NDArray[np.float64]:
        """Pixel (N, 2) as (column, row) of points (N, 3), RAS mm, in :meth:`picture`."""
        columns, rows = self.window.GetSize()
        camera = self.camera.GetCamera()
        matrix = matrix_array(camera.GetCompositeProjectionTransformMatrix(columns / rows, -1, 1))
        points = np.asarray(points_ras, float)
        clip = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix.T
        device = clip[:, :2] / clip[:, 3:]
        return np.stack([(device[:, 0] + 1) / 2 * columns - 0.5, (1 - device[:, 1]) / 2 * rows - 0.5], -1)

    def save(self, path: Path) -> Path:
        """Write :meth:`picture` as PNG."""
        from PIL import Image

        Image.fromarray(self.picture()).save(path)
        return Path(path)

    def close(self) -> None:
        """Give the graphics memory back; may be called twice."""
        self._managers.SetMRMLDisplayableNode(None)
        self.window.Finalize()
