"""Compositing with gradients for the training: our own kernels, or gsplat on a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DSAReconLib.errors import DependencyError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.alpha import Arrays, packed_views
from DSAReconLib.kernels.cuda.launch import Launch

INSTALL_GSPLAT = "pip install gsplat"


class Rasterizer(Protocol):
    """Composites one view at a time in front of white; remembers what density control asks for."""

    def __call__(
        self, view: int, means: Tensor, scales: Tensor, quats: Tensor, opacities: Tensor, colors: Tensor
    ) -> Tensor:
        """Picture (R, C) of Gaussians with opacities and colors (N,); differentiable in all tensors."""

    def screen(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """After the backward pass: gradient of the projected centers (N, 2) and radii (N,; 0 = not seen), in px."""


class OwnRasterizer:
    """The numba kernels of ``kernels.alpha`` (CPU)."""

    def __init__(self, geometry: ConeBeamGeometry) -> None:
        self._views, self._shape = packed_views(geometry), geometry.detector_shape
        self._memory: dict[str, Any] = {}

    def __call__(
        self, view: int, means: Tensor, scales: Tensor, quats: Tensor, opacities: Tensor, colors: Tensor
    ) -> Tensor:
        """Picture (R, C), see :class:`Rasterizer`."""
        image: Tensor = _Composite.apply(
            means, scales, quats, opacities, colors, self._views[view], self._shape, self._memory
        )
        return image

    def screen(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gradients of the centers (N, 2) and radii (N,), px, see :class:`Rasterizer`."""
        from DSAReconLib.kernels.alpha.cpu import footprint_radii

        return self._memory["centers"], footprint_radii(self._memory["frame"])


class _Composite(torch.autograd.Function):
    """Our kernels as a torch function of means, scales, quaternions, opacities and colors."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        scales: Tensor,
        quats: Tensor,
        opacities: Tensor,
        colors: Tensor,
        view: NDArray[np.float64],
        shape: tuple[int, int],
        memory: dict[str, Any],
    ) -> Tensor:
        from DSAReconLib.kernels.alpha import cpu

        arrays = (_array(means), _array(scales), _array(quats), _array(opacities), _array(colors))
        memory["frame"] = cpu.forward(*arrays, view, shape, 1.0)
        ctx.arrays, ctx.view, ctx.memory = arrays, view, memory
        return torch.from_numpy(memory["frame"].image)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from DSAReconLib.kernels.alpha import cpu

        slope = _array(gradient)
        arrays: Arrays = ctx.arrays
        shapes, sums = cpu.adjoint(*arrays, ctx.view, ctx.memory["frame"], 1.0, slope)
        ctx.memory["centers"] = sums[:, :2]
        parts = (shapes[:, :3], shapes[:, 3:6], shapes[:, 6:], sums[:, 5], sums[:, 6])
        return *(torch.from_numpy(np.ascontiguousarray(part)) for part in parts), None, None, None


class CudaRasterizer:
    """Our own CUDA kernels."""

    def __init__(self, geometry: ConeBeamGeometry, device: str, launch: Launch | None = None) -> None:
        self._matrices = torch.tensor(geometry.projection_matrices, dtype=torch.float32, device=device)
        self._shape, self._launch = geometry.detector_shape, launch
        self._records = torch.empty(0)

    def __call__(
        self, view: int, means: Tensor, scales: Tensor, quats: Tensor, opacities: Tensor, colors: Tensor
    ) -> Tensor:
        """Picture (R, C), see :class:`Rasterizer`."""
        from DSAReconLib.kernels.cuda.alpha import composite

        tensors = (means, scales, quats, opacities, colors)
        image, self._records = composite(*tensors, self._matrices[view], self._shape, launch=self._launch)
        self._records.retain_grad()
        return image

    def screen(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gradients of the centers (N, 2) and radii (N,), px, see :class:`Rasterizer`."""
        from DSAReconLib.kernels.cuda.alpha import footprint_radii

        gradient = self._records.grad
        if gradient is None:
            raise ValueError("screen() is asked for after the backward pass")
        # what took part in no pixel has no gradient of its color either
        seen = footprint_radii(self._records.detach(), torch.nonzero(gradient[:, 6])[:, 0])
        return gradient[:, :2].cpu().numpy(), seen.cpu().numpy()


def _array(tensor: Tensor) -> NDArray[np.float32]:
    """Contiguous values of a CPU tensor."""
    return np.ascontiguousarray(tensor.detach().numpy())


