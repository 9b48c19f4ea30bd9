"""Time alpha compositing of anisotropic Gaussians: ``python Testing/benchmarks/bench_alpha.py``.

Vessel-sized kernels (0.35 to 2 mm) in a head on a 256 x 256 detector, one view, as one
training step needs it: all over the head, or along the vessels of a tree. Prints milliseconds
forward and adjoint, wall clock (median) and processor (least, which other programs disturb
less), for one thread and for all, and (``--reference``) those of the torch reference on a
small case beside ours.
"""

from __future__ import annotations

import argparse

import numba
import numpy as np
from gaussian_workloads import WORKLOADS, Array, described, scattered, timed_ms

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.alpha import AlphaComposite, composite_alpha


def looks(count: int, seed: int = 1) -> tuple[Array, Array]:
    """Random opacities and colors."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 0.9, count), rng.uniform(0, 1, count)


def view(pixels: int) -> ConeBeamGeometry:
    """One view of ``pixels`` x ``pixels`` that covers 192 mm at the isocenter."""
    return ConeBeamGeometry.from_angles(
        [0.0], sod_mm=750.0, sdd_mm=1200.0, detector_shape=(pixels, pixels), detector_spacing_mm=(307.2 / pixels,) * 2
    )


def compare_with_reference(repeats: int) -> None:
    """Print a small case beside the torch reference, which lets every Gaussian meet every pixel."""
    import torch

    from DSAReconLib.kernels.alpha import reference

    geometry, kernels = view(96), (*scattered(500), *looks(500))
    ours, _ = timed_ms(lambda: composite_alpha(*kernels, geometry), repeats)
    tensors = [torch.tensor(array, dtype=torch.float32) for array in kernels]
    matrix = torch.tensor(geometry.projection_matrices[0], dtype=torch.float32)

    def slow() -> object:
        projected = reference.project(*tensors[:3], matrix, (96, 96))
        return reference.composite_view(*projected, *tensors[3:], shape=(96, 96), background=1.0)

    theirs, _ = timed_ms(slow, repeats)
    print(f"500 Gaussians, 96 x 96, forward: {ours:.2f} ms; torch reference {theirs:.1f} ms")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--reference", action="store_true", help="also time the torch reference")
    options = parser.parse_args()
    geometry, slope = view(256), np.ones((1, 256, 256), np.float32)
    for name, make in WORKLOADS.items():
        print(f"{name}: {described(make(options.counts[0]), geometry)}")
        for threads in sorted({1, numba.get_num_threads()}):
            numba.set_num_threads(threads)
            for count in options.counts:
                kernels = (*make(count), *looks(count))
                forward = timed_ms(lambda k=kernels: AlphaComposite(*k, geometry), options.repeats)
                composite = AlphaComposite(*kernels, geometry)
                adjoint = timed_ms(lambda c=composite: c.adjoint(slope), options.repeats)
                print(
                    f"{count:>8} Gaussians, {threads} threads, ms (processor): "
                    f"forward {forward[0]:6.2f} ({forward[1]:6.2f}), adjoint {adjoint[0]:6.2f} ({adjoint[1]:6.2f})"
                )
    if options.reference:
        compare_with_reference(options.repeats)


if __name__ == "__main__":
    main()
