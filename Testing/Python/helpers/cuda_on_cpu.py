"""Run CUDA kernel text on the CPU: the same source, built by g++ through a small shim."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from DSAReconLib.kernels.cuda.launch import Launch, c_value, source_text

_KERNEL = re.compile(r'extern "C" __global__ void(?:\s+__launch_bounds__\(\d+\))?\s+(\w+)\(([^)]*)\)', re.DOTALL)


def cpu_launcher(source_name: str) -> Launch:
    """Launcher with the interface of ``gpu_launcher`` for CPU tensors."""
    library = _build(source_name)

    def launch(name, grid, block, arguments) -> None:
        sizes = [(ctypes.c_int * 3)(*values) for values in (grid, block)]
        getattr(library, f"run_{name}")(*sizes, *(c_value(argument) for argument in arguments))

    return launch


@lru_cache
def _build(source_name: str) -> ctypes.CDLL:
    text = source_text(source_name)
    program = "\n".join([(Path(__file__).parent / "cuda_on_cpu.h").read_text(), text, *_wrappers(text)])
    command = ["g++", "-O2", "-std=c++17", "-fopenmp", "-fPIC", "-shared", "-o", "kernels.so", "kernels.cpp"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernels.cpp").write_text(program)
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return ctypes.CDLL(str(Path(folder) / "kernels.so"))


def _wrappers(text: str) -> list[str]:
    """One ``run_<kernel>(grid, block, arguments...)`` per kernel of the source."""
    wrappers = []
    for name, parameters in _KERNEL.findall(text):
        names = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", parameters.strip()))
        body = f"run_grid(grid, block, [&] {{ {name}({names}); }});"
        wrappers.append(f'extern "C" void run_{name}(const int* grid, const int* block, {parameters}) {{ {body} }}')
    return wrappers
