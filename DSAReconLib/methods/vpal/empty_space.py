"""Which cells of the box a fit must sample, and which pixels see any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import DSAReconError
from DSAReconLib.fitting.data_term import pixel_weights
from DSAReconLib.fitting.ray_sampling import FieldBox, OccupancyGrid, crossings
from DSAReconLib.fitting.region import contrast_support
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.vpal.config import Config
from DSAReconLib.models.neural_field import VesselFields

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_MOST_CELLS = 160
"""Per side, for ``contrast``: a cell is a voxel or, on finer grids, larger."""
_VOXELS_PER_CELL = 4
"""For ``probability``: a quarter of the resolution, as in the public code."""
_TIMES = 6
_DECAY = 0.7
"""A cell's value falls by this between refreshes unless it is found higher (nerfacc)."""
_PROBES = 1 << 17
"""Points per evaluation."""
_FULL_SHARE = 0.6
_FILLED_PERCENTILE = 99.5
_REWEIGHTING = 0.0125
"""Density, relative to a filled cell, whose attenuation costs about as much as before reweighting."""
_DARK_SHARE = 0.1
"""Dark cells cost the inverse of this."""


class EmptySpace:
    """Occupancy of the box, and the pixels whose rays meet it.

    ``none``: everything is sampled. ``probability``: cells where p exceeds the threshold,
    refreshed during the fit (as in the public code). ``contrast``: cells where consecutive
    views agree on contrast, less those where the fit finds no attenuation.
    """

    def __init__(
        self,
        angiogram: Angiogram,
        grid: VolumeGrid,
        config: Config,
        device: str,
        step_mm: float,
        *,
        progress: Progress,
    ) -> None:
        self._angiogram, self._config, self._device, self._progress = angiogram, config, device, progress
        self._box, self._step_mm = FieldBox.of_grid(grid), step_mm
        self._all_pixels = np.flatnonzero(pixel_weights(angiogram, by_variance=False))
        cells = _cells(grid, config.occupancy)
        self._highest = np.zeros(cells.shape_zyx, np.float32)
        occupied = np.ones(cells.shape_zyx, bool)
        if config.occupancy == "contrast":
            occupied = self._agreed(cells)
        self._agreed_cells = occupied
        self._density = np.zeros(cells.shape_zyx, np.float32)
        self._sparsity = torch.ones(cells.shape_zyx, device=device)
        self._candidates = self._all_pixels
        self._set(occupied)
        self._candidates = self.pixels  # cells are only ever taken from this first set

    def _agreed(self, cells: VolumeGrid) -> NDArray[np.bool_]:
        found = contrast_support(self._angiogram, cells, window_s=self._config.window_s, progress=self._progress)
        if not found.size:
            raise DSAReconError(
                "The views agree on contrast nowhere: no voxel is bright in four consecutive views.",
                hint="Check that mask and fill run belong together, or set vpal.occupancy=none.",
                code="vpal.no_contrast",
            )
        occupied = np.zeros(cells.shape_zyx, bool)
        occupied.reshape(-1)[found] = True
        return occupied

    def _set(self, occupied: NDArray[np.bool_]) -> None:
        self.occupancy = OccupancyGrid(torch.from_numpy(occupied).to(self._device))
        geometry = self._angiogram.geometry
        counts = []
        for pixels in np.array_split(self._candidates, 1 + (len(self._candidates) >> 16)):
            self._progress.check_cancelled()
            rays = self._box.rays(geometry, pixels, self._device)
            counts.append(crossings(rays, self._step_mm, self.occupancy).cpu().numpy())
        count = np.concatenate(counts)
        self.pixels = self._candidates[count > 0]
        self.points_per_ray = float(count[count > 0].mean()) if len(self.pixels) else 1.0
        self.pixel_share = len(self.pixels) / max(len(self._all_pixels), 1)

    def random_points(self, count: int, rng: np.random.Generator) -> Tensor:
        """Points (count, 3) drawn evenly from the occupied cells, in unit coordinates."""
        cells = self.occupancy.cells
        chosen = cells[torch.from_numpy(rng.integers(0, len(cells), count)).to(cells.device)]
        return self.occupancy.points_in(chosen, torch.from_numpy(rng.random((count, 3), np.float32)).to(cells.device))

    @torch.no_grad()
    def refresh(self, fields: VesselFields, levels: int, iteration: int, rng: np.random.Generator) -> None:
        """Look at one random point of every cell that is or may become occupied."""
        kind = self._config.occupancy
        if kind == "none" or (fields.variant in ("sd", "static", "dynamic") and kind == "probability"):
            return
        done = iteration / self._config.iterations
        if kind == "contrast" and done < self._config.occupancy_start:
            return
        cells = self.occupancy.cells if kind == "contrast" else torch.arange(self._highest.size, device=self._device)
        found, sums = torch.zeros((2, len(cells)), device=self._device)
        times = 1 if kind == "probability" else _TIMES
        for time in (np.arange(times) + rng.random()) / times:
            offsets = torch.from_numpy(rng.random((len(cells), 3), np.float32)).to(self._device)
            place = self.occupancy.points_in(cells, offsets)
            for start in range(0, len(cells), _PROBES):
                self._progress.check_cancelled()
                part = slice(start, start + _PROBES)
                value = self._probe(fields, place[part], float(time), levels)
                found[part] = torch.maximum(found[part], value)
                sums[part] += value
        flat, index = self._highest.reshape(-1), cells.cpu().numpy()
        flat[index] = np.maximum(_DECAY * flat[index], found.cpu().numpy())
        self._density.reshape(-1)[index] = (sums / times).cpu().numpy()
        self._reweight()
        if done >= self._config.occupancy_start:
            self._prune(kind, min(1.0, done / _FULL_SHARE))

    def _probe(self, fields: VesselFields, place: Tensor, time: float, levels: int) -> Tensor:
        """What decides about a cell, at points (n, 3)."""
        if self._config.occupancy == "probability":
            return fields.probability(place, levels)
        return fields(torch.cat([place, place.new_full((len(place), 1), time)], 1), levels).attenuation

    def sparsity_weights(self, points: Tensor) -> Tensor:
        """Relative cost (M,) of attenuation at unit points (M, 4)."""
        nz, ny, nx = self._sparsity.shape
        size = torch.tensor([nx, ny, nz], device=points.device)
        index = torch.minimum((points[:, :3] * size).long(), size - 1)
        return self._sparsity[index[:, 2], index[:, 1], index[:, 0]]

    def _reweight(self) -> None:
        """Small where attenuation was found, up to 10 where there was none (Candes et al. 2008)."""
        density = self._density * self.occupancy.occupied.cpu().numpy()
        lit = density[density > 0]
        if self._config.sparsity and lit.size:
            around = ndimage.uniform_filter(density, 3)
            relative = (0.5 * density + 0.5 * around) / float(np.percentile(lit, _FILLED_PERCENTILE))
            weights = (1 / (relative / _REWEIGHTING + _DARK_SHARE)).astype(np.float32)
            self._sparsity = torch.from_numpy(weights).to(self._device)

    def _prune(self, kind: str, strictness: float) -> None:
        floor = self._config.occupancy_threshold
        if kind == "contrast":
            floor *= strictness
            lit = self._highest[self._highest > 0]
            floor *= float(np.percentile(lit, _FILLED_PERCENTILE)) if lit.size else 0.0
        kept = ndimage.binary_dilation(self._highest > floor, np.ones((3, 3, 3), bool)) & self._agreed_cells
        if kept.any() and not np.array_equal(kept, self.occupancy.occupied.cpu().numpy()):
            self._set(kept)

    @property
    def peaks(self) -> NDArray[np.float32]:
        """Largest value found per cell (z, y, x): attenuation, or probability."""
        return self._highest.copy()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {
            "highest": self._highest,
            "density": self._density,
            "occupied": self.occupancy.occupied.cpu().numpy(),
            "sparsity": self._sparsity.cpu().numpy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        self._highest, self._density = state["highest"].copy(), state["density"].copy()
        self._sparsity = torch.from_numpy(state["sparsity"]).to(self._device)
        self._set(state["occupied"].astype(bool))


def _cells(grid: VolumeGrid, kind: str) -> VolumeGrid:
    """Cells that cover the box of ``grid``."""
    side_mm = float(grid.size_mm.max())
    if kind == "none":
        return VolumeGrid.centered(1, tuple(grid.size_mm), tuple(grid.center_mm))
    count = max(grid.shape_zyx) // _VOXELS_PER_CELL if kind == "probability" else min(max(grid.shape_zyx), _MOST_CELLS)
    return grid.resampled(side_mm / max(count, 1))
