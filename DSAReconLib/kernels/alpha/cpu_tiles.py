"""Front-to-back compositing of sorted footprints in tiles of 16 x 16 pixels, forward and backward (numba).

The inner loops run over the 16 pixels of a tile row without branches, so they become one
vector instruction each; everything conditional is a selection.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np
from numba import float32, int32, njit, prange

from DSAReconLib.kernels.alpha.cpu_projection import reach
from DSAReconLib.kernels.splat.cpu_footprint import OPTIONS, fast_exp

TILE = 16
MAX_ALPHA = 0.99
"""Opacity of one footprint at one pixel is capped here (gsplat 1.6 and 3DGS)."""
MIN_ALPHA = 1 / 255
"""Footprints below are skipped at a pixel."""
MIN_TRANSMITTANCE = 1e-4
"""A footprint that would take a pixel's transmittance to this or below ends the pixel, unused."""
SLOT_SIZE = 7  # gradients of u, v, conic uu, uv, vv, opacity, color
_ZERO, _ONE, _HALF = float32(0), float32(1), float32(0.5)
_CAP, _LEAST, _END = float32(MAX_ALPHA), float32(MIN_ALPHA), float32(MIN_TRANSMITTANCE)
_SLACK = 1.001  # the extent is rounded up: the exact test is the one on alpha
_LOOK = 15  # whether a tile is finished is asked every 16 footprints


@njit(**OPTIONS)
def _cut(opacity):
    """Conic value at which alpha falls to 1/255."""
    return 2.0 * _SLACK * math.log(255.0 * opacity)


@njit(cache=True, **OPTIONS)
def tile_boxes(records, opacities, visible, rows, columns, boxes, offsets):
    """First and last tile column and row of every Gaussian (N, 4), empty where it shows nowhere; list offsets.

    Also completes the records by the half extent in v.
    """
    wide, high = (columns + TILE - 1) // TILE, (rows + TILE - 1) // TILE
    offsets[:] = 0
    for i in range(records.shape[0]):
        boxes[i, 0], boxes[i, 1] = 0, -1
        if not visible[i] or not opacities[i] > MIN_ALPHA:
            continue
        half_u, half_v = reach(records[i], _cut(opacities[i]))
        u, v = records[i, 0], records[i, 1]
        records[i, 6] = half_v
        if not (u + half_u >= 0 and v + half_v >= 0 and u - half_u <= columns - 1 and v - half_v <= rows - 1):
            continue
        boxes[i, 0] = max(math.floor((u - half_u) / TILE), 0)
        boxes[i, 1] = min(math.floor((u + half_u) / TILE), wide - 1)
        boxes[i, 2] = max(math.floor((v - half_v) / TILE), 0)
        boxes[i, 3] = min(math.floor((v + half_v) / TILE), high - 1)
        for y in range(boxes[i, 2], boxes[i, 3] + 1):
            for x in range(boxes[i, 0], boxes[i, 1] + 1):
                offsets[y * wide + x + 1] += 1
    for tile in range(wide * high):
        offsets[tile + 1] += offsets[tile]


@njit(cache=True, **OPTIONS)
def tile_lists(order, boxes, offsets, wide, lists):
    """Gaussians of every tile, in the given order (counting sort)."""
    position = offsets.copy()
    for i in order:
        for y in range(boxes[i, 2], boxes[i, 3] + 1):
            for x in range(boxes[i, 0], boxes[i, 1] + 1):
                lists[position[y * wide + x]] = i
                position[y * wide + x] += 1


@njit(**OPTIONS)
def _row_span(record, top):
    """First and last row of a footprint within the tile that begins at row ``top``; empty if last < first."""
    first, last = math.ceil(record[1] - record[6]), math.floor(record[1] + record[6])
    return max(0, first - top), min(TILE - 1, last - top)


@njit(inline="always", **OPTIONS)
def _over(light, shade, last, record, opacity, color, left, dv, number):
    """Composite one footprint behind one tile row; the sign of ``light`` says that a pixel is finished."""
    quu, quv, constant = -_HALF * record[2], -record[3] * dv, -_HALF * record[4] * dv * dv
    for x in range(TILE):
        du = float32(x) + left
        alpha = min(_CAP, opacity * fast_exp(min(_ZERO, (quu * du + quv) * du + constant)))
        before = light[x]
        alpha = alpha if alpha >= _LEAST else _ZERO
        after = before * (_ONE - alpha)
        used = after > _END
        shade[x] += color * alpha * before if used else _ZERO
        light[x] = after if used else -abs(before)
        last[x] = number if used else last[x]


