"""Where the novel view looks from: the 3D camera, C-arm angles, or the poses of the acquired run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DSAReconLib.mrml.camera import pose_of_camera
from DSAReconLib.rendering.pose import ViewPose, pose_from_angles, pose_of_frame
from DSAReconLib.viewer.novel import filling, zoomed
from DSAReconLib.viewer.scene import ViewerScene
from DSAReconLib.viewer.state import FOLLOW_ANGLES, FOLLOW_CAMERA, FOLLOW_RUN

PRIMARY_LIMIT_DEG, SECONDARY_LIMIT_DEG = 180.0, 85.0
_TURN_DEG = 180.0  # by dragging over the whole area
_ZOOM_PER_SPIN = 1.1
_ZOOM_LIMITS = (0.3, 12.0)


@dataclass
class Viewpoint:
    """The pose of the novel view.

    Parameters
    ----------
    scene
        Whose camera, time and run count.
    follow
        One of ``FOLLOW_CAMERA``, ``FOLLOW_ANGLES``, ``FOLLOW_RUN``.
    primary_deg, secondary_deg
        Positioner angles of ``FOLLOW_ANGLES``, degrees; LAO and CRA positive.
    zoom
        Enlargement of views that do not follow the camera.
    """

    scene: ViewerScene
    follow: str = FOLLOW_CAMERA
    primary_deg: float = 0.0
    secondary_deg: float = 0.0
    zoom: float = 1.0
    time_s: float = 0.0

    def pose(self, shape: tuple[int, int], area: tuple[int, int] | None = None) -> ViewPose:
        """Pose of a picture of (rows, columns) over the whole area of (width, height) pixels."""
        if self.follow == FOLLOW_CAMERA:
            rows, columns = shape
            return pose_of_camera(self.scene.camera_node, area or (columns, rows), shape)
        geometry = self.scene.result.geometry
        if self.follow == FOLLOW_RUN:
            pose = pose_of_frame(geometry, self.scene.frame_near(self.time_s))
        else:
            pose = pose_from_angles(geometry, self.primary_deg, self.secondary_deg)
        return zoomed(filling(pose, shape), self.zoom)

    @property
    def angles_deg(self) -> tuple[float, float]:
        """Positioner angles of the present view, degrees."""
        if self.follow == FOLLOW_CAMERA:
            return self.scene.camera_angles_deg
        if self.follow == FOLLOW_RUN:
            return self.scene.angles_near(self.time_s)
        return self.primary_deg, self.secondary_deg

    def set_angles(self, primary_deg: float, secondary_deg: float) -> None:
        """Look from these angles."""
        self.follow = FOLLOW_ANGLES
        self.primary_deg = (primary_deg + PRIMARY_LIMIT_DEG) % (2 * PRIMARY_LIMIT_DEG) - PRIMARY_LIMIT_DEG
        self.secondary_deg = min(max(secondary_deg, -SECONDARY_LIMIT_DEG), SECONDARY_LIMIT_DEG)

    def drag(self, right: float, up: float) -> None:
        """Turn as by dragging over parts of the area."""
        if self.follow == FOLLOW_CAMERA:
            node, camera = self.scene.camera_node, self.scene.camera_node.GetCamera()
            was_modifying = node.StartModify()
            camera.Azimuth(-_TURN_DEG * right)
            camera.Elevation(-_TURN_DEG * up)
            camera.OrthogonalizeViewUp()
            node.EndModify(was_modifying)
        else:
            primary, secondary = self.angles_deg
            self.set_angles(primary + _TURN_DEG * right, secondary - _TURN_DEG * up)

    def wheel(self, spin: float) -> None:
        """Zoom in (positive) or out."""
        factor = _ZOOM_PER_SPIN**spin
        if self.follow == FOLLOW_CAMERA:
            self.scene.camera_node.GetCamera().Dolly(factor)
        else:
            self.zoom = min(max(self.zoom * factor, _ZOOM_LIMITS[0]), _ZOOM_LIMITS[1])

    def movie_poses(self, kind: str, shape: tuple[int, int], count: int) -> list[ViewPose]:
        """Poses of a movie: ``"rotation"`` = once around at the present secondary angle, ``"time"`` = present view."""
        geometry, scene = self.scene.result.geometry, self.scene
        if kind == "rotation":
            primary, secondary = self.angles_deg
            turns = ((primary + 360.0 * number / count + 180.0) % 360.0 - 180.0 for number in range(count))
            views = [pose_from_angles(geometry, turn, secondary) for turn in turns]
        elif self.follow == FOLLOW_RUN:
            times = np.linspace(*scene.time_range_s, count)
            views = [pose_of_frame(geometry, scene.frame_near(time)) for time in times]
        else:
            return [self.pose(shape)] * count
        return [zoomed(filling(view, shape), self.zoom) for view in views]
