"""Candidate voxels: where some window of views, as long as the bolus, agrees on contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.kernels.sparse.windows import OUTSIDE
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.progress import Progress

WINDOW_SHARE = 0.8
"""Length of the window in units of the bolus's width at 40 %."""
CUT_WINDOW_SHARE = 0.35
"""Windows at the end of the run may be cut down to this share: veins that fill in its last second."""
_WINDOW_VIEWS_MIN = 4
_BLUR_PER_SPACING = 0.46
_COARSE_MM = 1.0
_SLAB_POINTS = 1 << 20


@dataclass(frozen=True)
class Support:
    """Listed voxels of a grid of cubic voxels.

    Parameters
    ----------
    grid
        The grid.
    index_zyx
        Voxel indices (N, 3), int32.
    """

    grid: VolumeGrid
    index_zyx: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.index_zyx)

    @property
    def spacing_mm(self) -> float:
        """Edge of a voxel, mm."""
        return self.grid.spacing_mm[0]

    @property
    def flat_index(self) -> NDArray[np.int64]:
        """C-order index (N,)."""
        return np.ravel_multi_index(tuple(self.index_zyx.T.astype(np.int64)), self.grid.shape_zyx)

    @property
    def points_mm(self) -> NDArray[np.float32]:
        """Voxel centers (N, 3), mm."""
        return (self.index_zyx[:, ::-1] * self.spacing_mm + np.array(self.grid.origin_mm)).astype(np.float32)

    def subset(self, keep: NDArray[np.bool_]) -> Support:
        """Only the voxels for which ``keep`` (N,) is true."""
        return Support(self.grid, np.ascontiguousarray(self.index_zyx[keep]))

    def cropped(self, margin: int = 2) -> Support:
        """The same voxels on the smallest sub-grid that holds them and ``margin`` more."""
        if not len(self):
            return self
        start = np.maximum(self.index_zyx.min(0) - margin, 0)
        stop = np.minimum(self.index_zyx.max(0) + 1 + margin, self.grid.shape_zyx)
        return Support(
            self.grid.cropped(start[::-1], stop[::-1]), np.ascontiguousarray(self.index_zyx - start, np.int32)
        )


def window_stops(times_s: NDArray[np.float64], length_s: float) -> NDArray[np.int32]:
    """Windows of views: window s consists of the views s ... stops[s] - 1.

    A window is ``length_s`` long (at least four views); windows that the end of the run
    cuts down to no less than 0.35 of that count too.
    """
    count = len(times_s)
    needed = min(_WINDOW_VIEWS_MIN, count)
    stops = []
    for start in range(count):
        stop = int(np.searchsorted(times_s, times_s[start] + length_s * (1 + 1e-9), side="right"))
        stop = max(stop, start + needed)
        cut = stop > count or times_s[start] + length_s > times_s[-1] + 1e-9
        if stop > count or (cut and times_s[-1] - times_s[start] < CUT_WINDOW_SHARE * length_s):
            break
        stops.append(stop)
    return np.array(stops or [count], np.int32)


def candidate_support(
    evidence: Evidence,
    box: VolumeGrid,
    *,
    spacing_mm: float,
    window_s: float,
    threshold: float,
    voxels_max: int,
    progress: Progress,
) -> tuple[Support, float]:
    """Voxels of edge ``spacing_mm`` within ``box`` that pass the window test, coarse to fine.

    Returns
    -------
    support : Support
        Cropped to its bounding box.
    threshold : float
        The line integral that the windows had to confirm; above the one asked for if more
        than ``voxels_max`` voxels passed.
    """
    levels = 0
    while spacing_mm * 2**levels < _COARSE_MM:
        levels += 1
    stops = window_stops(evidence.times_s, window_s)
    support, scores = _score_box(evidence, box.resampled(spacing_mm * 2**levels), stops, threshold, progress)
    for _ in range(levels):
        if len(support) > voxels_max:
            threshold = float(np.partition(scores, -voxels_max)[-voxels_max])
            support = support.subset(scores > threshold)
        support = _split(support)
        scores = _scores(evidence, support, stops, threshold, progress)
        support, scores = support.subset(scores > 0), scores[scores > 0]
    if len(support) > voxels_max:
        threshold = float(np.partition(scores, -voxels_max)[-voxels_max])
        support = support.subset(scores > threshold)
    return support.cropped(), threshold


