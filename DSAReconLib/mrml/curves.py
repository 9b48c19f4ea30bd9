"""Time-attenuation curves of points and segments, from the exact model of a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml.coordinates import flipped, ijk_to_ras, matrix_array, world_to_node
from DSAReconLib.mrml.plot import CurvePlot
from DSAReconLib.mrml.volumes import ijk_to_ras_of, voxels
from DSAReconLib.reconstruction import arrival_times

__all__ = ["Curve", "CurveModel", "CurvePlot"]

REACH_MM = 5.0
"""A point farther than this from any vessel voxel has no curve."""


@dataclass(frozen=True)
class Curve:
    """A time-attenuation curve.

    Parameters
    ----------
    name
        What the legend says.
    times_s
        (T,), s.
    attenuation
        Mean contrast attenuation of the voxels (T,), 1/mm.
    position_ras
        Center of the voxels, RAS mm.
    voxels
        How many voxels were averaged.
    arrival_s, peak_s, peak
        Half-rise time (s), time of the maximum (s) and maximum (1/mm) of the curve.
    """

    name: str
    times_s: NDArray[np.float64]
    attenuation: NDArray[np.float32]
    position_ras: tuple[float, float, float]
    voxels: int
    arrival_s: float
    peak_s: float
    peak: float


class CurveModel:
    """The attenuation model of a result, ready for curves.

    Parameters
    ----------
    result
        The result folder; its ``model.npz`` is read.

    Raises
    ------
    ResultError
        The file is missing or damaged.
    """

    def __init__(self, result: ResultFolder) -> None:
        self._times_s = result.times_s
        self._volume = result.load_volume()
        support = self._volume.support
        peak = self._volume.peak(result.record.get("sequence_times_s") or result.times_s).ravel()
        peak = peak if support is None else peak[support]
        self._vessels = np.flatnonzero(peak >= float(result.record["surface_threshold"]))
        flat = self._vessels if support is None else support[self._vessels]
        self._vessel_points_ras = flipped(self._volume.grid.points_mm(flat))

    def at_point(
        self,
        point_ras: ArrayLike,
        *,
        radius_mm: float = 0.0,
        reach_mm: float = REACH_MM,
        times_s: ArrayLike | None = None,
        name: str = "",
    ) -> Curve | None:
        """Curve of the vessel voxel nearest to a point, or of the vessel voxels around it.

        Parameters
        ----------
        point_ras
            (3,), RAS mm.
        radius_mm
            Vessel voxels within this distance of the nearest one are averaged; 0 = that one alone.
        reach_mm
            ``None`` is returned if no vessel voxel lies within this distance of the point.
        times_s
            Where the curve is wanted; default the frame times of the run.
        """
        points = self._vessel_points_ras
        if not len(points):
            return None
        distance = np.linalg.norm(points - np.asarray(point_ras, float), axis=1)
        nearest = int(distance.argmin())
        if not distance[nearest] <= reach_mm:
            return None
        around = np.linalg.norm(points - points[nearest], axis=1) <= radius_mm
        around[nearest] = True
        elements = self._vessels[around]
        return self._curve(elements, len(elements), points[around].mean(0), times_s, name)

    def in_segment(
        self, segmentation: Any, segment_id: str, *, times_s: ArrayLike | None = None, name: str = ""
    ) -> Curve | None:
        """Mean curve of all voxels in a segment of a vtkMRMLSegmentationNode; ``None`` if it covers none.

        Voxels outside of vessels count as 0: the mean of a generous segment is smaller than
        that of the vessel in it.
        """
        import slicer
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        labelmap, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
        segmentation.CreateBinaryLabelmapRepresentation()
        found = segmentation.GetBinaryLabelmapRepresentation(segment_id, labelmap)
        if not found or labelmap.GetPointData().GetScalars() is None or labelmap.GetNumberOfPoints() == 0:
            return None
        labelmap.GetImageToWorldMatrix(matrix)
        first = np.array(labelmap.GetExtent()[::2], float)
        inside = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1]) != 0
        start = np.eye(4)
        start[:3, 3] = first
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        return self._mean_inside(
            inside, matrix_array(matrix) @ start, segmentation, times_s, name or (segment.GetName() if segment else "")
        )

    def in_labelmap(self, labelmap: Any, *, times_s: ArrayLike | None = None, name: str = "") -> Curve | None:
        """Mean curve of all voxels where a volume node is not 0; ``None`` if there are none."""
        if labelmap.GetImageData() is None:
            return None
        inside = voxels(labelmap) != 0
        return self._mean_inside(inside, ijk_to_ras_of(labelmap), labelmap, times_s, name or labelmap.GetName())

    def _mean_inside(
        self,
        inside: NDArray[np.bool_],
        index_to_node: NDArray[np.float64],
        node: Any,
        times_s: ArrayLike | None,
        name: str,
    ) -> Curve | None:
        """Mean over the voxels of the grid whose centers lie in ``inside`` (z, y, x)."""
        grid = self._volume.grid
        to_index = np.linalg.inv(index_to_node) @ world_to_node(node) @ ijk_to_ras(grid)
        flat = _grid_voxels_inside(inside, to_index, grid.shape_zyx)
        if not len(flat):
            return None
        center = flipped(grid.points_mm(flat).mean(0))
        if self._volume.support is None:
            return self._curve(flat, len(flat), center, times_s, name)
        elements = np.flatnonzero(np.isin(self._volume.support, flat, assume_unique=True))
        return self._curve(elements, len(flat), center, times_s, name)

    def _curve(
        self, elements: NDArray[Any], count: int, center_ras: NDArray[Any], times_s: ArrayLike | None, name: str
    ) -> Curve:
        """Sum of the elements' curves over ``count`` voxels."""
        times = self._times_s if times_s is None else np.atleast_1d(np.asarray(times_s, float))
        weights = self._volume.coefficients[:, elements].sum(1, dtype=np.float64) / count
        values = (self._volume.basis.at(times) @ weights).astype(np.float32)
        peak = int(values.argmax())
        x, y, z = (float(value) for value in center_ras)
        return Curve(
            name=name,
            times_s=times,
            attenuation=values,
            position_ras=(x, y, z),
            voxels=count,
            arrival_s=float(arrival_times(values[None], times)[0]),
            peak_s=float(times[peak]),
            peak=float(values[peak]),
        )


