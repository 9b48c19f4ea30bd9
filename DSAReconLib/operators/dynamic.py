"""The cone-beam projector of attenuation that changes from view to view."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels import raycast
from DSAReconLib.kernels.backend import resolve_device
from DSAReconLib.kernels.raycast.workspace import Workspace
from DSAReconLib.operators.dispatch import LinearKernel, apply_linear, raycast_kernel
from DSAReconLib.operators.linear import LinearOperator


class DynamicConeBeamProjector(LinearOperator):
    """Line integrals (V, R, C) of sum_k weights[v, k] x[k], x (K, Z, Y, X).

    The time mixing is part of the projection: the (V, Z, Y, X) movie never exists.

    Parameters
    ----------
    grid, geometry, device
        As for :class:`~DSAReconLib.operators.conebeam.ConeBeamProjector`.
    weights
        (V, K), e.g. ``TemporalBasis.at(times_s)``; zeros cost nothing.

    Raises
    ------
    ValueError
        ``weights`` has not one row per view.
    """

    def __init__(self, grid: VolumeGrid, geometry: ConeBeamGeometry, weights: ArrayLike, device: str = "cpu") -> None:
        setup = raycast.RaySetup.of(grid, geometry)
        self._assign(setup, raycast.checked_weights(weights, setup.num_views), resolve_device(device), Workspace())

    def _assign(self, setup: raycast.RaySetup, weights: Any, device: str, workspace: Workspace) -> None:
        self._setup, self._weights, self._device, self._workspace = setup, weights, device, workspace

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """(K, Z, Y, X)."""
        return (self._weights.shape[1], *self._setup.grid.shape_zyx)

    @property
    def range_shape(self) -> tuple[int, ...]:
        """(V, R, C)."""
        return self._setup.range_shape

    def __len__(self) -> int:
        return self._setup.num_views

    def __getitem__(self, views: slice | int | ArrayLike) -> DynamicConeBeamProjector:
        """Operator of some views (an integer gives one view, its axis stays)."""
        part = object.__new__(DynamicConeBeamProjector)
        weights = self._weights[views].reshape(-1, self._weights.shape[1])
        part._assign(self._setup.subset(views), weights, self._device, self._workspace)
        return part

    def __call__(self, x: Any) -> Any:
        """Line integrals (V, R, C) of coefficients x (K, Z, Y, X), 1/mm."""
        return apply_linear(self._forward_kernel(), self._adjoint_kernel(), x, self._device)

    def adjoint(self, y: Any) -> Any:
        """Exact adjoint: coefficients (K, Z, Y, X) of projections y (V, R, C)."""
        return apply_linear(self._adjoint_kernel(), self._forward_kernel(), y, self._device)

    def _forward_kernel(self) -> LinearKernel:
        return self._kernel("project_dynamic", "coefficients", self.domain_shape)

    def _adjoint_kernel(self) -> LinearKernel:
        return self._kernel("backproject_dynamic", "projections", self.range_shape)

    def _kernel(self, name: str, argument: str, shape: tuple[int, ...]) -> LinearKernel:
        return raycast_kernel(name, argument, shape, (self._weights, self._setup), self._workspace)
