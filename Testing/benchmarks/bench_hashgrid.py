"""Time the hash encoding, forward and with its gradient: ``python Testing/benchmarks/bench_hashgrid.py``.

131,072 points along 1024 rays through the unit cube; prints milliseconds and million points
per second for numba, and how many times longer the torch reference takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np
import torch

from DSAReconLib.kernels import hashgrid
from DSAReconLib.kernels.hashgrid import HashGrid, reference

GRIDS = {
    "3D 16 x 2, T = 2^16": HashGrid(3, 16, 2, 16, 16, 1.38),
    "3D 16 x 2, T = 2^19 (NGP)": HashGrid(3, 16, 2, 19, 16, 1.38),
    "3D 12 x 8, T = 2^19 (VPAL)": HashGrid(3, 12, 8, 19, 8, 1.45),
    "4D 12 x 8, T = 2^19 (VPAL)": HashGrid(4, 12, 8, 19, 2, 1.4),
    "3D  8 x 2, T = 2^16 (fast)": HashGrid(3, 8, 2, 16, 8, 1.6),
    "4D  8 x 2, T = 2^16 (fast)": HashGrid(4, 8, 2, 16, 2, 1.6),
}


def points_on_rays(dimensions: int, rays: int = 1024, per_ray: int = 128) -> np.ndarray:
    """Points (N, D) in [0, 1], ray after ray."""
    rng = np.random.default_rng(0)
    start, end = rng.random((2, rays, 1, dimensions))
    along = np.linspace(0, 1, per_ray)[None, :, None]
    return (start * (1 - along) + end * along).reshape(-1, dimensions).astype(np.float32)


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call in ms, after a first one that may compile."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def reference_step(points: np.ndarray, table: np.ndarray, slopes: np.ndarray, grid: HashGrid) -> None:
    """Forward and gradient by torch."""
    entries = torch.tensor(table, requires_grad=True)
    reference.encode(torch.from_numpy(points), entries, grid, grid.levels).backward(torch.from_numpy(slopes))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch", action="store_true", help="time the reference too (minutes)")
    options = parser.parse_args()
    print(f"{numba.get_num_threads()} threads; ms forward / adjoint; Mpoints/s forward / both")
    for name, grid in GRIDS.items():
        points, table = points_on_rays(grid.dimensions), grid.random_table(0)
        slopes = np.random.default_rng(1).normal(size=(len(points), grid.width)).astype(np.float32)
        arguments = (points, table, slopes, grid)
        forward = median_ms(lambda a=arguments: hashgrid.encode(a[0], a[1], a[3]), options.repeats)
        adjoint = median_ms(lambda a=arguments: hashgrid.encode_adjoint(a[0], a[2], a[3]), options.repeats)
        rates = (1e-3 * len(points) / t for t in (forward, forward + adjoint))
        line = f"{name:28} {forward:7.1f} / {adjoint:7.1f}   {next(rates):5.2f} / {next(rates):5.2f}"
        if options.torch:
            slow = median_ms(lambda a=arguments: reference_step(*a), 1)
            line += f"   torch {slow / (forward + adjoint):5.0f} times longer"
        print(line, flush=True)


if __name__ == "__main__":
    main()
