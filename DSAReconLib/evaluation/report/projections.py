"""Maximum-intensity projections of dynamic volumes, seen from the front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.evaluation.volume import cropped, curve_bound, resampled
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import DynamicVolume, arrival_times

_FAINTEST = 0.02
"""Voxels that never exceed this share of the display window are left out: nobody sees them."""


@dataclass(frozen=True)
class Frontal:
    """A frame in front of the patient: x (to the patient's left) goes right, z (to the head) up.

    Parameters
    ----------
    low_mm, high_mm
        Corners (x, y, z) of the box that is projected.
    pixel_mm
        Side of a picture element.
    """

    low_mm: NDArray[np.float64]
    high_mm: NDArray[np.float64]
    pixel_mm: float

    @classmethod
    def around(cls, low_mm: ArrayLike, high_mm: ArrayLike, height_px: int = 300) -> Frontal:
        """Frame of a box whose picture is at most ``height_px`` high and 1.3 times as wide."""
        low, high = np.asarray(low_mm, float), np.asarray(high_mm, float)
        return cls(low, high, float(max((high[2] - low[2]) / height_px, (high[0] - low[0]) / (1.3 * height_px))))

    @property
    def raster(self) -> VolumeGrid:
        """Picture elements as a grid of one layer, lowest z first."""
        size = np.maximum(np.rint((self.high_mm - self.low_mm) / self.pixel_mm).astype(int), 1)
        origin = self.low_mm + self.pixel_mm / 2
        return VolumeGrid((size[2], 1, size[0]), (self.pixel_mm,) * 3, (origin[0], 0.0, origin[2]))

    def row_column(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Position of points (P, 3) in the picture as shares (P, 2) of its height and width."""
        share = (points_mm - self.low_mm) / (self.high_mm - self.low_mm)
        return np.stack([1 - share[:, 2], share[:, 0]], -1)


class FrontalView:
    """Projections of one dynamic volume.

    Parameters
    ----------
    volume
        Contrast attenuation.
    frame
        What is seen.
    window
        Attenuation (1/mm) at full brightness.
    """

    def __init__(self, volume: DynamicVolume, frame: Frontal, window: float) -> None:
        inside = cropped(volume, frame.low_mm, frame.high_mm)
        seen = np.flatnonzero(curve_bound(inside) > _FAINTEST * window)
        support = seen if inside.support is None else inside.support[seen]
        order = np.argsort(support)
        self._volume = DynamicVolume(inside.grid, inside.coefficients[:, seen[order]], inside.basis, support[order])
        self._support = support[order]
        self._frame = frame

    def at(self, time_s: float) -> NDArray[np.float32]:
        """Picture (R, C) of the maximum along the line of sight at one time, 1/mm."""
        return self._drawn(self._volume.at(time_s).max(1))

    def peak(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Picture (R, C) of the maximum over the line of sight and over time, 1/mm."""
        return self._drawn(self._volume.peak(times_s).max(1))

    def arrival(self, times_s: NDArray[np.float64], minimum: float) -> NDArray[np.float32]:
        """Bolus arrival (R, C), s, at the brightest voxel of every line of sight; NaN below ``minimum`` (1/mm)."""
        peak = self._volume.peak(times_s)
        brightest, height = peak.argmax(1), peak.max(1)
        rows, columns = np.nonzero(height >= minimum)
        flat = np.ravel_multi_index((rows, brightest[rows, columns], columns), self._volume.grid.shape_zyx)
        curves = self._volume.curves(times_s, np.searchsorted(self._support, flat))
        weight, weighted = np.zeros_like(height), np.zeros_like(height)
        weight[rows, columns] = height[rows, columns]
        weighted[rows, columns] = height[rows, columns] * arrival_times(curves, times_s)
        # between pixels of one picture: mean of the neighbors, the brighter the more
        weight, weighted = self._drawn(weight), self._drawn(weighted)
        return np.where(weight > 0.5 * minimum, weighted / np.maximum(weight, 1e-12), np.nan)

    def surface(self, times_s: ArrayLike, threshold: float) -> NDArray[np.float32]:
        """Brightness (R, C) of the surface where the peak over time passes ``threshold`` (1/mm), lit from the front.

        The peak is :meth:`DynamicVolume.top_mean`, which thresholds are made for. The depth of the first crossing
        along each line of sight is interpolated between voxels, and the light falls along it (Lambert); in [0, 1],
        0 where there is no vessel.
        """
        peak = self._volume.top_mean(times_s)
        inside = peak > threshold
        first, hit = inside.argmax(1), inside.any(1)
        rows, columns = np.nonzero(hit)
        depth = np.full(hit.shape, np.nan, np.float32)
        behind = peak[rows, first[rows, columns], columns]
        before = peak[rows, np.maximum(first[rows, columns] - 1, 0), columns]
        share = np.clip((behind - threshold) / np.maximum(behind - before, 1e-12), 0, 1)
        dx, dy, dz = self._volume.grid.spacing_mm
        depth[rows, columns] = (first[rows, columns] - share) * dy
        slope_z, slope_x = _slopes(depth, dz), _slopes(depth, dx, axis=1)
        light = np.where(hit, 0.15 + 0.85 / np.sqrt(1 + slope_z**2 + slope_x**2), 0)
        return np.clip(self._drawn(light.astype(np.float32)), 0, 1)

    def _drawn(self, projection: NDArray[np.float32]) -> NDArray[np.float32]:
        nz, _, nx = self._volume.grid.shape_zyx
        dx, _, dz = self._volume.grid.spacing_mm
        x0, _, z0 = self._volume.grid.origin_mm
        layer = VolumeGrid((nz, 1, nx), (dx, 1.0, dz), (x0, 0.0, z0))
        return resampled(projection[:, None], layer, self._frame.raster)[::-1, 0]


def _slopes(depth: NDArray[np.float32], spacing: float, axis: int = 0) -> NDArray[np.float32]:
    """Gentler of the two one-sided slopes of a depth map that has holes (NaN): edges of vessels keep their light."""
    step = np.diff(depth, axis=axis) / spacing
    pad = [(0, 0), (0, 0)]
    ahead, behind = list(pad), list(pad)
    ahead[axis], behind[axis] = (0, 1), (1, 0)
    both = np.stack([np.pad(step, ahead, constant_values=np.nan), np.pad(step, behind, constant_values=np.nan)])
    size = np.where(np.isnan(both), np.inf, np.abs(both)).min(0)
    return np.where(np.isfinite(size), size, 0).astype(np.float32)
