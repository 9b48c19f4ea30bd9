"""One record of numbers per view: what the sparse kernels know of the geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry

RECORD_LENGTH = 17
"""12 matrix entries, principal column and row, 1/focal length of columns and rows, their product."""


def view_records(geometry: ConeBeamGeometry) -> NDArray[np.float32]:
    """Pose of every view as the kernels read it.

    Parameters
    ----------
    geometry
        Poses of V views.

    Returns
    -------
    (V, 17), float32
        Projection matrix row by row (world mm to ``(column, row, 1) * depth``), column and
        row of the principal point in pixels, the reciprocal focal lengths 1/f_column and
        1/f_row in 1/pixels, and f_column * f_row in pixels^2.
    """
    matrices = geometry.projection_matrices
    normal = matrices[:, 2, :3]
    principal = np.einsum("vij,vj->vi", matrices[:, :2, :3], normal)
    in_plane = matrices[:, :2, :3] - principal[..., None] * normal[:, None]
    focal = np.linalg.norm(in_plane, axis=-1)
    product = np.linalg.norm(np.cross(in_plane[:, 0], in_plane[:, 1]), axis=-1)
    columns = [matrices.reshape(len(matrices), 12), principal, 1 / focal, product[:, None]]
    return np.ascontiguousarray(np.concatenate(columns, axis=1), np.float32)
