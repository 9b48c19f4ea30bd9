"""Poses for TIGRE (Tomographic Iterative GPU-based Reconstruction Toolbox).

TIGRE's world here is x = posterior, y = left, z = feet (:data:`TIGRE_FROM_LPS`, a proper
rotation). TIGRE stores projections with the row index growing along its +z and the
column index along its +y, so the frames go in as they are, neither flipped nor mirrored,
and its angle is minus the primary angle.

What is not symmetric
    - TIGRE describes the detector by two distances, an offset and three angles instead of
      vectors; every rectangular detector fits, one spacing for all views.
    - Its volume comes out in its own axes: :func:`volume_from_tigre` brings it to LPS.
    - TIGRE's ``fdk`` assumes a full turn and knows no Parker weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry.conebeam import ConeBeamGeometry
from DSAReconLib.geometry.grid import VolumeGrid

TIGRE_FROM_LPS: NDArray[np.float64] = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]], float)
"""Rotation (3, 3) from patient LPS to TIGRE's world."""


def geometry_to_tigre(geometry: ConeBeamGeometry, grid: VolumeGrid) -> dict[str, Any]:
    """Attributes for ``tigre.geometry()`` and the ``angles`` (V, 3) argument of its projectors.

    Returns
    -------
    dict
        ``DSO``, ``DSD`` (V,), ``nDetector``, ``dDetector``, ``sDetector`` (row, column),
        ``offDetector`` (V, 2) as (row, column) mm, ``rotDetector`` (V, 3) as roll, pitch,
        yaw in rad, ``nVoxel``, ``dVoxel``, ``sVoxel``, ``offOrigin`` in TIGRE's (z, y, x),
        and ``angles`` (V, 3), Euler ZYZ in rad.

    Raises
    ------
    GeometryError
        Detector steps are not perpendicular or differ in length between views.
    """
    source, center, step_u, step_v = (
        getattr(geometry, name) @ TIGRE_FROM_LPS.T
        for name in ("source_mm", "detector_center_mm", "detector_u_mm", "detector_v_mm")
    )
    unit_u, unit_v = _unit(step_u), _unit(step_v)
    row_mm, column_mm = geometry.detector_spacing_mm
    same = np.allclose(step_u, column_mm * unit_u, atol=1e-6) and np.allclose(step_v, row_mm * unit_v, atol=1e-6)
    if not same or np.any(np.abs(np.einsum("vi,vi->v", unit_u, unit_v)) > 1e-6):
        raise GeometryError("TIGRE needs perpendicular detector steps of the same length in every view")
    gantry = _gantry_frames(source, unit_u)
    detector = np.einsum("vji,vjk->vik", gantry, np.stack([np.cross(unit_u, unit_v), unit_u, unit_v], -1))
    offset = np.einsum("vji,vj->vi", gantry, center)
    source_mm = np.linalg.norm(source, axis=1)
    shape, spacing = np.array(geometry.detector_shape), np.array([row_mm, column_mm])
    voxels, voxel_mm = np.array(grid.shape_zyx)[[0, 2, 1]], np.array(grid.spacing_mm)[[2, 0, 1]]
    return {
        "DSO": source_mm,
        "DSD": source_mm - offset[:, 0],
        "nDetector": shape,
        "dDetector": spacing,
        "sDetector": shape * spacing,
        "offDetector": offset[:, [2, 1]],
        "rotDetector": _roll_pitch_yaw(detector),
        "nVoxel": voxels,
        "dVoxel": voxel_mm,
        "sVoxel": voxels * voxel_mm,
        "offOrigin": (TIGRE_FROM_LPS @ grid.center_mm)[::-1],
        "angles": _euler_zyz(gantry),
    }