class GsplatRasterizer:
    """gsplat's CUDA rasterizer for the views of a cone-beam geometry.

    Raises
    ------
    DependencyError
        gsplat is not installed.
    GeometryError
        A detector whose rows and columns are not perpendicular: gsplat knows pinhole cameras only.
    """

    def __init__(self, geometry: ConeBeamGeometry, device: str) -> None:
        if find_spec("gsplat") is None:
            raise DependencyError(
                "TOGS on a CUDA device renders through gsplat, which is not installed.",
                hint=f"{INSTALL_GSPLAT}, or set togs.rasterizer=own, or choose device 'cpu'.",
            )
        cameras, intrinsics, self._flipped = pinhole_cameras(geometry)
        self._cameras = torch.tensor(cameras, dtype=torch.float32, device=device)
        self._intrinsics = torch.tensor(intrinsics, dtype=torch.float32, device=device)
        self._shape = geometry.detector_shape
        self._white = torch.ones(1, 1, device=device)
        self._meta: dict[str, Any] = {}

    def __call__(
        self, view: int, means: Tensor, scales: Tensor, quats: Tensor, opacities: Tensor, colors: Tensor
    ) -> Tensor:
        """Picture (R, C), see :class:`Rasterizer`."""
        import gsplat

        rows, columns = self._shape
        images, _, self._meta = gsplat.rasterization(
            means=means, quats=quats, scales=scales, opacities=opacities, colors=colors[:, None],
            viewmats=self._cameras[view : view + 1], Ks=self._intrinsics[view : view + 1],
            width=columns, height=rows, backgrounds=self._white, packed=False, sh_degree=None,
        )  # fmt: skip
        self._meta["means2d"].retain_grad()
        image: Tensor = images[0, :, :, 0]
        return image.flip(0) if self._flipped[view] else image

    def screen(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gradients of the centers (N, 2) and radii (N,), px, see :class:`Rasterizer`."""
        radii = self._meta["radii"][0]
        largest = radii.amax(-1) if radii.ndim == 2 else radii
        gradient: NDArray[np.float32] = self._meta["means2d"].grad[0].cpu().numpy()
        return gradient, largest.float().cpu().numpy()


def pinhole_cameras(
    geometry: ConeBeamGeometry,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """World-to-camera matrices (V, 4, 4) and intrinsics (V, 3, 3) with pixel centers at +0.5.

    A camera sees the object, a detector is looked at: where columns, rows and direction
    of the rays form a left-handed frame, the image is the camera's with its rows flipped;
    these views are marked in the third array (V,).
    """
    from DSAReconLib.errors import GeometryError

    columns, rows = geometry.detector_u_mm, geometry.detector_v_mm
    width, height = (np.linalg.norm(step, axis=1) for step in (columns, rows))
    right, down = columns / width[:, None], rows / height[:, None]
    if np.abs((right * down).sum(1)).max() > 1e-4:
        raise GeometryError(
            "A detector's rows and columns are not perpendicular; gsplat cannot render that.",
            hint="Set togs.rasterizer=own.",
        )
    ahead = np.cross(right, down)
    flipped = ((geometry.detector_center_mm - geometry.source_mm) * ahead).sum(1) < 0
    down = np.where(flipped[:, None], -down, down)
    ahead = np.where(flipped[:, None], -ahead, ahead)
    rotation = np.stack([right, down, ahead], 1)
    cameras = np.tile(np.eye(4), (len(geometry), 1, 1))
    cameras[:, :3, :3] = rotation
    cameras[:, :3, 3] = -np.einsum("vij,vj->vi", rotation, geometry.source_mm)
    center = np.einsum("vij,vj->vi", rotation, geometry.detector_center_mm - geometry.source_mm)
    shape = geometry.detector_shape
    intrinsics = np.zeros((len(geometry), 3, 3))
    intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 2, 2] = center[:, 2] / width, center[:, 2] / height, 1
    intrinsics[:, 0, 2] = shape[1] / 2 - center[:, 0] / width
    intrinsics[:, 1, 2] = shape[0] / 2 - center[:, 1] / height
    return cameras, intrinsics, flipped


def make_rasterizer(kind: str, geometry: ConeBeamGeometry, device: str) -> Rasterizer:
    """The configured rasterizer (``auto``, ``own`` or ``gsplat``) for a device.

    Raises
    ------
    DependencyError
        gsplat is not installed, or is asked for on the CPU.
    """
    if kind == "gsplat" or (kind == "auto" and device != "cpu"):
        if device == "cpu":
            raise DependencyError("gsplat has no CPU kernels.", hint="Set togs.rasterizer=own or choose device 'cuda'.")
        return GsplatRasterizer(geometry, device)
    return OwnRasterizer(geometry) if device == "cpu" else CudaRasterizer(geometry, device)
