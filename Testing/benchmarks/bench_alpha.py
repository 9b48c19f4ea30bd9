"""Time alpha compositing of anisotropic Gaussians: ``python Testing/benchmarks/bench_alpha.py``.

Vessel-sized kernels (0.35 to 2 mm) in a head on a 256 x 256 detector, one view, as one
training step needs it; prints milliseconds forward and adjoint for one thread and for all,
and (``--reference``) those of the torch reference on a small case beside ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.alpha import AlphaComposite, composite_alpha


def gaussians(count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Random kernels: means, scales, quaternions, opacities, colors."""
    rng = np.random.default_rng(seed)
    scales = np.stack([rng.uniform(low, high, count) for low, high in ((0.8, 2.0), (0.35, 0.9), (0.35, 0.9))], 1)
    shape = rng.uniform(-60, 60, (count, 3)), scales, rng.normal(size=(count, 4))
    return *shape, rng.uniform(0.1, 0.9, count), rng.uniform(0, 1, count)


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call in ms, after a first one that may compile."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def view(pixels: int) -> ConeBeamGeometry:
    """One view of ``pixels`` x ``pixels`` that covers 176 mm at the isocenter."""
    return ConeBeamGeometry.from_angles(
        [0.0], sod_mm=750.0, sdd_mm=1200.0, detector_shape=(pixels, pixels), detector_spacing_mm=(281.6 / pixels,) * 2
    )


def compare_with_reference(repeats: int) -> None:
    """Print a small case beside the torch reference, which lets every Gaussian meet every pixel."""
    import torch

    from DSAReconLib.kernels.alpha import reference

    geometry, kernels = view(96), gaussians(500)
    ours = median_ms(lambda: composite_alpha(*kernels, geometry), repeats)
    tensors = [torch.tensor(array, dtype=torch.float32) for array in kernels]
    matrix = torch.tensor(geometry.projection_matrices[0], dtype=torch.float32)

    def slow() -> object:
        projected = reference.project(*tensors[:3], matrix, (96, 96))
        return reference.composite_view(*projected, *tensors[3:], shape=(96, 96), background=1.0)

    print(f"500 Gaussians, 96 x 96, forward: {ours:.2f} ms; torch reference {median_ms(slow, repeats):.1f} ms")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--reference", action="store_true", help="also time the torch reference")
    options = parser.parse_args()
    geometry, slope = view(256), np.ones((1, 256, 256), np.float32)
    for threads in sorted({1, numba.get_num_threads()}):
        numba.set_num_threads(threads)
        for count in options.counts:
            kernels = gaussians(count)
            forward = median_ms(lambda k=kernels: AlphaComposite(*k, geometry), options.repeats)
            composite = AlphaComposite(*kernels, geometry)
            adjoint = median_ms(lambda c=composite: c.adjoint(slope), options.repeats)
            print(f"{count:>8} Gaussians, {threads} threads: {forward:6.2f} ms forward, {adjoint:6.2f} ms adjoint")
    if options.reference:
        compare_with_reference(options.repeats)


if __name__ == "__main__":
    main()
