"""Poses for the Reconstruction Toolkit (RTK).

RTK rotates about its y axis, so its world here is x = left, y = head, z = anterior
(:data:`RTK_FROM_LPS`): the C-arm's usual turn is then RTK's gantry turn, with
GantryAngle = primary + 180, OutOfPlaneAngle = secondary, InPlaneAngle = 180 degrees and
positive distances.

RTK's Parker weights look at the gantry angle only, not at the in-plane angle: with
InPlaneAngle = 180 they come out mirrored (an off-center ball 1.7 % too bright, the
correlation with the correct volume 0.997). For RTK's short-scan FDK use
:func:`panel_turned` and images turned the same way; then RTK and we agree to 3e-7.

What RTK cannot hold (the asymmetry of the two descriptions)
    - RTK keeps neither the pixel spacing nor the number of pixels: its projections carry
      them, with origin ``-(count - 1) / 2 * spacing`` (:func:`projection_origin_mm`).
    - One spacing for all views; the two detector steps must be perpendicular.
    - RTK's matrices map to detector millimeters, not pixels, and their third row is
      *minus* the depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import DependencyError, GeometryError
from DSAReconLib.geometry.conebeam import ConeBeamGeometry

if TYPE_CHECKING:
    from DSAReconLib.geometry.grid import VolumeGrid

RTK_FROM_LPS: NDArray[np.float64] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
"""Rotation (3, 3) from patient LPS to RTK's world: x = left, y = head, z = anterior."""


class RtkVectors(NamedTuple):
    """Arguments of ``ThreeDCircularProjectionGeometry.AddProjection``, (V, 3) each, RTK world, mm."""

    source: NDArray[np.float64]
    detector: NDArray[np.float64]
    row_direction: NDArray[np.float64]
    column_direction: NDArray[np.float64]


def rtk_vectors(geometry: ConeBeamGeometry) -> RtkVectors:
    """Source, detector center, direction of growing column and of growing row per view.

    Raises
    ------
    GeometryError
        The detector steps are not perpendicular, or their lengths differ between views.
    """
    lengths = [np.linalg.norm(step, axis=1) for step in (geometry.detector_u_mm, geometry.detector_v_mm)]
    unit_u, unit_v = geometry.detector_u_mm / lengths[0][:, None], geometry.detector_v_mm / lengths[1][:, None]
    if np.any(np.abs(np.einsum("vi,vi->v", unit_u, unit_v)) > 1e-6):
        raise GeometryError("RTK needs perpendicular detector steps (detector_u_mm, detector_v_mm)")
    if any(np.ptp(length) > 1e-6 * length.mean() for length in lengths):
        raise GeometryError("RTK needs the same pixel spacing in every view")
    turned = (v @ RTK_FROM_LPS.T for v in (geometry.source_mm, geometry.detector_center_mm, unit_u, unit_v))
    return RtkVectors(*turned)


def geometry_from_rtk_vectors(
    vectors: RtkVectors, detector_shape: tuple[int, int], detector_spacing_mm: tuple[float, float]
) -> ConeBeamGeometry:
    """Inverse of :func:`rtk_vectors`; shape and spacing are (rows, columns)."""
    source, center, unit_u, unit_v = (np.asarray(v, float) @ RTK_FROM_LPS for v in vectors)
    row_mm, column_mm = detector_spacing_mm
    return ConeBeamGeometry(source, center, column_mm * unit_u, row_mm * unit_v, detector_shape)