def _grid_voxels_inside(
    inside: NDArray[np.bool_], grid_to_index: NDArray[np.float64], shape_zyx: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Flat index of the grid's voxels whose centers fall into a marked voxel of another image.

    ``grid_to_index`` (4, 4) maps voxel indices (x, y, z) of the grid to those of the image.
    """
    marked = [np.flatnonzero(inside.any(tuple(a for a in range(3) if a != axis))) for axis in (2, 1, 0)]
    if not all(len(axis) for axis in marked):
        return np.zeros(0, np.int64)
    corners = np.array(np.meshgrid(*((axis[0] - 0.5, axis[-1] + 0.5) for axis in marked))).reshape(3, -1)
    box = (np.linalg.inv(grid_to_index) @ np.concatenate([corners, np.ones((1, corners.shape[1]))]))[:3]
    size = np.array(shape_zyx[::-1])
    low = np.clip(np.floor(box.min(1)).astype(int), 0, size)
    high = np.clip(np.ceil(box.max(1)).astype(int) + 1, 0, size)
    z, y, x = (part.ravel() for part in np.mgrid[low[2] : high[2], low[1] : high[1], low[0] : high[0]])
    index = np.rint(grid_to_index[:3, :3] @ np.array([x, y, z]) + grid_to_index[:3, 3:]).astype(int)
    valid = ((index >= 0) & (index < np.array(inside.shape[::-1])[:, None])).all(0)
    valid[valid] = inside[tuple(index[::-1, valid])]
    return np.ravel_multi_index((z[valid], y[valid], x[valid]), shape_zyx)
