"""Parts of the numba kernels of the hash encoding: positions, indices, entries of the table.

The number of features enters as the length of a tuple and the kind of level as ``None``
(hashed) or a number (dense), so that each combination compiles to straight code without
branches. Tables are flat; ``base`` is where a level starts in them.
"""
# numba functions carry no annotations: their types are inferred at the call
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from numba import float32, int32, njit, uint32, uint64

from DSAReconLib.kernels.hashgrid.spec import PRIMES
from DSAReconLib.kernels.intrinsics import JIT_OPTIONS

_P1, _P2, _P3 = uint32(PRIMES[1]), uint32(PRIMES[2]), uint32(PRIMES[3])


@njit(**JIT_OPTIONS)
def axis(x, scale):
    """Lower vertex and fraction of one coordinate."""
    position = min(max(x, float32(0)), float32(1)) * scale + float32(0.5)
    lower = int32(position)  # positions are positive: truncating rounds down
    return uint32(lower), position - float32(lower)


@njit(**JIT_OPTIONS)
def two(lower, step):
    """Contributions of both vertices of an axis to the index."""
    first = uint32(lower * step)
    return first, uint32(first + step)


@njit(**JIT_OPTIONS)
def steps(resolution, dense):
    """What one vertex along y, z and t contributes to the index."""
    if dense is None:
        return _P1, _P2, _P3
    square = uint32(resolution * resolution)
    return resolution, square, uint32(square * resolution)


@njit(**JIT_OPTIONS)
def join(a, b, dense):
    """Index of a vertex from the contributions of its axes."""
    if dense is None:
        return uint32(a ^ b)
    return uint32(a + b)


@njit(**JIT_OPTIONS)
def place(index, size, dense, base, zeros):
    """Position in the flat table."""
    if dense is None:
        entry = uint32(index & uint32(size - uint32(1)))
    else:
        entry = index if index < size else uint32(index % size)
    return base + uint64(entry) * uint64(len(zeros))


@njit(**JIT_OPTIONS)
def gather(sums, weight, table, place):
    """``sums`` plus the weighted entry."""
    if len(sums) == 2:
        return sums[0] + weight * table[place], sums[1] + weight * table[place + uint64(1)]
    return (
        sums[0] + weight * table[place],
        sums[1] + weight * table[place + uint64(1)],
        sums[2] + weight * table[place + uint64(2)],
        sums[3] + weight * table[place + uint64(3)],
        sums[4] + weight * table[place + uint64(4)],
        sums[5] + weight * table[place + uint64(5)],
        sums[6] + weight * table[place + uint64(6)],
        sums[7] + weight * table[place + uint64(7)],
    )


@njit(**JIT_OPTIONS)
def scatter(values, weight, table, place):
    """Add the weighted values to an entry."""
    table[place] += weight * values[0]
    table[place + uint64(1)] += weight * values[1]
    if len(values) == 8:
        table[place + uint64(2)] += weight * values[2]
        table[place + uint64(3)] += weight * values[3]
        table[place + uint64(4)] += weight * values[4]
        table[place + uint64(5)] += weight * values[5]
        table[place + uint64(6)] += weight * values[6]
        table[place + uint64(7)] += weight * values[7]


@njit(**JIT_OPTIONS)
def xy_parts(points, i, scale, step_y, dense):
    """Contributions to the index and weights of the four vertices of a face in x and y, and the fractions."""
    lower_x, x = axis(points[i, 0], scale)
    lower_y, y = axis(points[i, 1], scale)
    ax, bx = two(lower_x, uint32(1))
    ay, by = two(lower_y, step_y)
    near = join(ax, ay, dense), join(bx, ay, dense), join(ax, by, dense), join(bx, by, dense)
    ex, ey = float32(1) - x, float32(1) - y
    return near, (ex * ey, x * ey, ex * y, x * y), x, y


@njit(**JIT_OPTIONS)
def gather_face(sums, table, near, low, far, high, size, dense, base):
    """``sums`` plus the weighted entries of the four vertices of a face in x and y."""
    sums = gather(sums, low[0] * high, table, place(join(near[0], far, dense), size, dense, base, sums))
    sums = gather(sums, low[1] * high, table, place(join(near[1], far, dense), size, dense, base, sums))
    sums = gather(sums, low[2] * high, table, place(join(near[2], far, dense), size, dense, base, sums))
    return gather(sums, low[3] * high, table, place(join(near[3], far, dense), size, dense, base, sums))


@njit(**JIT_OPTIONS)
def scatter_face(values, table, near, low, far, high, size, dense, base):
    """Add the weighted values to the entries of the four vertices of a face in x and y."""
    scatter(values, low[0] * high, table, place(join(near[0], far, dense), size, dense, base, values))
    scatter(values, low[1] * high, table, place(join(near[1], far, dense), size, dense, base, values))
    scatter(values, low[2] * high, table, place(join(near[2], far, dense), size, dense, base, values))
    scatter(values, low[3] * high, table, place(join(near[3], far, dense), size, dense, base, values))


@njit(**JIT_OPTIONS)
def slopes_of_face(values, table, near, far, x, y, size, dense, base):
    """Interpolated scalar product in a face, and its derivatives by the fractions x and y."""
    v00 = dot(values, table, place(join(near[0], far, dense), size, dense, base, values))
    v10 = dot(values, table, place(join(near[1], far, dense), size, dense, base, values))
    v01 = dot(values, table, place(join(near[2], far, dense), size, dense, base, values))
    v11 = dot(values, table, place(join(near[3], far, dense), size, dense, base, values))
    front, back = v00 + x * (v10 - v00), v01 + x * (v11 - v01)
    by_x = (v10 - v00) + y * ((v11 - v01) - (v10 - v00))
    return front + y * (back - front), by_x, back - front


@njit(**JIT_OPTIONS)
def row(array, i, column, zeros):
    """Values of one level at one point, as a tuple."""
    if len(zeros) == 2:
        return array[i, column], array[i, column + 1]
    return (
        array[i, column],
        array[i, column + 1],
        array[i, column + 2],
        array[i, column + 3],
        array[i, column + 4],
        array[i, column + 5],
        array[i, column + 6],
        array[i, column + 7],
    )


@njit(**JIT_OPTIONS)
def set_row(array, i, column, values):
    """Store the values of one level at one point."""
    array[i, column] = values[0]
    array[i, column + 1] = values[1]
    if len(values) == 8:
        array[i, column + 2] = values[2]
        array[i, column + 3] = values[3]
        array[i, column + 4] = values[4]
        array[i, column + 5] = values[5]
        array[i, column + 6] = values[6]
        array[i, column + 7] = values[7]


@njit(**JIT_OPTIONS)
def dot(values, table, place):
    """Scalar product of ``values`` with an entry."""
    total = values[0] * table[place] + values[1] * table[place + uint64(1)]
    if len(values) == 8:
        total += values[2] * table[place + uint64(2)] + values[3] * table[place + uint64(3)]
        total += values[4] * table[place + uint64(4)] + values[5] * table[place + uint64(5)]
        total += values[6] * table[place + uint64(6)] + values[7] * table[place + uint64(7)]
    return total
