"""The camera of a 3D view (RAS) as the pose of a picture (LPS), and back.

Everywhere ``camera`` is a ``vtkCamera`` or a ``vtkMRMLCameraNode``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.rendering.pose import ViewPose, angles_of_direction, pose_from_camera

_LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0])


def pose_of_camera(camera: Any, view_size: tuple[int, int], shape: tuple[int, int] | None = None) -> ViewPose:
    """Pose whose picture coincides with what the 3D view shows.

    Parameters
    ----------
    camera
        Perspective or parallel.
    view_size
        (width, height) of the view, pixels, e.g. ``renderer.GetSize()``.
    shape
        (rows, columns) of the picture, stretched over the view; default the view's own.

    Raises
    ------
    GeometryError
        The camera looks nowhere.
    """
    lens = _vtk_camera(camera)
    width, height = view_size
    aspect = width / max(height, 1)
    view_angle = lens.GetViewAngle()
    if lens.GetUseHorizontalViewAngle():
        view_angle = math.degrees(2 * math.atan(math.tan(math.radians(view_angle) / 2) / aspect))
    return pose_from_camera(
        lens.GetPosition() * _LPS_FROM_RAS,
        lens.GetFocalPoint() * _LPS_FROM_RAS,
        lens.GetViewUp() * _LPS_FROM_RAS,
        view_angle,
        (height, width) if shape is None else shape,
        aspect=aspect,
        parallel_scale_mm=lens.GetParallelScale() if lens.GetParallelProjection() else None,
    )


def camera_angles(camera: Any) -> tuple[float, float]:
    """Positioner primary and secondary angle, degrees, of a C-arm that sees what the camera sees."""
    return angles_of_direction(_vtk_camera(camera).GetDirectionOfProjection() * _LPS_FROM_RAS)


def aim_camera(camera: Any, pose: ViewPose) -> None:
    """Look from the source of ``pose`` at the middle of its detector, with its vertical field of view.

    The focal point comes to lie at the depth of the isocenter, about which the view then
    turns. A detector off the central ray is aimed at, which tilts it.
    """
    to_detector = pose.detector_center_mm - pose.source_mm
    distance = float(np.linalg.norm(to_detector))
    direction = to_detector / distance
    height = pose.rows * float(np.linalg.norm(pose.detector_v_mm))
    depth = max(-float(direction @ pose.source_mm), 1e-3 * distance)
    camera.SetPosition(*_ras(pose.source_mm))
    camera.SetFocalPoint(*_ras(pose.source_mm + depth * direction))
    camera.SetViewUp(*_ras(-pose.detector_v_mm / np.linalg.norm(pose.detector_v_mm)))
    lens = _vtk_camera(camera)
    lens.SetUseHorizontalViewAngle(False)
    lens.SetViewAngle(math.degrees(2 * math.atan(height / 2 / distance)))


def _ras(point_lps: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in point_lps * _LPS_FROM_RAS]


def _vtk_camera(camera: Any) -> Any:
    return camera.GetCamera() if hasattr(camera, "GetCamera") else camera
