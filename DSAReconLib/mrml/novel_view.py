"""Novel views on the screen: line integrals as an X-ray picture behind a 3D view, or as a volume in a slice view."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from DSAReconLib.errors import GeometryError
from DSAReconLib.jobs.render_client import RenderClient, RenderedFrame
from DSAReconLib.mrml.camera import pose_of_camera
from DSAReconLib.rendering.images import grey_levels
from DSAReconLib.rendering.pacing import PicturePacing
from DSAReconLib.rendering.pose import ViewPose

_VOLUME_HEIGHT_MM = 200.0  # of a picture in a slice view: its size must not change with its pixels
_INVERTED_GREY = "vtkMRMLColorTableNodeInvertedGrey"
_GREY = "vtkMRMLColorTableNodeGrey"


class NovelViewPresenter:
    """Shows the newest picture with one window and level.

    The picture fills the background of a 3D view, everything in the scene is drawn over
    it; :meth:`show_in_volume` puts it into a volume node as well, which slice views show
    and which is saved with the scene. The caller renders.

    Attributes
    ----------
    window, level
        Width and middle of the displayed line integrals, see :meth:`set_window_level`.
    inverted
        Light vessels on dark instead of dark vessels on light.
    """

    def __init__(self) -> None:
        self.window, self.level, self.inverted = 1.0, 0.5, False
        self._line_integrals: NDArray[np.float32] | None = None
        self._image = vtk.vtkImageData()
        self._pixels: NDArray[np.uint8] | None = None
        self._texture = vtk.vtkTexture()
        self._texture.SetInputData(self._image)
        self._texture.InterpolateOn()
        self._texture.EdgeClampOn()
        self._texture.RepeatOff()
        self._renderer: Any = None
        self._visible = True
        self._volume: Any = None

    # ------------------------------------------------------------------ where
    def attach(self, renderer: Any) -> None:
        """Show the picture behind what ``renderer`` (vtkRenderer of a 3D view) draws; leaves an earlier renderer."""
        self.detach()
        self._renderer = renderer
        self._show_background()

    def detach(self) -> None:
        """Give the 3D view its own background back."""
        if self._renderer is not None:
            self._renderer.SetTexturedBackground(False)
            self._renderer.SetBackgroundTexture(None)
        self._renderer = None

    @property
    def visible(self) -> bool:
        """Whether the picture is shown behind the 3D view."""
        return self._visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._visible = visible
        self._show_background()

    def show_in_volume(self, scene: Any, name: str = "Novel view") -> Any:
        """Volume node (vtkMRMLScalarVolumeNode) that holds the line integrals of each picture from now on.

        An axial slice view shows it upright. The node is made once; if somebody removes it
        from the scene, the next call makes a new one.
        """
        if self._volume is None or self._volume.GetScene() is not scene:
            self._volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
            self._fill_volume()
            self._volume.CreateDefaultDisplayNodes()
            self._show_window_level()
        return self._volume

    # ------------------------------------------------------------------ what
    def show(self, line_integrals: NDArray[np.float32]) -> None:
        """Take a new picture (R, C) of line integrals; row 0 is at the top."""
        self._line_integrals = np.asarray(line_integrals, np.float32)
        self._fill_texture()
        self._fill_volume()

    def clear(self) -> None:
        """Forget the picture."""
        self._line_integrals = None
        self._show_background()

    @property
    def line_integrals(self) -> NDArray[np.float32] | None:
        """The picture that is shown (R, C), if any."""
        return self._line_integrals

    def picture(self) -> NDArray[np.uint8] | None:
        """The picture as grey values (R, C), row 0 at the top, for screens that are not VTK's."""
        return None if self._line_integrals is None else self._grey(self._line_integrals)

    def set_window_level(self, window: float, level: float) -> None:
        """Show line integrals between ``level - window / 2`` and ``level + window / 2``.

        Raises
        ------
        ValueError
            ``window`` is not positive.
        """
        if not window > 0:
            raise ValueError(f"window must be positive; got {window}")
        self.window, self.level = float(window), float(level)
        self._redraw()

    def set_value_range(self, value_range: Sequence[float]) -> None:
        """Window and level that show [low, high], e.g. ``value_range`` of the render server."""
        low, high = value_range
        self.set_window_level(max(high - low, 1e-6), (high + low) / 2)

    def set_inverted(self, inverted: bool) -> None:
        """Light vessels on dark (True) or dark vessels on light as in DSA (False)."""
        self.inverted = inverted
        self._redraw()

    # ------------------------------------------------------------------ drawing
    def _redraw(self) -> None:
        self._fill_texture()
        self._show_window_level()

    def _grey(self, line_integrals: NDArray[np.float32]) -> NDArray[np.uint8]:
        window = (self.level - self.window / 2, self.level + self.window / 2)
        return grey_levels(line_integrals, window, vessels_dark=not self.inverted)

    def _fill_texture(self) -> None:
        if self._line_integrals is None or self._renderer is None:
            return
        rows, columns = self._line_integrals.shape
        if self._pixels is None or self._pixels.shape != (rows, columns):
            self._image.SetDimensions(columns, rows, 1)
            self._image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
            self._pixels = vtk_to_numpy(self._image.GetPointData().GetScalars()).reshape(rows, columns)
        self._pixels[:] = self._grey(self._line_integrals)[::-1]  # VTK counts rows from the bottom
        self._image.GetPointData().GetScalars().Modified()
        self._image.Modified()
        self._show_background()

    def _show_background(self) -> None:
        if self._renderer is None:
            return
        if self._pixels is None:
            self._fill_texture()
        shown = self._visible and self._line_integrals is not None
        self._renderer.SetBackgroundTexture(self._texture if shown else None)
        self._renderer.SetTexturedBackground(shown)

    def _fill_volume(self) -> None:
        if self._volume is None or self._volume.GetScene() is None or self._line_integrals is None:
            return
        rows, columns = self._line_integrals.shape
        image = self._volume.GetImageData()
        if image is None or image.GetDimensions() != (columns, rows, 1):
            image = vtk.vtkImageData()
            image.SetDimensions(columns, rows, 1)
            image.AllocateScalars(vtk.VTK_FLOAT, 1)
            self._place_volume(rows, columns)
            self._volume.SetAndObserveImageData(image)
        scalars = image.GetPointData().GetScalars()
        vtk_to_numpy(scalars).reshape(rows, columns)[:] = self._line_integrals
        scalars.Modified()
        image.Modified()

    def _place_volume(self, rows: int, columns: int) -> None:
        """Columns to the patient's left and rows to posterior: upright in an axial slice view."""
        spacing = _VOLUME_HEIGHT_MM / rows
        matrix = vtk.vtkMatrix4x4()
        for axis, count in enumerate((columns, rows)):
            matrix.SetElement(axis, axis, -spacing)
            matrix.SetElement(axis, 3, spacing * (count - 1) / 2)
        self._volume.SetIJKToRASMatrix(matrix)

    def _show_window_level(self) -> None:
        display = self._volume.GetDisplayNode() if self._volume is not None else None
        if display is None:
            return
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(self.window, self.level)
        color = _GREY if self.inverted else _INVERTED_GREY
        if display.GetScene() is not None and display.GetScene().GetNodeByID(color) is not None:
            display.SetAndObserveColorNodeID(color)


