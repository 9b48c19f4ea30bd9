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
def _second_smallest(samples, start, stop, missing, floor):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Second smallest sample of [start, stop), or ``floor`` if not above it or too many are missing."""
    smallest = second = np.float32(1e9)
    absent = 0
    for view in range(start, stop):
        value = samples[view]
        if value < missing:
            absent += 1
            if absent * 5 > stop - start:
                return floor
        elif value < smallest:
            second = smallest
            smallest = value
            if second <= floor:
                return floor
        elif value < second:
            second = value
            if second <= floor:
                return floor
    return second if second < np.float32(1e8) else floor


@njit(parallel=True, fastmath=True, cache=True)
def _window_scores(points, images, records, stops, threshold, missing, scores):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, rows, columns = images.shape
    block = 2048
    for task in prange((points.shape[1] + block - 1) // block):
        samples = np.empty(views, np.float32)
        for n in range(task * block, min((task + 1) * block, points.shape[1])):
            for view in range(views):
                samples[view] = _sample(
                    images[view], records[view], points[0, n], points[1, n], points[2, n], rows, columns
                )
            best = threshold
            for start in range(stops.shape[0]):
                best = max(best, _second_smallest(samples, start, stops[start], missing, best))
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
        _window_scores(points, images, records, window_stops, np.float32(threshold), OUTSIDE / 2, scores)
    return scores
