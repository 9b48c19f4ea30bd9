"""The sparse kernels of one device behind one set of methods, so that a method's code is the same for all.

Arrays stay in the form of the device (numpy on the CPU, torch tensors on a GPU) between
:meth:`SparseKernels.array` and :meth:`SparseKernels.host`; both understand arithmetic operators,
``@``, ``.T``, ``.sum``, ``.mean``, ``.clip`` and indexing alike. What they spell differently is a method here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.backend import resolve_device
from DSAReconLib.kernels.sparse import descent, gaussians, voxels, warped, windows
from DSAReconLib.kernels.sparse.descent import GaussianStep
from DSAReconLib.kernels.sparse.lattice import Lattice

if TYPE_CHECKING:
    from DSAReconLib.geometry import VolumeGrid

Array = Any
"""float32 numpy array or torch tensor of the kernels' device."""
Pair = tuple[Array, Array]
Shape = tuple[int, int]
"""Rows and columns of a detector."""
Moments = tuple[Array, Array, Array, Array]
"""First and second moment of Adam, of two arrays."""


class SparseKernels:
    """The numba kernels on numpy arrays; other devices override every method.

    V views, N voxels or Gaussians, K temporal functions, detector of R x C pixels; records
    (V, 17) are those of :func:`DSAReconLib.kernels.sparse.views.view_records`. Methods that
    compute one array from others return the form of their main argument: an array of the
    device for one of the device, a numpy array for a numpy array.
    """

    device: str = "cpu"

    def array(self, values: Array) -> Array:
        """The values in the form of the device; the same object if it has it already."""
        return values

    def host(self, values: Array) -> NDArray[np.float32]:
        """The values as numpy array."""
        return np.asarray(values)

    def copy_of(self, values: Array) -> Array:
        """A contiguous copy in the form of the device."""
        return values.copy()

    def full(self, shape: tuple[int, ...], value: float, *, like: Array) -> Array:
        """Array of one value, in the form of ``like``."""
        return np.full(shape, value, np.float32)

    def slice_points(self, grid: VolumeGrid, start: int, stop: int) -> Array:
        """Voxel centers (3, n), mm, of the slices ``start`` ... ``stop - 1`` of a grid, in C order."""
        _, rows, columns = grid.shape_zyx
        points = np.empty((3, stop - start, rows, columns), np.float32)
        index = np.arange(columns), np.arange(rows)[:, None], np.arange(start, stop)[:, None, None]
        for axis, origin in enumerate(grid.origin_mm):
            points[axis] = index[axis] * grid.spacing_mm[0] + origin
        return points.reshape(3, -1)

    def window_scores(
        self, points: Array, images: Array, records: Array, window_stops: NDArray[np.int32], threshold: float
    ) -> Array:
        """Scores (N,) of points (3, N), see :func:`DSAReconLib.kernels.sparse.windows.window_scores`."""
        return windows.window_scores(points, images, records, window_stops, threshold)

    def splat_voxels(
        self, points: Array, values: Array, volume_mm3: float, records: Array, detector_shape: Shape
    ) -> Array:
        """Line integrals (V, R, C) of values (V, N) at points (3, N)."""
        images = np.empty((len(records), *detector_shape), np.float32)
        voxels.splat_voxels(points, values, volume_mm3, records, images)
        return images

    def gather_voxels(self, points: Array, images: Array, volume_mm3: float, records: Array) -> Array:
        """Adjoint of :meth:`splat_voxels`: (V, N) of images (V, R, C)."""
        values = np.empty((len(records), points.shape[1]), np.float32)
        voxels.gather_voxels(points, images, volume_mm3, records, values)
        return values

    def project_curves(
        self, points: Array, basis: Array, coefficients: Array, volume_mm3: float, records: Array, detector_shape: Shape
    ) -> Array:
        """Line integrals (V, R, C) of ``basis @ coefficients``, (V, K) and (K, N)."""
        images = np.empty((len(records), *detector_shape), np.float32)
        voxels.project_curves(points, np.ascontiguousarray(basis), coefficients, volume_mm3, records, images)
        return images

    def backproject_curves(
        self, points: Array, basis: Array, images: Array, volume_mm3: float, records: Array
    ) -> Array:
        """Adjoint of :meth:`project_curves` for a fixed basis: (K, N) of images (V, R, C)."""
        result = np.empty((basis.shape[1], points.shape[1]), np.float32)
        voxels.backproject_curves(points, np.ascontiguousarray(basis), images, volume_mm3, records, result)
        return result

    def descend(
        self,
        points: Array,
        basis: Array,
        images: Array,
        volume_mm3: float,
        records: Array,
        state: Pair,
        majorizer: Pair,
        *,
        gradient_scale: float,
        momentum: float,
    ) -> None:
        """See :func:`DSAReconLib.kernels.sparse.voxels.descend`."""
        speed = {"gradient_scale": gradient_scale, "momentum": momentum}
        voxels.descend(points, np.ascontiguousarray(basis), images, volume_mm3, records, state, majorizer, **speed)

    def render_gaussians(
        self, shapes: Array, amplitudes: Array, records: Array, detector_shape: Shape, aperture_px2: float
    ) -> Array:
        """Line integrals (V, R, C) of Gaussians: shapes (N, 4) = center (mm) and log sigma, amplitudes (V, N)."""
        images = np.empty((len(records), *detector_shape), np.float32)
        means, sigmas = np.ascontiguousarray(shapes[:, :3]), np.exp(shapes[:, 3])
        gaussians.render_gaussians(means, sigmas, amplitudes, records, images, aperture_px2)
        return images

    def gaussian_gradients(
        self, shapes: Array, amplitudes: Array, records: Array, image_gradients: Array, aperture_px2: float
    ) -> tuple[Array, Array]:
        """Gradients by shape (N, 4) and amplitude (V, N) for a gradient by the images (V, R, C)."""
        means, sigmas = np.ascontiguousarray(shapes[:, :3]), np.exp(shapes[:, 3])
        return gaussians.gaussian_gradients(means, sigmas, amplitudes, records, image_gradients, aperture_px2)

    def lattice(
        self, points_mm: Array, origin_mm: NDArray[np.float64], step_mm: float, shape: tuple[int, int, int]
    ) -> Any:
        """Interpolation from nodes to points (N, 3 or more), see :class:`DSAReconLib.kernels.sparse.lattice.Lattice`.

        ``read`` gives an array of the device, ``spread`` a numpy array.
        """
        return Lattice(points_mm, origin_mm, step_mm, shape)

    def warped_curves(self, coefficients: Array, table: Array, place: Array) -> tuple[Array, Array]:
        """See :func:`DSAReconLib.kernels.sparse.warped.warped_curves`."""
        return warped.warped_curves(coefficients, table, place)

    def warped_gradient(self, table: Array, place: Array, gradient: Array) -> Array:
        """See :func:`DSAReconLib.kernels.sparse.warped.warped_gradient`."""
        return warped.warped_gradient(table, place, gradient)

    def proximal_step(
        self, extrapolated: Array, current: Array, gradient: Array, curvature: Array, penalty: Array
    ) -> float:
        """See :func:`DSAReconLib.kernels.sparse.descent.proximal_step`."""
        return descent.proximal_step(extrapolated, current, gradient, curvature, penalty)

    def extrapolate(self, updated: Array, current: Array, momentum: float) -> None:
        """See :func:`DSAReconLib.kernels.sparse.descent.extrapolate`."""
        descent.extrapolate(updated, current, momentum)

    def gaussian_step(self, parameters: Pair, gradients: Pair, moments: Moments, step: GaussianStep) -> None:
        """See :func:`DSAReconLib.kernels.sparse.descent.gaussian_step`."""
        descent.gaussian_step(parameters, gradients, moments, step)

    def huber_slopes(self, model: Array, data: Array, weights: Array, limit: float) -> float:
        """See :func:`DSAReconLib.kernels.sparse.descent.huber_slopes`."""
        return descent.huber_slopes(model, data, weights, limit)


CPU_KERNELS = SparseKernels()


def sparse_kernels(device: str) -> SparseKernels:
    """The kernels of ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.

    Raises
    ------
    DependencyError
        A CUDA device is asked for that cannot be used.
    """
    device = resolve_device(device)
    if device == "cpu":
        return CPU_KERNELS
    from DSAReconLib.kernels.cuda.sparse import CudaSparseKernels

    return CudaSparseKernels(device)
