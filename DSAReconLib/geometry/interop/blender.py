"""Poses of the D-NeRF layout that TOGS reads: camera-to-world matrices with Blender's axes.

Camera x points right, y up and z back from the scene. TOGS places the camera of primary
angle p and secondary angle s at ``d (sin p cos s, cos p cos s, -sin s)`` with y = posterior
and z = head: as with DICOM, a positive p moves the detector to the patient's left and a
positive s towards the head if x is the patient's *right*. Its world is thus LPS mirrored in x
(:data:`LAYOUT_FROM_LPS`), which is also what makes proper rotations out of frames that are
seen from the detector's side.

What the layout cannot hold
    A detector whose center is not the foot of the central ray, pixels that are not square,
    and focal lengths that differ between views: a GeometryError when writing. Rolls, any
    orbit and varying ``sod_mm`` fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry.conebeam import ConeBeamGeometry

LAYOUT_FROM_LPS: NDArray[np.float64] = np.diag([-1.0, 1.0, 1.0])
"""Reflection (3, 3) from patient LPS to the layout's world (its own inverse)."""

MM_PER_UNIT = 1000.0
"""TOGS's camera distance of 0.5985 is half of 4086 pixels of 0.293 mm, its focal length, in meters."""

_ASSUMED_MAGNIFICATION = 2.0
_TOLERANCE_MM = 1e-6


def cameras_from_geometry(geometry: ConeBeamGeometry) -> tuple[float, NDArray[np.float64]]:
    """Horizontal field of view, rad, and camera-to-world matrices (V, 4, 4) in units of 1 m.

    Raises
    ------
    GeometryError
        The layout cannot hold the poses.
    """
    step_u, step_v, normal = geometry.detector_u_mm, geometry.detector_v_mm, geometry.detector_normal
    sdd = float(geometry.sdd_mm.mean())
    pixel = float(np.linalg.norm(step_u, axis=1).mean())
    right, up = step_u / pixel, -step_v / pixel
    columns = geometry.detector_shape[1]
    orthonormal = ConeBeamGeometry(
        geometry.source_mm,
        geometry.source_mm + sdd * normal,
        pixel * right,
        pixel * np.cross(right, normal),
        geometry.detector_shape,
    )
    if not orthonormal.isclose(geometry, _TOLERANCE_MM):
        raise GeometryError(
            "The D-NeRF layout holds centered detectors with square pixels at one distance from the source only",
            hint="Use geometry.json of the result folder for calibrated poses.",
        )
    matrices = np.zeros((len(geometry), 4, 4))
    matrices[:, :3, :3] = np.stack([axis @ LAYOUT_FROM_LPS for axis in (right, up, -normal)], -1)
    matrices[:, :3, 3] = geometry.source_mm @ LAYOUT_FROM_LPS / MM_PER_UNIT
    matrices[:, 3, 3] = 1
    return 2 * float(np.arctan2(columns * pixel / 2, sdd)), matrices


def geometry_from_cameras(
    camera_angle_x: float,
    matrices: NDArray[np.float64],
    detector_shape: tuple[int, int],
    *,
    sdd_mm: float | None = None,
    mm_per_unit: float = MM_PER_UNIT,
) -> ConeBeamGeometry:
    """Poses in LPS of cameras.

    Parameters
    ----------
    camera_angle_x
        Horizontal field of view, rad.
    matrices
        Camera-to-world (V, 4, 4).
    detector_shape
        (rows, columns) of the pictures.
    sdd_mm
        Source to detector. The rays do not depend on it; without one, the detector is taken
        to lie twice as far from the source as the isocenter, as it does in TOGS.
    mm_per_unit
        Length of the layout's unit.

    Raises
    ------
    GeometryError
        Angle or matrices are impossible.
    """
    matrices = np.asarray(matrices, float)
    if matrices.ndim != 3 or matrices.shape[1:] != (4, 4) or not np.isfinite(matrices).all():
        raise GeometryError(f"transform_matrix must hold 4 x 4 finite numbers per frame; got {matrices.shape}")
    if not 0 < camera_angle_x < np.pi:
        raise GeometryError(f"camera_angle_x must lie between 0 and pi; got {camera_angle_x:g}")
    axes = LAYOUT_FROM_LPS @ matrices[:, :3, :3]
    if np.abs(np.einsum("vij,vik->vjk", axes, axes) - np.eye(3)).max() > 1e-4:
        raise GeometryError("transform_matrix is not a rotation with a translation")
    source = matrices[:, :3, 3] @ LAYOUT_FROM_LPS * mm_per_unit
    distance = float(np.linalg.norm(source, axis=1).mean())
    sdd = _ASSUMED_MAGNIFICATION * distance if sdd_mm is None else float(sdd_mm)
    pixel = 2 * sdd * np.tan(camera_angle_x / 2) / detector_shape[1]
    right, up, back = (axes[:, :, axis] for axis in range(3))
    return ConeBeamGeometry(source, source - sdd * back, pixel * right, -pixel * up, detector_shape)
