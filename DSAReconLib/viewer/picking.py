"""Which vessel lies under the mouse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.mrml.coordinates import flipped
from DSAReconLib.mrml.nodes import ResultNodes
from DSAReconLib.mrml.volumes import ijk_to_ras_of, voxels
from DSAReconLib.rendering.pose import ViewPose

Point = tuple[float, float, float]
_REACH_PX = 6.0


class VesselPicker:
    """Finds vessel voxels under a ray: what is filled at the displayed time comes first."""

    def __init__(self, nodes: ResultNodes) -> None:
        self._nodes = nodes
        self._all: NDArray[np.float64] | None = None

    def under_ray(self, origin: ArrayLike, direction: ArrayLike, radius_per_mm: float) -> Point | None:
        """Nearest vessel voxel (RAS mm) in a cone around a ray; ``None`` if it meets none.

        Parameters
        ----------
        origin, direction
            Ray (3,), RAS mm.
        radius_per_mm
            Radius of the cone per mm of distance from the origin: a few pixels of the view.
        """
        threshold = self._nodes.surface_threshold
        now = _points_above(self._nodes.proxy, threshold / self._nodes.attenuation_scale)
        found = nearest_in_cone(now, origin, direction, radius_per_mm, self._voxel_mm)
        if found is None:
            found = nearest_in_cone(self._ever(threshold), origin, direction, radius_per_mm, self._voxel_mm)
        return found

    @property
    def _voxel_mm(self) -> float:
        return float(max(self._nodes.proxy.GetSpacing()))

    def _ever(self, threshold: float) -> NDArray[np.float64]:
        if self._all is None:
            peak = self._nodes.peak
            self._all = np.zeros((0, 3)) if peak is None else _points_above(peak, threshold)
        return self._all


def nearest_in_cone(
    points: NDArray[np.float64], origin: ArrayLike, direction: ArrayLike, radius_per_mm: float, voxel_mm: float
) -> Point | None:
    """The point (3,) of ``points`` (P, 3) in a cone around a ray that a viewer at its origin sees first."""
    start, along = np.asarray(origin, float), np.asarray(direction, float)
    along = along / np.linalg.norm(along)
    offset = points - start
    depth = offset @ along
    aside = np.sqrt(np.maximum((offset**2).sum(1) - depth**2, 0))
    inside = np.flatnonzero((depth > 0) & (aside <= radius_per_mm * depth + 0.5 * voxel_mm))
    if not len(inside):
        return None
    # of what lies in front, the point nearest to the ray: clicking beside a vessel's middle finds its middle
    front = depth[inside].min()
    close = inside[depth[inside] <= front + 3 * voxel_mm]
    x, y, z = (float(value) for value in points[close[aside[close].argmin()]])
    return x, y, z


def ray_of_camera(renderer: Any, at: tuple[float, float], size: tuple[int, int]) -> tuple[Any, Any, float]:
    """Origin, direction (RAS) and pick radius per mm of the ray through a pixel of a perspective 3D view."""
    camera = renderer.GetActiveCamera()
    renderer.SetDisplayPoint(float(at[0]), float(at[1]), 0.5)
    renderer.DisplayToWorld()
    through = np.array(renderer.GetWorldPoint())
    origin = np.array(camera.GetPosition())
    pixel = 2 * np.tan(np.radians(camera.GetViewAngle()) / 2) / size[1]
    return origin, through[:3] / through[3] - origin, _REACH_PX * float(pixel)


def ray_of_pose(pose: ViewPose, at: tuple[float, float], size: tuple[int, int]) -> tuple[Any, Any, float]:
    """Origin, direction (RAS) and pick radius per mm of the ray through ``at`` (from the lower left) of a picture."""
    column = at[0] / size[0] * pose.columns - 0.5
    row = (1 - at[1] / size[1]) * pose.rows - 0.5
    place = (
        pose.detector_center_mm
        + (column - (pose.columns - 1) / 2) * pose.detector_u_mm
        + (row - (pose.rows - 1) / 2) * pose.detector_v_mm
    )
    direction = place - pose.source_mm
    pixel = float(np.linalg.norm(pose.detector_v_mm)) * pose.rows / size[1] / float(np.linalg.norm(direction))
    return flipped(pose.source_mm), flipped(direction), _REACH_PX * pixel


def _points_above(volume: Any, threshold: float) -> NDArray[np.float64]:
    """Centers (P, 3), RAS mm, of voxels with at least ``threshold`` (stored value)."""
    index = np.argwhere(voxels(volume) >= threshold)[:, ::-1]
    matrix = ijk_to_ras_of(volume)
    return index @ matrix[:3, :3].T + matrix[:3, 3]
