"""Eight float32 values at a time inside numba functions: what short rows of pixels need.

LLVM vectorizes long loops by itself. Rows of a footprint are 5 to 20 pixels long: there
its prologues, alias checks and horizontal sums cost more than the pixels. A value of these
lanes is one vector register: ``+ - * /`` work between lanes and with scalars, and sums stay
in registers until :func:`total`.

=============================  ====================================================
``load(array, i)``             ``array[i : i + LANES]`` of a flat float32 array, unchecked
``store(array, i, x)``         the same place filled with ``x``
``counting(first)``            ``first, first + 1, ...``
``spread(x)``                  the scalar ``x`` in every lane
``where_le(a, b, x, y)``       ``x`` where ``a <= b``, ``y`` elsewhere
``where_lt(a, b, x, y)``       ``x`` where ``a < b``, ``y`` elsewhere
``sqrt, floor, absolute``      of every lane
``smaller, larger``            of two, lane by lane
``total(x)``                   sum of the lanes, a scalar
``exp2(x)``                    2 to the power ``x`` > -126, relative error 2e-7
=============================  ====================================================

Where numba has changed (or ``DSARECON_PLAIN_KERNELS`` is set) a lane is a plain float32
and ``LANES`` is 1: the same kernels, slower and equally right. Arrays therefore get
``MARGIN`` elements behind every row, whatever ``LANES`` is.
"""

# numba functions: their argument types are those of the call, so they carry no annotations
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, int32, intp, njit, types, void
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from DSAReconLib.kernels.intrinsics import PLAIN_KERNELS

