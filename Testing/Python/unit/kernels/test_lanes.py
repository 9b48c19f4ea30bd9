"""Vectors of eight float32 in numba functions, against numpy."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")
from DSAReconLib.kernels import lanes  # noqa: E402
from DSAReconLib.kernels.lanes import LANES, MARGIN, OPTIONS  # noqa: E402

VALUES = np.linspace(-3, 4, 5 * MARGIN, dtype=np.float32)


@numba.njit(**OPTIONS)
def arithmetic(x, out):
    for i in range(0, x.shape[0], LANES):
        a = lanes.load(x, i)
        b = a
        b *= 2
        b -= a / 4.0
        lanes.store(out, i, 1 - (-b + lanes.counting(numba.float32(i)) * a))


@numba.njit(**OPTIONS)
def choices(x, out):
    for i in range(0, x.shape[0], LANES):
        a = lanes.load(x, i)
        inside = lanes.smaller(lanes.larger(a, -1.0), lanes.spread(numba.float32(2)))
        below = lanes.where_lt(a, 0.0, lanes.floor(inside), lanes.sqrt(lanes.absolute(inside)))
        lanes.store(out, i, lanes.where_le(a, 3.0, below, 10.0))


@numba.njit(**OPTIONS)
def sum_of_powers(x, out):
    total = lanes.spread(numba.float32(0))
    for i in range(0, x.shape[0], LANES):
        power = lanes.exp2(lanes.load(x, i))
        lanes.store(out, i, power)
        total += power
    return lanes.total(total)


def test_arithmetic_works_between_lanes_and_numbers():
    out = np.empty_like(VALUES)
    arithmetic(VALUES, out)
    expected = 1 - (-(2 * VALUES - VALUES / 4) + np.arange(len(VALUES)) * VALUES)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_choices_are_made_lane_by_lane():
    out = np.empty_like(VALUES)
    choices(VALUES, out)
    inside = np.clip(VALUES, -1, 2)
    below = np.where(VALUES < 0, np.floor(inside), np.sqrt(np.abs(inside)))
    np.testing.assert_allclose(out, np.where(VALUES <= 3, below, 10), rtol=1e-6)


def test_powers_of_two_are_exact_to_the_last_bits_and_sums_hold_all_lanes():
    exponents = np.linspace(-120, 0, 4000, dtype=np.float32)
    out = np.empty_like(exponents)
    total = sum_of_powers(exponents, out)
    expected = np.exp2(exponents.astype(np.float64))
    np.testing.assert_allclose(out, expected, rtol=3e-7)
    assert total == pytest.approx(expected.sum(), rel=1e-6)


def test_a_store_changes_only_its_own_lanes():
    out = np.full(3 * MARGIN, 7, np.float32)
    arithmetic(VALUES[:MARGIN], out[MARGIN : 2 * MARGIN])
    assert (out[:MARGIN] == 7).all()
    assert (out[2 * MARGIN :] == 7).all()
    assert (out[MARGIN : 2 * MARGIN] != 7).all()
