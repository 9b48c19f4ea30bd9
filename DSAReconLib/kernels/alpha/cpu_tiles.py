"""Front-to-back compositing of sorted footprints in tiles of 16 x 32 pixels, forward and backward (numba).

Eight pixels of a row are composited at a time, without branches: everything conditional is a
selection. A tile's pixels stay in the first-level cache; one tile is one task, so no result
depends on the number of threads. Inside a tile, rows begin ``STRIDE`` elements apart.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np
from numba import float32, int32, njit, prange

from DSAReconLib.kernels import lanes
from DSAReconLib.kernels.lanes import LANES, MARGIN, OPTIONS
from DSAReconLib.kernels.splat.cpu_ellipse import LOG2_E, LOWEST_EXPONENT, row_shape

ROWS, COLUMNS = 16, 32
STRIDE = COLUMNS + MARGIN
RECORD_SIZE = 9  # u, v, conic uu, uv, vv, depth, half extents in u and v (px), the conic's value at the cut
SLOT_SIZE = 7  # gradients of u, v, conic uu, uv, vv, opacity, color
MAX_ALPHA = 0.99
"""Opacity of one footprint at one pixel is capped here (gsplat 1.6 and 3DGS)."""
MIN_ALPHA = 1 / 255
"""Footprints below are skipped at a pixel."""
MIN_TRANSMITTANCE = 1e-4
"""A footprint that would take a pixel's transmittance to this or below ends the pixel, unused."""
_ZERO, _ONE, _HALF = float32(0), float32(1), float32(0.5)
_CAP, _LEAST, _END = float32(MAX_ALPHA), float32(MIN_ALPHA), float32(MIN_TRANSMITTANCE)
_MINUS_HALF_LOG2_E, _MINUS_LOG2_E = float32(-0.5 * LOG2_E), float32(-LOG2_E)
_SLACK = 1.001  # the extent is rounded up: the exact test is the one on alpha
_LOOK = 31  # whether a tile is finished is asked every 32 footprints


