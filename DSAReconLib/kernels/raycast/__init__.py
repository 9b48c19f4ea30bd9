"""Cone-beam ray casting on voxel grids: line integrals, their exact adjoint, FDK's backprojection.

All functions take and give float32 numpy arrays, check them once, and run on the CPU: by
numba where it is installed, by torch otherwise. Voxels outside the volume count as zero:
the attenuation falls linearly from the outermost voxel centers to zero one voxel further.
Rays start at the source; what lies behind it is not seen. For repeated use with one
geometry, for torch tensors and for CUDA see
:class:`DSAReconLib.operators.ConeBeamProjector`.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.raycast.setup import RaySetup

__all__ = ["RaySetup", "backproject", "backproject_dynamic", "backproject_fdk", "project", "project_dynamic"]


def project(
    volume: ArrayLike, grid: VolumeGrid, geometry: ConeBeamGeometry, *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Line integrals of a volume along the rays to every detector pixel, Joseph's method.

    Parameters
    ----------
    volume
        Attenuation (Z, Y, X), 1/mm.
    grid
        Its voxels; any spacing and origin.
    geometry
        V poses in any orientation.
    out
        Array (V, R, C), float32, C-contiguous, that takes the result.

    Returns
    -------
    (V, R, C) float32, dimensionless.

    Raises
    ------
    ValueError
        Wrong shape, or NaN or infinity in ``volume``.

    References
    ----------
    P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE
    TMI 1(3), 1982.
    """
    setup = RaySetup.of(grid, geometry)
    checked = checked_array("volume", volume, grid.shape_zyx)
    return backend().project(checked, setup, out=_checked_out(out, setup.range_shape))


def backproject(
    projections: ArrayLike, geometry: ConeBeamGeometry, grid: VolumeGrid, *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Exact adjoint of :func:`project`: <project(x), y> = <x, backproject(y)>.

    Parameters
    ----------
    projections
        (V, R, C).
    geometry, grid
        As for :func:`project`.
    out
        Array (Z, Y, X), float32, C-contiguous, that takes the result.

    Returns
    -------
    (Z, Y, X) float32, in mm times the unit of ``projections``; the same bits for any
    number of threads.

    Raises
    ------
    ValueError
        As :func:`project`.
    """
    setup = RaySetup.of(grid, geometry)
    checked = checked_array("projections", projections, setup.range_shape)
    return backend().backproject(checked, setup, out=_checked_out(out, grid.shape_zyx))


def backproject_fdk(
    filtered: ArrayLike, geometry: ConeBeamGeometry, grid: VolumeGrid, *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Voxel-driven backprojection of filtered projections with weight 1 / depth^2.

    volume(x) = sum over views of filtered(pixel where x is seen) / depth(x)^2, bilinear
    between pixels, zero outside the detector. The depth is the distance from the source
    along the detector normal, in mm; the caller brings in sod_mm^2 and the angular step
    (Feldkamp, Davis, Kress, JOSA A 1984, eq. 28). Not the adjoint of anything here.

    Parameters
    ----------
    filtered
        (V, R, C).
    geometry, grid, out
        As for :func:`backproject`.

    Returns
    -------
    (Z, Y, X) float32, in 1/mm^2 times the unit of ``filtered``.

    Raises
    ------
    ValueError
        As :func:`project`.
    """
    setup = RaySetup.of(grid, geometry)
    checked = checked_array("filtered", filtered, setup.range_shape)
    return backend().backproject_fdk(checked, setup, out=_checked_out(out, grid.shape_zyx))


def project_dynamic(
    coefficients: ArrayLike, weights: ArrayLike, grid: VolumeGrid, geometry: ConeBeamGeometry
) -> NDArray[np.float32]:
    """Line integrals of attenuation that changes from view to view, sum_k weights[v, k] coefficients[k].

    Parameters
    ----------
    coefficients
        Volumes (K, Z, Y, X), 1/mm, e.g. attenuation at K time knots.
    weights
        (V, K), e.g. :meth:`DSAReconLib.reconstruction.TemporalBasis.at` of the view times.
        Zeros cost nothing: with linear interpolation in time two volumes per view count.
    grid, geometry
        As for :func:`project`.

    Returns
    -------
    (V, R, C) float32, dimensionless.

    Raises
    ------
    ValueError
        As :func:`project`.

    References
    ----------
    The rendering of TiAVox (arXiv 2309.02318), with Joseph's samples instead of points.
    """
    setup = RaySetup.of(grid, geometry)
    mixing = checked_weights(weights, setup.num_views)
    checked = checked_array("coefficients", coefficients, (mixing.shape[1], *grid.shape_zyx))
    return backend().project_dynamic(checked, mixing, setup)  # type: ignore[no-any-return]


def backproject_dynamic(
    projections: ArrayLike, weights: ArrayLike, geometry: ConeBeamGeometry, grid: VolumeGrid
) -> NDArray[np.float32]:
    """Exact adjoint of :func:`project_dynamic` in the coefficients: (K, Z, Y, X).

    Parameters
    ----------
    projections
        (V, R, C).
    weights, geometry, grid
        As for :func:`project_dynamic`.

    Raises
    ------
    ValueError
        As :func:`project`.
    """
    setup = RaySetup.of(grid, geometry)
    mixing = checked_weights(weights, setup.num_views)
    checked = checked_array("projections", projections, setup.range_shape)
    return backend().backproject_dynamic(checked, mixing, setup)  # type: ignore[no-any-return]


def backend() -> ModuleType:
    """Module with the functions of this page for checked float32 arrays and a :class:`RaySetup`."""
    from DSAReconLib.kernels.backend import cpu_kernels

    if cpu_kernels() == "numba":
        from DSAReconLib.kernels.raycast import cpu

        return cpu
    from DSAReconLib.kernels.raycast import cpu_torch

    return cpu_torch


def checked_array(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``values`` as C-contiguous float32 array of ``shape`` without NaN or infinity.

    Raises
    ------
    ValueError
        Naming ``name``, what was found and what was expected.
    """
    array = np.ascontiguousarray(values, np.float32)
    if array.shape != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}; got {array.shape}")
    # the sum is finite if all elements are: one pass without a temporary array
    if not math.isfinite(float(array.sum())) and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite; got {array[where]} at {where}")
    return array


def checked_weights(weights: ArrayLike, views: int) -> NDArray[np.float32]:
    """Mixing weights as float32 array (views, K).

    Raises
    ------
    ValueError
        Not a matrix of that many rows, or not finite.
    """
    shape = np.shape(weights)
    if len(shape) != 2 or shape[0] != views:
        raise ValueError(f"weights must have shape ({views}, K); got {shape}")
    return checked_array("weights", weights, shape)


def _checked_out(out: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    if out is not None and (out.shape != tuple(shape) or out.dtype != np.float32 or not out.flags.c_contiguous):
        raise ValueError(f"out must be a C-contiguous float32 array of shape {tuple(shape)}")
    return out
