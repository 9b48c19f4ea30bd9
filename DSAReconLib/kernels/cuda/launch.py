"""Start CUDA kernels on torch's device and stream through the CUDA driver.

No torch extension and no private torch interface: pointers come from ``data_ptr``, the
stream from ``torch.cuda.current_stream``, so that torch orders our work with its own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.errors import DependencyError
from DSAReconLib.kernels.cuda.nvrtc import compile_cached

if TYPE_CHECKING:
    from torch import Tensor

Launch = Callable[[str, Sequence[int], Sequence[int], Sequence[Any]], None]
"""(kernel name, grid (x, y, z), block (x, y, z), arguments): tensors, ints (int32), floats (float32)."""


def gpu_launcher(source_name: str, device: Any) -> Launch:
    """Launcher of the kernels in ``kernels/cuda/<source_name>`` on a CUDA device of torch.

    Raises
    ------
    DependencyError
        NVRTC or the CUDA driver is not usable.
    """

    def launch(name: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any]) -> None:
        import torch

        with torch.cuda.device(device):
            stream_handle = torch.cuda.current_stream().cuda_stream  # initializes torch's context too
            function = _function(source_name, torch.cuda.current_device(), name)
            stream = ctypes.c_void_p(stream_handle)
            values = [c_value(argument) for argument in arguments]
            pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
            _check(_driver().cuLaunchKernel(function, *grid, *block, 0, stream, pointers, None))

    return launch


def c_value(argument: Tensor | int | float) -> Any:
    """A kernel argument as ctypes value; tensors by the address of their data."""
    if isinstance(argument, int):
        return ctypes.c_int(argument)
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    if not argument.is_contiguous():
        raise ValueError("kernel arguments must be contiguous tensors")
    return ctypes.c_void_p(argument.data_ptr())


def source_text(source_name: str) -> str:
    """Text of ``kernels/cuda/<source_name>``."""
    return (Path(__file__).parent / source_name).read_text(encoding="utf-8")


def has_driver() -> bool:
    """Whether the CUDA driver loads: a quick look that saves machines without it the import of torch."""
    try:
        _driver()
    except DependencyError:
        return False
    return True


@lru_cache(maxsize=1)
def _driver() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError as error:
        raise DependencyError(f"The CUDA driver does not load: {error}", hint="Install an NVIDIA driver.") from None


@cache
def _function(source_name: str, device_index: int, name: str) -> ctypes.c_void_p:
    function = ctypes.c_void_p()
    module = _module(source_name, device_index)
    _check(_driver().cuModuleGetFunction(ctypes.byref(function), module, name.encode()))
    return function


@cache
def _module(source_name: str, device_index: int) -> ctypes.c_void_p:
    """Module in the current context, which is torch's primary context of the device."""
    import torch

    major, minor = torch.cuda.get_device_capability(device_index)
    module = ctypes.c_void_p()
    code = compile_cached(source_text(source_name), 10 * major + minor)
    _check(_driver().cuModuleLoadData(ctypes.byref(module), code))
    return module


def _check(code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(code, ctypes.byref(text))
        message = text.value.decode() if text.value else "unknown error"
        raise DependencyError(f"CUDA driver error {code}: {message}", hint="Update the NVIDIA driver, or use the CPU.")
