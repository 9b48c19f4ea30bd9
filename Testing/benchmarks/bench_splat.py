"""Time X-ray splatting of anisotropic Gaussians, forward and adjoint: ``python Testing/benchmarks/bench_splat.py``.

Vessel-sized kernels (0.35 to 2 mm) in a head on a 256 x 256 detector; prints milliseconds
per view for one view (private images per thread) and for thirty (one view per thread), for
the exact and the affine form, beside the torch reference (dense: every Gaussian at every
pixel, so with few Gaussians) and on a GPU, where there is one, beside the CUDA kernels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.splat import splat_xray, splat_xray_adjoint
from DSAReconLib.kernels.splat.splatter import Shapes, XraySplatter

TORCH_COUNT = 200
"""Gaussians of the torch reference; its time grows linearly."""


def gaussians(count: int, views: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Random kernels: means, scales, quaternions, amplitudes (views, count)."""
    rng = np.random.default_rng(seed)
    scales = np.stack([rng.uniform(low, high, count) for low, high in ((0.8, 2.0), (0.35, 0.9), (0.35, 0.9))], 1)
    amplitudes = np.repeat(rng.uniform(0.004, 0.02, (1, count)), views, 0)
    return rng.uniform(-60, 60, (count, 3)), scales, rng.normal(size=(count, 4)), amplitudes


def orbit(views: int) -> ConeBeamGeometry:
    """Views of a 200 degree run."""
    return ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, views),
        sod_mm=750.0,
        sdd_mm=1200.0,
        detector_shape=(256, 256),
        detector_spacing_mm=(1.1, 1.1),
    )


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call in ms, after a first one that may compile."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def print_cpu(count: int, views: int, affine: bool, repeats: int) -> None:
    """One line of the CPU kernels."""
    geometry, kernels = orbit(views), gaussians(count, views)
    images = np.ones((views, 256, 256), np.float32)
    forward = median_ms(lambda: splat_xray(*kernels, geometry, affine=affine), repeats)
    adjoint = median_ms(lambda: splat_xray_adjoint(*kernels, geometry, images, affine=affine), repeats)
    form = "affine" if affine else "exact"
    print(f"{count:>8} Gaussians, {views:>2} views, {form:<6}: {forward / views:8.2f} / {adjoint / views:8.2f}")


def print_torch(repeats: int) -> None:
    """Torch reference and CPU kernels on the same few Gaussians, and the ratio."""
    import torch

    from DSAReconLib.kernels.splat import reference

    geometry, kernels = orbit(1), gaussians(TORCH_COUNT, 1)
    center = geometry.detector_center_mm[0] - 127.5 * (geometry.detector_u_mm[0] + geometry.detector_v_mm[0])
    vectors = {"source": geometry.source_mm[0], "pixel00": center, "step_u": geometry.detector_u_mm[0]}
    constants = {name: torch.tensor(value, dtype=torch.float32) for name, value in vectors.items()}
    constants["step_v"] = torch.tensor(geometry.detector_v_mm[0], dtype=torch.float32)
    tensors = [torch.tensor(value, dtype=torch.float32, requires_grad=True) for value in kernels]

    def image() -> torch.Tensor:
        return reference.splat_view(
            *tensors[:3], tensors[3][0], shape=(256, 256), cutoff_sigma=3.0, chunk=50, **constants
        )

    forward, both = median_ms(image, repeats), median_ms(lambda: image().sum().backward(), repeats)
    ones = np.ones((1, 256, 256), np.float32)
    ours = median_ms(lambda: splat_xray(*kernels, geometry), repeats)
    ours_adjoint = median_ms(lambda: splat_xray_adjoint(*kernels, geometry, ones), repeats)
    print(f"{TORCH_COUNT:>8} Gaussians, torch reference: {forward:8.2f} / {both - forward:8.2f}")
    print(f"{'':>8} the CPU kernels are {forward / ours:.0f} / {(both - forward) / ours_adjoint:.0f} times as fast")


def print_gpu(count: int, repeats: int) -> None:
    """One line of the CUDA kernels, transfers included."""
    geometry = orbit(1)
    *shape, amplitudes = (np.ascontiguousarray(value, np.float32) for value in gaussians(count, 1))
    splatter, views = XraySplatter(geometry, pixel_box=False, device="cuda"), np.arange(1)
    images = np.ones((1, 256, 256), np.float32)
    forward = median_ms(lambda: splatter.images(Shapes(*shape), amplitudes, views), repeats)
    adjoint = median_ms(lambda: splatter.gradients(Shapes(*shape), amplitudes, views, images), repeats)
    print(f"{count:>8} Gaussians,  1 view, CUDA with transfers: {forward:8.2f} / {adjoint:8.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{numba.get_num_threads()} threads; ms per view: forward / adjoint")
    for count in options.counts:
        for views in (1, 30):
            for affine in (False, True):
                print_cpu(count, views, affine, options.repeats)
    try:
        import torch
    except ImportError:
        return
    print_torch(options.repeats)
    if torch.cuda.is_available():
        for count in options.counts:
            print_gpu(count, options.repeats)


if __name__ == "__main__":
    main()
