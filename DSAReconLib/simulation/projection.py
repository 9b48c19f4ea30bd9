"""Line integrals of contrast: occupied voxels splatted on a finer detector, then binned.

Each frame is taken at its own time. The footprint of a voxel is its projected box (a
trapezoid across, Long et al. 2010), integrated over the fine pixels, so that mass is kept
exactly; nothing here is shared with the projectors that reconstructions use.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.threads import kernel_launch
from DSAReconLib.progress import Progress

SUPERSAMPLING = 2
"""Fine detector pixels per pixel edge."""


def project_contrast(
    points_mm: NDArray[np.float64],
    spacing_mm: float,
    amplitudes: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    *,
    progress: Progress,
) -> NDArray[np.float32]:
    """Line integrals (F, R, C) of cubic voxels with an attenuation of their own in every frame.

    Parameters
    ----------
    points_mm
        Voxel centers (N, 3), LPS mm.
    spacing_mm
        Edge of the voxels, mm.
    amplitudes
        Attenuation (F, N), 1/mm, at the time of each frame.
    geometry
        F poses.
    progress
        Told about every block of frames; may cancel.
    """
    rows, columns = geometry.detector_shape
    images = np.zeros((len(geometry), rows, columns), np.float32)
    points = np.ascontiguousarray(points_mm, np.float64)
    block = 4
    for first in range(0, len(geometry), block):
        progress.check_cancelled()
        progress.report("project contrast", first / len(geometry))
        views = geometry[first : first + block]
        poses = (views.projection_matrices, views.source_mm, np.stack([views.detector_u_mm, views.detector_v_mm], 1))
        with kernel_launch(1):
            _splat(
                points,
                spacing_mm,
                np.ascontiguousarray(amplitudes[first : first + block], np.float32),
                *poses,
                views.sdd_mm,
                SUPERSAMPLING,
                images[first : first + block],
            )
    return images


@njit(cache=True, fastmath=True, parallel=True)
def _splat(points, spacing, amplitudes, matrices, sources, steps, sdd, fine, images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add every voxel's footprint to ``images`` (F, R, C)."""
    frames, rows, columns = images.shape
    for frame in prange(frames):
        canvas = np.zeros((rows * fine, columns * fine), np.float32)
        m = matrices[frame]
        across_u = np.sqrt((steps[frame, 0] ** 2).sum())
        across_v = np.sqrt((steps[frame, 1] ** 2).sum())
        weight_u, weight_v = np.zeros(64, np.float32), np.zeros(64, np.float32)
        box = np.empty(4)
        for voxel in range(len(points)):
            amplitude = amplitudes[frame, voxel]
            if amplitude <= 0:
                continue
            x, y, z = points[voxel]
            depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth
            v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth
            dx, dy, dz = x - sources[frame, 0], y - sources[frame, 1], z - sources[frame, 2]
            slant = np.sqrt(dx * dx + dy * dy + dz * dz) / depth
            area = across_u * across_v * (depth / sdd[frame]) ** 2
            mass = amplitude * spacing**3 / area * slant * fine * fine
            _half_widths(m, u, v, depth, spacing, fine, box)
            u0, nu = _weights((u + 0.5) * fine, box[0], box[1], weight_u)
            v0, nv = _weights((v + 0.5) * fine, box[2], box[3], weight_v)
            for b in range(nv):
                row = v0 + b
                if row < 0 or row >= rows * fine:
                    continue
                share = np.float32(mass) * weight_v[b]
                for a in range(nu):
                    column = u0 + a
                    if 0 <= column < columns * fine:
                        canvas[row, column] += share * weight_u[a]
        for row in range(rows):
            for column in range(columns):
                total = np.float32(0)
                for b in range(fine):
                    for a in range(fine):
                        total += canvas[row * fine + b, column * fine + a]
                images[frame, row, column] = total / (fine * fine)


@njit(cache=True, fastmath=True)
def _half_widths(m, u, v, depth, spacing, fine, box):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Half the top and half the base of the trapezoids along columns (0, 1) and rows (2, 3), fine pixels.

    A box projects to the convolution of the shadows of its three edges; the two longest
    give the trapezoid.
    """
    for direction in range(2):
        center = u if direction == 0 else v
        longest, second, third = 0.0, 0.0, 0.0
        for axis in range(3):
            edge = abs(m[direction, axis] - center * m[2, axis]) * spacing / depth * fine
            if edge > longest:
                longest, second, third = edge, longest, second
            elif edge > second:
                second, third = edge, second
            else:
                third = edge
        box[2 * direction] = 0.5 * (longest - second)
        box[2 * direction + 1] = 0.5 * (longest + second + third)


@njit(cache=True, fastmath=True)
def _weights(center, top, base, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Integrals of a unit-area trapezoid over pixels [k, k+1); returns the first pixel and their number."""
    first = int(np.floor(center - base))
    count = min(int(np.floor(center + base)) - first + 1, len(weights))
    before = 0.0
    for k in range(count):
        upto = _cumulative(first + k + 1 - center, top, base)
        weights[k] = upto - before
        before = upto
    return first, count


@njit(cache=True, fastmath=True)
def _cumulative(x, top, base):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Area of the unit-area trapezoid left of ``x``."""
    if x <= -base:
        return 0.0
    if x >= base:
        return 1.0
    slope = base - top
    total = base + top
    if x < -top and slope > 1e-9:
        return 0.5 * (x + base) ** 2 / slope / total
    if x > top and slope > 1e-9:
        return 1.0 - 0.5 * (base - x) ** 2 / slope / total
    return (0.5 * slope + (x + top)) / total