@njit(**OPTIONS)
def fill_record(u, v, depth, covariance, opacity, shape, record, box):
    """Fill a Gaussian's record, and its first and last tile column and row: empty where it shows nowhere."""
    suu, suv, svv = covariance
    inverse = 1.0 / (suu * svv - suv * suv)
    cut = 2.0 * _SLACK * math.log(255.0 * opacity)
    half_u, half_v = math.sqrt(cut * suu), math.sqrt(cut * svv)
    record[0], record[1] = u, v
    record[2], record[3], record[4] = svv * inverse, -suv * inverse, suu * inverse
    record[5], record[6], record[7], record[8] = depth, half_u, half_v, cut
    rows, columns = shape
    if u + half_u >= 0 and v + half_v >= 0 and u - half_u <= columns - 1 and v - half_v <= rows - 1:
        box[0] = max(math.floor((u - half_u) / COLUMNS), 0)
        box[1] = min(math.floor((u + half_u) / COLUMNS), (columns - 1) // COLUMNS)
        box[2] = max(math.floor((v - half_v) / ROWS), 0)
        box[3] = min(math.floor((v + half_v) / ROWS), (rows - 1) // ROWS)


@njit(cache=True, **OPTIONS)
def depth_order(records, boxes):
    """Gaussians that show, nearest first, equally near ones in the order of the list (radix sort)."""
    shown = 0
    for i in range(boxes.shape[0]):
        shown += boxes[i, 1] >= boxes[i, 0]
    keys, order = np.empty(shown, np.uint32), np.empty(shown, np.int32)
    shown = 0
    for i in range(boxes.shape[0]):
        if boxes[i, 1] >= boxes[i, 0]:
            keys[shown], order[shown] = records[i, 5:6].view(np.uint32)[0], i  # depths > 0 sort like their bits
            shown += 1
    moved_keys, moved = np.empty_like(keys), np.empty_like(order)
    for shift in (0, 11, 22):
        places = np.zeros(2049, np.int32)
        for key in keys:
            places[((key >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        for digit in range(2047):
            places[digit + 1] += places[digit]
        for k in range(shown):
            digit = (keys[k] >> np.uint32(shift)) & np.uint32(2047)
            moved_keys[places[digit]], moved[places[digit]] = keys[k], order[k]
            places[digit] += 1
        keys, moved_keys, order, moved = moved_keys, keys, moved, order
    return order


@njit(cache=True, **OPTIONS)
def tile_lists(order, boxes, wide, high):
    """Where the list of every tile begins (tiles + 1,), and the lists, in the given order (counting sort)."""
    offsets = np.zeros(wide * high + 1, np.int32)
    for i in range(boxes.shape[0]):
        if boxes[i, 1] < boxes[i, 0]:
            continue
        for y in range(boxes[i, 2], boxes[i, 3] + 1):
            for x in range(boxes[i, 0], boxes[i, 1] + 1):
                offsets[y * wide + x + 1] += 1
    for tile in range(wide * high):
        offsets[tile + 1] += offsets[tile]
    lists, position = np.empty(offsets[-1], np.int32), offsets.copy()
    for i in order:
        for y in range(boxes[i, 2], boxes[i, 3] + 1):
            for x in range(boxes[i, 0], boxes[i, 1] + 1):
                lists[position[y * wide + x]] = i
                position[y * wide + x] += 1
    return offsets, lists


@njit(inline="always", **OPTIONS)
def _placed(record, top, left):
    """Center in the tile, the exponent's factors (base 2), first and last row and column, and the ellipse's shape."""
    u, v = record[0] - float32(left), record[1] - float32(top)
    exponent = (_MINUS_HALF_LOG2_E * record[2], _MINUS_LOG2_E * record[3], _MINUS_HALF_LOG2_E * record[4])
    rows = (max(0, math.ceil(v - record[7])), min(ROWS - 1, math.floor(v + record[7])))
    columns = (max(0, math.ceil(u - record[6])), min(COLUMNS - 1, math.floor(u + record[6])))
    return (u, v), exponent, rows, columns, row_shape((record[2], record[3], record[4]), record[8])


@njit(inline="always", **OPTIONS)
def _span(u, dv, columns, shape):
    """First column and that behind the last of a row; all columns if these are few."""
    if columns[1] - columns[0] < 2 * LANES:
        return columns[0], columns[1] + 1
    middle = u - shape[1] * dv
    return max(columns[0], math.ceil(middle - shape[0])), min(columns[1], math.floor(middle + shape[0])) + 1


@njit(inline="always", **OPTIONS)
def _uncapped(opacity, exponent, du, dv):
    power = exponent[2] * dv * dv + du * (exponent[1] * dv + exponent[0] * du)
    return opacity * lanes.exp2(lanes.smaller(lanes.larger(power, LOWEST_EXPONENT), _ZERO))


@njit(**OPTIONS)
def _over(light, shade, ends, record, opacity, color, top, left, number):
    """Composite one footprint behind a tile; the sign of ``light`` says that a pixel is finished."""
    center, exponent, rows, columns, shape = _placed(record, top, left)
    for y in range(rows[0], rows[1] + 1):
        dv = float32(y) - center[1]
        start, stop = _span(center[0], dv, columns, shape)
        for x in range(start, stop, LANES):
            at = y * STRIDE + x
            alpha = lanes.smaller(_CAP, _uncapped(opacity, exponent, lanes.counting(float32(x) - center[0]), dv))
            alpha = lanes.where_le(_LEAST, alpha, alpha, _ZERO)
            before, shown = lanes.load(light, at), lanes.load(shade, at)
            taken = alpha * before
            after = before - taken
            lanes.store(shade, at, lanes.where_lt(_END, after, shown + color * taken, shown))
            lanes.store(light, at, lanes.where_lt(_END, after, after, -lanes.absolute(before)))
            lanes.store(ends, at, lanes.where_lt(_END, after, number, lanes.load(ends, at)))


@njit(parallel=True, cache=True, **OPTIONS)
def composite(records, opacities, colors, offsets, lists, background, image, transmittance, last):
    """Fill image, transmittance and position behind the last used footprint (each R, C)."""
    rows, columns = image.shape
    wide = (columns + COLUMNS - 1) // COLUMNS
    for tile in prange(offsets.shape[0] - 1):
        light, shade = np.ones(ROWS * STRIDE, np.float32), np.zeros(ROWS * STRIDE, np.float32)
        ends = np.zeros(ROWS * STRIDE, np.float32)  # counted from the tile's first footprint
        top, left = (tile // wide) * ROWS, (tile % wide) * COLUMNS
        begin = offsets[tile]
        for j in range(begin, offsets[tile + 1]):
            i = lists[j]
            _over(light, shade, ends, records[i], opacities[i], colors[i], top, left, float32(j - begin + 1))
            if ((j - begin) & _LOOK) == _LOOK and _finished(light):
                break
        for y in range(min(ROWS, rows - top)):
            for x in range(min(COLUMNS, columns - left)):
                through = abs(light[y * STRIDE + x])
                transmittance[top + y, left + x] = through
                image[top + y, left + x] = shade[y * STRIDE + x] + background * through
                last[top + y, left + x] = begin + int32(ends[y * STRIDE + x])


@njit(**OPTIONS)
def _finished(light):
    """Whether no pixel of a tile can change any more."""
    brightest = lanes.spread(-_ONE)
    for y in range(ROWS):
        for x in range(0, COLUMNS, LANES):
            brightest = lanes.larger(brightest, lanes.load(light, y * STRIDE + x))
    return lanes.total(lanes.where_le(brightest, _ZERO, _ZERO, _ONE)) == 0


@njit(**OPTIONS)
def _under(light, behind, slope, ends, record, opacity, color, top, left, number, slot):
    """Undo one footprint on a tile and write its gradients; ``slot`` is described at ``SLOT_SIZE``.

    ``behind`` is what the pixels show behind the footprint, weighted by the transmittance there.
    """
    center, exponent, rows, columns, shape = _placed(record, top, left)
    zero = lanes.spread(_ZERO)
    all_g, g_u, g_v, g_uu, g_uv, g_vv, g_color = zero, zero, zero, zero, zero, zero, zero
    for y in range(rows[0], rows[1] + 1):
        dv = float32(y) - center[1]
        start, stop = _span(center[0], dv, columns, shape)
        for x in range(start, stop, LANES):
            at = y * STRIDE + x
            du = lanes.counting(float32(x) - center[0])
            free = _uncapped(opacity, exponent, du, dv)
            alpha = lanes.where_le(_LEAST, free, lanes.smaller(_CAP, free), _ZERO)
            alpha = lanes.where_le(number, lanes.load(ends, at), alpha, _ZERO)  # not used: as if it were not there
            inverse = _ONE / (_ONE - alpha)
            before, hidden, pull = lanes.load(light, at) * inverse, lanes.load(behind, at), lanes.load(slope, at)
            weight = alpha * before
            lanes.store(light, at, before)
            lanes.store(behind, at, hidden + color * weight)
            g_color += pull * weight
            g = lanes.where_le(free, _CAP, pull * (color * weight - hidden * alpha * inverse), _ZERO)
            along_u, along_v = g * du, g * dv
            all_g, g_u, g_v, g_uu = all_g + g, g_u + along_u, g_v + along_v, g_uu + along_u * du
            g_uv, g_vv = g_uv + along_u * dv, g_vv + along_v * dv
    u, v = lanes.total(g_u), lanes.total(g_v)
    slot[0], slot[1] = record[2] * u + record[3] * v, record[3] * u + record[4] * v
    slot[2], slot[3], slot[4] = -_HALF * lanes.total(g_uu), -lanes.total(g_uv), -_HALF * lanes.total(g_vv)
    slot[5], slot[6] = lanes.total(all_g) / opacity, lanes.total(g_color)


@njit(parallel=True, cache=True, **OPTIONS)
def composite_adjoint(
    records, opacities, colors, offsets, lists, background, gradient, transmittance, last, slots
):  # fmt: skip
    """Gradients (pairs, 7) of every footprint in every tile; see ``SLOT_SIZE``."""
    rows, columns = gradient.shape
    wide = (columns + COLUMNS - 1) // COLUMNS
    for tile in prange(offsets.shape[0] - 1):
        light, behind = np.ones(ROWS * STRIDE, np.float32), np.zeros(ROWS * STRIDE, np.float32)
        slope, ends = np.zeros(ROWS * STRIDE, np.float32), np.zeros(ROWS * STRIDE, np.float32)
        top, left = (tile // wide) * ROWS, (tile % wide) * COLUMNS
        begin = end = offsets[tile]
        for y in range(min(ROWS, rows - top)):
            for x in range(min(COLUMNS, columns - left)):
                at, through = y * STRIDE + x, transmittance[top + y, left + x]
                light[at], behind[at], slope[at] = through, background * through, gradient[top + y, left + x]
                ends[at] = float32(last[top + y, left + x] - begin)
                end = max(end, last[top + y, left + x])
        slots[end : offsets[tile + 1]] = 0
        for j in range(end - 1, begin - 1, -1):
            i, number = lists[j], float32(j - begin + 1)
            _under(light, behind, slope, ends, records[i], opacities[i], colors[i], top, left, number, slots[j])


@njit(cache=True, **OPTIONS)
def add_slots(lists, slots, sums):
    """Sum the gradients of the tiles per Gaussian, in a fixed order."""
    for j in range(lists.shape[0]):
        for k in range(SLOT_SIZE):
            sums[lists[j], k] += slots[j, k]
