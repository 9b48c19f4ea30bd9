"""The vessel surface of a result as a model node in RAS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from DSAReconLib.errors import ResultError
from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml.coordinates import LPS_TO_RAS, vtk_matrix

ARRIVAL_ARRAY = "arrival_time"
_ARRIVAL_IN_FILE = "arrival_time_s"


def read_surface(result: ResultFolder) -> Any | None:
    """Surface of a result as vtkPolyData in RAS mm; ``None`` if no vessel reaches the threshold.

    Point array ``arrival_time`` in s, without gaps: vertices whose voxels have no arrival
    time take that of the nearest vertex that has one. Static results have no such array.

    Raises
    ------
    ResultError
        The file is missing or damaged.
    """
    polydata = _read(result.folder, int(result.record.get("surface_triangles", -1)))
    if polydata.GetNumberOfCells() == 0:
        return None
    return _with_normals(_in_ras(_with_arrival(polydata)))


def arrival_range_s(polydata: Any) -> tuple[float, float] | None:
    """1st and 99th percentile of the arrival times of a surface, s; ``None`` without them."""
    from vtk.util.numpy_support import vtk_to_numpy

    array = polydata.GetPointData().GetArray(ARRIVAL_ARRAY)
    if array is None:
        return None
    low, high = np.percentile(vtk_to_numpy(array), [1, 99])
    return float(low), float(high)


def _read(folder: Path, triangles: int) -> Any:
    """The VTP file, or the STL file where the result was written without VTK; -1 triangles = unknown number."""
    import vtk

    vtp, stl = folder / "vessels.vtp", folder / "vessels.stl"
    path = vtp if vtp.is_file() else stl
    if not path.is_file():
        raise ResultError(f"{stl} is missing.", hint="Reconstruct again.")
    reader = vtk.vtkXMLPolyDataReader() if path is vtp else vtk.vtkSTLReader()
    reader.SetFileName(str(path))
    reader.Update()
    found = reader.GetOutput().GetNumberOfCells()
    if reader.GetErrorCode() or found != triangles >= 0:
        raise ResultError(
            f"{path} is damaged: it has {found} triangles, expected {triangles}.", hint="Reconstruct again."
        )
    return reader.GetOutput()


def _with_arrival(polydata: Any) -> Any:
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    data = polydata.GetPointData()
    found = data.GetArray(_ARRIVAL_IN_FILE)
    if found is None:
        return polydata
    values = vtk_to_numpy(found).astype(np.float32)
    data.RemoveArray(_ARRIVAL_IN_FILE)
    known = np.isfinite(values)
    if not known.any():
        return polydata
    if not known.all():
        from scipy.spatial import cKDTree

        points = vtk_to_numpy(polydata.GetPoints().GetData())
        values[~known] = values[known][cKDTree(points[known]).query(points[~known])[1]]
    array = numpy_to_vtk(values, deep=True)
    array.SetName(ARRIVAL_ARRAY)
    data.AddArray(array)
    return polydata


def _in_ras(polydata: Any) -> Any:
    import vtk

    transform = vtk.vtkTransform()
    transform.SetMatrix(vtk_matrix(LPS_TO_RAS))
    move = vtk.vtkTransformPolyDataFilter()
    move.SetTransform(transform)
    move.SetInputData(polydata)
    move.Update()
    result = move.GetOutput()
    result.GetFieldData().RemoveArray("SPACE")
    return result


def _with_normals(polydata: Any) -> Any:
    """Smooth shading; the vertices stay as they are."""
    import vtk

    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(polydata)
    normals.SplittingOff()
    normals.ConsistencyOff()
    normals.Update()
    return normals.GetOutput()
