"""What stands in the beam besides contrast: path lengths in bone and in soft tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.progress import Progress
from DSAReconLib.simulation.skull import Ellipsoids


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


def ellipsoid_paths(head: Ellipsoids, geometry: ConeBeamGeometry, *, progress: Progress) -> TissuePaths:
    """Exact chords of all rays through a phantom of ellipsoids."""
    frames, (rows, columns) = len(geometry), geometry.detector_shape
    bone = np.zeros((frames, rows, columns), np.float32)
    soft = np.zeros((frames, rows, columns), np.float32)
    to_unit = np.swapaxes(head.rotation, 1, 2) / head.half_axes_mm[:, :, None]
    u, v = geometry.detector_u_mm, geometry.detector_v_mm
    corner = geometry.detector_center_mm - (columns - 1) / 2 * u - (rows - 1) / 2 * v
    block = 8
    for first in range(0, frames, block):
        progress.check_cancelled()
        progress.report("project head", first / frames)
        views = slice(first, first + block)
        poses = (geometry.source_mm[views], corner[views], u[views], v[views])
        _chords(*poses, head.center_mm, to_unit, head.bone, head.soft, bone[views], soft[views])
    return TissuePaths(np.maximum(bone, 0, out=bone), np.maximum(soft, 0, out=soft))


def no_paths(geometry: ConeBeamGeometry) -> TissuePaths:
    """Nothing in the beam."""
    empty = np.zeros((len(geometry), *geometry.detector_shape), np.float32)
    return TissuePaths(empty, empty)


@njit(cache=True, fastmath=True, parallel=True)
def _chords(source, corner, u, v, center, to_unit, bone_weight, soft_weight, bone, soft):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    frames, rows, columns = bone.shape
    for job in prange(frames * rows):
        frame, row = job // rows, job % rows
        for body in range(len(center)):
            m = to_unit[body]
            o = m @ (source[frame] - center[body])
            start = m @ (corner[frame] + row * v[frame] - source[frame])
            step = m @ u[frame]
            ray0 = corner[frame] + row * v[frame] - source[frame]
            c = (o * o).sum() - 1
            for column in range(columns):
                wx, wy, wz = start[0] + column * step[0], start[1] + column * step[1], start[2] + column * step[2]
                a = wx * wx + wy * wy + wz * wz
                b = o[0] * wx + o[1] * wy + o[2] * wz
                root = b * b - a * c
                if root <= 0:
                    continue
                rx = ray0[0] + column * u[frame, 0]
                ry = ray0[1] + column * u[frame, 1]
                rz = ray0[2] + column * u[frame, 2]
                chord = 2 * np.sqrt(root) / a * np.sqrt(rx * rx + ry * ry + rz * rz)
                bone[frame, row, column] += np.float32(bone_weight[body] * chord)
                soft[frame, row, column] += np.float32(soft_weight[body] * chord)