class NovelViewFollower:
    """Keeps a presenter's picture at the camera of a 3D view and at a time.

    Call :meth:`tick` often (a timer of 10 to 20 ms). It asks for small pictures while
    something changes and for a full one at rest, and never waits.

    Parameters
    ----------
    client
        The render server; the follower does not close it.
    presenter
        Shows what comes.
    camera
        ``vtkCamera`` or ``vtkMRMLCameraNode`` of the view.
    view_size
        Gives (width, height) of the view in pixels, e.g. ``renderer.GetSize``.
    pacing
        Decides the sizes; default with the client's ``max_pixels``.
    clock
        Seconds, for tests.
    """

    def __init__(
        self,
        client: RenderClient,
        presenter: NovelViewPresenter,
        camera: Any,
        view_size: Callable[[], tuple[int, int]],
        *,
        pacing: PicturePacing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client, self.presenter, self.camera = client, presenter, camera
        self._view_size, self._clock = view_size, clock
        self._pacing = pacing or PicturePacing(max_pixels=client.max_pixels)
        self._time_s = 0.0
        self._seen: tuple[ViewPose, float] | None = None
        self._asked: ViewPose | None = None
        self.frame: RenderedFrame | None = None

    def set_time(self, time_s: float) -> None:
        """Time of the pictures from now on, s."""
        self._time_s = float(time_s)

    def tick(self) -> bool:
        """Ask for what is missing and show what has come; True if there is a new picture: render the view."""
        with contextlib.suppress(GeometryError):  # a camera that looks nowhere, for a moment
            self._ask(self._clock())
        frame = self.client.newest()
        if frame is None:
            return False
        self.frame = frame
        self._pacing.measured(frame.line_integrals.shape, frame.render_ms)
        self.presenter.show(frame.line_integrals)
        return True

    def _ask(self, now: float) -> None:
        width, height = self._view_size()
        if min(width, height) < 2:
            return
        seen = pose_of_camera(self.camera, (width, height)), self._time_s
        first = self._seen is None
        if seen != self._seen:
            self._seen, self._asked = seen, None
            if not first:
                self._pacing.moved(now)
        shape = self._pacing.shape((height, width), now)
        if self._asked is None or self._asked.shape != shape:
            self._asked = pose_of_camera(self.camera, (width, height), shape)
            self.client.request(self._asked, self._time_s)
