"""numba kernels of the hash encoding, one level of 3D or 4D points at a time, all corners of a cell written out."""
# numba functions carry no annotations: their types are inferred at the call
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from numba import float32, njit

from DSAReconLib.kernels.hashgrid.cpu_parts import (
    axis,
    gather_face,
    join,
    row,
    scatter_face,
    set_row,
    slopes_of_face,
    steps,
    two,
    xy_parts,
)
from DSAReconLib.kernels.intrinsics import JIT_OPTIONS


@njit(**JIT_OPTIONS)
def forward_3d(points, table, base, scale, resolution, size, dense, zeros, out, column, start, stop):
    """Interpolate the level at points ``start`` to ``stop`` into out[:, column : column + F]."""
    step_y, step_z, _ = steps(resolution, dense)
    for i in range(start, stop):
        near, low, _, _ = xy_parts(points, i, scale, step_y, dense)
        lower_z, z = axis(points[i, 2], scale)
        az, bz = two(lower_z, step_z)
        sums = gather_face(zeros, table, near, low, az, float32(1) - z, size, dense, base)
        sums = gather_face(sums, table, near, low, bz, z, size, dense, base)
        set_row(out, i, column, sums)


@njit(**JIT_OPTIONS)
def forward_4d(points, table, base, scale, resolution, size, dense, zeros, out, column, start, stop):
    """As :func:`forward_3d`."""
    step_y, step_z, step_t = steps(resolution, dense)
    for i in range(start, stop):
        near, low, _, _ = xy_parts(points, i, scale, step_y, dense)
        lower_z, z = axis(points[i, 2], scale)
        lower_t, t = axis(points[i, 3], scale)
        az, bz = two(lower_z, step_z)
        at, bt = two(lower_t, step_t)
        ez, et = float32(1) - z, float32(1) - t
        sums = gather_face(zeros, table, near, low, join(az, at, dense), ez * et, size, dense, base)
        sums = gather_face(sums, table, near, low, join(bz, at, dense), z * et, size, dense, base)
        sums = gather_face(sums, table, near, low, join(az, bt, dense), ez * t, size, dense, base)
        sums = gather_face(sums, table, near, low, join(bz, bt, dense), z * t, size, dense, base)
        set_row(out, i, column, sums)


@njit(**JIT_OPTIONS)
def adjoint_3d(points, table, base, scale, resolution, size, dense, zeros, gradients, column, start, stop):
    """Add to the ``table`` of gradients what points ``start`` to ``stop`` contribute to the level."""
    step_y, step_z, _ = steps(resolution, dense)
    for i in range(start, stop):
        near, low, _, _ = xy_parts(points, i, scale, step_y, dense)
        lower_z, z = axis(points[i, 2], scale)
        az, bz = two(lower_z, step_z)
        values = row(gradients, i, column, zeros)
        scatter_face(values, table, near, low, az, float32(1) - z, size, dense, base)
        scatter_face(values, table, near, low, bz, z, size, dense, base)


@njit(**JIT_OPTIONS)
def adjoint_4d(points, table, base, scale, resolution, size, dense, zeros, gradients, column, start, stop):
    """As :func:`adjoint_3d`."""
    step_y, step_z, step_t = steps(resolution, dense)
    for i in range(start, stop):
        near, low, _, _ = xy_parts(points, i, scale, step_y, dense)
        lower_z, z = axis(points[i, 2], scale)
        lower_t, t = axis(points[i, 3], scale)
        az, bz = two(lower_z, step_z)
        at, bt = two(lower_t, step_t)
        ez, et = float32(1) - z, float32(1) - t
        values = row(gradients, i, column, zeros)
        scatter_face(values, table, near, low, join(az, at, dense), ez * et, size, dense, base)
        scatter_face(values, table, near, low, join(bz, at, dense), z * et, size, dense, base)
        scatter_face(values, table, near, low, join(az, bt, dense), ez * t, size, dense, base)
        scatter_face(values, table, near, low, join(bz, bt, dense), z * t, size, dense, base)


@njit(**JIT_OPTIONS)
def points_3d(points, table, base, scale, resolution, size, dense, zeros, gradients, column, out, start, stop):
    """Add to ``out`` the gradient by the coordinates of points ``start`` to ``stop``."""
    step_y, step_z, _ = steps(resolution, dense)
    for i in range(start, stop):
        near, _, x, y = xy_parts(points, i, scale, step_y, dense)
        lower_z, z = axis(points[i, 2], scale)
        az, bz = two(lower_z, step_z)
        values = row(gradients, i, column, zeros)
        low, low_x, low_y = slopes_of_face(values, table, near, az, x, y, size, dense, base)
        high, high_x, high_y = slopes_of_face(values, table, near, bz, x, y, size, dense, base)
        out[i, 0] += scale * (low_x + z * (high_x - low_x))
        out[i, 1] += scale * (low_y + z * (high_y - low_y))
        out[i, 2] += scale * (high - low)


@njit(**JIT_OPTIONS)
def points_4d(points, table, base, scale, resolution, size, dense, zeros, gradients, column, out, start, stop):
    """As :func:`points_3d`."""
    step_y, step_z, step_t = steps(resolution, dense)
    for i in range(start, stop):
        near, _, x, y = xy_parts(points, i, scale, step_y, dense)
        lower_z, z = axis(points[i, 2], scale)
        lower_t, t = axis(points[i, 3], scale)
        az, bz = two(lower_z, step_z)
        at, bt = two(lower_t, step_t)
        values = row(gradients, i, column, zeros)
        v00, x00, y00 = slopes_of_face(values, table, near, join(az, at, dense), x, y, size, dense, base)
        v10, x10, y10 = slopes_of_face(values, table, near, join(bz, at, dense), x, y, size, dense, base)
        v01, x01, y01 = slopes_of_face(values, table, near, join(az, bt, dense), x, y, size, dense, base)
        v11, x11, y11 = slopes_of_face(values, table, near, join(bz, bt, dense), x, y, size, dense, base)
        early, late = v00 + z * (v10 - v00), v01 + z * (v11 - v01)
        early_x, late_x = x00 + z * (x10 - x00), x01 + z * (x11 - x01)
        early_y, late_y = y00 + z * (y10 - y00), y01 + z * (y11 - y01)
        out[i, 0] += scale * (early_x + t * (late_x - early_x))
        out[i, 1] += scale * (early_y + t * (late_y - early_y))
        out[i, 2] += scale * ((v10 - v00) + t * ((v11 - v01) - (v10 - v00)))
        out[i, 3] += scale * (late - early)
