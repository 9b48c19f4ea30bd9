"""Vessel trees from files: SWC and VTK PolyData center lines (LPS mm)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError
from DSAReconLib.simulation.trees import VesselTree


def read_centerlines(path: Path) -> VesselTree:
    """Tree of an SWC (.swc) or VTK (.vtp) file.

    Raises
    ------
    ConfigError
        Unknown kind of file, or its content is not a vessel tree with radii.
    """
    path = Path(path)
    readers = {".swc": read_swc, ".vtp": read_vtp}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path.name} is not a center line file.", hint="Give an .swc or a .vtp file (LPS mm).")
    try:
        return reader(path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path.name} is not a usable vessel tree: {error}") from error


def read_swc(path: Path) -> VesselTree:
    """Tree of an SWC file: lines of id, type, x, y, z, radius, parent id."""
    rows = np.loadtxt(path, comments="#", ndmin=2)
    if rows.shape[1] != 7:
        raise ValueError(f"an SWC line has 7 columns; found {rows.shape[1]}")
    place = {int(name): index for index, name in enumerate(rows[:, 0])}
    if len(place) != len(rows):
        raise ValueError("two nodes have the same id")
    unknown = [int(p) for p in rows[:, 6] if p >= 0 and int(p) not in place]
    if unknown:
        raise ValueError(f"node {unknown[0]} is a parent but does not exist")
    parent = np.array([place[int(p)] if p >= 0 else -1 for p in rows[:, 6]])
    return VesselTree.from_parents(rows[:, 2:5], rows[:, 5], parent)


def read_vtp(path: Path) -> VesselTree:
    """Tree of VMTK center lines: poly lines from one inlet, with ``MaximumInscribedSphereRadius``.

    Lines that share their beginning are merged: a point closer than a quarter of its radius
    to an earlier line continues that line.
    """
    points, radius, lines = _poly_lines(path)
    kept_points: list[NDArray[np.float64]] = []
    kept_radius: list[float] = []
    parent: list[int] = []
    for line in sorted(lines, key=len, reverse=True):
        last = -1
        earlier = np.array(kept_points)
        for index in line:
            if len(earlier):
                distance = np.linalg.norm(earlier - points[index], axis=1)
                nearest = int(distance.argmin())
                if distance[nearest] < 0.25 * radius[index]:
                    last = nearest
                    continue
            kept_points.append(points[index])
            kept_radius.append(radius[index])
            parent.append(last)
            last = len(kept_points) - 1
    return VesselTree.from_parents(np.array(kept_points), np.array(kept_radius), np.array(parent))


def _poly_lines(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], list[list[int]]]:
    """Points (n, 3), radii (n,) and point indices of every line of a .vtp file."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    if not path.is_file():
        raise ValueError("there is no such file")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    data = reader.GetOutput()
    if data.GetNumberOfLines() == 0:
        raise ValueError("it has no lines")
    radii = data.GetPointData().GetArray("MaximumInscribedSphereRadius")
    if radii is None:
        raise ValueError("it has no point array MaximumInscribedSphereRadius")
    lines = []
    cells = data.GetLines()
    cells.InitTraversal()
    ids = vtk.vtkIdList()
    while cells.GetNextCell(ids):
        lines.append([ids.GetId(k) for k in range(ids.GetNumberOfIds())])
    return vtk_to_numpy(data.GetPoints().GetData()).astype(float), vtk_to_numpy(radii).astype(float), lines
