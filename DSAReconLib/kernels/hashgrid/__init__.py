"""Multi-resolution hash encoding of 3D and 4D points: forward and both gradients.

Functions of float32 numpy arrays, checked once, on the CPU: by numba where it is
installed, by torch otherwise. For torch tensors, CUDA and autograd see
:func:`DSAReconLib.kernels.hashgrid.autograd.encode`.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.kernels.hashgrid.spec import HashGrid

__all__ = ["HashGrid", "encode", "encode_adjoint", "encode_points_adjoint"]


def encode(
    points: ArrayLike, table: ArrayLike, grid: HashGrid, *, active_levels: int | None = None
) -> NDArray[np.float32]:
    """Interpolated features of points in the unit cube.

    Parameters
    ----------
    points
        (N, D); coordinates outside [0, 1] are clamped.
    table
        ``grid.table_shape``, all levels one after another.
    grid
        Levels and their places in the table.
    active_levels
        The features of the levels from this one on are 0; default all are active.

    Returns
    -------
    (N, L * F) float32, level by level.

    Raises
    ------
    ValueError
        Wrong shape, or NaN or infinity.

    References
    ----------
    T. Mueller, A. Evans, C. Schied, A. Keller, "Instant neural graphics primitives with a
    multiresolution hash encoding", ACM TOG 41(4), 2022.
    """
    checked = _checked("points", points, (None, grid.dimensions))
    return backend().encode(  # type: ignore[no-any-return]
        checked, _checked("table", table, grid.table_shape), grid, active_count(grid, active_levels)
    )


def encode_adjoint(
    points: ArrayLike, gradients: ArrayLike, grid: HashGrid, *, active_levels: int | None = None
) -> NDArray[np.float32]:
    """Gradient with respect to the table, from that with respect to the features.

    :func:`encode` is linear in the table, and this its exact adjoint.

    Parameters
    ----------
    points, grid, active_levels
        As for :func:`encode`.
    gradients
        (N, L * F).

    Returns
    -------
    ``grid.table_shape``, float32; the same bits for any number of threads.
    """
    checked = _checked("points", points, (None, grid.dimensions))
    slopes = _checked("gradients", gradients, (len(checked), grid.width))
    return backend().encode_adjoint(checked, slopes, grid, active_count(grid, active_levels))  # type: ignore[no-any-return]


def encode_points_adjoint(
    points: ArrayLike, table: ArrayLike, gradients: ArrayLike, grid: HashGrid, *, active_levels: int | None = None
) -> NDArray[np.float32]:
    """Gradient (N, D) with respect to the points; arguments as for the other two functions.

    The features are linear between vertices: on a face of a cell this is the derivative
    of the cell above. Clamped coordinates get the derivative at the border.
    """
    checked = _checked("points", points, (None, grid.dimensions))
    slopes = _checked("gradients", gradients, (len(checked), grid.width))
    return backend().encode_points_adjoint(  # type: ignore[no-any-return]
        checked, _checked("table", table, grid.table_shape), slopes, grid, active_count(grid, active_levels)
    )


def backend() -> ModuleType:
    """Module with the functions of this page for checked float32 arrays."""
    from DSAReconLib.kernels.backend import cpu_kernels

    if cpu_kernels() == "numba":
        from DSAReconLib.kernels.hashgrid import cpu

        return cpu
    from DSAReconLib.kernels.hashgrid import cpu_torch

    return cpu_torch


def active_count(grid: HashGrid, active_levels: int | None) -> int:
    """Number of active levels, 0 to L; ``None`` means all."""
    return grid.levels if active_levels is None else max(0, min(int(active_levels), grid.levels))


def _checked(name: str, values: ArrayLike, shape: tuple[int | None, int]) -> NDArray[np.float32]:
    """C-contiguous finite float32 array; ``None`` stands for any length."""
    array = np.ascontiguousarray(values, np.float32)
    rows = len(array) if shape[0] is None else shape[0]
    if array.shape != (rows, shape[1]):
        raise ValueError(f"{name} must have shape ({shape[0] or 'N'}, {shape[1]}); got {array.shape}")
    if not np.isfinite(array.sum(dtype=np.float64)):
        raise ValueError(f"{name} must be finite")
    return array
