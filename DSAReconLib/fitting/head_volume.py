"""The head without contrast as a coarse volume: at which depth lies what a mask frame shows.

Heads are larger than the detector's field of view: filtered backprojection puts what only
some views see at wrong places. Algebraic reconstruction (Andersen and Kak, Ultrason. Imaging
6, 1984) of a larger box, coarse to fine in ordered subsets, finds volumes that agree with all frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.operators.conebeam import ConeBeamProjector
from DSAReconLib.progress import Progress

FEWEST_FRAMES = 20
LEAST_ARC_DEG = 90.0

_SPACING_MM = 2.5
_PIXELS_PER_VOXEL = 0.8
_MOST_FRAMES = 100
# Heads reach beyond the field of view: so large is the box across the axis of rotation at least and at most,
# and that much larger than the field of view across and along the axis.
_HEAD_MM, _LARGEST_MM = 240.0, 300.0
_ACROSS, _ALONG = 1.42, 1.2
# (voxels of so many final ones per side, passes); each pass goes once through all frames.
_PASSES = ((4, 4), (2, 6), (1, 5))
_SUBSETS = 10
_SHORTEST_PATH_MM = 10.0
_LEAST_WEIGHT = 0.05
_OPEN_FIELD_QUANTILE = 0.999
_MISFIT_BLUR_PX = 2.0


@dataclass(frozen=True)
class HeadVolume:
    """Attenuation (Z, Y, X), 1/mm, on its grid, and the mean square that it misses of the frames it was made from."""

    grid: VolumeGrid
    attenuation: NDArray[np.float32]
    misfit: float = np.nan

    def depth_pictures(self, view: ConeBeamGeometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Line integrals (R, C) of the head, and the same weighted with q = sod / depth - 1, for one view.

        What moves across the beam moves in the image by an amount that grows with 1 / depth:
        the weighted picture tells where that differs from the isocenter.
        """
        factor = _binning(view)
        coarse = view.binned(factor)
        projector = ConeBeamProjector(self.grid, coarse)
        across, along, up = self.grid.axes_mm()
        row = view.projection_matrices[0, 2]
        depth = row[3] + row[0] * across + (row[1] * along)[:, None] + (row[2] * up)[:, None, None]
        weight = (float(view.sod_mm[0]) / depth - 1).astype(np.float32)
        pictures = (projector(volume)[0] for volume in (self.attenuation, self.attenuation * weight))
        plain, weighted = (_enlarged(picture, factor, view.detector_shape) for picture in pictures)
        return plain, weighted


def reconstruct_head(mask_run: RotationalRun, progress: Progress) -> HeadVolume:
    """Coarse volume of the head from a run without contrast.

    Raises
    ------
    ValueError
        Fewer than ``FEWEST_FRAMES`` frames.
    """
    if len(mask_run) < FEWEST_FRAMES:
        raise ValueError(f"a head volume needs at least {FEWEST_FRAMES} frames; got {len(mask_run)}")
    count = min(len(mask_run), _MOST_FRAMES)
    frames = np.unique(np.linspace(0, len(mask_run) - 1, count).round().astype(int))
    geometry, attenuation = mask_run.geometry[frames], _attenuation(mask_run, frames)
    volume, grid, misfit = np.zeros((1, 1, 1), np.float32), _grid(mask_run.geometry, _SPACING_MM), np.nan
    total = sum(passes for _, passes in _PASSES)
    done = 0
    for coarsening, passes in _PASSES:
        grid = _grid(mask_run.geometry, coarsening * _SPACING_MM)
        factor = _binning(geometry, coarsening * _SPACING_MM)
        pictures = _block_means(attenuation, factor)
        volume = _resampled(volume, grid.shape_zyx)
        solver = _AlgebraicSolver(ConeBeamProjector(grid, geometry.binned(factor)), pictures)
        for _ in range(passes):
            solver.refine(volume, progress)
            done += 1
            progress.report("head volume", done / total)
        misfit = solver.misfit(volume)
    return HeadVolume(grid, volume, misfit)


