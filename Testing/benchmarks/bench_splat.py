"""Time X-ray splatting of anisotropic Gaussians, forward and adjoint: ``python Testing/benchmarks/bench_splat.py``.

Vessel-sized kernels (0.35 to 2 mm) on a 256 x 256 detector, all over a head or along the
vessels of a tree; prints milliseconds per view, wall clock (median) and processor (least,
which other programs disturb less), for one view (private images per thread) and for thirty
(one view per thread), for the exact and the affine form, beside the torch reference (dense:
every Gaussian at every pixel, so with few Gaussians) and on a GPU, where there is one, beside
the CUDA kernels.
"""

from __future__ import annotations

import argparse
import itertools

import numba
import numpy as np
from gaussian_workloads import WORKLOADS, described, timed_ms

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.splat import splat_xray, splat_xray_adjoint
from DSAReconLib.kernels.splat.splatter import Shapes, XraySplatter

TORCH_COUNT = 200
"""Gaussians of the torch reference; its time grows linearly."""


def gaussians(count: int, views: int, workload: str = "scattered") -> tuple[np.ndarray, ...]:
    """Random kernels: means, scales, quaternions, amplitudes (views, count)."""
    amplitudes = np.random.default_rng(1).uniform(0.004, 0.02, (1, count))
    return *WORKLOADS[workload](count), np.repeat(amplitudes, views, 0)


def orbit(views: int) -> ConeBeamGeometry:
    """Views of a 200 degree run."""
    return ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, views),
        sod_mm=750.0,
        sdd_mm=1200.0,
        detector_shape=(256, 256),
        detector_spacing_mm=(1.2, 1.2),
    )


def print_cpu(workload: str, count: int, views: int, affine: bool, repeats: int) -> None:
    """One line of the CPU kernels."""
    geometry, kernels = orbit(views), gaussians(count, views, workload)
    images = np.ones((views, 256, 256), np.float32)
    forward = timed_ms(lambda: splat_xray(*kernels, geometry, affine=affine), repeats)
    adjoint = timed_ms(lambda: splat_xray_adjoint(*kernels, geometry, images, affine=affine), repeats)
    form = "affine" if affine else "exact"
    wall, processor = ((forward[kind] / views, adjoint[kind] / views) for kind in (0, 1))
    print(
        f"{count:>8} Gaussians, {views:>2} views, {form:<6}: {wall[0]:8.2f} / {wall[1]:8.2f}"
        f" (processor {processor[0]:8.2f} / {processor[1]:8.2f})"
    )


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

    forward, both = timed_ms(image, repeats)[0], timed_ms(lambda: image().sum().backward(), repeats)[0]
    ones = np.ones((1, 256, 256), np.float32)
    ours = timed_ms(lambda: splat_xray(*kernels, geometry), repeats)[0]
    ours_adjoint = timed_ms(lambda: splat_xray_adjoint(*kernels, geometry, ones), repeats)[0]
    print(f"{TORCH_COUNT:>8} Gaussians, torch reference: {forward:8.2f} / {both - forward:8.2f}")
    print(f"{'':>8} the CPU kernels are {forward / ours:.0f} / {(both - forward) / ours_adjoint:.0f} times as fast")


def print_gpu(count: int, repeats: int) -> None:
    """One line of the CUDA kernels, transfers included."""
    geometry = orbit(1)
    *shape, amplitudes = (np.ascontiguousarray(value, np.float32) for value in gaussians(count, 1))
    splatter, views = XraySplatter(geometry, pixel_box=False, device="cuda"), np.arange(1)
    images = np.ones((1, 256, 256), np.float32)
    forward = timed_ms(lambda: splatter.images(Shapes(*shape), amplitudes, views), repeats)[0]
    adjoint = timed_ms(lambda: splatter.gradients(Shapes(*shape), amplitudes, views, images), repeats)[0]
    print(f"{count:>8} Gaussians,  1 view, CUDA with transfers: {forward:8.2f} / {adjoint:8.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{numba.get_num_threads()} threads; ms per view: forward / adjoint")
    for workload, make in WORKLOADS.items():
        print(f"{workload}: {described(make(options.counts[0]), orbit(1))}")
        for count, views, affine in itertools.product(options.counts, (1, 30), (False, True)):
            print_cpu(workload, count, views, affine, options.repeats)
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
