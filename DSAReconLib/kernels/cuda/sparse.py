"""The sparse kernels on a CUDA device of torch: the CUDA kernels of ``sparse.cu``.

Deterministic: backprojections and gradients are gathered, images are summed in fixed point
(64-bit integers, whose sum does not depend on the order), mixing with a temporal basis is a
matrix product of torch. Contributions are rounded to 2^-38 of the largest one.

Device memory beside arguments and results: two arrays of at most 2^26 values (256 MiB
each) for mixed voxel values, 8 bytes per pixel of the views that are drawn together.
"""

# the methods are described in the base class
# ruff: noqa: D102

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DSAReconLib.kernels.cuda.launch import Launch, gpu_launcher
from DSAReconLib.kernels.sparse.backend import Array, Moments, Pair, Shape, SparseKernels
from DSAReconLib.kernels.sparse.descent import GaussianStep

if TYPE_CHECKING:
    from DSAReconLib.geometry import VolumeGrid

_SOURCE = "sparse.cu"
_MIXED_VALUES = 1 << 26
_FIXED_POINT_BITS = 38
"""Bits of the largest contribution; leaves room for 2^25 such contributions in one pixel."""
_BOUND_MIN = 1e-20
_LANES, _GAUSSIANS_PER_BLOCK = 8, 32
_INDEX_LIMIT = 1 << 31


