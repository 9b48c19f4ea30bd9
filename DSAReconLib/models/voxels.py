"""Attenuation on voxels at time knots, as tensors that a fit can change."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis


class TimeVoxels:
    """mu(x, t): trilinear or Joseph's bilinear interpolation in space, linear between time knots.

    Parameters
    ----------
    grid
        Voxels.
    support
        Sorted C-order index (N,) of the voxels that may be above zero.
    knots_s
        Time knots (K,), s.
    values
        Attenuation (K, N) at knots and supported voxels, 1/mm, float32.
    """

    def __init__(
        self, grid: VolumeGrid, support: NDArray[np.int64], knots_s: NDArray[np.float64], values: Tensor
    ) -> None:
        if values.shape != (len(knots_s), len(support)):
            raise ValueError(f"values must have shape {(len(knots_s), len(support))}; got {tuple(values.shape)}")
        self.grid, self.support, self.knots_s, self.values = grid, support, knots_s, values
        self._index = torch.as_tensor(support, device=values.device)

    @classmethod
    def zeros(
        cls, grid: VolumeGrid, support: NDArray[np.int64], knots_s: NDArray[np.float64], device: str = "cpu"
    ) -> TimeVoxels:
        """No attenuation anywhere."""
        return cls(grid, support, knots_s, torch.zeros(len(knots_s), len(support), device=device))

    def mixing(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Weights (V, K) of the knots at the given times: two neighbors, linear in between."""
        return TemporalBasis.hats(self.knots_s).at(times_s)

    def scatter(self, values: Tensor, out: Tensor | None = None) -> Tensor:
        """Volume (Z, Y, X) with ``values`` (N,) at the supported voxels, into ``out`` if given.

        ``out`` must be zero outside the support; it stays so.
        """
        volume = values.new_zeros(self.grid.shape_zyx) if out is None else out
        volume.view(-1)[self._index] = values
        return volume

    def gather(self, volume: Tensor) -> Tensor:
        """Supported voxels (N,) of a volume (Z, Y, X)."""
        return volume.reshape(-1)[self._index]

    def transferred(self, grid: VolumeGrid, support: NDArray[np.int64]) -> TimeVoxels:
        """The same attenuation on other voxels, trilinear (coarse to fine); 0 outside the old grid."""
        position = self.grid.index_of(grid.points_mm(support))
        # grid_sample's coordinates: -1 and 1 are the first and the last voxel center
        extent = np.maximum(np.array(self.grid.shape_zyx[::-1]) - 1, 1)
        target = torch.as_tensor(2 * position / extent - 1, dtype=torch.float32, device=self.values.device)
        moved = self.values.new_empty(len(self.values), len(support))
        for knot, row in enumerate(self.values):
            sampled = torch.nn.functional.grid_sample(
                self.scatter(row)[None, None], target[None, None, None], align_corners=True, padding_mode="zeros"
            )
            moved[knot] = sampled.reshape(-1)
        return TimeVoxels(grid, support, self.knots_s, moved)

    def peak(self) -> NDArray[np.float32]:
        """Largest attenuation over the knots (Z, Y, X), 1/mm."""
        peak: NDArray[np.float32] = self.scatter(self.values.amax(0)).cpu().numpy()
        return peak

    def frozen(self) -> DynamicVolume:
        """The present state as a value."""
        basis = TemporalBasis.hats(self.knots_s)
        return DynamicVolume(self.grid, self.values.cpu().numpy().copy(), basis, self.support)