MARGIN = 8
"""Elements behind the last pixel of a row that lanes may read and write."""
OPTIONS = {
    "fastmath": {"reassoc", "contract", "arcp", "nsz", "afn", "nnan", "ninf"},
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
}
"""Of functions that use lanes; finite numbers are presumed, checked at the Python edge."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, MARGIN)
_INTEGERS = ir.VectorType(ir.IntType(32), MARGIN)
_ONE, _HALF = float32(1), float32(0.5)
_logger = logging.getLogger(__name__)


class LanesType(types.Type):  # type: ignore[misc]  # numba is untyped
    """The numba type of eight float32 values."""

    def __init__(self) -> None:
        super().__init__(name="float32_lanes")


_lanes = LanesType()


def _every(value: int) -> Any:
    return ir.Constant(_INTEGERS, [value] * MARGIN)


def _widened(context: Any, builder: Any, typ: Any, value: Any) -> Any:
    """The vector of a scalar; a vector itself."""
    if isinstance(typ, LanesType):
        return value
    scalar = context.cast(builder, value, typ, float32)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0)), undefined, _every(0)
    )


def _call(builder: Any, name: str, result: Any, *arguments: Any, **options: Any) -> Any:
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments, **options)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index], inbounds=True), _VECTOR.as_pointer())


def _add_operator(function: Callable[..., Any], instruction: str) -> None:
    """Teach numba an arithmetic operator between lanes, and between lanes and numbers."""

    def typing(context: Any) -> Callable[..., Any]:
        def typed(a: Any, b: Any) -> Any:
            kinds = (isinstance(a, LanesType), isinstance(b, LanesType))
            others = all(isinstance(each, LanesType | types.Number) for each in (a, b))
            return _lanes if any(kinds) and others else None

        return typed

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        both = (_widened(context, builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        return getattr(builder, instruction)(*both)

    type_callable(function)(typing)
    for pair in ((LanesType, LanesType), (LanesType, types.Number), (types.Number, LanesType)):
        lower_builtin(function, *pair)(generate)


def _add_operators() -> None:
    """Arithmetic of lanes, with its in-place forms, and negation."""
    register_model(LanesType)(_LanesModel)
    for name, instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
        _add_operator(getattr(operator, name), instruction)
        _add_operator(getattr(operator, f"i{name}"), instruction)
    type_callable(operator.neg)(lambda context: lambda a: _lanes if isinstance(a, LanesType) else None)
    lower_builtin(operator.neg, LanesType)(lambda context, builder, signature, arguments: builder.fneg(arguments[0]))


class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]  # numba is untyped
    def __init__(self, manager: Any, lanes: Any) -> None:
        super().__init__(manager, lanes, _VECTOR)


def _memory() -> tuple[Any, ...]:
    @intrinsic
    def load(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=4)

        return _lanes(array, intp), generate

    @intrinsic
    def store(typing: Any, array: Any, index: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[2], _pointer(context, builder, signature.args[0], *arguments[:2]), align=4)
            return context.get_dummy_value()

        return void(array, intp, _lanes), generate

    return load, store


def _making() -> tuple[Any, ...]:
    @intrinsic
    def counting(typing: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            steps = ir.Constant(_VECTOR, [float(lane) for lane in range(MARGIN)])
            return builder.fadd(_widened(context, builder, float32, arguments[0]), steps)

        return _lanes(float32), generate

    @intrinsic
    def spread(typing: Any, x: Any) -> Any:
        return _lanes(float32), lambda context, builder, signature, args: _widened(context, builder, float32, args[0])

    return counting, spread


def _function_of_lanes(name: str) -> Any:
    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _call(builder, f"llvm.{name}.v{MARGIN}f32", _VECTOR, arguments[0])

        return _lanes(_lanes), generate

    return function


def _choice(comparison: str) -> Any:
    @intrinsic
    def where(typing: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pairs = zip(signature.args, arguments, strict=True)
            a, b, x, y = (_widened(context, builder, *pair) for pair in pairs)
            return builder.select(builder.fcmp_ordered(comparison, a, b), x, y)

        return _lanes(a, b, x, y), generate

    return where


def _reductions() -> tuple[Any, ...]:
    @intrinsic
    def total(typing: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            start, name = ir.Constant(_FLOAT, -0.0), f"llvm.vector.reduce.fadd.v{MARGIN}f32"
            return _call(builder, name, _FLOAT, start, arguments[0], fastmath=["reassoc"])

        return float32(_lanes), generate

    @intrinsic
    def power_of_two(typing: Any, whole: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            exponent = builder.add(builder.fptosi(arguments[0], _INTEGERS), _every(127))
            return builder.bitcast(builder.shl(exponent, _every(23)), _VECTOR)

        return _lanes(_lanes), generate

    return total, power_of_two


def _plain_functions() -> tuple[Any, ...]:
    """The same functions of one float32."""

    def plain(function: Callable[..., Any]) -> Any:
        return njit(inline="always", **OPTIONS)(function)

    def store(array, i, x):
        array[i] = x

    return (
        plain(lambda array, i: array[i]),
        plain(store),
        plain(lambda first: float32(first)),
        plain(lambda x: float32(x)),
        plain(lambda x: math.sqrt(x)),
        plain(lambda x: np.floor(x)),
        plain(lambda x: abs(x)),
        plain(lambda a, b, x, y: x if a <= b else y),
        plain(lambda a, b, x, y: x if a < b else y),
        plain(lambda x: x),
        plain(lambda whole: np.int32((int32(whole) + int32(127)) << int32(23)).view(np.float32)),
    )


def _vector_functions() -> tuple[Any, ...]:
    _add_operators()
    functions = (_function_of_lanes(name) for name in ("sqrt", "floor", "fabs"))
    load_store, total_power = _memory(), _reductions()
    return *load_store, *_making(), *functions, _choice("<="), _choice("<"), *total_power


_functions = _vector_functions()
load, store, counting, spread, sqrt, floor, absolute, where_le, where_lt, total, _power_of_two = _functions


@njit(inline="always", **OPTIONS)
def smaller(a, b):
    """The smaller of two, lane by lane."""
    return where_le(a, b, a, b)


@njit(inline="always", **OPTIONS)
def larger(a, b):
    """The larger of two, lane by lane."""
    return where_le(a, b, b, a)


@njit(**OPTIONS)
def exp2(x):
    """2^x for x > -126: a power of 2 times a polynomial of degree 5 for 2^f, |f| <= 1/2."""
    whole = floor(x + _HALF)
    f = x - whole
    poly = float32(0.0555071328) + f * (float32(0.0096755416) + f * float32(0.0013276471))
    poly = float32(0.693146967) + f * (float32(0.240221197) + f * poly)
    return _power_of_two(whole) * (float32(1.00000007) + f * poly)


@njit(cache=True, **OPTIONS)
def _probe(values):
    x = load(values, 0)
    store(values, 0, larger(where_lt(x, 5.0, exp2(-sqrt(x)), 0.0), -absolute(counting(float32(0)))))
    return total(load(values, 0) / spread(float32(2)) + smaller(floor(x), 1.0))


def _lanes_work() -> bool:
    """Whether this numba compiles the lanes and they compute what they should."""
    if PLAIN_KERNELS:
        return False
    try:
        return bool(abs(_probe(np.full(MARGIN, 4, np.float32)) - MARGIN * (0.125 + 1)) < 1e-4)
    except (NumbaError, AttributeError, TypeError, NotImplementedError):
        _logger.warning("numba's internals have changed: plain kernels, several times slower", exc_info=True)
        return False


LANES = MARGIN if _lanes_work() else 1
"""Values that one load or store moves."""

if LANES == 1:
    _functions = _plain_functions()
    load, store, counting, spread, sqrt, floor, absolute, where_le, where_lt, total, _power_of_two = _functions