def coarse_scores(
    evidence: Evidence, grid: VolumeGrid, *, window_s: float, threshold: float, progress: Progress
) -> tuple[Support, NDArray[np.float32]]:
    """Voxels of ``grid`` that pass the window test, and the line integral each one reaches."""
    return _score_box(evidence, grid, window_stops(evidence.times_s, window_s), threshold, progress)


def _score_box(
    evidence: Evidence, grid: VolumeGrid, stops: NDArray[np.int32], threshold: float, progress: Progress
) -> tuple[Support, NDArray[np.float32]]:
    """Score every voxel of a grid, a slab at a time."""
    kernels = evidence.kernels
    images, records = kernels.array(_score_images(evidence, grid.spacing_mm[0])), view_records(evidence.geometry)
    depth, height, width = grid.shape_zyx
    slab = max(1, _SLAB_POINTS // (height * width))
    found, scores = [], []
    for start in range(0, depth, slab):
        progress.check_cancelled()
        progress.report("support", start / depth)
        stop = min(start + slab, depth)
        points = kernels.slice_points(grid, start, stop)
        score = kernels.host(kernels.window_scores(points, images, records, stops, threshold))
        hit = np.flatnonzero(score)
        found.append(np.stack(np.unravel_index(hit + start * height * width, grid.shape_zyx), -1).astype(np.int32))
        scores.append(score[hit])
    return Support(grid, np.concatenate(found)), np.concatenate(scores)


def _scores(
    evidence: Evidence, support: Support, stops: NDArray[np.int32], threshold: float, progress: Progress
) -> NDArray[np.float32]:
    """Scores (N,) of listed voxels."""
    kernels = evidence.kernels
    images, records = kernels.array(_score_images(evidence, support.spacing_mm)), view_records(evidence.geometry)
    points = np.ascontiguousarray(support.points_mm.T)
    scores = np.empty(len(support), np.float32)
    for start in range(0, len(support), _SLAB_POINTS):
        progress.check_cancelled()
        part = slice(start, start + _SLAB_POINTS)
        some = np.ascontiguousarray(points[:, part])
        scores[part] = kernels.window_scores(some, images, records, stops, threshold)
    return scores


def _score_images(evidence: Evidence, spacing_mm: float) -> NDArray[np.float32]:
    """Line integrals clipped at 0, blurred to the voxel size, with missing pixels marked."""
    sigma = max(_BLUR_PER_SPACING * spacing_mm / evidence.pixel_mm, 0.5)
    images = np.stack([ndimage.gaussian_filter(image, sigma) for image in evidence.line_integrals])
    np.maximum(images, 0, out=images)
    images[evidence.weights <= 0] = OUTSIDE
    return images


def _split(support: Support) -> Support:
    """Every voxel into its eight halves."""
    spacing = support.spacing_mm / 2
    origin = np.array(support.grid.origin_mm) - spacing / 2
    depth, height, width = support.grid.shape_zyx
    fine = VolumeGrid((2 * depth, 2 * height, 2 * width), (spacing,) * 3, tuple(origin))
    children = (2 * support.index_zyx[:, None] + _positions(0, 2, 2, 2)).reshape(-1, 3)
    order = np.argsort(np.ravel_multi_index(tuple(children.T.astype(np.int64)), fine.shape_zyx))
    return Support(fine, np.ascontiguousarray(children[order]))


def _positions(start: int, stop: int, height: int, width: int) -> NDArray[np.int32]:
    """Indices (n, 3) of all voxels of the slices ``start`` ... ``stop - 1``, in C order."""
    local = np.indices((stop - start, height, width), np.int32).reshape(3, -1).T
    return np.ascontiguousarray(local + np.array([start, 0, 0], np.int32))


def coarsest_spacing(spacing_mm: float) -> float:
    """Spacing of the first level of :func:`candidate_support`, mm."""
    return spacing_mm * 2 ** max(0, math.ceil(math.log2(_COARSE_MM / spacing_mm) - 1e-9))
