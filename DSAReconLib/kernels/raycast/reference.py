"""Ray casting in plain torch: the oracle of the fast kernels, and what runs where they cannot.

Any float dtype and device; differentiable by autograd. float64 computes in float64
throughout, so that adjointness holds to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.raycast.setup import AxisGroup, RaySetup

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLES_PER_CHUNK = 1 << 22
"""Samples handled at once: bounds the memory of one step to about 300 MB in float32."""


def project(volume: Tensor, setup: RaySetup) -> Tensor:
    """Line integrals (V, R, C) of a volume (z, y, x) by Joseph's method."""
    out = volume.new_zeros(setup.range_shape)
    for group in setup.groups:
        padded = _padded(volume.permute(group.permutation)).reshape(-1)
        for index, (view, row0, row1, column0, column1, *_) in enumerate(group.tiles.tolist()):
            image = volume.new_zeros((row1 - row0, column1 - column0))
            for offset, along, across, step in _samples(group, index, volume):
                image = image + step * _interpolate(padded, offset, group.shape_mba[2] + 3, along, across).sum(0)
            out[view, row0:row1, column0:column1] = image
    return out


def backproject(projections: Tensor, setup: RaySetup) -> Tensor:
    """Adjoint of :func:`project`: volume (z, y, x) of projections (V, R, C)."""
    out = projections.new_zeros(setup.grid.shape_zyx)
    for group in setup.groups:
        slices, count_b, count_a = group.shape_mba
        pitch = count_a + 3
        padded = projections.new_zeros(slices * (count_b + 3) * pitch)
        for index, (view, row0, row1, column0, column1, *_) in enumerate(group.tiles.tolist()):
            for offset, along, across, step in _samples(group, index, projections):
                value = (step * projections[view, row0:row1, column0:column1]).expand(offset.shape)
                for corner, weight in _corners(pitch, along, across):
                    padded = padded.index_add(0, (offset + corner).reshape(-1), (value * weight).reshape(-1))
        inner = padded.reshape(slices, count_b + 3, pitch)[:, 1:-2, 1:-2]
        back = sorted(range(3), key=lambda axis: group.permutation[axis])
        out = out + inner.permute(back)
    return out


def project_dynamic(
    coefficients: Tensor, weights: NDArray[np.float32], setup: RaySetup, run: Callable = project
) -> Tensor:
    """Line integrals (V, R, C); view v sees sum_k weights[v, k] coefficients[k], (K, z, y, x).

    ``run`` projects one volume.
    """
    out = coefficients.new_zeros(setup.range_shape)
    for view, row in enumerate(weights):
        knots = np.flatnonzero(row)
        if len(knots):
            mixed = sum(float(row[k]) * coefficients[k] for k in knots)
            out[view] = run(mixed, setup.subset(view))[0]
    return out


def backproject_dynamic(
    projections: Tensor, weights: NDArray[np.float32], setup: RaySetup, run: Callable = backproject
) -> Tensor:
    """Adjoint of :func:`project_dynamic` in the coefficients: (K, z, y, x); ``run`` backprojects one view."""
    out = projections.new_zeros((weights.shape[1], *setup.grid.shape_zyx))
    for view, row in enumerate(weights):
        knots = np.flatnonzero(row)
        if len(knots):
            volume = run(projections[view : view + 1], setup.subset(view))
            for k in knots:
                out[k] += float(row[k]) * volume
    return out


def backproject_fdk(filtered: Tensor, setup: RaySetup) -> Tensor:
    """Sum over views of filtered(projection of the voxel) / depth^2, (z, y, x)."""
    import torch

    views, rows, columns = setup.range_shape
    out = filtered.new_zeros(setup.grid.shape_zyx)
    index = [torch.arange(n, dtype=filtered.dtype, device=filtered.device) for n in setup.grid.shape_zyx]
    z, y, x = torch.meshgrid(*index, indexing="ij")
    matrices = torch.as_tensor(setup.matrices, dtype=filtered.dtype, device=filtered.device).reshape(-1, 3, 4)
    for view in range(views):
        column, row, depth = (m[0] * x + m[1] * y + m[2] * z + m[3] for m in matrices[view])
        inverse = torch.where(depth > 1e-3, 1 / depth, torch.zeros_like(depth))
        column = (column * inverse + 1).clamp(0, columns + 1)
        row = (row * inverse + 1).clamp(0, rows + 1)
        offset = row.long() * (columns + 3) + column.long()
        image = _padded(filtered[view][None]).reshape(-1)
        out = out + inverse**2 * _interpolate(image, offset, columns + 3, column - column.long(), row - row.long())
    return out


def _padded(stack: Tensor) -> Tensor:
    """(n, b+3, a+3) with one zero below and two above in each plane."""
    import torch

    return torch.nn.functional.pad(stack, (1, 2, 1, 2))


def _samples(group: AxisGroup, index: int, like: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Samples of one tile, some slices at a time.

    Yields flat index of the lower corner in the padded volume, fraction along a, fraction
    along b, all (k, r, c), and length per slice (r, c), mm.
    """
    import torch

    options = {"dtype": like.dtype, "device": like.device}
    _, row0, row1, column0, column1, slice0, slice1 = group.tiles[index].tolist()
    ray = torch.as_tensor(group.rays[index], **options)
    spacing = torch.as_tensor(group.spacing_mm, **options)
    row = torch.arange(row0, row1, **options)[:, None]
    column = torch.arange(column0, column1, **options)
    main, side_a, side_b = (ray[3 + i] + column * ray[6 + i] + row * ray[9 + i] for i in range(3))
    slope_a, slope_b = side_a / main, side_b / main
    step = torch.sqrt(spacing[0] ** 2 + (slope_a * spacing[1]) ** 2 + (slope_b * spacing[2]) ** 2)
    _, count_b, count_a = group.shape_mba
    chunk = max(1, _SAMPLES_PER_CHUNK // max(1, step.numel()))
    for start in range(slice0, slice1, chunk):
        k = torch.arange(start, min(start + chunk, slice1), device=like.device)[:, None, None]
        depth = k.to(like.dtype) - ray[0]
        a = (ray[1] + 1 + depth * slope_a).clamp(0, count_a + 1)
        b = (ray[2] + 1 + depth * slope_b).clamp(0, count_b + 1)
        offset = (k * (count_b + 3) + b.long()) * (count_a + 3) + a.long()
        yield offset, a - a.long(), b - b.long(), step


def _interpolate(flat: Tensor, offset: Tensor, pitch: int, along: Tensor, across: Tensor) -> Tensor:
    return sum((weight * flat[offset + corner] for corner, weight in _corners(pitch, along, across)), 0 * along)


def _corners(pitch: int, along: Tensor, across: Tensor) -> tuple[tuple[int, Tensor], ...]:
    """Offset and weight of the four corners of a bilinear sample."""
    return (
        (0, (1 - along) * (1 - across)),
        (1, along * (1 - across)),
        (pitch, (1 - along) * across),
        (pitch + 1, along * across),
    )