def geometry_from_tigre(tigre: Mapping[str, Any], angles: ArrayLike | None = None) -> ConeBeamGeometry:
    """Poses in LPS of a TIGRE geometry, given as the mapping of :func:`geometry_to_tigre`.

    Scalars and single rows are repeated for all views; ``angles`` (V,) or (V, 3), rad,
    default to the entry of that name. ``COR`` must be 0.
    """
    euler = np.asarray(tigre["angles"] if angles is None else angles, float)
    if euler.ndim == 1:
        euler = np.stack([euler, np.zeros_like(euler), np.zeros_like(euler)], -1)
    if np.any(np.asarray(tigre.get("COR", 0.0)) != 0):
        raise GeometryError("a TIGRE geometry with a shifted center of rotation (COR) is not supported")
    views = len(euler)
    far = np.broadcast_to(np.asarray(tigre["DSD"], float), (views,))
    near = np.broadcast_to(np.asarray(tigre["DSO"], float), (views,))
    shift = np.broadcast_to(np.asarray(tigre.get("offDetector", (0, 0)), float), (views, 2))
    turn = np.broadcast_to(np.asarray(tigre.get("rotDetector", (0, 0, 0)), float), (views, 3))
    gantry = _rotation_z(euler[:, 0]) @ _rotation_y(euler[:, 1]) @ _rotation_z(euler[:, 2])
    detector = gantry @ _rotation_z(turn[:, 0]) @ _rotation_y(turn[:, 1]) @ _rotation_x(turn[:, 2])
    center = np.stack([near - far, shift[:, 1], shift[:, 0]], -1)
    row_mm, column_mm = np.asarray(tigre["dDetector"], float)
    rows, columns = (int(n) for n in tigre["nDetector"])
    return ConeBeamGeometry(
        gantry[:, :, 0] * near[:, None] @ TIGRE_FROM_LPS,
        np.einsum("vij,vj->vi", gantry, center) @ TIGRE_FROM_LPS,
        column_mm * detector[:, :, 1] @ TIGRE_FROM_LPS,
        row_mm * detector[:, :, 2] @ TIGRE_FROM_LPS,
        (rows, columns),
    )


def volume_to_tigre(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """TIGRE's array of a volume (z, y, x) in LPS."""
    return np.ascontiguousarray(volume[::-1].transpose(0, 2, 1))


def volume_from_tigre(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Volume (z, y, x) in LPS of TIGRE's array."""
    return np.ascontiguousarray(array.transpose(0, 2, 1)[::-1])


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _gantry_frames(source: NDArray[np.float64], unit_u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (V, 3, 3) whose x axis points to the source and whose y axis is nearest to the columns."""
    x = _unit(source)
    y = _unit(unit_u - np.einsum("vi,vi->v", unit_u, x)[:, None] * x)
    return np.stack([x, y, np.cross(x, y)], -1)


def _euler_zyz(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles (V, 3) with Rz(a) Ry(t) Rz(p) = rotation; p = 0 where only their sum is defined."""
    theta = np.arctan2(np.hypot(rotation[:, 0, 2], rotation[:, 1, 2]), rotation[:, 2, 2])
    plain = np.sin(theta) < 1e-9
    alpha = np.where(
        plain,
        np.arctan2(np.sign(rotation[:, 2, 2]) * rotation[:, 1, 0], np.sign(rotation[:, 2, 2]) * rotation[:, 0, 0]),
        np.arctan2(rotation[:, 1, 2], rotation[:, 0, 2]),
    )
    psi = np.where(plain, 0.0, np.arctan2(rotation[:, 2, 1], -rotation[:, 2, 0]))
    return np.stack([alpha, theta, psi], -1)


def _roll_pitch_yaw(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles (V, 3) with Rz(roll) Ry(pitch) Rx(yaw) = rotation."""
    pitch = -np.arcsin(np.clip(rotation[:, 2, 0], -1, 1))
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.stack([roll, pitch, np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])], -1)


def _rotation(angle: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    """Rotations (V, 3, 3) that turn axis ``first`` towards axis ``second``."""
    matrix = np.tile(np.eye(3), (len(angle), 1, 1))
    matrix[:, first, first] = matrix[:, second, second] = np.cos(angle)
    matrix[:, second, first] = np.sin(angle)
    matrix[:, first, second] = -np.sin(angle)
    return matrix


def _rotation_x(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return _rotation(angle, 1, 2)


def _rotation_y(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return _rotation(angle, 2, 0)


def _rotation_z(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return _rotation(angle, 0, 1)
