"""The 3D view and the slice view as picture areas."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.mrml import display
from DSAReconLib.rendering.pacing import PicturePacing
from DSAReconLib.viewer.areas import MOVING_QUALITY, RESTING_QUALITY, Area
from DSAReconLib.viewer.draft import DraftSurface, DraftVolume
from DSAReconLib.viewer.picking import Point, ray_of_camera
from DSAReconLib.viewer.scene import ViewerScene

_SHORTEST_PERIOD_S = 1 / 30
_IDLE_S = 0.05
_TARGET_MS = 60.0
_REST_S = 0.35
_SHARE = 0.4  # of the time of a picture that is left to everything else
_MODIFIERS = ("shiftKey", "ctrlKey", "altKey")


class VtkArea(Area):
    """An area that shows a view of slicer-core."""

    def __init__(self, name: str, view: Any) -> None:
        super().__init__(name)
        self.view = view
        self._window = view.render_window()
        self._window.SetMultiSamples(0)
        self._interactor = view.interactor()
        self._interactor.EnableRenderOff()
        self._grabber = _grabber(self._window)
        self._dirty = asyncio.Event()
        self._rendering = False
        view.set_scheduled_render(_Requests(self))

    def refresh(self) -> None:
        """Send a picture soon."""
        if not self._rendering:
            self._dirty.set()

    def resized(self) -> None:
        """Resize VTK's window."""
        self._interactor.UpdateSize(*self.size)
        self._interactor.InvokeEvent("WindowResizeEvent")
        self.after_resize()

    def after_resize(self) -> None:
        """The view has another size now."""

    def interact(self, kind: str, at: tuple[float, float], event: dict[str, Any]) -> None:
        """Let the interactor style of Slicer handle it."""
        from vtkmodules.vtkWebCore import vtkRemoteInteractionAdapter

        if kind in ("StartInteractionEvent", "EndInteractionEvent", "StartInteraction", "EndInteraction"):
            return
        vtkRemoteInteractionAdapter.ProcessEvent(self._interactor, json.dumps(event))

    def picture(self) -> NDArray[np.uint8]:
        """What the view shows now, RGB (height, width, 3), row 0 at the top."""
        from vtkmodules.util.numpy_support import vtk_to_numpy

        self._rendering = True  # rendering modifies nodes and the camera, which would ask for rendering
        try:
            self.before_render()
            self._window.Render()
            self._grabber.Modified()
            self._grabber.Update()
        finally:
            self._rendering = False
        image = self._grabber.GetOutput()
        columns, rows, _ = image.GetDimensions()
        array: NDArray[np.uint8] = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
        return array[::-1, :, :3].copy()

    def before_render(self) -> None:
        """What a picture needs done just before it is made."""

    async def run(self) -> None:
        """Render when asked for."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            started = time.monotonic()
            await self.send(self.picture())
            await asyncio.sleep(max(_SHORTEST_PERIOD_S - (time.monotonic() - started), 0.005))


class ThreeDArea(VtkArea):
    """The 3D view: coarse while it moves or plays, refined at rest.

    Parameters
    ----------
    on_click
        Called with the vessel point (RAS) under a click, ``None`` if there is none.
    on_camera
        Called when the camera has moved.
    """

    def __init__(
        self, scene: ViewerScene, on_click: Callable[[Point | None], None], on_camera: Callable[[], None]
    ) -> None:
        super().__init__("threed", scene.threed)
        self.pacing = PicturePacing(target_ms=_TARGET_MS, rest_s=_REST_S)
        self._scene, self._on_click, self._on_camera = scene, on_click, on_camera
        self._draft = DraftVolume(scene.threed.renderer())
        self._draft_surface = DraftSurface(scene.threed.renderer())
        self._camera_tag: Any = None
        self.turned = False
        self._refined = True
        self.busy_elsewhere: Callable[[], bool] = lambda: False

    @property
    def at_rest(self) -> bool:
        """Whether the picture that was sent is fine and nothing has changed since."""
        return self._refined and not self._dirty.is_set()

    def watch_camera(self) -> None:
        """Follow the camera of the view, which exists once something was shown."""
        if self._camera_tag is None:
            self._camera_tag = self._scene.camera_node.AddObserver("ModifiedEvent", self._camera_moved)

    def moved(self) -> None:
        """Something moves: draw coarsely for a while."""
        self.pacing.moved(time.monotonic())
        self.refresh()

    def look_from(self, primary_deg: float, secondary_deg: float) -> None:
        """Show all vessels from C-arm angles, degrees."""
        self._scene.look_from(primary_deg, secondary_deg, self.size[0] / self.size[1])
        self.moved()

    def after_resize(self) -> None:
        """Until somebody turns the view, it shows all vessels."""
        if not self.turned and self._camera_tag is not None:
            self.look_from(0.0, 0.0)

    def interact(self, kind: str, at: tuple[float, float], event: dict[str, Any]) -> None:
        """Slicer's interaction."""
        self.turned |= kind.endswith("Press") or "Wheel" in kind
        super().interact(kind, at, event)

    def clicked(self, at: tuple[float, float]) -> None:
        """Pick the vessel under the mouse."""
        ray = ray_of_camera(self.view.renderer(), at, self.size)
        self._on_click(self._scene.current.picker.under_ray(*ray))

    def before_render(self) -> None:
        """Draft and full drawing have different bounds: the clipping range must not count as a moved camera."""
        self.view.renderer().ResetCameraClippingRange()

    def sharp_picture(self) -> NDArray[np.uint8]:
        """The view in full quality, whatever moves."""
        self._show_full()
        return self.picture()

    async def run(self) -> None:
        """Render coarsely while something moves and once finely at rest."""
        while True:
            if self._refined:
                await self._dirty.wait()
            else:
                await self._wait_for_change(_IDLE_S)
            moving = self.pacing.is_moving(time.monotonic())
            if not self._dirty.is_set() and moving:
                continue
            self._dirty.clear()
            started = time.monotonic()
            picture = self._moving_picture(started) if moving else self.sharp_picture()
            self._refined = not moving
            spent = time.monotonic() - started
            await self.send(picture, quality=MOVING_QUALITY if moving else RESTING_QUALITY)
            pause = 2.0 if self.busy_elsewhere() else _SHARE
            await asyncio.sleep(max(_SHORTEST_PERIOD_S - (time.monotonic() - started), pause * spent * moving, 0.005))

    async def _wait_for_change(self, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(self._dirty.wait(), timeout_s)
        except asyncio.TimeoutError:
            return

    def _moving_picture(self, now: float) -> NDArray[np.uint8]:
        nodes = self._scene.current.nodes
        rows, columns = self.size[1], self.size[0]
        shape = self.pacing.shape((rows, columns), now)
        full = self._full_volume()
        if full is not None and display.volume_visible(nodes):
            self._draft.show(nodes, full, rows / shape[0])
        else:
            self._draft.hide(None)
        surface = self._full_surface()
        if surface is not None and display.surface_visible(nodes):
            self._draft_surface.show(nodes, surface)
        else:
            self._draft_surface.hide(None)
        started = time.monotonic()
        picture = self.picture()
        self.pacing.measured(shape, 1e3 * (time.monotonic() - started))
        return picture

    def _show_full(self) -> None:
        nodes = self._scene.current.nodes
        self._draft.hide(self._full_volume() if display.volume_visible(nodes) else None)
        self._draft_surface.hide(self._full_surface() if display.surface_visible(nodes) else None)

    def _full_volume(self) -> Any | None:
        manager = self.view.get_displayable_manager_by_class("vtkMRMLVolumeRenderingDisplayableManager")
        return manager.GetVolumeActor(self._scene.current.nodes.proxy)

    def _full_surface(self) -> Any | None:
        node = self._scene.current.nodes.surface
        manager = self.view.get_displayable_manager_by_class("vtkMRMLModelDisplayableManager")
        shown = None if node is None else node.GetDisplayNode()
        return None if shown is None else manager.GetActorByID(shown.GetID())

    def _camera_moved(self, *_: Any) -> None:
        if not self._rendering:
            self.moved()
            self._on_camera()


class SliceArea(VtkArea):
    """The slice view.

    Parameters
    ----------
    on_click
        Called with the point (RAS) under a click.
    on_offset
        Called when another slice is shown.
    """

    def __init__(self, scene: ViewerScene, on_click: Callable[[Point], None], on_offset: Callable[[], None]) -> None:
        super().__init__("slice", scene.slices)
        self._on_click, self._on_offset = on_click, on_offset
        scene.slices.get_view_node().AddObserver("ModifiedEvent", lambda *_: on_offset())

    def after_resize(self) -> None:
        """Keep the picture fitted to the area."""
        self.view.fit_view_to_content()

    def interact(self, kind: str, at: tuple[float, float], event: dict[str, Any]) -> None:
        """Plain left dragging would change window and level of all slices: only wheel, zoom and pan are passed on."""
        if kind.startswith("LeftButton") and not any(event.get(name) for name in _MODIFIERS):
            return
        super().interact(kind, at, event)

    def clicked(self, at: tuple[float, float]) -> None:
        """Report the point under the mouse."""
        x, y, z, _ = self.view.get_view_node().GetXYToRAS().MultiplyPoint((at[0], at[1], 0.0, 1.0))
        self._on_click((x, y, z))


class _Requests:
    """Slicer's displayable managers ask for rendering through this."""

    def __init__(self, area: VtkArea) -> None:
        self._area = area

    def set_abstract_view(self, view: Any) -> None:
        """Nothing to remember."""

    def schedule_render(self) -> None:
        """A node has changed."""
        self._area.refresh()

    def did_render(self) -> None:
        """Nothing to do."""


def _grabber(window: Any) -> Any:
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    grabber = vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.ShouldRerenderOff()
    grabber.FixBoundaryOff()
    grabber.SetInputBufferTypeToRGB()
    return grabber
