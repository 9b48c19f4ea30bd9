"""The cone-beam projector as a linear operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels import raycast
from DSAReconLib.kernels.backend import resolve_device
from DSAReconLib.kernels.raycast.workspace import Workspace
from DSAReconLib.operators.dispatch import LinearKernel, apply_linear, raycast_kernel
from DSAReconLib.operators.linear import LinearOperator

if TYPE_CHECKING:
    from DSAReconLib.kernels.raycast import RaySetup


class ConeBeamProjector(LinearOperator):
    """Line integrals (V, R, C) of attenuation volumes (Z, Y, X), Joseph's method.

    Parameters
    ----------
    grid
        Voxels of the volume.
    geometry
        Poses of the V views.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:i"``: where numpy arrays are
        computed. Tensors are computed where they lie.

    Notes
    -----
    float32 tensors run on the fast kernels (numba on the CPU without a copy, CUDA),
    everything else, float64 above all, on the torch reference. Differentiable to any
    order in the volume (it is linear), not in the geometry. The set-up is computed once;
    ``A[views]`` shares it, so stepping through views is cheap.

    Examples
    --------
    >>> import numpy as np
    >>> from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
    >>> geometry = ConeBeamGeometry.from_angles(
    ...     [0.0, 90.0], sod_mm=750, sdd_mm=1200, detector_shape=(8, 8), detector_spacing_mm=(4, 4)
    ... )
    >>> A = ConeBeamProjector(VolumeGrid.centered(8, 2.0), geometry)
    >>> y = A(np.ones(A.domain_shape, np.float32))
    >>> y.shape, A.T(y).shape, A[1:](A.T(y)).shape
    ((2, 8, 8), (8, 8, 8), (1, 8, 8))
    """

    def __init__(self, grid: VolumeGrid, geometry: ConeBeamGeometry, device: str = "cpu") -> None:
        self._assign(raycast.RaySetup.of(grid, geometry), geometry, resolve_device(device), Workspace())

    def _assign(self, setup: RaySetup, geometry: ConeBeamGeometry, device: str, workspace: Workspace) -> None:
        self._setup, self._geometry, self._device, self._workspace = setup, geometry, device, workspace

    @property
    def grid(self) -> VolumeGrid:
        """Voxels of the domain."""
        return self._setup.grid

    @property
    def geometry(self) -> ConeBeamGeometry:
        """Poses of the range."""
        return self._geometry

    @property
    def domain_shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        return self._setup.grid.shape_zyx

    @property
    def range_shape(self) -> tuple[int, int, int]:
        """(V, R, C)."""
        return self._setup.range_shape

    def __len__(self) -> int:
        return self._setup.num_views

    def __getitem__(self, views: slice | int | ArrayLike) -> ConeBeamProjector:
        """Operator of some views (an integer gives one view, its axis stays)."""
        part = object.__new__(ConeBeamProjector)
        part._assign(self._setup.subset(views), self._geometry[views], self._device, self._workspace)
        return part

    def __call__(self, x: Any) -> Any:
        """Line integrals (V, R, C) of the volume x (Z, Y, X), 1/mm.

        Raises
        ------
        ValueError
            Wrong shape, or NaN or infinity in an array on the CPU.
        """
        return apply_linear(self._forward_kernel(), self._adjoint_kernel(), x, self._device)

    def adjoint(self, y: Any) -> Any:
        """Exact adjoint: volume (Z, Y, X) of projections y (V, R, C)."""
        return apply_linear(self._adjoint_kernel(), self._forward_kernel(), y, self._device)

    def backproject_fdk(self, filtered: Any) -> Any:
        """FDK's voxel-driven backprojection, see :func:`DSAReconLib.kernels.raycast.backproject_fdk`.

        Without gradient: no iterative method needs it.
        """
        return apply_linear(self._kernel("backproject_fdk", "filtered", self.range_shape), None, filtered, self._device)

    def _forward_kernel(self) -> LinearKernel:
        return self._kernel("project", "volume", self.domain_shape)

    def _adjoint_kernel(self) -> LinearKernel:
        return self._kernel("backproject", "projections", self.range_shape)

    def _kernel(self, name: str, argument: str, shape: tuple[int, ...]) -> LinearKernel:
        return raycast_kernel(name, argument, shape, (self._setup,), self._workspace)
