"""Cone-beam geometry and voxel grid as the numbers that the ray kernels work with.

Joseph's method (IEEE TMI 1982, doi:10.1109/TMI.1982.4307572) walks a ray slice by slice
along its main axis m and interpolates in the plane (a, b) of the slice. The main axis
belongs to a *tile*, a rectangle of detector pixels: one per view as long as all its rays
are steep enough to the main axis of the central ray, otherwise the detector is divided.
Everything is in voxel index units, in the axis order (m, a, b) of the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

AXES_MAB: tuple[tuple[int, int, int], ...] = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""Main axis (x=0, y=1, z=2) to (m, a, b); a varies fastest along the rows of a C-arm detector."""

_MIN_STEEPNESS = 0.6
"""Smallest |main| / |largest other| direction component in a tile: at most 1.7 voxels sideways per
slice. Detectors of C-arms (half cone angle < 14 degrees) never fall below it."""

_ROWS_PER_BLOCK = 16
"""Detector rows that one parallel task projects: small enough to balance 30 views on 64 cores."""


@dataclass(frozen=True)
class AxisGroup:
    """Tiles whose rays have the same main axis.

    Parameters
    ----------
    axis
        Main axis, x=0, y=1, z=2.
    tiles
        (T, 7) int32: view, first row, end row, first column, end column, first slice,
        end slice; slices behind the source are left out.
    rays
        (T, 12): source, direction of pixel (0, 0), its change per column and per row,
        each (m, a, b) in voxel index units; the main component of the direction is
        positive.
    spacing_mm
        Voxel size (m, a, b), mm.
    shape_mba
        Slices, lines and columns (m, b, a) of the volume in this order of axes.
    """

    axis: int
    tiles: NDArray[np.int32]
    rays: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    shape_mba: tuple[int, int, int]

    @property
    def permutation(self) -> tuple[int, int, int]:
        """Transposition of a (z, y, x) volume to (m, b, a)."""
        m, a, b = AXES_MAB[self.axis]
        return 2 - m, 2 - b, 2 - a

    def subset(self, views: NDArray[np.int64]) -> AxisGroup:
        """The tiles of ``views`` (n,), which become views 0 to n-1."""
        first, end = (np.searchsorted(self.tiles[:, 0], views, side) for side in ("left", "right"))
        index = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
        tiles = self.tiles[index]
        tiles[:, 0] = np.repeat(np.arange(len(views)), end - first)
        return AxisGroup(self.axis, tiles, self.rays[index], self.spacing_mm, self.shape_mba)

    @cached_property
    def rays_f32(self) -> NDArray[np.float32]:
        """:attr:`rays` as the fast kernels read them."""
        return self.rays.astype(np.float32)

    @cached_property
    def spacing_f32(self) -> NDArray[np.float32]:
        """:attr:`spacing_mm` as the fast kernels read it."""
        return self.spacing_mm.astype(np.float32)

    @cached_property
    def row_blocks(self) -> NDArray[np.int32]:
        """(B, 3) int32: tile, first row, end row of each parallel task."""
        blocks = [
            (tile, start, min(start + _ROWS_PER_BLOCK, int(end)))
            for tile, (_, row0, end, *_) in enumerate(self.tiles)
            for start in range(int(row0), int(end), _ROWS_PER_BLOCK)
        ]
        return np.array(blocks, np.int32)


@dataclass(frozen=True)
class RaySetup:
    """All that the kernels need to know of a geometry and a grid; built once per pair.

    Parameters
    ----------
    grid
        Voxels.
    num_views
        Number of views V.
    detector_shape
        (rows, columns).
    groups
        Tiles by main axis.
    matrices
        (V, 12): row-major 3x4 from voxel index (x, y, z, 1) to (column, row, 1) * depth
        in mm.
    """

    grid: VolumeGrid
    num_views: int
    detector_shape: tuple[int, int]
    groups: tuple[AxisGroup, ...]
    matrices: NDArray[np.float64]

    @classmethod
    def of(cls, grid: VolumeGrid, geometry: ConeBeamGeometry) -> RaySetup:
        """Set-up for ``geometry`` on ``grid``."""
        matrices = geometry.projection_matrices @ grid.index_to_world
        return cls(grid, len(geometry), geometry.detector_shape, _axis_groups(grid, geometry), matrices.reshape(-1, 12))

    def subset(self, views: slice | int | ArrayLike) -> RaySetup:
        """Set-up of some views, in the order given, without computing anything again."""
        index = views if isinstance(views, slice) else np.asarray(views)
        chosen = np.atleast_1d(np.arange(self.num_views)[index])
        groups = tuple(part for group in self.groups if len((part := group.subset(chosen)).tiles))
        return RaySetup(self.grid, len(chosen), self.detector_shape, groups, self.matrices[chosen])

    @property
    def range_shape(self) -> tuple[int, int, int]:
        """(V, R, C), the shape of the projections."""
        return (self.num_views, *self.detector_shape)

    @cached_property
    def matrices_f32(self) -> NDArray[np.float32]:
        """:attr:`matrices` as the fast kernels read them."""
        return np.ascontiguousarray(self.matrices, np.float32)


