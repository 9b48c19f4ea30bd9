"""Points along rays through a box, for fields that are integrated by sampling.

Pixels become rays, rays are cut by the box of the field, and points are placed at equal
distances along them; an occupancy grid leaves out those in empty space. On the CPU numba
marches along the rays if it is installed; elsewhere torch does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

_MARCH_CHUNK = 1 << 22
"""Candidate points that the torch version holds at once."""


class Rays(NamedTuple):
    """N rays in the unit coordinates of a box."""

    origin: Tensor
    """Source (N, 3) as (x, y, z), 0 to 1 inside the box."""
    step: Tensor
    """Change (N, 3) of the unit coordinates per mm along the ray."""
    near: Tensor
    """Where each ray enters the box (N,), mm from the source."""
    far: Tensor
    """Where it leaves the box (N,), mm; below ``near`` if it misses it."""

    def __len__(self) -> int:  # type: ignore[override]
        return len(self.near)

    def take(self, index: Tensor | slice) -> Rays:
        """Some of the rays."""
        return Rays(*(part[index] for part in self))


class RaySamples(NamedTuple):
    """M points on rays, ray after ray."""

    points: Tensor
    """(M, 4): x, y, z in the box and the time of the ray, all in [0, 1]."""
    ray: Tensor
    """Ray that each point lies on (M,), int64, increasing."""
    spacing_mm: float
    """Distance between points on a ray."""

    def line_integrals(self, values: Tensor, rays: int) -> Tensor:
        """Sums (rays,) of ``values`` (M,) along the rays, times the spacing."""
        return values.new_zeros(rays).index_add_(0, self.ray, values) * self.spacing_mm


@dataclass(frozen=True)
class FieldBox:
    """Axis-aligned box that a field lives in, LPS mm; its unit coordinates run from 0 to 1.

    Parameters
    ----------
    low_mm, size_mm
        Lowest corner and side lengths (x, y, z).
    """

    low_mm: NDArray[np.float64]
    size_mm: NDArray[np.float64]

    @classmethod
    def of_grid(cls, grid: VolumeGrid) -> FieldBox:
        """The box that the voxels fill."""
        return cls(np.array(grid.origin_mm) - np.array(grid.spacing_mm) / 2, grid.size_mm)

    def unit(self, points_mm: NDArray[np.float64]) -> NDArray[np.float32]:
        """Unit coordinates (N, 3) of points (N, 3), mm."""
        return ((points_mm - self.low_mm) / self.size_mm).astype(np.float32)

    def rays(self, geometry: ConeBeamGeometry, pixels: NDArray[np.int64], device: str = "cpu") -> Rays:
        """Rays through pixel centers, by C-order index (N,) into (view, row, column)."""
        rows, columns = geometry.detector_shape
        view, row, column = np.unravel_index(pixels, (len(geometry), rows, columns))
        source = geometry.source_mm[view]
        target = geometry.detector_center_mm[view]
        target = target + (column - (columns - 1) / 2)[:, None] * geometry.detector_u_mm[view]
        target = target + (row - (rows - 1) / 2)[:, None] * geometry.detector_v_mm[view]
        direction = target - source
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        near, far = _slabs((source - self.low_mm) / self.size_mm, direction / self.size_mm)
        parts = (source - self.low_mm) / self.size_mm, direction / self.size_mm, near, far
        return Rays(*(torch.as_tensor(part.astype(np.float32), device=device) for part in parts))


def _slabs(origin: NDArray[np.float64], step: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Entry and exit of rays through the unit cube, in units of ``step``; sources inside enter at 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = -origin / step, (1 - origin) / step
    parallel = step == 0
    outside = parallel & ((origin < 0) | (origin > 1))
    low = np.where(parallel, -np.inf, np.minimum(first, second))
    high = np.where(parallel, np.where(outside, -np.inf, np.inf), np.maximum(first, second))
    return np.maximum(low.max(1), 0.0), high.min(1)


@dataclass(frozen=True)
class OccupancyGrid:
    """Which cells of a box may hold something.

    Parameters
    ----------
    occupied
        (z, y, x), bool.
    """

    occupied: Tensor

    @classmethod
    def full(cls, shape_zyx: tuple[int, int, int], device: str = "cpu") -> OccupancyGrid:
        """Every cell occupied: nothing is skipped."""
        return cls(torch.ones(shape_zyx, dtype=torch.bool, device=device))

    @cached_property
    def share(self) -> float:
        """Occupied part of the box, 0 to 1."""
        return float(self.occupied.float().mean())

    @cached_property
    def cells(self) -> Tensor:
        """C-order index (n,) of the occupied cells."""
        return torch.nonzero(self.occupied.view(-1))[:, 0]

    def points_in(self, cells: Tensor, offsets: Tensor) -> Tensor:
        """Unit coordinates (n, 3) in the given cells; ``offsets`` (n, 3) in [0, 1) places them within."""
        nz, ny, nx = self.occupied.shape
        x, rest = cells % nx, torch.div(cells, nx, rounding_mode="floor")
        index = torch.stack([x, rest % ny, torch.div(rest, ny, rounding_mode="floor")], 1)
        return (index + offsets) / torch.tensor([nx, ny, nz], dtype=offsets.dtype, device=cells.device)

    def holds(self, points: Tensor) -> Tensor:
        """Whether unit points (..., 3) lie in occupied cells."""
        nz, ny, nx = self.occupied.shape
        size = torch.tensor([nx, ny, nz], device=points.device)
        index = torch.minimum((points.clamp(0, 1) * size).long(), size - 1)
        return self.occupied[index[..., 2], index[..., 1], index[..., 0]]


def march(
    rays: Rays, times: Tensor, step_mm: float, occupancy: OccupancyGrid, offsets: Tensor | None = None
) -> RaySamples:
    """Points at equal distances along rays, in occupied cells only.

    The longest path is divided into equal intervals no longer than ``step_mm``; every ray
    has its points in the middle of such intervals (VPAL: "equal distance").

    Parameters
    ----------
    rays
        N rays.
    times
        (N,) in [0, 1].
    step_mm
        Largest distance between points.
    occupancy
        Cells that are not empty.
    offsets
        Where in the intervals the points of each ray (N,) lie, in [0, 1); default 1/2.
    """
    spacing, count = _intervals(rays, step_mm)
    if offsets is None:
        offsets = torch.full_like(rays.near, 0.5)
    if rays.near.device.type == "cpu" and (kernels := _numba()) is not None:
        points, index = kernels.march(rays, times, spacing, occupancy.occupied, offsets)
    else:
        points, index = _march_torch(rays, times, spacing, count, occupancy, offsets)
    return RaySamples(points, index, spacing)


def crossings(rays: Rays, step_mm: float, occupancy: OccupancyGrid) -> Tensor:
    """Number of points (N,) that :func:`march` places on each ray."""
    spacing, count = _intervals(rays, step_mm)
    offsets = torch.full_like(rays.near, 0.5)
    if rays.near.device.type == "cpu" and (kernels := _numba()) is not None:
        counts: Tensor = kernels.count(rays, spacing, occupancy.occupied, offsets)
        return counts
    index = _march_torch(rays, torch.zeros_like(rays.near), spacing, count, occupancy, offsets)[1]
    return torch.bincount(index, minlength=len(rays))


def _intervals(rays: Rays, step_mm: float) -> tuple[float, int]:
    """Length and number of the equal intervals of the longest path."""
    longest = max(float((rays.far - rays.near).max()), step_mm) if len(rays) else step_mm
    count = math.ceil(longest / step_mm - 1e-6)
    return longest / count, count


def _march_torch(
    rays: Rays, times: Tensor, spacing: float, count: int, occupancy: OccupancyGrid, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Points (M, 4) and their rays (M,)."""
    points, index = [rays.near.new_empty(0, 4)], [torch.empty(0, dtype=torch.long, device=times.device)]
    block = max(1, _MARCH_CHUNK // count)
    interval = torch.arange(count, device=times.device)
    for start in range(0, len(rays), block):
        part = rays.take(slice(start, start + block))
        distance = part.near[:, None] + (interval + offsets[start : start + block, None]) * spacing
        place = part.origin[:, None] + distance[..., None] * part.step[:, None]
        ray, position = torch.nonzero((distance < part.far[:, None]) & occupancy.holds(place), as_tuple=True)
        points.append(torch.cat([place[ray, position].clamp(0, 1), times[start + ray, None]], 1))
        index.append(start + ray)
    return torch.cat(points), torch.cat(index)


def _numba() -> ModuleType | None:
    """The fast CPU version, if numba is installed."""
    try:
        from DSAReconLib.fitting import ray_sampling_cpu
    except ImportError:
        return None
    return ray_sampling_cpu
