"""The arrangement of Slicer's views: ours while the module is used, the user's afterwards."""

from __future__ import annotations

from typing import Any

import slicer

ONE_3D = "SlicerLayoutOneUp3DView"
TWO_3D = "SlicerLayoutDual3DView"
WITH_PLOT = "SlicerLayoutConventionalPlotView"


class LayoutKeeper:
    """Changes the layout and puts the earlier one back, unless the user has chosen another in the meantime."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._ours: int | None = None

    def use(self, name: str) -> None:
        """Arrange the views as a constant of vtkMRMLLayoutNode says; without a main window nothing happens."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        wanted = getattr(slicer.vtkMRMLLayoutNode, name)
        if self._ours is None:
            self._before = manager.layout
        if manager.layout != wanted:
            manager.setLayout(wanted)
        self._ours = wanted

    def leave(self, name: str) -> None:
        """Back to one 3D view, if the layout still is this one of ours."""
        manager = slicer.app.layoutManager()
        if manager is not None and manager.layout == getattr(slicer.vtkMRMLLayoutNode, name) == self._ours:
            self.use(ONE_3D)

    def restore(self) -> None:
        """The layout from before the first :meth:`use`; may be called twice."""
        manager = slicer.app.layoutManager()
        if manager is not None and self._ours is not None and manager.layout == self._ours:
            manager.setLayout(self._before)
        self._before = self._ours = None


def cameraOf(view: Any) -> Any:
    """VtkMRMLCameraNode of a 3D view."""
    return slicer.modules.cameras.logic().GetViewActiveCameraNode(view.mrmlViewNode())


def threeDView(index: int = 0) -> Any:
    """A 3D view of the present layout; ``None`` if it has no such view (or there is no main window)."""
    manager = slicer.app.layoutManager()
    if manager is None or manager.threeDViewCount <= index:
        return None
    return manager.threeDWidget(index).threeDView()
