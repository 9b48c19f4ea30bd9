"""Wavefront OBJ: vertices and triangles, nothing else of the format."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DatasetError


def write_obj(path: Path, vertices: NDArray[np.floating], triangles: NDArray[np.int64]) -> None:
    """Write vertices (P, 3) and triangles (T, 3)."""
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(vertices, float).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (triangles + 1).tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read_obj(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (P, 3) and triangles (T, 3); polygons become fans of triangles.

    Raises
    ------
    DatasetError
        Not a mesh; names file and line.
    """
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}).") from None
    for number, line in enumerate(text.splitlines(), 1):
        kind, *values = line.split() or [""]
        try:
            if kind == "v":
                x, y, z = (float(value) for value in values[:3])
                vertices.append([x, y, z])
            elif kind == "f":
                corners = [int(value.split("/")[0]) for value in values]
                corners = [corner - 1 if corner > 0 else len(vertices) + corner for corner in corners]
                triangles += [(corners[0], b, c) for b, c in itertools.pairwise(corners[1:])]
        except ValueError:
            raise DatasetError(f"{path}, line {number}: {line[:60]!r} is neither a vertex nor a face.") from None
    faces = np.array(triangles, np.int64).reshape(-1, 3)
    if not vertices or (faces.size and (faces.min() < 0 or faces.max() >= len(vertices))):
        raise DatasetError(f"{path} holds no mesh, or faces of vertices that it does not have.")
    return np.array(vertices), faces
