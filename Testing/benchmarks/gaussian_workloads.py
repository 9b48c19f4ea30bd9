"""Gaussians of vessel size for the splatting benchmarks, how large they are in pixels, and how calls are timed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry

Array = NDArray[np.float64]

_HALF_WIDTH_MM = 58.0
_SEGMENTS = 866


def scattered(count: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Means, scales (mm) and quaternions of kernels of any orientation all over a head."""
    rng = np.random.default_rng(seed)
    scales = _vessel_scales(rng, count)
    return rng.uniform(-60, 60, (count, 3)), scales, rng.normal(size=(count, 4))


def along_vessels(count: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Means, scales (mm) and quaternions of kernels that lie in a branching tree, along its vessels."""
    rng = np.random.default_rng(seed)
    starts, ends, radii = _tree(rng)
    weights = np.linalg.norm(ends - starts, axis=1) * radii
    chosen = rng.choice(len(radii), count, p=weights / weights.sum())
    direction = (ends - starts)[chosen]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    beside = rng.normal(size=(count, 3))
    beside -= (beside * direction).sum(1, keepdims=True) * direction
    beside *= (0.7 * radii[chosen] * np.sqrt(rng.random(count)) / np.linalg.norm(beside, axis=1))[:, None]
    means = starts[chosen] + rng.random((count, 1)) * (ends - starts)[chosen] + beside
    # the rotation that turns the x axis, the longest one, into the vessel's direction
    quats = np.stack([1 + direction[:, 0], 0 * direction[:, 0], -direction[:, 2], direction[:, 1]], 1)
    return means, _vessel_scales(rng, count), quats


WORKLOADS = {"scattered": scattered, "vessels": along_vessels}


def _vessel_scales(rng: np.random.Generator, count: int) -> Array:
    return np.stack([rng.uniform(low, high, count) for low, high in ((0.8, 2.0), (0.35, 0.9), (0.35, 0.9))], 1)


def _tree(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Starts (S, 3), ends (S, 3) and radii (S,) of a tree's segments, mm."""
    segments: list[tuple[Array, Array, float]] = []
    tips = [(np.array([0.0, 0.0, -_HALF_WIDTH_MM]), np.array([0.0, 0.0, 1.0]), 2.2)]
    while len(segments) < _SEGMENTS:
        place, direction, radius = tips.pop(0)
        for _ in range(rng.integers(4, 9)):
            direction = _unit(direction + 0.25 * rng.normal(size=3))
            if (np.abs(place + 3 * direction) > _HALF_WIDTH_MM).any():
                direction = _unit(0.3 * rng.normal(size=3) - _unit(place))
            end = place + rng.uniform(2, 4) * direction
            segments.append((place, end, radius))
            place = end
        thinner = max(0.82 * radius, 0.5)
        tips += [(place, _unit(direction + 0.7 * rng.normal(size=3)), thinner) for _ in range(2)]
    starts, ends, radii = zip(*segments[:_SEGMENTS], strict=True)
    return np.array(starts), np.array(ends), np.array(radii)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def described(shapes: tuple[Array, Array, Array], geometry: ConeBeamGeometry) -> str:
    """Mean size of the footprints on the first view: standard deviation, and pixels within three of them."""
    import torch

    from DSAReconLib.kernels.alpha.reference import project

    tensors = [torch.tensor(array) for array in (*shapes, geometry.projection_matrices[0])]
    conics = project(*tensors, geometry.detector_shape, low_pass=0.0)[1].numpy()
    root = np.sqrt(conics[:, 0] * conics[:, 2] - conics[:, 1] ** 2)  # 1 / (product of the deviations)
    box = 36 * np.sqrt(conics[:, 0] * conics[:, 2]) / root**2
    ellipse = 9 * np.pi / root
    return f"sigma {(root**-0.5).mean():.2f} px, bounding box {box.mean():.0f} px, ellipse {ellipse.mean():.0f} px"


def timed_ms(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall time and least processor time (all threads) of a call in ms, after a first one that may compile."""
    function()
    wall, processor = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return 1e3 * float(np.median(wall)), 1e3 * min(processor)
