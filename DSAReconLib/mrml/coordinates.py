"""Between patient LPS, which this library speaks, and RAS, which scenes speak."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import VolumeGrid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Homogeneous matrix, its own inverse."""


def flipped(points: ArrayLike) -> NDArray[np.float64]:
    """Points (..., 3), mm, from LPS to RAS or from RAS to LPS."""
    return np.asarray(points, float) * LPS_TO_RAS.diagonal()[:3]


def vtk_matrix(matrix: ArrayLike) -> Any:
    """Homogeneous matrix (4, 4) as vtkMatrix4x4."""
    import vtk

    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, float).ravel().tolist())
    return result


def matrix_array(matrix: Any) -> NDArray[np.float64]:
    """Array (4, 4) of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def ijk_to_ras(grid: VolumeGrid) -> NDArray[np.float64]:
    """Homogeneous matrix (4, 4) from voxel index (x, y, z) of a grid to RAS mm."""
    return LPS_TO_RAS @ grid.index_to_world


def world_to_node(node: Any) -> NDArray[np.float64]:
    """Homogeneous matrix (4, 4) from world RAS to the node's own coordinates (parent transforms undone).

    Transforms that are not linear count as none.
    """
    import vtk

    matrix = vtk.vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    if parent is not None and parent.IsTransformToWorldLinear():
        parent.GetMatrixTransformFromWorld(matrix)
    return matrix_array(matrix)
