"""Our FDK against RTK's on the same projections, in one process.

    python Testing/benchmarks/bench_fdk.py --size 256 --json result.json

133 views of 256 x 256 over 200 degrees (Parker weights, ramp filter, backprojection). RTK
runs with one thread and with all of them, and its best counts. Times are medians of
alternating repetitions; memory is the growth of the resident set during the call. The
correlation is taken inside the cylinder that every view sees.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numba
import numpy as np
import rtk_peer
from bench_projectors import PeakMemory, vessel_like_volume

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.threads import set_num_threads
from DSAReconLib.operators import ConeBeamProjector
from DSAReconLib.operators.fdk import FdkFilter, reconstruct_fdk
from DSAReconLib.progress import SilentProgress

SOD_MM, SDD_MM, FIELD_MM, DETECTOR_MM = 750.0, 1200.0, 176.0, 307.2


def main() -> None:
    """Run the comparison, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="voxels per side of the volume")
    parser.add_argument("--views", type=int, default=133)
    parser.add_argument("--arc", type=float, default=200.0, help="degrees")
    parser.add_argument("--detector", type=int, default=256, help="pixels per side")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=numba.config.NUMBA_NUM_THREADS)
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    set_num_threads(args.threads)
    facts = compare(args)
    print(table(facts))
    if args.json:
        machine = {"processor": platform.processor(), "cores": os.cpu_count(), "python": platform.python_version()}
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        args.json.write_text(json.dumps({"settings": settings, "machine": machine, **facts}, indent=2))


def compare(args: argparse.Namespace) -> dict[str, float]:
    """Times in s, memory in MB, agreement of the two volumes."""
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-args.arc / 2, args.arc / 2, args.views),
        sod_mm=SOD_MM,
        sdd_mm=SDD_MM,
        detector_shape=(args.detector, args.detector),
        detector_spacing_mm=(DETECTOR_MM / args.detector,) * 2,
    )
    source_grid = VolumeGrid.centered(192, FIELD_MM / 192)
    images = ConeBeamProjector(source_grid, geometry)(vessel_like_volume(source_grid))
    grid = VolumeGrid.centered(args.size, FIELD_MM / args.size)

    def ours() -> np.ndarray:
        fdk_filter = FdkFilter(geometry, window="ram-lak")
        return reconstruct_fdk(images, geometry, grid, fdk_filter, progress=SilentProgress())

    def rtks() -> np.ndarray:
        return rtk_peer.rtk_fdk(images, grid, geometry)

    ours()  # compiled and loaded before the clock runs
    candidates = {"ours": (ours, args.threads)} | {f"rtk_{n}": (rtks, n) for n in sorted({1, args.threads})}
    times: dict[str, list[float]] = {key: [] for key in candidates}
    memory: dict[str, float] = dict.fromkeys(candidates, 0.0)
    volumes = {}
    for _ in range(args.repetitions):
        for key, (function, threads) in candidates.items():
            rtk_peer.set_threads(threads)
            with PeakMemory() as peak:
                start = time.perf_counter()
                volumes[key[:3]] = function()
                times[key].append(time.perf_counter() - start)
            memory[key] = max(memory[key], peak.growth_mb)
    median = {key: float(np.median(values)) for key, values in times.items()}
    best = min((key for key in candidates if key != "ours"), key=median.__getitem__)
    return {
        "ours_s": median["ours"],
        "rtk_s": median[best],
        "rtk_threads": candidates[best][1],
        "ratio": median[best] / median["ours"],
        "ratio_of_minima": min(min(times[key]) for key in candidates if key != "ours") / min(times["ours"]),
        "ours_mb": memory["ours"],
        "rtk_mb": memory[best],
        **agreement(volumes["our"], volumes["rtk"], grid),
    }


def agreement(ours: np.ndarray, theirs: np.ndarray, grid: VolumeGrid) -> dict[str, float]:
    """Correlation, slope and relative L2 difference inside the field of view of all views."""
    x, y, z = np.meshgrid(*grid.axes_mm(), indexing="ij", sparse=True)
    radius = 0.95 * SOD_MM * np.sin(np.arctan(DETECTOR_MM / 2 / SDD_MM))
    half_height = 0.95 * DETECTOR_MM / 2 / SDD_MM * (SOD_MM - radius)
    inside = ((x**2 + y**2 < radius**2) & (np.abs(z) < half_height)).transpose(2, 1, 0)
    a, b = ours[inside].astype(np.float64), theirs[inside].astype(np.float64)
    return {
        "correlation": float(np.corrcoef(a, b)[0, 1]),
        "slope": float(a @ b / (b @ b)),
        "difference": float(np.linalg.norm(a - b) / np.linalg.norm(b)),
    }


def table(facts: dict[str, float]) -> str:
    """Plain text, one line per figure."""
    return "\n".join(f"{name:18}{value:>14.7g}" for name, value in facts.items())


if __name__ == "__main__":
    main()