def rtk_matrices(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Projection matrices (V, 3, 4) as RTK's ``GetMatrix`` gives them.

    They map homogeneous RTK-world mm to ``(u, v, 1) * -depth``: u and v are detector mm
    from the detector's center along columns and rows.
    """
    rows, columns = geometry.detector_shape
    row_mm, column_mm = geometry.detector_spacing_mm
    millimeters = np.array(
        [[column_mm, 0, -(columns - 1) / 2 * column_mm], [0, row_mm, -(rows - 1) / 2 * row_mm], [0, 0, 1]]
    )
    lps_from_rtk = np.eye(4)
    lps_from_rtk[:3, :3] = RTK_FROM_LPS.T
    return -millimeters @ geometry.projection_matrices @ lps_from_rtk


def geometry_from_rtk_matrices(
    matrices: ArrayLike,
    detector_shape: tuple[int, int],
    detector_spacing_mm: tuple[float, float],
    *,
    sdd_mm: ArrayLike,
) -> ConeBeamGeometry:
    """Geometry from RTK matrices (V, 3, 4) (inverse of :func:`rtk_matrices`).

    A matrix does not hold the detector's distance: ``sdd_mm`` is scalar or (V,).
    """
    (rows, columns), (row_mm, column_mm) = detector_shape, detector_spacing_mm
    pixels = np.array([[1 / column_mm, 0, (columns - 1) / 2], [0, 1 / row_mm, (rows - 1) / 2], [0, 0, 1]])
    rtk_from_lps = np.eye(4)
    rtk_from_lps[:3, :3] = RTK_FROM_LPS
    lps_matrices = -pixels @ np.asarray(matrices, float) @ rtk_from_lps
    return ConeBeamGeometry.from_projection_matrices(lps_matrices, detector_shape, sdd_mm=sdd_mm)


def to_rtk(geometry: ConeBeamGeometry) -> Any:
    """RTK's ``ThreeDCircularProjectionGeometry`` of these views.

    Raises
    ------
    DependencyError
        ``itk-rtk`` is not installed.
    GeometryError
        RTK cannot represent the poses.
    """
    try:
        from itk import RTK as rtk  # noqa: N811
    except ImportError as error:
        raise DependencyError("itk-rtk is not installed.", hint="Install it with: pip install dsarecon[rtk]") from error
    result = rtk.ThreeDCircularProjectionGeometry.New()
    for view, vectors in enumerate(zip(*rtk_vectors(geometry))):
        if not result.AddProjection(*(vector.tolist() for vector in vectors)):
            raise GeometryError(f"RTK refused the pose of view {view}")
    return result


def panel_turned(geometry: ConeBeamGeometry) -> ConeBeamGeometry:
    """The same rays with the panel turned by 180 degrees: the geometry of ``images[:, ::-1, ::-1]``.

    RTK then finds InPlaneAngle = 0, which its short-scan weights take for granted.
    """
    return ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        -geometry.detector_u_mm,
        -geometry.detector_v_mm,
        geometry.detector_shape,
    )


def projection_origin_mm(geometry: ConeBeamGeometry) -> tuple[float, float, float]:
    """ITK origin (column, row, view) of the projection stack that belongs to :func:`to_rtk`."""
    (rows, columns), (row_mm, column_mm) = geometry.detector_shape, geometry.detector_spacing_mm
    return -(columns - 1) / 2 * column_mm, -(rows - 1) / 2 * row_mm, 0.0


def volume_to_rtk(
    volume: NDArray[np.float32], grid: VolumeGrid
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Volume (z, y, x) in LPS as RTK's array (z', y', x'), with its spacing and origin (x', y', z'), mm."""
    last_y_mm = grid.origin_mm[1] + (grid.shape_zyx[1] - 1) * grid.spacing_mm[1]
    array = np.ascontiguousarray(volume.transpose(1, 0, 2)[::-1])
    spacing = np.array([grid.spacing_mm[0], grid.spacing_mm[2], grid.spacing_mm[1]])
    return array, spacing, np.array([grid.origin_mm[0], grid.origin_mm[2], -last_y_mm])


def volume_from_rtk(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Volume (z, y, x) in LPS from RTK's array (z', y', x'); inverse of :func:`volume_to_rtk`."""
    return np.ascontiguousarray(array[::-1].transpose(1, 0, 2))
