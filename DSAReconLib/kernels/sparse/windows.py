"""How long in a row the views agree that there is contrast at a point."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.threads import kernel_launch

OUTSIDE = np.float32(-1e4)
"""Pixel value that means "no measurement"; samples below half of it count as missing."""


@njit(inline="always")
def _sample(image, record, x, y, z, rows, columns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Bilinear sample at the projection of a point; OUTSIDE beyond the pixel array."""
    inverse_depth = np.float32(1) / (record[8] * x + record[9] * y + record[10] * z + record[11])
    column = (record[0] * x + record[1] * y + record[2] * z + record[3]) * inverse_depth
    row = (record[4] * x + record[5] * y + record[6] * z + record[7]) * inverse_depth
    if not (column >= 0 and row >= 0 and column < columns - 1 and row < rows - 1):
        return np.float32(-1e4)
    j, i = np.int32(column), np.int32(row)
    share_u, share_v = column - np.float32(j), row - np.float32(i)
    upper = image[i, j] + share_u * (image[i, j + 1] - image[i, j])
    lower = image[i + 1, j] + share_u * (image[i + 1, j + 1] - image[i + 1, j])
    return upper + share_v * (lower - upper)


@njit(inline="always")
def _best_window(samples, images, record, x, y, z, stops, floor):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Largest second-smallest sample of any window, or ``floor`` if none is above it.

    Views are sampled when they are first needed. Windows are read from their end: if two
    samples are not above the best score so far, every window that holds both fails, and the
    search goes on behind the earlier one.
    """
    _, rows, columns = images.shape
    samples[:] = np.inf
    start = 0
    while start < stops.shape[0]:
        stop = stops[start]
        smallest = second = np.float32(1e9)
        absent, following = 0, start + 1
        view = stop - 1
        while view >= start:
            if samples[view] == np.inf:
                samples[view] = _sample(images[view], record[view], x, y, z, rows, columns)
            value = samples[view]
            if value < np.float32(-5e3):
                absent += 1
            elif value < second:
                second = max(value, smallest)
                smallest = min(value, smallest)
            if second <= floor:
                following = view + 1
                break
            if absent * 5 > stop - start:
                second = floor
                break
            view -= 1
        if floor < second < np.float32(1e8):
            floor = second
        start = following
    return floor


@njit(parallel=True, fastmath={"nsz", "arcp", "contract", "reassoc"}, error_model="numpy", cache=True)
def _window_scores(points, images, records, stops, threshold, scores):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    block = 2048
    for task in prange((points.shape[1] + block - 1) // block):
        samples = np.empty(images.shape[0], np.float32)
        for n in range(task * block, min((task + 1) * block, points.shape[1])):
            best = _best_window(samples, images, records, points[0, n], points[1, n], points[2, n], stops, threshold)
            scores[n] = best if best > threshold else np.float32(0)


def window_scores(
    points: NDArray[np.float32],
    images: NDArray[np.float32],
    records: NDArray[np.float32],
    window_stops: NDArray[np.int32],
    threshold: float,
) -> NDArray[np.float32]:
    """Largest line integral that some window of consecutive views confirms at each point.

    score(x) = max over windows of the second-smallest sample within the window: one
    dissenting view is forgiven, two are not.

    Parameters
    ----------
    points
        Positions (3, N), mm.
    images
        Line integrals (V, R, C), views in the order of time; pixels without a measurement
        hold :data:`OUTSIDE`.
    records
        View records (V, 17).
    window_stops
        (S,): window s consists of the views s ... window_stops[s] - 1.
    threshold
        Scores that are not above it are returned as 0.

    Returns
    -------
    (N,), float32
        Scores; 0 as well where more than a fifth of every window is missing.
    """
    scores = np.empty(points.shape[1], np.float32)
    with kernel_launch(1):
        _window_scores(points, images, records, window_stops, np.float32(threshold), scores)
    return scores
