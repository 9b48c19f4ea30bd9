"""Alpha compositing of Gaussians on the CPU, view by view (numba, float32 pixels)."""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, njit, prange
from numpy.typing import NDArray

from DSAReconLib.kernels.alpha import cpu_tiles
from DSAReconLib.kernels.alpha.cpu_projection import footprint, footprint_adjoint
from DSAReconLib.kernels.lanes import OPTIONS
from DSAReconLib.kernels.splat.cpu_footprint import rotation
from DSAReconLib.kernels.threads import kernel_launch

FloatArray = NDArray[np.float32]

_CHUNK = 256  # Gaussians per task


class Frame(NamedTuple):
    """One composited view with what its adjoint needs."""

    image: FloatArray
    transmittance: FloatArray
    last: NDArray[np.int32]
    records: FloatArray
    offsets: NDArray[np.int32]
    lists: NDArray[np.int32]
    boxes: NDArray[np.int32]


def forward(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    colors: FloatArray,
    view: NDArray[np.float64],
    shape: tuple[int, int],
    background: float,
) -> Frame:
    """Composite Gaussians with opacities and colors (N,) on one view of ``shape`` (R, C).

    ``view`` holds the packed constants (18,) of ``cpu_projection``.
    """
    count, (rows, columns) = len(means), shape
    records, boxes = np.empty((count, cpu_tiles.RECORD_SIZE), np.float32), np.empty((count, 4), np.int32)
    image, transmittance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    last = np.empty(shape, np.int32)
    with kernel_launch(chunk_size=1):
        _project(means, scales, quats, opacities, view, shape, records, boxes)
        order = cpu_tiles.depth_order(records, boxes)
        wide, high = -(-columns // cpu_tiles.COLUMNS), -(-rows // cpu_tiles.ROWS)
        offsets, lists = cpu_tiles.tile_lists(order, boxes, wide, high)
        cpu_tiles.composite(
            records, opacities, colors, offsets, lists, float32(background), image, transmittance, last
        )  # fmt: skip
    return Frame(image, transmittance, last, records, offsets, lists, boxes)


def adjoint(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    colors: FloatArray,
    view: NDArray[np.float64],
    frame: Frame,
    background: float,
    gradient: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Gradients (N, 10) of mean, scale, quaternion and (N, 7) of u, v, conic, opacity, color."""
    slots = np.empty((len(frame.lists), cpu_tiles.SLOT_SIZE), np.float32)
    sums = np.zeros((len(means), cpu_tiles.SLOT_SIZE), np.float32)
    shape_grads = np.zeros((len(means), 10), np.float32)
    with kernel_launch(chunk_size=1):
        cpu_tiles.composite_adjoint(
            frame.records, opacities, colors, frame.offsets, frame.lists, float32(background), gradient,
            frame.transmittance, frame.last, slots,
        )  # fmt: skip
        cpu_tiles.add_slots(frame.lists, slots, sums)
        _project_adjoint(means, scales, quats, view, frame.boxes, sums, shape_grads)
    return shape_grads, sums


def footprint_radii(frame: Frame) -> FloatArray:
    """Larger half extent (N,) of each footprint at three standard deviations, px; 0 where it shows nowhere."""
    radii = np.zeros(len(frame.boxes), np.float32)
    shown = np.flatnonzero(frame.boxes[:, 1] >= frame.boxes[:, 0])
    quu, quv, qvv = frame.records[shown, 2:5].T.astype(np.float64)
    middle = 0.5 * (quu + qvv)
    smallest = middle - np.sqrt(np.maximum(middle * middle - (quu * qvv - quv * quv), 0))
    radii[shown] = 3 / np.sqrt(np.maximum(smallest, 1e-12))
    return radii


@njit(parallel=True, cache=True, **OPTIONS)
def _project(means, scales, quats, opacities, view, shape, records, boxes):
    n = means.shape[0]
    for chunk in prange((n + _CHUNK - 1) // _CHUNK):
        for i in range(chunk * _CHUNK, min(n, (chunk + 1) * _CHUNK)):
            boxes[i, 0], boxes[i, 1] = 0, -1
            _, rot = rotation(quats[i])
            u, v, depth, covariance = footprint(means[i], scales[i], rot, view)
            if depth > view[16] and opacities[i] > cpu_tiles.MIN_ALPHA:
                cpu_tiles.fill_record(u, v, depth, covariance, opacities[i], shape, records[i], boxes[i])


@njit(parallel=True, cache=True, **OPTIONS)
def _project_adjoint(means, scales, quats, view, boxes, sums, out):
    n = means.shape[0]
    for chunk in prange((n + _CHUNK - 1) // _CHUNK):
        for i in range(chunk * _CHUNK, min(n, (chunk + 1) * _CHUNK)):
            if boxes[i, 1] >= boxes[i, 0]:
                length, rot = rotation(quats[i])
                footprint_adjoint(means[i], scales[i], quats[i], length, rot, view, sums[i], out[i])
