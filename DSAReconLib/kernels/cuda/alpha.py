"""Alpha compositing of torch tensors by the CUDA kernels of ``alpha.cu``.

The projection is the torch reference with its autograd, lists per tile are made by sorting;
only the work per pixel is a kernel. The adjoint adds
atomically, so its last bits depend on the order of execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from DSAReconLib.kernels.alpha import LOW_PASS, NEAREST_MM, reference
from DSAReconLib.kernels.cuda.launch import Launch, gpu_launcher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from DSAReconLib.geometry import ConeBeamGeometry

_SOURCE = "alpha.cu"
_TILE = 16
_SLACK = 1.001


def composite(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    opacities: Tensor,
    colors: Tensor,
    matrix: Tensor,
    shape: tuple[int, int],
    *,
    background: float = 1.0,
    low_pass: float = LOW_PASS,
    launch: Launch | None = None,
) -> tuple[Tensor, Tensor]:
    """Picture (R, C) of one view, and the records (N, 7) that it is made of; float32, differentiable.

    A record is center (2), conic (3), opacity and color: what density control asks for is its gradient.
    ``matrix`` (3, 4) is the projection matrix to (column, row, 1) * depth; opacities and
    colors are (N,). See :func:`DSAReconLib.kernels.alpha.composite_alpha`.
    """
    launch = launch or gpu_launcher(_SOURCE, means.device)
    centers, conics, depths = reference.project(means, scales, quats, matrix, shape, low_pass=low_pass)
    records = torch.cat([centers, conics, opacities[:, None], colors[:, None]], 1)
    offsets, lists = tile_lists(records.detach(), depths.detach(), shape)
    image: Tensor = _Composite.apply(records, offsets, lists, shape, background, launch)
    return image, records


def composite_views(
    arrays: tuple[NDArray[np.float32], ...],
    geometry: ConeBeamGeometry,
    *,
    background: float,
    low_pass: float,
    device: str,
) -> NDArray[np.float32]:
    """Pictures (V, R, C) for :func:`composite_alpha` on a CUDA device."""
    means, scales, quats, opacities, colors = (torch.as_tensor(array, device=device) for array in arrays)
    images = np.empty((len(geometry), *geometry.detector_shape), np.float32)
    with torch.no_grad():
        for view, matrix in enumerate(geometry.projection_matrices):
            place = (means.new_tensor(matrix), geometry.detector_shape)
            image, _ = composite(
                means, scales, quats, opacities[view], colors[view], *place, background=background, low_pass=low_pass
            )
            images[view] = image.cpu().numpy()
    return images


def footprint_radii(records: Tensor, lists: Tensor) -> Tensor:
    """Larger half extent (N,) of each footprint at three standard deviations, px; 0 where no tile lists it."""
    middle = 0.5 * (records[:, 2] + records[:, 4])
    determinant = records[:, 2] * records[:, 4] - records[:, 3] ** 2
    smallest = middle - torch.sqrt((middle**2 - determinant).clamp(min=0))
    radii = torch.zeros_like(middle)
    shown = torch.unique(lists.long())
    radii[shown] = 3 / torch.sqrt(smallest[shown].clamp(min=1e-12))
    return radii


def tile_lists(records: Tensor, depths: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Offsets (tiles + 1,) into the list of Gaussians of all tiles, each nearest first; int32."""
    rows, columns = shape
    wide, high = -(-columns // _TILE), -(-rows // _TILE)
    determinant = records[:, 2] * records[:, 4] - records[:, 3] ** 2
    cut = 2 * _SLACK * torch.log(255 * records[:, 5].clamp(min=reference.MIN_ALPHA))
    half = torch.sqrt(cut[:, None] / determinant[:, None] * records[:, [4, 2]])
    last = records.new_tensor([columns - 1, rows - 1])
    low, high_edge = records[:, :2] - half, records[:, :2] + half
    shown = (depths > NEAREST_MM) & (records[:, 5] > reference.MIN_ALPHA)
    shown &= ((high_edge >= 0) & (low <= last)).all(1)
    which = torch.nonzero(shown)[:, 0]
    first = torch.floor(low[which] / _TILE).clamp(min=0).long()
    stop = torch.minimum(torch.floor(high_edge[which] / _TILE).long() + 1, first.new_tensor([wide, high]))
    extent = stop - first
    count = extent.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(which), device=records.device), count)
    place = torch.arange(len(owner), device=records.device) - (count.cumsum(0) - count)[owner]
    column, row = place % extent[owner, 0], torch.div(place, extent[owner, 0], rounding_mode="floor")
    tile = (first[owner, 1] + row) * wide + first[owner, 0] + column
    # stable sorts: by depth, then by tile
    order = torch.argsort(depths[which][owner], stable=True)
    order = order[torch.argsort(tile[order], stable=True)]
    offsets = torch.zeros(wide * high + 1, dtype=torch.int32, device=records.device)
    offsets[1:] = torch.bincount(tile, minlength=wide * high).cumsum(0)
    return offsets, which[owner[order]].int()


class _Composite(torch.autograd.Function):
    """The kernels as a torch function of the records (N, 7): center, conic, opacity, color."""

    @staticmethod
    def forward(
        ctx: Any,
        records: Tensor,
        offsets: Tensor,
        lists: Tensor,
        shape: tuple[int, int],
        background: float,
        launch: Launch,
    ) -> Tensor:
        records = records.contiguous()
        image, light = records.new_empty(shape), records.new_empty(shape)
        last = torch.empty(shape, dtype=torch.int32, device=records.device)
        place = [records, offsets, lists, *shape, -(-shape[1] // _TILE), background]
        launch("alpha_composite", _grid(shape), (_TILE, _TILE, 1), [*place, image, light, last])
        ctx.save_for_backward(records, offsets, lists, light, last)
        ctx.shape, ctx.background, ctx.launch = shape, background, launch
        return image

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        records, offsets, lists, light, last = ctx.saved_tensors
        out = torch.zeros_like(records)
        place = [records, offsets, lists, *ctx.shape, -(-ctx.shape[1] // _TILE), ctx.background]
        arguments = [*place, gradient.contiguous(), light, last, out]
        ctx.launch("alpha_composite_adjoint", _grid(ctx.shape), (_TILE, _TILE, 1), arguments)
        return out, None, None, None, None, None


def _grid(shape: tuple[int, int]) -> tuple[int, int, int]:
    return -(-shape[1] // _TILE), -(-shape[0] // _TILE), 1
