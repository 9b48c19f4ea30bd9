"""Normal equations for how each view's image is shifted and turned against a model's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS
from DSAReconLib.kernels.threads import kernel_launch


class MovementSums(NamedTuple):
    """Sums over the pixels of V views, by shift along rows, along columns, and turn.

    Parameters
    ----------
    information
        Weighted products of the model's slopes (V, 3, 3).
    right
        Weighted products of slopes and residual (V, 3).
    misfit
        Weighted squares of residual times slope along rows and columns (V,).
    """

    information: NDArray[np.float64]
    right: NDArray[np.float64]
    misfit: NDArray[np.float64]


@njit(parallel=True, **JIT_OPTIONS)
def _sums(model, data, weights, limit, centers, radius, information, right, misfit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    views, rows, columns = model.shape
    for view in prange(views):
        image, slopes = model[view], np.empty(3)
        for row in range(rows):
            above, below = max(row - 1, 0), min(row + 1, rows - 1)
            for column in range(columns):
                left, after = max(column - 1, 0), min(column + 1, columns - 1)
                slopes[0] = (np.float64(image[below, column]) - image[above, column]) / max(below - above, 1)
                slopes[1] = (np.float64(image[row, after]) - image[row, left]) / max(after - left, 1)
                steepness = slopes[0] * slopes[0] + slopes[1] * slopes[1]
                if steepness == 0:
                    continue
                slopes[2] = (column - centers[view, 1]) * slopes[0] - (row - centers[view, 0]) * slopes[1]
                slopes[2] /= radius
                residual = np.float64(data[view, row, column]) - image[row, column]
                weight = weights[view, row, column] / max(1.0, abs(residual) / limit)
                misfit[view] += weight * steepness * residual * residual
                for i in range(3):
                    right[view, i] += weight * slopes[i] * residual
                    for j in range(3):
                        information[view, i, j] += weight * slopes[i] * slopes[j]


def movement_sums(
    model: NDArray[np.float32],
    data: NDArray[np.float32],
    weights: NDArray[np.float32],
    *,
    limit: float,
    centers_px: NDArray[np.float64],
    radius_px: float,
) -> MovementSums:
    """Sums of a Gauss-Newton step that moves the model's images onto the data.

    Parameters
    ----------
    model, data, weights
        Line integrals and weights (V, R, C).
    limit
        Residual from which a pixel counts less, in inverse proportion to it.
    centers_px
        Pixel (row, column) per view about which it turns (V, 2).
    radius_px
        Distance from there at which a turn by 1 moves pixels by 1.
    """
    views = len(model)
    sums = MovementSums(np.zeros((views, 3, 3)), np.zeros((views, 3)), np.zeros(views))
    with kernel_launch(1):
        _sums(model, data, weights, float(limit), np.asarray(centers_px, float), float(radius_px), *sums)
    return sums
