"""Which voxels TiAVox fits on each level: the region of contrast, halved voxels, free space left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import DSAReconError
from DSAReconLib.fitting.region import bounding_box, contrast_support, refined_support
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.tiavox.config import Config
from DSAReconLib.models.voxels import TimeVoxels

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_EVIDENCE_SHARE = 1 / 64
"""The region is looked for on voxels of this share of the field of view (2.7 of 176 mm)."""
_BOX_MARGIN_MM = 2.0
_PEAK_PERCENTILE = 99.5
_SMALLEST_DETECTOR = 16


class Levels:
    """Voxels and images of every level, coarse to fine.

    Parameters
    ----------
    angiogram
        Selected views.
    grid
        The finest level lies on a part of it.
    config
        ``levels``, ``crop``, ``window_s``, ``prune``, ``max_voxels``.
    progress
        Asked for cancelling.
    """

    @property
    def count(self) -> int:
        """Levels and repetitions of the finest one."""
        return self._config.levels + self._config.repeats

    def __init__(self, angiogram: Angiogram, grid: VolumeGrid, config: Config, *, progress: Progress) -> None:
        self._angiogram, self._grid, self._config, self._progress = angiogram, grid, config, progress

    def first(self, device: str) -> TimeVoxels:
        """Zeros on the voxels of the coarsest level.

        Raises
        ------
        DSAReconError
            ``tiavox.no_contrast``: the views agree on contrast nowhere.
        """
        knots_s = np.linspace(0.0, self._angiogram.duration_s, self._config.knots)
        if not self._config.crop:
            grid = self._coarse(self._grid, 0)
            return TimeVoxels.zeros(grid, np.arange(grid.num_voxels), knots_s, device)
        evidence = self._grid.resampled(float(self._grid.size_mm.max()) * _EVIDENCE_SHARE)
        found = self._confirmed(evidence, None)
        if found.size:
            grid = self._coarse(self._covering(bounding_box(found, evidence, _BOX_MARGIN_MM)), 0)
            found = self._confirmed(grid, refined_support(found, evidence, grid))
        if not found.size:
            raise DSAReconError(
                "The views agree on contrast nowhere: no voxel is bright in four consecutive views.",
                hint="Check that mask and fill run belong together, or set tiavox.crop=false.",
                code="tiavox.no_contrast",
            )
        return TimeVoxels.zeros(grid, found, knots_s, device)

    def next(self, model: TimeVoxels, level: int) -> TimeVoxels:
        """``model`` carried over to the voxels of ``level``, without what stayed dark."""
        if not self._config.crop:
            grid = self._coarse(self._grid, level)
            return model.transferred(grid, np.arange(grid.num_voxels))
        peak = model.peak()
        lit = peak[peak > 0]
        # a thin vessel fills a share of a coarse voxel that falls with the square of the voxel's size
        dilution = (min(self._grid.spacing_mm) / max(model.grid.spacing_mm)) ** 2
        floor = self._config.prune * dilution * float(np.percentile(lit, _PEAK_PERCENTILE)) if lit.size else 0.0
        kept = np.flatnonzero(peak > floor)
        if not kept.size:
            kept = model.support
        grid = self._coarse(self._covering(bounding_box(kept, model.grid, _BOX_MARGIN_MM)), level)
        chosen = self._confirmed(grid, refined_support(kept, model.grid, grid))
        moved = model.transferred(grid, chosen)
        return self._brightest(moved) if len(chosen) > self._config.max_voxels else moved

    def images(self, grid: VolumeGrid) -> Angiogram:
        """The views, binned so that pixels (at the isocenter) are no smaller than the voxels of ``grid``."""
        pixel_mm = min(self._angiogram.geometry.isocenter_pixel_mm)
        # a voxel may exceed a pixel by a tenth before its footprint leaves gaps
        factor = int(np.ceil(max(grid.spacing_mm) / pixel_mm - 0.1))
        limit = min(self._angiogram.geometry.detector_shape) // _SMALLEST_DETECTOR
        factor = max(1, min(factor, limit))
        return self._angiogram.binned(factor) if factor > 1 else self._angiogram

    def _confirmed(self, grid: VolumeGrid, within: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Voxels of ``grid`` that consecutive views agree on."""
        window_s = self._config.window_s
        return contrast_support(self._angiogram, grid, window_s=window_s, within=within, progress=self._progress)

    def _covering(self, box: VolumeGrid) -> VolumeGrid:
        """Part of the given grid that covers ``box``."""
        half = np.array(box.spacing_mm) / 2
        low, high = np.array(box.origin_mm) - half, np.array(box.origin_mm) + box.size_mm - half
        start = np.maximum(np.floor(self._grid.index_of(low)), 0)
        stop = np.minimum(np.ceil(self._grid.index_of(high)) + 1, self._grid.shape_zyx[::-1])
        return self._grid.cropped(start, stop)

    def _coarse(self, grid: VolumeGrid, level: int) -> VolumeGrid:
        """``grid`` with the voxel size of ``level``; itself for the last one and its repetitions."""
        factor = 2 ** max(self._config.levels - 1 - level, 0)
        return grid if factor == 1 else grid.resampled(min(grid.spacing_mm) * factor)

    def _brightest(self, model: TimeVoxels) -> TimeVoxels:
        """Only the ``max_voxels`` voxels with the largest peak."""
        peak = model.values.amax(0).cpu().numpy()
        keep = np.sort(np.argpartition(peak, -self._config.max_voxels)[-self._config.max_voxels :])
        return TimeVoxels(model.grid, model.support[keep], model.knots_s, model.values[:, keep].contiguous())
