"""Projection of a list of voxels with temporal coefficients, as a linear operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.kernels.sparse.voxels import backproject_curves, gather_voxels, project_curves, splat_voxels


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
    """

    def __init__(self, points_mm: ArrayLike, spacing_mm: float, geometry: ConeBeamGeometry) -> None:
        self._points = np.ascontiguousarray(np.asarray(points_mm, np.float32).T)
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
        part._points, part._volume_mm3 = self._points, self._volume_mm3
        part._records = np.ascontiguousarray(self._records[views if isinstance(views, slice) else np.asarray(views)])
        part._detector_shape = self._detector_shape
        return part

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Line integrals (V, R, C) of voxel values (V, N)."""
        images = np.empty(self.range_shape, np.float32)
        splat_voxels(self._points, values, self._volume_mm3, self._records, images)
        return images

    @property
    def T(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:  # noqa: N802
        """The adjoint: images (V, R, C) -> voxel values (V, N)."""
        return self._adjoint

    def _adjoint(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.empty(self.domain_shape, np.float32)
        gather_voxels(self._points, images, self._volume_mm3, self._records, values)
        return values

    def project(self, basis: NDArray[np.float32], coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """Line integrals (V, R, C) of ``basis @ coefficients``, basis (V, K), coefficients (K, N)."""
        images = np.empty(self.range_shape, np.float32)
        project_curves(self._points, np.ascontiguousarray(basis), coefficients, self._volume_mm3, self._records, images)
        return images

    def backproject(self, basis: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adjoint of :meth:`project` for a fixed basis: images (V, R, C) -> (K, N)."""
        result = np.empty((basis.shape[1], self._points.shape[1]), np.float32)
        backproject_curves(self._points, np.ascontiguousarray(basis), images, self._volume_mm3, self._records, result)
        return result
