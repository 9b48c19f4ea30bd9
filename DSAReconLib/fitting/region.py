"""Where contrast can be: the voxels that several consecutive views agree on.

A voxel that ever holds contrast holds it for at least the length of the injected bolus and
is then seen in every view; elsewhere some view sees nothing along its ray. Vessels fill a
hundredth of the field of view, so this restricts a fit to few voxels, which may be fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.kernels.sparse.windows import OUTSIDE, window_scores

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_MIN_VIEWS = 4
"""Fewer rays cross at random almost everywhere; in 3 of 30 views a window would exclude nothing."""
_LAST_WINDOW_SHARE = 0.6
"""Windows that the end of the run cuts count down to this length: late vessels."""
_NOISE_FACTOR = 2.0
_PEAK_SHARE = 0.01
_BLUR_PER_SPACING = 0.46
"""Standard deviation of the blur that makes a pixel stand for a voxel, in voxel edges."""
_SLAB_POINTS = 1 << 20


def contrast_support(
    angiogram: Angiogram,
    grid: VolumeGrid,
    *,
    window_s: float,
    progress: Progress,
    within: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Voxels of ``grid`` that may hold contrast.

    A voxel passes if, within some window of consecutive views, all samples of the line
    integrals at its projection but one exceed the threshold: twice the noise of the
    blurred images, and at least 1 % of the strongest line integral.

    Parameters
    ----------
    angiogram
        Views in any order of time.
    grid
        Voxels to test.
    window_s
        Length of a window, s, no longer than the bolus; at least four views are taken.
    progress
        Asked for cancelling.
    within
        Sorted C-order index of the voxels to test; default all.

    Returns
    -------
    (N,)
        Sorted C-order index, may be empty.
    """
    ordered = angiogram.select(np.argsort(angiogram.times_s, kind="stable"))
    images, threshold = _evidence(ordered, max(grid.spacing_mm))
    records, stops = view_records(ordered.geometry), _window_stops(ordered.times_s, window_s)
    count = grid.num_voxels if within is None else len(within)
    found = []
    for start in range(0, count, _SLAB_POINTS):
        progress.check_cancelled()
        stop = min(start + _SLAB_POINTS, count)
        flat = np.arange(start, stop) if within is None else within[start:stop]
        points = np.ascontiguousarray(grid.points_mm(flat).T, np.float32)
        found.append(flat[window_scores(points, images, records, stops, threshold) > 0])
    return np.concatenate(found)


def bounding_box(support: NDArray[np.int64], grid: VolumeGrid, margin_mm: float) -> VolumeGrid:
    """Smallest sub-grid that holds the supported voxels and ``margin_mm`` around them."""
    index = np.stack(np.unravel_index(support, grid.shape_zyx), -1)[:, ::-1]
    margin = np.ceil(margin_mm / np.array(grid.spacing_mm)).astype(int)
    start = np.maximum(index.min(0) - margin, 0)
    stop = np.minimum(index.max(0) + 1 + margin, grid.shape_zyx[::-1])
    return grid.cropped(start, stop)


def refined_support(
    support: NDArray[np.int64], coarse: VolumeGrid, fine: VolumeGrid, *, margin: int = 1
) -> NDArray[np.int64]:
    """Voxels of ``fine`` whose center lies in a supported voxel of ``coarse`` or within ``margin`` voxels of one."""
    mask = np.zeros(coarse.num_voxels, bool)
    mask[support] = True
    mask = mask.reshape(coarse.shape_zyx)
    if margin:
        mask = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=margin)
    axes = []
    inside = []
    for axis, positions in enumerate(fine.axes_mm()):
        index = np.rint((positions - coarse.origin_mm[axis]) / coarse.spacing_mm[axis]).astype(int)
        inside.append((index >= 0) & (index < coarse.shape_zyx[2 - axis]))
        axes.append(np.clip(index, 0, coarse.shape_zyx[2 - axis] - 1))
    chosen = mask[np.ix_(axes[2], axes[1], axes[0])] & inside[2][:, None, None] & inside[1][:, None] & inside[0]
    return np.flatnonzero(chosen)


def _evidence(angiogram: Angiogram, spacing_mm: float) -> tuple[NDArray[np.float32], float]:
    """Blurred line integrals (V, R, C), missing pixels marked, and the threshold for contrast."""
    row_mm, column_mm = angiogram.geometry.isocenter_pixel_mm
    sigma = tuple(max(_BLUR_PER_SPACING * spacing_mm / pixel, 0.5) for pixel in (row_mm, column_mm))
    variance = np.broadcast_to(angiogram.variance, angiogram.line_integrals.shape)
    measured = np.isfinite(variance) & np.isfinite(angiogram.line_integrals)
    filled = np.where(measured, angiogram.line_integrals, 0).astype(np.float32)
    images = np.stack([ndimage.gaussian_filter(image, sigma) for image in filled])
    # white noise blurred by a Gaussian keeps 1 / (4 pi sigma_r sigma_c) of its variance
    noise = np.sqrt(np.median(variance[measured]) / (4 * np.pi * sigma[0] * sigma[1])) if measured.any() else 0.0
    peak = float(np.percentile(images, 99.9))
    np.maximum(images, 0, out=images)
    images[~measured] = OUTSIDE
    return images, max(_NOISE_FACTOR * float(noise), _PEAK_SHARE * peak)


def _window_stops(times_s: NDArray[np.float64], window_s: float) -> NDArray[np.int32]:
    """Windows of views: window s consists of the views s ... stops[s] - 1."""
    count = len(times_s)
    stops = []
    for start in range(count):
        stop = int(np.searchsorted(times_s, times_s[start] + window_s * (1 + 1e-9), side="right"))
        stop = max(stop, min(start + _MIN_VIEWS, count))
        cut = times_s[start] + window_s > times_s[-1] + 1e-9
        enough = stop - start >= min(_MIN_VIEWS, count)
        if enough and (not cut or times_s[-1] - times_s[start] >= _LAST_WINDOW_SHARE * window_s):
            stops.append(stop)
        else:
            break
    return np.array(stops or [count], np.int32)
