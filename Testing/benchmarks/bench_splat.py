"""Time X-ray splatting of anisotropic Gaussians, forward and adjoint: ``python Testing/benchmarks/bench_splat.py``.

Vessel-sized kernels (0.35 to 2 mm) in a head on a 256 x 256 detector; prints milliseconds
per view for one view (private images per thread) and for thirty (one view per thread).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.splat import splat_xray, splat_xray_adjoint


def gaussians(count: int, views: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Random kernels: means, scales, quaternions, amplitudes (views, count)."""
    rng = np.random.default_rng(seed)
    scales = np.stack([rng.uniform(low, high, count) for low, high in ((0.8, 2.0), (0.35, 0.9), (0.35, 0.9))], 1)
    amplitudes = np.repeat(rng.uniform(0.004, 0.02, (1, count)), views, 0)
    return rng.uniform(-60, 60, (count, 3)), scales, rng.normal(size=(count, 4)), amplitudes


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call in ms, after a first one that may compile."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{numba.get_num_threads()} threads; ms per view: forward / adjoint")
    for count in options.counts:
        for views in (1, 30):
            geometry = ConeBeamGeometry.from_angles(
                np.linspace(-100, 100, views),
                sod_mm=750.0,
                sdd_mm=1200.0,
                detector_shape=(256, 256),
                detector_spacing_mm=(1.1, 1.1),
            )
            kernels = gaussians(count, views)
            images = np.ones((views, 256, 256), np.float32)
            forward = median_ms(lambda k=kernels, g=geometry: splat_xray(*k, g), options.repeats)
            adjoint = median_ms(lambda k=kernels, g=geometry, i=images: splat_xray_adjoint(*k, g, i), options.repeats)
            print(f"{count:>8} Gaussians, {views:>2} views: {forward / views:6.2f} / {adjoint / views:6.2f}")


if __name__ == "__main__":
    main()
