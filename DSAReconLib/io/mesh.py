"""Vessel surfaces: extraction from a volume, STL and VTP files in LPS mm."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DependencyError
from DSAReconLib.geometry import VolumeGrid

_STL_HEADER = b"DSARecon vessel surface, mm. SPACE=LPS"
_SMOOTHING_PASSES = 10  # takes the voxel steps away; Taubin's filter keeps the volume


@dataclass(frozen=True)
class Surface:
    """Triangles in patient LPS.

    Parameters
    ----------
    vertices_mm
        (P, 3) as (x, y, z), mm.
    triangles
        Vertex indices (T, 3), counter-clockwise seen from outside.
    point_data
        Values per vertex (P,) by name, e.g. ``arrival_time_s``.
    """

    vertices_mm: NDArray[np.float32]
    triangles: NDArray[np.int64]
    point_data: dict[str, NDArray[np.float32]]


def extract_surface(
    volume: NDArray[np.float32],
    grid: VolumeGrid,
    level: float,
    *,
    maps: dict[str, NDArray[np.float32]] | None = None,
) -> Surface:
    """Surface where ``volume`` (z, y, x) crosses ``level``, lightly smoothed (Taubin 1995).

    ``maps`` (z, y, x) become point data, nearest finite value of the 8 voxels around a
    vertex. Vessels that leave the grid are closed there. A level that the volume never
    reaches gives an empty surface.
    """
    from skimage.measure import marching_cubes

    if not (volume > level).any():
        return Surface(
            np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64), dict.fromkeys(maps or {}, np.zeros(0, np.float32))
        )
    low, high = _box_above(volume, level)
    part = volume[tuple(slice(a, b) for a, b in zip(low, high))]
    padded = np.pad(part, 1, constant_values=min(0.0, float(part.min())))
    vertices, triangles, _, _ = marching_cubes(padded, level)
    vertices = _smooth(vertices - 1, triangles) + low
    point_data = {name: _nearest_finite(values, vertices) for name, values in (maps or {}).items()}
    points = vertices[:, ::-1] * np.array(grid.spacing_mm) + np.array(grid.origin_mm)
    return Surface(points.astype(np.float32), triangles.astype(np.int64), point_data)


def write_stl(path: Path, surface: Surface) -> None:
    """Write binary STL; the header says ``SPACE=LPS`` for 3D Slicer."""
    corners = surface.vertices_mm[surface.triangles].astype("<f4")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    facets = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    facets["normal"], facets["corners"] = normals, corners
    with open(path, "wb") as file:
        file.write(_STL_HEADER.ljust(80))
        file.write(np.uint32(len(facets)).tobytes())
        file.write(facets.tobytes())


def vtp_available() -> bool:
    """Whether VTK is there to write VTP."""
    return importlib.util.find_spec("vtk") is not None


def write_vtp(path: Path, surface: Surface) -> None:
    """Write VTK XML PolyData with point data; DependencyError without VTK."""
    try:
        from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
        from vtkmodules.vtkCommonCore import vtkPoints, vtkStringArray
        from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
        from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter
    except ImportError as error:
        raise DependencyError("VTP files need VTK.", hint="Install it: pip install dsarecon[mesh].") from error
    points = vtkPoints()
    points.SetData(numpy_to_vtk(surface.vertices_mm, deep=True))
    cells = vtkCellArray()
    offsets = 3 * np.arange(len(surface.triangles) + 1, dtype=np.int64)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True), numpy_to_vtkIdTypeArray(surface.triangles.ravel(), deep=True)
    )
    polydata = vtkPolyData()
    polydata.SetPoints(points)
    polydata.SetPolys(cells)
    for name, values in surface.point_data.items():
        array = numpy_to_vtk(values, deep=True)
        array.SetName(name)
        polydata.GetPointData().AddArray(array)
    space = vtkStringArray()
    space.SetName("SPACE")
    space.InsertNextValue("LPS")
    polydata.GetFieldData().AddArray(space)
    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(polydata)
    if not writer.Write():
        raise OSError(f"VTK could not write {path}")


def _box_above(volume: NDArray[np.float32], level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index box [low, high) around the voxels above ``level``, one voxel wider where the grid allows it."""
    above = volume > level
    low, high = [], []
    for axis in range(3):
        hit = np.flatnonzero(above.any(tuple(other for other in range(3) if other != axis)))
        low.append(max(hit[0] - 1, 0))
        high.append(min(hit[-1] + 2, volume.shape[axis]))
    return np.array(low), np.array(high)


def _smooth(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """Vertices after Taubin smoothing (lambda 0.5, mu -0.53)."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    trimesh.smoothing.filter_taubin(mesh, lamb=0.5, nu=0.53, iterations=_SMOOTHING_PASSES)
    return np.asarray(mesh.vertices)


def _nearest_finite(values: NDArray[np.float32], vertices: NDArray[np.float64]) -> NDArray[np.float32]:
    """Value (P,) of the nearest finite voxel among the 8 around each vertex (z, y, x index), else NaN."""
    base = np.floor(vertices).astype(int)
    result = np.full(len(vertices), np.nan, np.float32)
    best = np.full(len(vertices), np.inf)
    for corner in np.ndindex(2, 2, 2):
        index = np.clip(base + corner, 0, np.array(values.shape) - 1)
        found = values[tuple(index.T)]
        distance = ((index - vertices) ** 2).sum(1)
        closer = np.isfinite(found) & (distance < best)
        result[closer], best[closer] = found[closer], distance[closer]
    return result
