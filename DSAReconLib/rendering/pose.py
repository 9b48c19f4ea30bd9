"""Where a single picture is taken from: a source and a detector as a value, from angles or from a 3D view's camera.

Light: what the panel and the viewer send to the render server (see ``rendering.server``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.geometry.angles import angles_from_beam, positioner_axes

_VECTORS = ("source_mm", "detector_center_mm", "detector_u_mm", "detector_v_mm")
_PARALLEL_DISTANCE_MM = 1e6
"""Source of a parallel projection: rays diverge by 0.02 px over 100 mm of depth at 512 pixels."""


@dataclass(frozen=True, eq=False)
class ViewPose:
    """One cone-beam view in patient LPS, mm, origin at the isocenter of the run.

    Parameters
    ----------
    source_mm
        Focal spot, or the eye of a 3D view (3,).
    detector_center_mm
        Center of the pixel array (3,).
    detector_u_mm, detector_v_mm
        Step to the next column and to the next row (3,).
    rows, columns
        Number of pixels.

    Raises
    ------
    GeometryError
        A vector is not three finite numbers, the picture has no pixels, or the source
        lies in the plane of the detector.
    """

    source_mm: NDArray[np.float64]
    detector_center_mm: NDArray[np.float64]
    detector_u_mm: NDArray[np.float64]
    detector_v_mm: NDArray[np.float64]
    rows: int
    columns: int

    def __post_init__(self) -> None:
        for name in _VECTORS:
            vector = np.array(getattr(self, name), float)
            if vector.shape != (3,):
                raise GeometryError(f"{name} must have shape (3,); got {vector.shape}")
            vector.setflags(write=False)
            object.__setattr__(self, name, vector)
        for name in ("rows", "columns"):
            object.__setattr__(self, name, int(getattr(self, name)))
        self.geometry()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ViewPose) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def angles_deg(self) -> tuple[float, float]:
        """Positioner primary and secondary angle of the detector's normal, degrees; LAO and CRA positive."""
        geometry = self.geometry()
        return float(geometry.primary_angle_deg[0]), float(geometry.secondary_angle_deg[0])

    def geometry(self) -> ConeBeamGeometry:
        """The same as a geometry of one view."""
        vectors = {name: getattr(self, name)[None] for name in _VECTORS}
        return ConeBeamGeometry.from_dict(vectors | {"detector_shape": self.shape})

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON."""
        return {name: getattr(self, name).tolist() for name in _VECTORS} | {"rows": self.rows, "columns": self.columns}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ViewPose:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        GeometryError
            An entry is missing or not what it should be.
        """
        try:
            source, center, step_u, step_v = (np.asarray(data[name], float) for name in _VECTORS)
            rows, columns = int(data["rows"]), int(data["columns"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise GeometryError(f"a pose is incomplete or not numeric ({type(error).__name__}: {error})") from error
        return cls(source, center, step_u, step_v, rows, columns)


def pose_of_frame(geometry: ConeBeamGeometry, frame: int, shape: tuple[int, int] | None = None) -> ViewPose:
    """Pose of an acquired frame, with its own pixels or ``shape`` = (rows, columns) over the same field of view."""
    view = geometry[frame]
    rows, columns = view.detector_shape
    pose = ViewPose.from_dict({name: getattr(view, name)[0] for name in _VECTORS} | {"rows": rows, "columns": columns})
    return pose if shape is None else resized(pose, shape)


def pose_from_angles(
    reference: ConeBeamGeometry,
    primary_angle_deg: float,
    secondary_angle_deg: float,
    shape: tuple[int, int] | None = None,
) -> ViewPose:
    """Pose of a C-arm at any angles, with the distances and the field of view of a run.

    Parameters
    ----------
    reference
        The run; the view with the nearest angles lends distances, detector and roll, so
        that the angles of an acquired frame give the pose of this frame.
    primary_angle_deg, secondary_angle_deg
        Positioner angles, degrees; LAO and CRA positive.
    shape
        (rows, columns) over the same field of view; default those of the run.
    """
    axes = _axes(primary_angle_deg, secondary_angle_deg)
    nearest = int(np.argmax(reference.detector_normal @ axes[0]))
    view = pose_of_frame(reference, nearest, shape)
    turn = axes.T @ _axes(*view.angles_deg)
    return replace(view, **{name: turn @ getattr(view, name) for name in _VECTORS})


def pose_from_camera(
    position_lps: ArrayLike,
    focal_point_lps: ArrayLike,
    view_up_lps: ArrayLike,
    view_angle_deg: float,
    shape: tuple[int, int],
    *,
    aspect: float | None = None,
    parallel_scale_mm: float | None = None,
) -> ViewPose:
    """Pose whose rays are those of a 3D view: a point is seen at the same place in both pictures.

    Parameters
    ----------
    position_lps, focal_point_lps, view_up_lps
        Camera of the view (3,), patient LPS, mm.
    view_angle_deg
        Angle between the lower and the upper edge of the view, degrees (VTK's meaning).
    shape
        (rows, columns) of the picture.
    aspect
        Width / height of the view; default columns / rows. Give it where the rounding of
        a reduced ``shape`` shall not move anything.
    parallel_scale_mm
        Half the height of the view for a parallel projection, which is then rendered from
        a far source; ``view_angle_deg`` does not count.

    Raises
    ------
    GeometryError
        The camera looks nowhere, or up, or has no opening angle.
    """
    position, focal_point, up = (np.asarray(v, float) for v in (position_lps, focal_point_lps, view_up_lps))
    distance = float(np.linalg.norm(focal_point - position))
    forward = (focal_point - position) / max(distance, 1e-12)
    right = np.cross(forward, up)
    if not (distance > 0 and np.linalg.norm(right) > 1e-9 * np.linalg.norm(up)):
        raise GeometryError("a camera needs a focal point away from its position and a view-up across its view")
    right /= np.linalg.norm(right)
    if parallel_scale_mm is not None:
        half_height, source = parallel_scale_mm, focal_point - _PARALLEL_DISTANCE_MM * forward
    else:
        half_height, source = distance * math.tan(math.radians(view_angle_deg) / 2), position
    if not half_height > 0:
        raise GeometryError(f"a camera needs a view angle between 0 and 180 degrees; got {view_angle_deg:g}")
    rows, columns = shape
    width = 2 * half_height * (columns / rows if aspect is None else aspect)
    return ViewPose(
        source, focal_point, width / columns * right, -2 * half_height / rows * np.cross(right, forward), rows, columns
    )


def resized(pose: ViewPose, shape: tuple[int, int]) -> ViewPose:
    """The same field of view with ``shape`` = (rows, columns) pixels."""
    rows, columns = shape
    return replace(
        pose,
        detector_u_mm=pose.columns / columns * pose.detector_u_mm,
        detector_v_mm=pose.rows / rows * pose.detector_v_mm,
        rows=rows,
        columns=columns,
    )


def angle_text(primary_angle_deg: float, secondary_angle_deg: float) -> str:
    """Angles as clinicians read them, e.g. ``"LAO 32° CRA 10°"``; angles as the positioner has them."""
    primary, secondary = round(primary_angle_deg), round(secondary_angle_deg)
    sides = ("LAO" if primary >= 0 else "RAO", "CRA" if secondary >= 0 else "CAU")
    return f"{sides[0]} {abs(primary)}° {sides[1]} {abs(secondary)}°"


def angles_of_direction(direction_lps: ArrayLike) -> tuple[float, float]:
    """Positioner primary and secondary angle, degrees, of a direction (3,) from source to detector."""
    primary, secondary = angles_from_beam(direction_lps)
    return float(primary), float(secondary)


def _axes(primary_angle_deg: float, secondary_angle_deg: float) -> NDArray[np.float64]:
    """Rotation (3, 3) whose rows are the beam, the right and the up direction."""
    return np.concatenate(positioner_axes(primary_angle_deg, secondary_angle_deg))