def _axis_groups(grid: VolumeGrid, geometry: ConeBeamGeometry) -> tuple[AxisGroup, ...]:
    spacing = np.array(grid.spacing_mm)
    source = (geometry.source_mm - np.array(grid.origin_mm)) / spacing
    rows, columns = geometry.detector_shape
    u, v = geometry.detector_u_mm / spacing, geometry.detector_v_mm / spacing
    corner = (geometry.detector_center_mm - geometry.source_mm) / spacing - (columns - 1) / 2 * u - (rows - 1) / 2 * v
    by_axis: dict[int, list[tuple[list[int], NDArray[np.float64]]]] = {}
    for view in range(len(geometry)):
        planes = np.stack([corner[view], u[view], v[view]])
        for row0, row1, column0, column1, axis in _tiles(planes, (0, rows, 0, columns)):
            order = list(AXES_MAB[axis])
            middle = planes[0] + (column0 + column1 - 1) / 2 * planes[1] + (row0 + row1 - 1) / 2 * planes[2]
            ray = np.concatenate([source[view, order], (np.sign(middle[axis]) * planes[:, order]).ravel()])
            slices = _slices_in_front(source[view, axis], middle[axis], grid.shape_zyx[2 - axis])
            by_axis.setdefault(axis, []).append(([view, row0, row1, column0, column1, *slices], ray))
    return tuple(_group(axis, by_axis[axis], grid) for axis in sorted(by_axis))


def _group(axis: int, tiles: list[tuple[list[int], NDArray[np.float64]]], grid: VolumeGrid) -> AxisGroup:
    m, a, b = AXES_MAB[axis]
    nx, ny, nz = grid.shape_zyx[::-1]
    counts = (nx, ny, nz)
    return AxisGroup(
        axis,
        np.array([tile for tile, _ in tiles], np.int32),
        np.array([ray for _, ray in tiles]),
        np.array(grid.spacing_mm)[[m, a, b]],
        (counts[m], counts[b], counts[a]),
    )


def _tiles(planes: NDArray[np.float64], rectangle: tuple[int, int, int, int]) -> list[tuple[int, int, int, int, int]]:
    """Rectangles (row0, row1, column0, column1, main axis) that cover ``rectangle``.

    ``planes`` (3, 3): direction of pixel (0, 0), change per column, change per row. The
    slopes are linear fractional in the pixel, so the corners decide for the rectangle.
    """
    row0, row1, column0, column1 = rectangle
    columns, rows = np.meshgrid([column0, column1 - 1], [row0, row1 - 1])
    corners = planes[0] + columns.reshape(-1, 1) * planes[1] + rows.reshape(-1, 1) * planes[2]
    middle = corners.mean(0)
    axis = int(np.abs(middle).argmax())
    main = corners[:, axis] * np.sign(middle[axis])
    if np.all(main > 0) and np.all(main >= _MIN_STEEPNESS * np.abs(corners).max(1)):
        return [(*rectangle, axis)]
    if row1 - row0 >= column1 - column0:
        half = (row0 + row1) // 2
        parts = ((row0, half, column0, column1), (half, row1, column0, column1))
    else:
        half = (column0 + column1) // 2
        parts = ((row0, row1, column0, half), (row0, row1, half, column1))
    return [tile for part in parts for tile in _tiles(planes, part)]


def _slices_in_front(source: float, direction: float, count: int) -> tuple[int, int]:
    """Half-open range of slices that rays from ``source`` reach going forward."""
    if direction > 0:
        return int(np.clip(np.floor(source) + 1, 0, count)), count
    return 0, int(np.clip(np.ceil(source), 0, count))
