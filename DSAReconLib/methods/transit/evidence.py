"""The measured line integrals as every stage reads them: sorted in time, weighted, noise known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.acquisition.scatter import ScatterImages, scatter_images
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.sparse.backend import CPU_KERNELS, SparseKernels
from DSAReconLib.kernels.sparse.views import view_records

_WEIGHT_MAX = 4.0
_SAMPLE_PIXELS = 2_000_000


@dataclass(frozen=True)
class Evidence:
    """Line integrals, views in the order of time.

    Parameters
    ----------
    line_integrals
        (V, R, C), not clipped; 0 where there is no measurement.
    weights
        (V, R, C): reference variance / variance; 1 = typical pixel, 0 = no measurement.
    noise
        Standard deviation of a pixel of weight 1.
    geometry, times_s
        Pose and time per view.
    duration_s
        Length of the fill run.
    kernels
        Where the work on voxels, Gaussians and images is done; the arrays here are numpy's.
    counting_share
        Part of the variance that is counting noise (V, R, C); ``None`` = all of it.
    """

    line_integrals: NDArray[np.float32]
    weights: NDArray[np.float32]
    noise: float
    geometry: ConeBeamGeometry
    times_s: NDArray[np.float64]
    duration_s: float
    kernels: SparseKernels = CPU_KERNELS
    counting_share: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.geometry)

    @property
    def pixel_mm(self) -> float:
        """Pixel size at the isocenter, mm (geometric mean of rows and columns)."""
        return math.sqrt(math.prod(self.geometry.isocenter_pixel_mm))

    @cached_property
    def records(self) -> NDArray[np.float32]:
        """Poses (V, 17) as the kernels read them, asked for at every step of the refinement."""
        return view_records(self.geometry)

    @cached_property
    def scatter_images(self) -> ScatterImages:
        """Where scatter falls, asked for at every calibration."""
        detector_pixel_mm = float(np.linalg.norm(self.geometry.detector_u_mm[0]))
        return scatter_images(self.line_integrals, self.weights, self.counting_share, detector_pixel_mm)

    @cached_property
    def scatter_free(self) -> dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Line integrals and weights without scatter, of the share asked for last: several steps ask for the same."""
        return {}

    def select(self, views: ArrayLike) -> Evidence:
        """The given views only."""
        index = np.asarray(views)
        return replace(
            self,
            line_integrals=self.line_integrals[index],
            weights=self.weights[index],
            geometry=self.geometry[index],
            times_s=self.times_s[index],
            counting_share=None if self.counting_share is None else self.counting_share[index],
        )

    def binned(self, factor: int) -> Evidence:
        """Weighted means over ``factor`` x ``factor`` pixels; the noise falls accordingly."""
        if factor == 1:
            return self
        weights = _block_sums(self.weights, factor)
        values = _block_sums(self.line_integrals * self.weights, factor)
        np.divide(values, weights, out=values, where=weights > 0)
        share = self.counting_share
        if share is not None:
            counting = _block_sums(self.weights / share, factor)
            share = np.divide(weights, counting, out=np.ones_like(weights), where=counting > 0)
        return replace(
            self,
            line_integrals=values,
            weights=weights / np.float32(factor * factor),
            noise=self.noise / factor,
            geometry=self.geometry.binned(factor),
            counting_share=share,
        )


def gather_evidence(angiogram: Angiogram, kernels: SparseKernels = CPU_KERNELS) -> Evidence:
    """Sort, weight and measure the noise of an angiogram's views, to be worked on by ``kernels``."""
    order = np.argsort(angiogram.times_s, kind="stable")
    chosen = angiogram.select(order)
    values = np.ascontiguousarray(chosen.line_integrals, np.float32)
    weights = _weights(np.broadcast_to(chosen.variance, values.shape))
    known = np.isfinite(values)
    if not known.all():
        values, weights = np.where(known, values, 0), np.where(known, weights, 0)
    values = np.where(weights > 0, values, np.float32(0))
    return Evidence(
        values,
        weights,
        measured_noise(values, weights),
        chosen.geometry,
        np.asarray(chosen.times_s, float),
        max(float(chosen.duration_s), float(chosen.times_s.max()), 1e-3),
        kernels,
        None if chosen.counting_share is None else chosen.counting_share.astype(np.float32),
    )


def measured_noise(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Noise of a pixel of weight 1, from the differences between neighboring pixels.

    Robust against the vessels: median absolute deviation of each pixel from the mean of its
    four neighbors, whose standard deviation is sqrt(5/4) of the noise.
    """
    stride = max(1, math.ceil(values.size / _SAMPLE_PIXELS))
    images, trust = values[::stride], weights[::stride]
    center = images[:, 1:-1, 1:-1]
    around = images[:, :-2, 1:-1] + images[:, 2:, 1:-1] + images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    deviation = (center - around / 4) * np.sqrt(trust[:, 1:-1, 1:-1])
    deviation = deviation[trust[:, 1:-1, 1:-1] > 0]
    if not deviation.size:
        return 1e-3
    return max(1.4826 * float(np.median(np.abs(deviation))) / math.sqrt(1.25), 1e-5)


def _weights(variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reference variance / variance, at most 4; 0 where the variance is not a positive number."""
    usable = np.isfinite(variance) & (variance > 0)
    if not usable.any():
        return np.ones(variance.shape, np.float32)
    sample = variance[usable]
    reference = np.median(sample[:: max(1, sample.size // _SAMPLE_PIXELS)])
    weights = np.zeros(variance.shape, np.float32)
    np.divide(reference, variance, out=weights, where=usable)
    weights[variance == 0] = 1
    return np.minimum(weights, np.float32(_WEIGHT_MAX))


def _block_sums(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    rows, columns = (n // factor for n in images.shape[1:])
    whole = images[:, : rows * factor, : columns * factor]
    return np.ascontiguousarray(whole.reshape(len(images), rows, factor, columns, factor).sum((2, 4), dtype=np.float32))