class _AlgebraicSolver:
    """Passes of simultaneous algebraic reconstruction in ordered subsets, the volume being non-negative."""

    def __init__(self, projector: ConeBeamProjector, pictures: NDArray[np.float32]) -> None:
        self._projector, self._pictures = projector, pictures
        path = projector(np.ones(projector.domain_shape, np.float32))
        # Rays that hardly touch the box say little and would be scaled up.
        self._inverse_path = np.where(path > _SHORTEST_PATH_MM, 1 / np.maximum(path, 1), 0).astype(np.float32)
        weight = projector.T(np.ones(projector.range_shape, np.float32))
        count = min(_SUBSETS, len(pictures))
        self._inverse_weight = np.asarray(count / np.maximum(weight, _LEAST_WEIGHT * weight.max()), np.float32)
        order = np.random.default_rng(0).permutation(count)
        self._subsets = [np.arange(first, len(pictures), count) for first in order]

    def refine(self, volume: NDArray[np.float32], progress: Progress) -> None:
        """One pass, in place."""
        for views in self._subsets:
            progress.check_cancelled()
            projector = self._projector[views]
            error = (self._pictures[views] - projector(volume)) * self._inverse_path[views]
            volume += projector.T(error) * self._inverse_weight
            np.maximum(volume, 0, out=volume)

    def misfit(self, volume: NDArray[np.float32]) -> float:
        """Mean square difference to the pictures, smoothed, of which each may have an exposure of its own.

        What is finer than pixels fits still heads better than moving ones: all views miss the same of it.
        """
        from scipy.ndimage import gaussian_filter

        error = self._pictures - self._projector(volume)
        error -= np.median(error, axis=(1, 2), keepdims=True)
        error[self._inverse_path == 0] = 0
        return float(np.mean(gaussian_filter(error, (0, _MISFIT_BLUR_PX, _MISFIT_BLUR_PX)) ** 2, dtype=float))


def _attenuation(run: RotationalRun, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Line integrals (F, R, C) against the brightest pixels of the run, which are taken for air."""
    intensity = run.intensity[frames]
    open_field = max(float(np.quantile(intensity[:, ::4, ::4], _OPEN_FIELD_QUANTILE)), 1e-6)
    result = np.log(open_field / np.clip(intensity, 1e-6 * open_field, open_field)).astype(np.float32)
    if run.valid is not None:
        valid = np.broadcast_to(run.valid if run.valid.ndim == 2 else run.valid[frames], result.shape)
        result[~valid] = float(np.median(result[valid])) if valid.any() else 0.0
    return result


def _grid(geometry: ConeBeamGeometry, spacing_mm: float) -> VolumeGrid:
    """Voxels of the field of view and of what lies around it."""
    side = float(geometry.field_of_view_grid(shape=1).size_mm[0])
    across = max(side, float(np.clip(_ACROSS * side, _HEAD_MM, _LARGEST_MM)))
    along = max(side, min(_ALONG * side, _LARGEST_MM))
    counts = [max(1, round(size / spacing_mm)) for size in (along, across, across)]
    return VolumeGrid.centered((counts[0], counts[1], counts[2]), spacing_mm)


def _binning(geometry: ConeBeamGeometry, spacing_mm: float = _SPACING_MM) -> int:
    """Pixels per side of a block that is about as large as a voxel."""
    factor = round(_PIXELS_PER_VOXEL * spacing_mm / min(geometry.isocenter_pixel_mm))
    return int(np.clip(factor, 1, min(geometry.detector_shape)))


def _block_means(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return images
    rows, columns = (size // factor for size in images.shape[1:])
    whole = images[:, : rows * factor, : columns * factor]
    return whole.reshape(len(images), rows, factor, columns, factor).mean((2, 4), dtype=np.float32)


def _enlarged(picture: NDArray[np.float32], factor: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Picture of blocks of pixels, interpolated to the pixels."""
    from scipy.ndimage import affine_transform

    if factor == 1:
        return picture
    offset = (0.5 / factor - 0.5,) * 2
    return np.asarray(
        affine_transform(picture, (1 / factor,) * 2, offset, shape, order=3, mode="nearest", output=np.float32)
    )


def _resampled(volume: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The same box with other voxels, linearly interpolated."""
    from scipy.ndimage import zoom

    if volume.size == 1:
        return np.full(shape, volume.flat[0], np.float32)
    factors = [new / old for new, old in zip(shape, volume.shape, strict=True)]
    return np.asarray(zoom(volume, factors, order=1, mode="nearest", grid_mode=True, output=np.float32))
