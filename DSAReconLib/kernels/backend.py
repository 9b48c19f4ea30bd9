"""Which kernels this machine can run, and on which device."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec

from DSAReconLib.errors import DependencyError

_CUDA_HINT = "Choose device 'cpu' or 'auto', or install a CUDA build of torch and an NVIDIA driver."


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
    """Device to use for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.

    ``"auto"`` is the first CUDA device where CUDA kernels can run, otherwise the CPU.

    Returns
    -------
    ``"cpu"`` or ``"cuda:i"``.

    Raises
    ------
    ValueError
        Not one of these words.
    DependencyError
        A CUDA device is asked for that cannot be used; the message says why.
    """
    if device == "cpu":
        return "cpu"
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:<number>'; got {device!r}")
    problem = cuda_problem()
    if device == "auto":
        return "cpu" if problem else "cuda:0"
    if problem:
        raise DependencyError(f"Device {device!r} cannot be used: {problem}.", hint=_CUDA_HINT)
    import torch

    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        raise DependencyError(f"Device {device!r} does not exist: there are {count} CUDA devices.", hint=_CUDA_HINT)
    return f"cuda:{index}"


def cuda_problem() -> str | None:
    """Why CUDA kernels cannot run here (half a sentence), or ``None`` if they can."""
    if find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return "torch finds no usable CUDA device or driver"
    from DSAReconLib.kernels.cuda.nvrtc import load_nvrtc

    try:
        load_nvrtc()
    except DependencyError as error:
        return error.message.rstrip(".")
    return None


def available_backends() -> dict[str, str]:
    """State of each way to compute, for people and bug reports: ``{"cpu": "numba 0.68.1, 8 threads", ...}``."""
    try:
        cpu = _cpu_description(cpu_kernels())
    except DependencyError as error:
        cpu = f"not usable: {error.message}"
    problem = cuda_problem()
    return {"cpu": cpu, "cuda": f"not usable: {problem}" if problem else _cuda_description()}


def _cpu_description(kernels: str) -> str:
    if kernels == "torch":
        import torch

        return f"torch {torch.__version__} (slow reference; install numba), {torch.get_num_threads()} threads"
    import numba

    from DSAReconLib.kernels.intrinsics import PLAIN_KERNELS

    plain = " (plain kernels)" if PLAIN_KERNELS else ""
    return f"numba {numba.__version__}{plain}, {numba.get_num_threads()} threads"


def _cuda_description() -> str:
    import torch

    from DSAReconLib.kernels.cuda.nvrtc import load_nvrtc

    devices = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return f"{devices}; torch {torch.__version__}, NVRTC {'.'.join(map(str, load_nvrtc().version))}"
