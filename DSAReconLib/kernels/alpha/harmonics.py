"""Real spherical harmonics up to degree 3: the basis of a Gaussian's color over the viewing direction.

Order and signs are those of 3DGS and gsplat: (l, m) with m = -l ... l, and a factor (-1)^m
from the Condon-Shortley phase. Works on numpy arrays and torch tensors alike.
"""

from __future__ import annotations

from typing import Any

MAX_DEGREE = 3
CONSTANT = 0.28209479177387814
"""Value of the first function, 1 / (2 sqrt(pi))."""


def num_functions(degree: int) -> int:
    """Number of functions up to ``degree``."""
    return (degree + 1) ** 2


def harmonics(directions: Any, degree: int) -> list[Any]:
    """Values of the functions up to ``degree`` (0 to 3) at unit vectors (..., 3).

    Returns
    -------
    list
        (degree + 1)^2 arrays (...).
    """
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"degree must lie between 0 and {MAX_DEGREE}; got {degree}")
    x, y, z = (directions[..., axis] for axis in range(3))
    values = [0 * x + CONSTANT]
    if degree >= 1:
        values += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        values += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    if degree >= 3:
        values += [
            -0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
            -0.4570457994644658 * x * (5 * z * z - 1),
            1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return values
