"""Projection of a list of voxels with temporal coefficients, as a linear operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.sparse.backend import CPU_KERNELS, Array, Pair, SparseKernels
from DSAReconLib.kernels.sparse.views import view_records


class SparseProjector:
    """A: attenuation of N voxels per view (V, N), 1/mm -> line integrals (V, R, C).

    ``A(values)``, ``A.T(images)`` is the exact adjoint, ``A[views]`` the operator of these
    views. :meth:`project` and :meth:`backproject` combine it with a temporal basis B (V, K):
    coefficients (K, N) -> line integrals of ``B @ coefficients``. Memory: positions (12 bytes
    per voxel) and the arguments; neither index tables nor (view, voxel) intermediates.

    Parameters
    ----------
    points_mm
        Voxel centers (N, 3), LPS mm.
    spacing_mm
        Edge of the cubic voxels; at most about one pixel at their depth, or holes appear.
    geometry
        Poses of V views.
    kernels
        Where to compute. numpy arrays give numpy arrays, arrays of the kernels' device stay there.
    """

    def __init__(
        self, points_mm: ArrayLike, spacing_mm: float, geometry: ConeBeamGeometry, kernels: SparseKernels = CPU_KERNELS
    ) -> None:
        self.kernels = kernels
        self._points = kernels.array(np.ascontiguousarray(np.asarray(points_mm, np.float32).T))
        self._volume_mm3 = float(spacing_mm) ** 3
        self._records = view_records(geometry)
        self._detector_shape = geometry.detector_shape

    def __len__(self) -> int:
        return len(self._records)

    @property
    def domain_shape(self) -> tuple[int, int]:
        """(V, N)."""
        return len(self._records), self._points.shape[1]

    @property
    def range_shape(self) -> tuple[int, int, int]:
        """(V, R, C)."""
        return (len(self._records), *self._detector_shape)

    def __getitem__(self, views: slice | ArrayLike) -> SparseProjector:
        """Operator of the given views; shares the voxels."""
        part = object.__new__(SparseProjector)
        part.kernels, part._points, part._volume_mm3 = self.kernels, self._points, self._volume_mm3
        part._records = np.ascontiguousarray(self._records[views if isinstance(views, slice) else np.asarray(views)])
        part._detector_shape = self._detector_shape
        return part

    def at(self, voxels: NDArray[np.intp]) -> SparseProjector:
        """Operator of the voxels with the given numbers (n,); shares the views."""
        part = self[:]
        part._points = self.kernels.array(np.take(self.kernels.host(self._points), voxels, axis=1))
        return part

    def __call__(self, values: Array) -> Array:
        """Line integrals (V, R, C) of voxel values (V, N)."""
        return self.kernels.splat_voxels(self._points, values, self._volume_mm3, self._records, self._detector_shape)

    @property
    def T(self) -> Callable[[Array], Array]:  # noqa: N802
        """The adjoint: images (V, R, C) -> voxel values (V, N)."""
        return self._adjoint

    def _adjoint(self, images: Array) -> Array:
        return self.kernels.gather_voxels(self._points, images, self._volume_mm3, self._records)

    def project(self, basis: Array, coefficients: Array) -> Array:
        """Line integrals (V, R, C) of ``basis @ coefficients``, basis (V, K), coefficients (K, N)."""
        return self.kernels.project_curves(
            self._points, basis, coefficients, self._volume_mm3, self._records, self._detector_shape
        )

    def backproject(self, basis: Array, images: Array) -> Array:
        """Adjoint of :meth:`project` for a fixed basis: images (V, R, C) -> (K, N)."""
        return self.kernels.backproject_curves(self._points, basis, images, self._volume_mm3, self._records)

    def descend(
        self, basis: Array, images: Array, state: Pair, majorizer: Pair, *, gradient_scale: float, momentum: float
    ) -> None:
        """Step with the gradient of :meth:`backproject`, see :func:`DSAReconLib.kernels.sparse.voxels.descend`."""
        place = (self._points, basis, images, self._volume_mm3, self._records)
        self.kernels.descend(*place, state, majorizer, gradient_scale=gradient_scale, momentum=momentum)