@njit(parallel=True, cache=True, **OPTIONS)
def composite(records, opacities, colors, offsets, lists, background, image, transmittance, last):
    """Fill image, transmittance and position behind the last used footprint (each R, C)."""
    rows, columns = image.shape
    wide = (columns + TILE - 1) // TILE
    for tile in prange(offsets.shape[0] - 1):
        light, shade = np.ones((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.float32)
        ends = np.zeros((TILE, TILE), np.int32)
        top, left = (tile // wide) * TILE, (tile % wide) * TILE
        for j in range(offsets[tile], offsets[tile + 1]):
            i = lists[j]
            record, offset = records[i], float32(left) - records[i, 0]
            first, stop = _row_span(record, top)
            for y in range(first, stop + 1):
                dv = float32(top + y) - record[1]
                _over(light[y], shade[y], ends[y], record, opacities[i], colors[i], offset, dv, int32(j + 1))
            if (j & _LOOK) == _LOOK and light.max() <= _ZERO:
                break
        for y in range(min(TILE, rows - top)):
            for x in range(min(TILE, columns - left)):
                transmittance[top + y, left + x] = abs(light[y, x])
                image[top + y, left + x] = shade[y, x] + background * abs(light[y, x])
                last[top + y, left + x] = ends[y, x]


@njit(inline="always", **OPTIONS)
def _under(light, behind, gradient, last, record, opacity, color, left, dv, number):
    """Undo one footprint on one tile row; returns the sums of the gradient of alpha and color over the row.

    ``behind`` is what the pixel shows behind the footprint, weighted by the transmittance there.
    """
    quu, quv, constant = -_HALF * record[2], -record[3] * dv, -_HALF * record[4] * dv * dv
    sum0 = sum1 = sum2 = sum_color = _ZERO
    for x in range(TILE):
        du = float32(x) + left
        free = opacity * fast_exp(min(_ZERO, (quu * du + quv) * du + constant))
        alpha = min(_CAP, free)
        used = (alpha >= _LEAST) & (number < last[x])
        inverse = _ONE / (_ONE - alpha)
        before = light[x] * inverse if used else light[x]
        weight = alpha * before if used else _ZERO
        slope = gradient[x] * (color * before - behind[x] * inverse) if used else _ZERO
        slope = slope * free if free <= _CAP else _ZERO
        behind[x] += color * weight
        light[x] = before
        sum_color += gradient[x] * weight
        sum0 += slope
        sum1 += slope * du
        sum2 += slope * du * du
    return sum0, sum1, sum2, sum_color


@njit(parallel=True, cache=True, **OPTIONS)
def composite_adjoint(
    records, opacities, colors, offsets, lists, background, gradient, transmittance, last, slots
):  # fmt: skip
    """Gradients (pairs, 7) of every footprint in every tile; see ``SLOT_SIZE``."""
    rows, columns = gradient.shape
    wide = (columns + TILE - 1) // TILE
    for tile in prange(offsets.shape[0] - 1):
        light, behind = np.ones((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.float32)
        slope, ends = np.zeros((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.int32)
        top, left = (tile // wide) * TILE, (tile % wide) * TILE
        end = offsets[tile]
        for y in range(min(TILE, rows - top)):
            for x in range(min(TILE, columns - left)):
                light[y, x] = transmittance[top + y, left + x]
                behind[y, x] = background * light[y, x]
                slope[y, x], ends[y, x] = gradient[top + y, left + x], last[top + y, left + x]
                end = max(end, ends[y, x])
        slots[end : offsets[tile + 1]] = 0
        for j in range(end - 1, offsets[tile] - 1, -1):
            i = lists[j]
            record, offset = records[i], float32(left) - records[i, 0]
            first, stop = _row_span(record, top)
            s0 = su = sv = suu = suv = svv = sc = _ZERO
            for y in range(first, stop + 1):
                dv = float32(top + y) - record[1]
                r0, r1, r2, rc = _under(
                    light[y], behind[y], slope[y], ends[y], record, opacities[i], colors[i], offset, dv, j
                )
                s0, su, suu, sc = s0 + r0, su + r1, suu + r2, sc + rc
                sv, suv, svv = sv + r0 * dv, suv + r1 * dv, svv + r0 * dv * dv
            slots[j, 0], slots[j, 1] = record[2] * su + record[3] * sv, record[3] * su + record[4] * sv
            slots[j, 2], slots[j, 3], slots[j, 4] = -_HALF * suu, -suv, -_HALF * svv
            slots[j, 5], slots[j, 6] = s0 / opacities[i], sc


@njit(cache=True, **OPTIONS)
def add_slots(lists, slots, sums):
    """Sum the gradients of the tiles per Gaussian, in a fixed order."""
    for j in range(lists.shape[0]):
        for k in range(SLOT_SIZE):
            sums[lists[j], k] += slots[j, k]
