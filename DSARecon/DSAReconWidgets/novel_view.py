"""The novel view itself: a render server, the second 3D view that shows its pictures, and the comparison."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.mrml.camera import aim_camera, camera_angles
from DSAReconLib.mrml.novel_view import NovelViewFollower, NovelViewPresenter
from DSAReconLib.rendering.pose import pose_from_angles, pose_of_frame
from DSAReconWidgets.acquired_frames import nearestFrame
from DSAReconWidgets.layout import cameraOf
from DSAReconWidgets.linked_cameras import LinkedCameras

COMPARED_PX = 256
_AT_REST_S = 0.25
_PATIENCE_S = 3.0


class _Requests:
    """Passes requests on and knows whether one is still to be answered."""

    def __init__(self, client: Any) -> None:
        self._client, self._last = client, 0
        self.max_pixels = client.max_pixels

    def request(self, pose: Any, timeS: float) -> int:
        self._last = self._client.request(pose, timeS)
        return self._last

    def newest(self) -> Any:
        return self._client.newest()

    def areAnswered(self, frame: Any) -> bool:
        return frame is not None and frame.request_id == self._last


class NovelView:
    """Pictures of one result in one 3D view, as long as :meth:`tick` is called.

    Parameters
    ----------
    client
        Render server of the result; it is closed by :meth:`close`.
    result
        ResultNodes with an open folder.
    mainView, novelView
        The 3D view that shows the result, and the one that shows the pictures.
    onCompared
        Called with (frame number, line integrals (R, C)) when the picture for a
        comparison is there.
    """

    def __init__(
        self, client: Any, result: Any, mainView: Any, novelView: Any, onCompared: Callable[[int, Any], None]
    ) -> None:
        self.client, self.result = client, result
        self._views, self._onCompared = (mainView, novelView), onCompared
        self._cameras = cameraOf(mainView), cameraOf(novelView)
        self._links: LinkedCameras | None = None
        self._angles: tuple[float, float] | None = None
        self._timeS = 0.0
        self._moved = time.monotonic()
        self._compared: tuple[int, Any] | None = None
        self._pending: tuple[int, int, float] | None = None
        self._drawn: deque[float] = deque(maxlen=60)
        self.presenter = NovelViewPresenter()
        window = novelView.renderWindow()
        self.presenter.attach(window.GetRenderers().GetFirstRenderer())
        self._requests = _Requests(client)
        self._follower = NovelViewFollower(
            self._requests, self.presenter, self._cameras[1], lambda: tuple(window.GetSize())
        )
        self.wantsComparison = False

    # What is shown

    def follow(self) -> None:
        """Look from where the main view looks (and turn it along)."""
        self._angles = None
        self._links = LinkedCameras(*self._cameras)

    def lookFrom(self, primaryDeg: float, secondaryDeg: float) -> None:
        """Look from C-arm angles."""
        self._links = None
        if self._angles != (primaryDeg, secondaryDeg):
            self._angles = primaryDeg, secondaryDeg
            aim_camera(self._cameras[1], pose_from_angles(self.result.result.geometry, primaryDeg, secondaryDeg))
            self._moved = time.monotonic()

    def setTime(self, timeS: float) -> None:
        """Show another time."""
        self._timeS = timeS
        self._follower.set_time(timeS)
        self._moved = time.monotonic()

    @property
    def angles(self) -> tuple[float, float]:
        """(primary, secondary) angle of the picture, degrees; LAO and CRA positive."""
        return camera_angles(self._cameras[1])

    # Work

    def tick(self) -> bool:
        """One turn; whether a new picture is shown."""
        now = time.monotonic()
        if self._links is not None and self._links.follow():
            self._moved = now
        if self._pending is not None:
            self._takeCompared(now)
            return False
        drawn = self._follower.tick()
        if drawn:
            self._drawn.append(now)
            self._moved = max(self._moved, now)
            self._views[1].scheduleRender()
        elif self._isAtRest(now) and self.wantsComparison:
            self._askCompared(now)
        return drawn

    def _isAtRest(self, now: float) -> bool:
        """Whether nothing moves and no picture is awaited, whose place another request would take."""
        return now - self._moved > _AT_REST_S and self._requests.areAnswered(self._follower.frame)

    def status(self) -> str:
        """Size, time per picture and device, for those who want to know."""
        frame, info = self._follower.frame, self.client.info
        if frame is None or info is None:
            return ""
        rows, columns = frame.line_integrals.shape
        text = f"{columns} x {rows} px, {frame.render_ms:.0f} ms ({info['device']}, {info['gaussians']} Gaussians)"
        recent = [stamp for stamp in self._drawn if stamp > time.monotonic() - 1.0]
        return f"{text}, {len(recent)}/s" if len(recent) > 2 else text

    def close(self) -> None:
        """End the server and give the view its background back; may be called twice."""
        self.presenter.detach()
        self.client.close()

    # Comparison: the same server, while nothing moves

    def _askCompared(self, now: float) -> None:
        geometry, times = self.result.result.geometry, self.result.result.times_s
        camera = self._cameras[1].GetCamera()
        direction = np.array(camera.GetDirectionOfProjection()) * (-1, -1, 1)
        number = nearestFrame(geometry, times, direction, self._timeS)
        if self._compared is not None and self._compared[0] == number:
            return
        rows, columns = geometry.detector_shape
        shape = (COMPARED_PX, max(2, round(COMPARED_PX * columns / rows)))
        request = self.client.request(pose_of_frame(geometry, number, shape), float(times[number]))
        self._pending = request, number, now

    def _takeCompared(self, now: float) -> None:
        request, number, asked = self._pending or (0, 0, 0.0)
        frame = self.client.newest()
        if frame is not None and frame.request_id == request:
            self._compared, self._pending = (number, frame.line_integrals), None
            self._onCompared(number, frame.line_integrals)
        elif now - asked > _PATIENCE_S or self.client.ended:
            self._compared, self._pending = (number, None), None

    def compareAgain(self) -> None:
        """Forget the last comparison."""
        self._compared = None


def difference(novel: NDArray[np.float32], acquired: NDArray[np.float32]) -> NDArray[np.float32]:
    """Novel view minus acquired frame, resampled to the novel view's pixels."""
    rows = np.linspace(0, acquired.shape[0] - 1, novel.shape[0]).round().astype(int)
    columns = np.linspace(0, acquired.shape[1] - 1, novel.shape[1]).round().astype(int)
    return np.asarray(novel - acquired[np.ix_(rows, columns)], np.float32)
