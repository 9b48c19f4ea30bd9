"""Our projector, its adjoint and the voxel-driven backprojection against RTK's, in one process.

    python Testing/benchmarks/bench_projectors.py --sizes 128 256 --json result.json

RTK runs with one thread and with all of them, and its best counts. Times are medians (and
minima) of alternating repetitions, so that other work on the machine hits both sides alike;
memory is the growth of the resident set above its level before the call.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numba
import numpy as np
import psutil
import rtk_peer

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.threads import set_num_threads
from DSAReconLib.operators import ConeBeamProjector

SOD_MM, SDD_MM, FIELD_MM, ARC_DEG = 750.0, 1200.0, 128.0, 200.0


@dataclass(frozen=True)
class Row:
    """One operation at one size; times in s, memory in MB, agreement = relative L2 difference."""

    operation: str
    size: int
    ours_s: float
    rtk_s: float
    rtk_threads: int
    ratio: float
    ratio_of_minima: float
    ours_mb: float
    rtk_mb: float
    difference: float


def main() -> None:
    """Run the comparison, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], help="voxels per side of the volume")
    parser.add_argument("--views", type=int, default=133)
    parser.add_argument("--detector", type=int, default=256, help="pixels per side")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=numba.config.NUMBA_NUM_THREADS)
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    set_num_threads(args.threads)
    rows = [row for size in args.sizes for row in compare(size, args)]
    print(table(rows))
    if args.json:
        machine = {"processor": platform.processor(), "cores": os.cpu_count(), "python": platform.python_version()}
        facts = {"views": args.views, "detector": args.detector, "threads": args.threads, "machine": machine}
        args.json.write_text(json.dumps(facts | {"rows": [asdict(row) for row in rows]}, indent=2))


def compare(size: int, args: argparse.Namespace) -> list[Row]:
    """The three operations at one volume size."""
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-ARC_DEG / 2, ARC_DEG / 2, args.views),
        sod_mm=SOD_MM,
        sdd_mm=SDD_MM,
        detector_shape=(args.detector, args.detector),
        detector_spacing_mm=(307.2 / args.detector,) * 2,
    )
    grid = VolumeGrid.centered(size, FIELD_MM / size)
    projector = ConeBeamProjector(grid, geometry)
    volume = vessel_like_volume(grid)
    images = projector(volume)
    pairs: dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]] = {
        "forward": (lambda: projector(volume), lambda: rtk_peer.rtk_forward(volume, grid, geometry)),
        "adjoint": (lambda: projector.T(images), lambda: rtk_peer.rtk_backproject(images, geometry, grid)),
        "voxel backprojection": (
            lambda: SOD_MM**2 * projector.backproject_fdk(images),
            lambda: rtk_peer.rtk_backproject_fdk(images, geometry, grid),
        ),
    }
    return [measure(name, size, *pair, args) for name, pair in pairs.items()]


def vessel_like_volume(grid: VolumeGrid) -> np.ndarray:
    """A soft ball with thin bright rods, 1/mm: smooth and sharp content inside the field of view."""
    points = grid.points_mm().astype(np.float32)
    radius = np.sqrt((points**2).sum(-1))
    rods = (np.abs(np.sin(points[:, 0] / 6)) < 0.1) & (np.abs(np.cos(points[:, 1] / 7)) < 0.1) & (radius < 50)
    return (0.02 * np.exp(-((radius / 40) ** 4)) + 0.3 * rods).reshape(grid.shape_zyx).astype(np.float32)


def measure(
    name: str,
    size: int,
    ours: Callable[[], np.ndarray],
    rtks: Callable[[], np.ndarray],
    args: argparse.Namespace,
) -> Row:
    """Alternate between our operation and RTK's with each number of threads."""
    candidates = {"ours": (ours, args.threads)} | {f"rtk {count}": (rtks, count) for count in sorted({1, args.threads})}
    times: dict[str, list[float]] = {key: [] for key in candidates}
    memory: dict[str, float] = dict.fromkeys(candidates, 0.0)
    results = {}
    ours()  # compiled and loaded before the clock runs
    for _ in range(args.repetitions):
        for key, (function, count) in candidates.items():
            rtk_peer.set_threads(count)
            with PeakMemory() as peak:
                start = time.perf_counter()
                results[key] = function()
                times[key].append(time.perf_counter() - start)
            memory[key] = max(memory[key], peak.growth_mb)
            results = {"ours": results["ours"], "rtk": results[key]}
    best = min((key for key in candidates if key != "ours"), key=lambda key: np.median(times[key]))
    difference = np.linalg.norm(results["ours"] - results["rtk"]) / np.linalg.norm(results["rtk"])
    return Row(
        name,
        size,
        float(np.median(times["ours"])),
        float(np.median(times[best])),
        candidates[best][1],
        float(np.median(times[best]) / np.median(times["ours"])),
        min(min(times[key]) for key in candidates if key != "ours") / min(times["ours"]),
        memory["ours"],
        memory[best],
        float(difference),
    )


class PeakMemory:
    """Growth of this process's resident set while the block runs, MB, sampled every 5 ms."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self._before = self._highest = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._highest = max(self._highest, self._process.memory_info().rss)

    @property
    def growth_mb(self) -> float:
        """Highest minus first resident set, MB."""
        return (self._highest - self._before) / 2**20


def table(rows: list[Row]) -> str:
    """Plain text table."""
    lines = [
        f"{'operation':22}{'size':>6}{'ours s':>9}{'RTK s':>9}{'threads':>9}{'ratio':>7}{'of minima':>11}"
        f"{'ours MB':>9}{'RTK MB':>9}{'rel. L2':>10}"
    ]
    lines += [
        f"{row.operation:22}{row.size:>6}{row.ours_s:>9.3f}{row.rtk_s:>9.3f}{row.rtk_threads:>9}{row.ratio:>7.1f}"
        f"{row.ratio_of_minima:>11.1f}{row.ours_mb:>9.0f}{row.rtk_mb:>9.0f}{row.difference:>10.1e}"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