class CudaSparseKernels(SparseKernels):
    """Kernels on one device; tensors in, tensors out (numpy arrays in, numpy arrays out: a copy each way).

    Parameters
    ----------
    device
        Device of torch, e.g. ``"cuda:0"``.
    launch
        How kernels start; default on this device.
    """

    def __init__(self, device: str, launch: Launch | None = None) -> None:
        self.device = device
        self._launch = launch or gpu_launcher(_SOURCE, torch.device(device))

    def array(self, values: Array) -> Tensor:
        if isinstance(values, Tensor):
            return values.contiguous()
        return torch.tensor(np.ascontiguousarray(values), device=self.device)

    def host(self, values: Array) -> NDArray[np.float32]:
        return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)

    def copy_of(self, values: Array) -> Tensor:
        return self.array(values).clone() if isinstance(values, Tensor) else self.array(values)

    def full(self, shape: tuple[int, ...], value: float, *, like: Array) -> Array:
        return like.new_full(shape, value) if isinstance(like, Tensor) else np.full(shape, value, np.float32)

    def slice_points(self, grid: VolumeGrid, start: int, stop: int) -> Tensor:
        _, height, width = grid.shape_zyx
        ranges = ((0, width), (0, height), (start, stop))
        axes = [
            torch.arange(*limits, device=self.device, dtype=torch.float64) * grid.spacing_mm[0] + origin
            for limits, origin in zip(ranges, grid.origin_mm, strict=True)
        ]
        z, y, x = torch.meshgrid(*(axis.float() for axis in reversed(axes)), indexing="ij")
        return torch.stack([x, y, z]).reshape(3, -1)

    def window_scores(
        self, points: Array, images: Array, records: Array, window_stops: NDArray[np.int32], threshold: float
    ) -> Array:
        places, stops = self.array(points), self.array(window_stops)
        count = _count(places.shape[1])
        scores = places.new_empty(count)
        seen = [self.array(images), self.array(records), *images.shape[1:]]
        arguments = [places, count, *seen, stops, len(stops), float(threshold), scores]
        self.start("score_windows", count, 128, 1, arguments)
        return self._as(points, scores)

    def splat_voxels(
        self, points: Array, values: Array, volume_mm3: float, records: Array, detector_shape: Shape
    ) -> Array:
        _check(points, values.shape, records)
        rows = self.array(values)
        images = self._splat(points, lambda views: rows[views], volume_mm3, records, detector_shape)
        return self._as(values, images)

    def gather_voxels(self, points: Array, images: Array, volume_mm3: float, records: Array) -> Array:
        _check(points, (len(images), points.shape[1]), records)
        pixels = self.array(images)
        values = self._gather(self.array(points), pixels, volume_mm3, self.array(records))
        return self._as(images, values)

    def project_curves(
        self, points: Array, basis: Array, coefficients: Array, volume_mm3: float, records: Array, detector_shape: Shape
    ) -> Array:
        _check(points, (len(basis), coefficients.shape[1]), records)
        weights, curves = self.array(basis), self.array(coefficients)
        images = self._splat(points, lambda views: weights[views] @ curves, volume_mm3, records, detector_shape)
        return self._as(coefficients, images)

    def backproject_curves(
        self, points: Array, basis: Array, images: Array, volume_mm3: float, records: Array
    ) -> Array:
        _check(points, (len(images), points.shape[1]), records)
        weights, places, pixels, poses = (self.array(each) for each in (basis, points, images, records))
        result = places.new_zeros((weights.shape[1], places.shape[1]))
        for views in _chunks(len(poses), places.shape[1]):
            result.addmm_(weights[views].T, self._gather(places, pixels[views], volume_mm3, poses[views]))
        return self._as(images, result)

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
        gradient = self.array(self.backproject_curves(points, basis, images, volume_mm3, records))
        count = _count(gradient.numel())
        step = [gradient, *majorizer, count, float(gradient_scale), float(momentum)]
        self.start("accelerated_step", count, 256, 1, [*state, *step])

    def render_gaussians(
        self, shapes: Array, amplitudes: Array, records: Array, detector_shape: Shape, aperture_px2: float
    ) -> Array:
        places, heights, poses = self.array(shapes), self.array(amplitudes), self.array(records)
        count = _count(len(places))
        sums = self._empty_sums(len(poses), detector_shape)
        if not count:
            return self._as(shapes, sums.float())
        scale = _scale(heights.amax().clamp(min=0) * torch.exp(places[:, 3].amax()) * math.sqrt(2 * math.pi))
        arguments = [places, count, heights, poses, float(aperture_px2), *detector_shape, scale, sums]
        grid = (-(-count // _GAUSSIANS_PER_BLOCK), len(poses), 1)
        self._launch("render_gaussians", grid, (_LANES, _GAUSSIANS_PER_BLOCK, 1), arguments)
        return self._as(shapes, self.unscaled(sums, scale))

    def gaussian_gradients(
        self, shapes: Array, amplitudes: Array, records: Array, image_gradients: Array, aperture_px2: float
    ) -> tuple[Array, Array]:
        places, heights, poses, slopes = (self.array(each) for each in (shapes, amplitudes, records, image_gradients))
        count = _count(len(places))
        by_shape, by_amplitude = places.new_empty((len(poses), count, 4)), torch.empty_like(heights)
        seen = [slopes, *slopes.shape[1:]]
        arguments = [places, count, heights, poses, float(aperture_px2), *seen, by_shape, by_amplitude]
        self.start("gaussian_gradients", count, 128, len(poses), arguments)
        return self._as(shapes, by_shape.sum(0)), self._as(shapes, by_amplitude)

    def lattice(
        self, points_mm: Array, origin_mm: NDArray[np.float64], step_mm: float, shape: tuple[int, int, int]
    ) -> CudaLattice:
        return CudaLattice(self, points_mm, origin_mm, step_mm, shape)

    def warped_curves(self, coefficients: Array, table: Array, place: Array) -> tuple[Tensor, Tensor]:
        curves, samples, places = self.array(coefficients), self.array(table), self.array(place)
        (count, functions), steps = curves.shape, samples.shape[1]
        values, slopes = torch.empty_like(places), torch.empty_like(places)
        arguments = [curves, _count(count), functions, samples, steps, places, values, slopes]
        self.start("warped_curves", count, 128, len(places), arguments)
        return values, slopes

    def warped_gradient(self, table: Array, place: Array, gradient: Array) -> Tensor:
        samples, places, slopes = self.array(table), self.array(place), self.array(gradient)
        (views, steps, functions), count = samples.shape, places.shape[1]
        result = places.new_empty((count, functions))
        arguments = [samples, views, steps, functions, count, places, slopes, result]
        self.start("warped_gradient", _count(count * functions), 256, 1, arguments)
        return result

    def proximal_step(
        self, extrapolated: Tensor, current: Tensor, gradient: Tensor, curvature: Tensor, penalty: Tensor
    ) -> float:
        functions, count = extrapolated.shape
        progress = extrapolated.new_empty(count)
        arguments = [extrapolated, current, gradient, curvature, penalty, functions, count, progress]
        self.start("proximal_step", count, 256, 1, arguments)
        return float(progress.sum(dtype=torch.float64))

    def extrapolate(self, updated: Tensor, current: Tensor, momentum: float) -> None:
        count = _count(updated.numel())
        self.start("extrapolate", count, 256, 1, [updated, current, count, float(momentum)])

    def gaussian_step(self, parameters: Pair, gradients: Pair, moments: Moments, step: GaussianStep) -> None:
        (shapes, coefficients), (by_shape, by_coefficient) = parameters, gradients
        mass = torch.exp(3 * shapes[:, 3:]) * self.array(np.asarray(step.mass_slopes, np.float32))
        rates = step.coefficient_rate * coefficients.amax(1, keepdim=True).clamp(min=step.coefficient_floor)
        rates = rates.expand_as(coefficients).contiguous()
        self._adam(coefficients, (by_coefficient + mass).contiguous(), moments[2:], rates, step)
        coefficients.clamp_(min=0)
        rates = self.array(np.asarray(step.shape_rates, np.float32)).expand_as(shapes).contiguous()
        self._adam(shapes, by_shape.contiguous(), moments[:2], rates, step)
        shapes[:, 3].clamp_(*step.log_sigma_range)

    def _adam(self, parameters: Tensor, gradient: Tensor, moments: Pair, rates: Tensor, step: GaussianStep) -> None:
        """Adam update in place; all arrays (N, K)."""
        count = _count(parameters.numel())
        numbers = [rates, count, *step.betas, *step.corrections]
        self.start("adam_step", count, 256, 1, [parameters, gradient, *moments, *numbers])

    def huber_slopes(self, model: Tensor, data: Array, weights: Array, limit: float) -> float:
        trust = self.array(weights)
        model -= self.array(data)
        square = float((model * model * trust).mean())
        model.div_(limit).clamp_(-1, 1).mul_(trust)
        return square

    def _splat(
        self, points: Array, mixed: Callable[[slice], Tensor], volume_mm3: float, records: Array, detector_shape: Shape
    ) -> Tensor:
        """Images (V, R, C) of the values (v, N) that ``mixed`` gives for some views, a few views at a time."""
        places, poses = self.array(points), self.array(records)
        count = _count(places.shape[1])
        images = places.new_zeros((len(poses), *detector_shape))
        for views in _chunks(len(poses), count):
            some, values = poses[views], mixed(views).contiguous()
            masses, sums = torch.empty_like(values), self._empty_sums(len(some), detector_shape)
            place = [some, *detector_shape]
            self.start("weigh_voxels", count, 256, len(some), [places, count, values, volume_mm3, *place, masses])
            scale = _scale(torch.maximum(masses.amax(), -masses.amin()))
            self.start("splat_voxels", count, 256, len(some), [places, count, masses, *place, scale, sums])
            images[views] = self.unscaled(sums, scale)
        return images

    def _gather(self, places: Tensor, pixels: Tensor, volume_mm3: float, poses: Tensor) -> Tensor:
        """Values (v, N) at all points."""
        count = _count(places.shape[1])
        values = places.new_empty((len(poses), count))
        arguments = [places, count, pixels.contiguous(), volume_mm3, poses, *pixels.shape[1:], values]
        self.start("gather_voxels", count, 256, len(poses), arguments)
        return values

    def _empty_sums(self, views: int, detector_shape: Shape) -> Tensor:
        return torch.zeros((views, *detector_shape), dtype=torch.int64, device=self.device)

    def unscaled(self, sums: Tensor, scale: Tensor) -> Tensor:
        """Fixed-point sums as float32."""
        values = torch.empty(sums.shape, device=sums.device)
        count = _count(sums.numel())
        self.start("unscale_sums", count, 256, 1, [sums, count, scale, values])
        return values

    def start(self, name: str, count: int, threads: int, views: int, arguments: list[Any]) -> None:
        """Start a kernel with one thread per element and view."""
        if count:
            self._launch(name, (-(-count // threads), views, 1), (threads, 1, 1), arguments)

    def _as(self, argument: Array, result: Tensor) -> Array:
        """The result as numpy array if the argument is one."""
        return self.host(result) if isinstance(argument, np.ndarray) else result


class CudaLattice:
    """:class:`DSAReconLib.kernels.sparse.lattice.Lattice` on a device; nothing is stored per point."""

    def __init__(
        self,
        kernels: CudaSparseKernels,
        points_mm: Array,
        origin_mm: NDArray[np.float64],
        step_mm: float,
        shape: tuple[int, int, int],
    ) -> None:
        points = kernels.array(points_mm)
        sizes = [int(n) for n in shape]
        self._kernels, self._count, self._nodes = kernels, _count(len(points)), math.prod(sizes)
        self._place = [points, points.shape[1], self._count, *map(float, origin_mm), float(step_mm), *sizes]

    def read(self, nodes: Array) -> Tensor:
        """Values (F, N) of the fields (F, G) at the points."""
        fields = self._kernels.array(nodes)
        values = fields.new_empty((len(fields), self._count))
        self._kernels.start("read_nodes", self._count, 256, len(fields), [*self._place, fields, values])
        return values

    def spread(self, values: Array) -> NDArray[np.float32]:
        """Adjoint of :meth:`read`: fields (F, G) of values (F, N)."""
        fields = self._kernels.array(values)
        sums = torch.zeros((len(fields), self._nodes), dtype=torch.int64, device=fields.device)
        if not self._count:
            return self._kernels.host(sums.float())
        scale = _scale(fields.abs().amax())
        arguments = [*self._place, fields, scale, sums]
        self._kernels.start("spread_to_nodes", self._count, 256, len(fields), arguments)
        return self._kernels.host(self._kernels.unscaled(sums, scale))


def _chunks(views: int, count: int) -> Iterator[slice]:
    """Views whose mixed values fit into the scratch memory together; none without voxels."""
    step = max(1, _MIXED_VALUES // max(count, 1))
    for start in range(0, views if count else 0, step):
        yield slice(start, min(start + step, views))


def _scale(bound: Tensor) -> Tensor:
    """Power of two (1,) that turns ``bound`` into about 2^38."""
    exponent = torch.floor(_FIXED_POINT_BITS - torch.log2(bound.clamp(min=_BOUND_MIN)))
    return torch.exp2(exponent).reshape(1)


def _count(count: int) -> int:
    """The number itself, if kernels can count so far."""
    if count >= _INDEX_LIMIT:
        raise ValueError(f"the sparse CUDA kernels take fewer than 2^31 elements; got {count}")
    return count


def _check(points: Array, values_shape: tuple[int, ...], records: Array) -> None:
    """Refuse what the kernels would read or write out of bounds."""
    if len(points) != 3 or tuple(values_shape) != (len(records), points.shape[1]):
        raise ValueError(
            f"points (3, N), values (V, N) and records (V, 17) do not match: "
            f"{tuple(points.shape)}, {tuple(values_shape)}, {tuple(records.shape)}"
        )
