"""Separable blur of image stacks with zeros beyond the border (numba)."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.threads import kernel_launch


@njit(parallel=True, fastmath=True, cache=True)
def _blur(images, taps, out):
    count, rows, columns = images.shape
    reach = taps.shape[0] // 2
    for task in prange(count):
        image = images[task]
        work = np.zeros((rows, columns + 2 * reach), np.float32)
        for row in range(rows):
            for k in range(taps.shape[0]):
                source = row + k - reach
                if source >= 0 and source < rows:
                    for column in range(columns):
                        work[row, column + reach] += taps[k] * image[source, column]
        for row in range(rows):
            for column in range(columns):
                out[task, row, column] = 0
            for k in range(taps.shape[0]):
                for column in range(columns):
                    out[task, row, column] += taps[k] * work[row, column + k]


def blurred(images: NDArray[np.float32], taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (n, R, C) convolved along rows and columns with symmetric ``taps`` (odd number), zero outside.

    Symmetric taps and zero borders make this its own adjoint.
    """
    out = np.empty_like(images)
    with kernel_launch(1):
        _blur(images, taps, out)
    return out
