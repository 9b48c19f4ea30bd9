"""Regular voxel grids in patient LPS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class VolumeGrid:
    """Axis-aligned voxel grid in patient LPS, mm, origin of the world at the isocenter.

    Parameters
    ----------
    shape_zyx
        Number of voxels (z, y, x); arrays on the grid have this shape.
    spacing_mm
        Voxel size along (x, y, z).
    origin_mm
        Center of voxel (0, 0, 0) as (x, y, z).
    """

    shape_zyx: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape_zyx", tuple(int(n) for n in self.shape_zyx))
        object.__setattr__(self, "spacing_mm", tuple(float(s) for s in self.spacing_mm))
        object.__setattr__(self, "origin_mm", tuple(float(o) for o in self.origin_mm))
        if len(self.shape_zyx) != 3 or min(self.shape_zyx) < 1:
            raise ValueError(f"shape_zyx must be three counts >= 1; got {self.shape_zyx}")
        if len(self.spacing_mm) != 3 or not min(self.spacing_mm) > 0:
            raise ValueError(f"spacing_mm must be three lengths > 0; got {self.spacing_mm}")
        if len(self.origin_mm) != 3 or not np.all(np.isfinite(self.origin_mm)):
            raise ValueError(f"origin_mm must be three finite numbers; got {self.origin_mm}")

    @classmethod
    def centered(
        cls,
        shape_zyx: int | tuple[int, int, int],
        spacing_mm: float | tuple[float, float, float],
        center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> VolumeGrid:
        """Grid whose middle lies at ``center_mm`` (x, y, z); scalars mean cubes."""
        nz, ny, nx = (int(n) for n in np.broadcast_to(shape_zyx, (3,)))
        spacing = np.broadcast_to(np.asarray(spacing_mm, float), (3,))
        origin = np.asarray(center_mm) - (np.array((nx, ny, nz)) - 1) / 2 * spacing
        return cls((nz, ny, nx), tuple(spacing), tuple(origin))

    @property
    def num_voxels(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape_zyx))

    @property
    def size_mm(self) -> NDArray[np.float64]:
        """Outer extent (x, y, z), mm."""
        return np.array(self.shape_zyx[::-1]) * np.array(self.spacing_mm)

    @property
    def center_mm(self) -> NDArray[np.float64]:
        """Middle of the grid (x, y, z), mm."""
        return np.array(self.origin_mm) + (np.array(self.shape_zyx[::-1]) - 1) / 2 * np.array(self.spacing_mm)

    @property
    def index_to_world(self) -> NDArray[np.float64]:
        """Homogeneous matrix (4, 4) from voxel index (x, y, z) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.diag(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    def axes_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates of the voxel centers along x, y and z, mm."""
        nz, ny, nx = self.shape_zyx
        return tuple(o + s * np.arange(n) for o, s, n in zip(self.origin_mm, self.spacing_mm, (nx, ny, nz)))  # type: ignore[return-value]

    def points_mm(self, flat_index: ArrayLike | None = None) -> NDArray[np.float64]:
        """Voxel centers (N, 3) as (x, y, z), mm; all in C order, or those of ``flat_index`` (N,)."""
        flat = np.arange(self.num_voxels) if flat_index is None else np.asarray(flat_index)
        index_zyx = np.stack(np.unravel_index(flat, self.shape_zyx), -1)
        return index_zyx[:, ::-1] * np.array(self.spacing_mm) + np.array(self.origin_mm)

    def index_of(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Continuous voxel index (N, 3) as (x, y, z) of points (N, 3), mm."""
        return (np.asarray(points_mm, float) - np.array(self.origin_mm)) / np.array(self.spacing_mm)

    def cropped(self, start_xyz: ArrayLike, stop_xyz: ArrayLike) -> VolumeGrid:
        """Sub-grid of the voxels with index in [start, stop) along (x, y, z)."""
        start, stop = np.asarray(start_xyz, int), np.asarray(stop_xyz, int)
        origin = np.array(self.origin_mm) + start * np.array(self.spacing_mm)
        return VolumeGrid(tuple((stop - start)[::-1]), self.spacing_mm, tuple(origin))

    def resampled(self, spacing_mm: float) -> VolumeGrid:
        """Cubic-voxel grid that covers the same box (rounded up) around the same center."""
        shape = np.ceil(self.size_mm / spacing_mm - 1e-6).astype(int)
        return VolumeGrid.centered(tuple(shape[::-1]), spacing_mm, tuple(self.center_mm))

    def isclose(self, other: VolumeGrid, tolerance_mm: float = 1e-6) -> bool:
        """Whether both grids have the same voxels within ``tolerance_mm``."""
        return (
            self.shape_zyx == other.shape_zyx
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=tolerance_mm)
            and np.allclose(self.origin_mm, other.origin_mm, rtol=0, atol=tolerance_mm)
        )
