"""What stands in the beam besides contrast: path lengths in bone and in soft tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.threads import kernel_launch
from DSAReconLib.progress import Progress
from DSAReconLib.simulation.skull import PaintedEllipsoids

_MOST_HITS = 64
# Rays through the built-in head meet at most 40 bodies.


@dataclass(frozen=True)
class TissuePaths:
    """Equivalent lengths of full-density tissue along every ray, mm.

    Parameters
    ----------
    bone_mm, soft_mm
        (F, R, C), float32.
    """

    bone_mm: NDArray[np.float32]
    soft_mm: NDArray[np.float32]


def ellipsoid_paths(head: PaintedEllipsoids, geometry: ConeBeamGeometry, *, progress: Progress) -> TissuePaths:
    """Exact path lengths of all rays through a phantom of painted ellipsoids."""
    frames, (rows, columns) = len(geometry), geometry.detector_shape
    bone = np.zeros((frames, rows, columns), np.float32)
    soft = np.zeros((frames, rows, columns), np.float32)
    to_unit = np.ascontiguousarray(np.swapaxes(head.rotation, 1, 2) / head.half_axes_mm[:, :, None])
    u, v = geometry.detector_u_mm, geometry.detector_v_mm
    corner = geometry.detector_center_mm - (columns - 1) / 2 * u - (rows - 1) / 2 * v
    block = 8
    for first in range(0, frames, block):
        progress.check_cancelled()
        progress.report("project head", first / frames)
        views = slice(first, first + block)
        poses = (geometry.source_mm[views], corner[views], u[views], v[views])
        with kernel_launch(8):
            _trace(*poses, head.center_mm, to_unit, head.plane, head.bone, head.soft, bone[views], soft[views])
    return TissuePaths(bone, soft)


def no_paths(geometry: ConeBeamGeometry) -> TissuePaths:
    """Nothing in the beam."""
    empty = np.zeros((len(geometry), *geometry.detector_shape), np.float32)
    return TissuePaths(empty, empty)


@njit(cache=True, fastmath=True, parallel=True)
def _trace(source, corner, u, v, center, to_unit, plane, bone_part, soft_part, bone, soft):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    frames, rows, columns = bone.shape
    for job in prange(frames * rows):
        frame, row = job // rows, job % rows
        ray0 = corner[frame] + row * v[frame] - source[frame]
        rays = np.empty((len(center), 12))
        active = np.empty(len(center), np.int64)
        first, last = np.empty(len(center), np.int64), np.empty(len(center), np.int64)
        count = 0
        for body in range(len(center)):
            _prepare(ray0, u[frame], source[frame] - center[body], to_unit[body], plane[body], rays[count])
            low, high = _columns_hit(rays[count], columns)
            if low <= high:
                active[count], first[count], last[count] = body, low, high
                count += 1
        at = np.empty(2 * _MOST_HITS)
        event = np.empty(2 * _MOST_HITS, np.int64)
        is_open = np.zeros(_MOST_HITS, np.bool_)
        tissue = np.empty((_MOST_HITS, 2))
        for column in range(columns):
            hits = 0
            for k in range(count):
                if first[k] <= column <= last[k] and hits < _MOST_HITS:
                    near, far = _interval(rays[k], column)
                    if far > near:
                        tissue[hits, 0], tissue[hits, 1] = bone_part[active[k]], soft_part[active[k]]
                        _insert(at, event, 2 * hits, near, 2 * hits)
                        _insert(at, event, 2 * hits + 1, far, 2 * hits + 1)
                        hits += 1
            length = 0.0
            for k in range(3):
                length += (ray0[k] + column * u[frame, k]) ** 2
            bone_sum, soft_sum = _paint(at, event, is_open, tissue, hits)
            bone[frame, row, column] = bone_sum * np.sqrt(length)
            soft[frame, row, column] = soft_sum * np.sqrt(length)


@njit(cache=True, fastmath=True)
def _prepare(ray0, u, offset, to_unit, plane, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Constants of a detector row and a body: |w|^2 and o.w along the columns, |o|^2 - 1, and the plane.

    In the frame where the body is a unit ball, the ray is o + t w with w = start + column * step.
    """
    out[:] = 0.0
    out[5] = -1.0
    for axis in range(3):
        start, step, origin = 0.0, 0.0, 0.0
        for k in range(3):
            start += to_unit[axis, k] * ray0[k]
            step += to_unit[axis, k] * u[k]
            origin += to_unit[axis, k] * offset[k]
        out[0] += start * start
        out[1] += 2 * start * step
        out[2] += step * step
        out[3] += origin * start
        out[4] += origin * step
        out[5] += origin * origin
    out[6] = -plane[3]
    for k in range(3):
        out[6] += plane[k] * offset[k]
        out[7] += plane[k] * ray0[k]
        out[8] += plane[k] * u[k]


@njit(cache=True, fastmath=True)
def _columns_hit(ray, columns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """First and last column whose ray meets the ball: the discriminant is a parabola over the columns."""
    a = ray[4] * ray[4] - ray[5] * ray[2]
    b = 2 * ray[3] * ray[4] - ray[5] * ray[1]
    c = ray[3] * ray[3] - ray[5] * ray[0]
    root = b * b - 4 * a * c
    if a >= 0 or root <= 0:
        return 0, -1
    root = np.sqrt(root)
    low, high = (-b + root) / (2 * a), (-b - root) / (2 * a)
    return max(int(np.ceil(max(low, -1.0))), 0), min(int(np.floor(min(high, columns + 1.0))), columns - 1)


@njit(cache=True, fastmath=True)
def _interval(ray, column):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where a ray enters and leaves the body, as fractions of its way to the detector."""
    a = ray[0] + column * (ray[1] + column * ray[2])
    b = ray[3] + column * ray[4]
    root = np.sqrt(max(b * b - a * ray[5], 0.0))
    near, far = (-b - root) / a, (-b + root) / a
    slope = ray[7] + column * ray[8]
    if slope > 1e-12:
        near = max(near, -ray[6] / slope)
    elif slope < -1e-12:
        far = min(far, -ray[6] / slope)
    elif ray[6] <= 0:
        far = near
    return near, far


@njit(cache=True, fastmath=True)
def _insert(at, event, count, position, name):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Insert an event into the list sorted by position."""
    k = count
    while k > 0 and at[k - 1] > position:
        at[k] = at[k - 1]
        event[k] = event[k - 1]
        k -= 1
    at[k] = position
    event[k] = name


@njit(cache=True, fastmath=True)
def _paint(at, event, is_open, tissue, hits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Walk along the ray from surface to surface; of the open bodies the one painted last counts."""
    bone_sum, soft_sum, top = 0.0, 0.0, -1
    for k in range(2 * hits):
        if top >= 0:
            step = at[k] - at[k - 1]
            bone_sum += tissue[top, 0] * step
            soft_sum += tissue[top, 1] * step
        body = event[k] // 2
        if event[k] % 2 == 0:
            is_open[body] = True
            top = max(top, body)
        else:
            is_open[body] = False
            while top >= 0 and not is_open[top]:
                top -= 1
    return bone_sum, soft_sum
