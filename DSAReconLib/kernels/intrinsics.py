"""The few numba intrinsics that let LLVM vectorize gathers and scatters.

numba indexes with 64-bit integers, wraps negative indices and cannot promise LLVM that an
accumulator does not alias the gathered array; each of the three keeps the loops scalar.
The intrinsics load and store with 32-bit indices, without wraparound, and with alias
scopes. They are the only place that touches numba internals: where these have changed
(or ``DSARECON_PLAIN_KERNELS`` is set) plain functions of the same names take over, 2 to 3
times slower and equally right.

====================  ==========================================================
``ld(array, i)``      ``array[i]``, i int32; never aliases an ``acc_add`` target
``ldc(array, i)``     the same for a native integer i (contiguous reads)
``acc_add(a, i, x)``  ``a[i] += x``, i native integer; never aliases ``ld``, ``ldc``
``addto(a, i, x)``    ``a[i] += x``, i int32; may hit one element repeatedly
``i32add, i32mul``    int32 arithmetic that stays 32 bits wide
====================  ==========================================================
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, int32, intp, njit, void
from numba.core.errors import NumbaError
from numba.extending import intrinsic

JIT_OPTIONS: dict[str, Any] = {
    "fastmath": True,
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
    "cache": True,
}
"""Options of every compiled kernel; fastmath presumes finite numbers, checked at the Python edge."""

_logger = logging.getLogger(__name__)


def _gather_scope(module: Any) -> Any:
    domain = module.add_metadata([ir.MetaDataString(module, "dsarecon_domain")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, "dsarecon_gather"), domain])])


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [builder.sext(index, ir.IntType(64))], inbounds=True)


def _load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    value = builder.load(_address(context, builder, signature.args[0], *arguments))
    value.set_metadata("alias.scope", _gather_scope(builder.module))
    return value


def _add(*, no_alias: bool) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        old = builder.load(pointer)
        store = builder.store(builder.fadd(old, arguments[2], flags=["fast"]), pointer)
        for access in (old, store) if no_alias else ():
            access.set_metadata("noalias", _gather_scope(builder.module))
        return context.get_dummy_value()

    return generate


def _vector_intrinsics() -> tuple[Any, ...]:
    @intrinsic
    def ld(typing: Any, array: Any, index: Any) -> Any:
        return float32(array, int32), _load

    @intrinsic
    def ldc(typing: Any, array: Any, index: Any) -> Any:
        return float32(array, intp), _load

    @intrinsic
    def acc_add(typing: Any, array: Any, index: Any, value: Any) -> Any:
        return void(array, intp, float32), _add(no_alias=True)

    @intrinsic
    def addto(typing: Any, array: Any, index: Any, value: Any) -> Any:
        return void(array, int32, float32), _add(no_alias=False)

    @intrinsic
    def i32add(typing: Any, a: Any, b: Any) -> Any:
        return int32(int32, int32), lambda context, builder, signature, ab: builder.add(*ab, flags=["nsw"])

    @intrinsic
    def i32mul(typing: Any, a: Any, b: Any) -> Any:
        return int32(int32, int32), lambda context, builder, signature, ab: builder.mul(*ab, flags=["nsw"])

    return ld, ldc, acc_add, addto, i32add, i32mul


def _plain_functions() -> tuple[Any, ...]:
    @njit(inline="always")
    def load(array, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return array[index]

    @njit(inline="always")
    def add_at(array, index, value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        array[index] += value

    @njit(inline="always")
    def add(a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return int32(a + b)

    @njit(inline="always")
    def multiply(a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return int32(a * b)

    return load, load, add_at, add_at, add, multiply


ld, ldc, acc_add, addto, i32add, i32mul = _vector_intrinsics()


@njit(**JIT_OPTIONS)
def _probe(values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in range(values.shape[0]):
        index = i32mul(i32add(int32(i), int32(0)), int32(1))
        addto(values, index, ld(values, index))
        acc_add(values, i, ldc(values, i))
    return values


def _intrinsics_work() -> bool:
    """Whether this numba compiles the intrinsics and they compute what they should."""
    if os.environ.get("DSARECON_PLAIN_KERNELS"):
        return False
    try:
        return bool(np.all(_probe(np.ones(2, np.float32)) == 4))
    except (NumbaError, AttributeError, TypeError, NotImplementedError):
        _logger.warning("numba's internals have changed: plain kernels, 2 to 3 times slower", exc_info=True)
        return False


PLAIN_KERNELS = not _intrinsics_work()
"""Whether the plain functions are in use."""

if PLAIN_KERNELS:
    ld, ldc, acc_add, addto, i32add, i32mul = _plain_functions()
