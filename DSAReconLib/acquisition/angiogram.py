"""What every method reconstructs from: contrast line integrals with poses and times."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry


@dataclass(frozen=True)
class Angiogram:
    """Log-subtracted frames: line integrals of the attenuation that contrast adds.

    Parameters
    ----------
    line_integrals
        ln(mask) - ln(fill) per view (V, R, C), float32, dimensionless. Not clipped:
        noise below zero is kept, so that fits are unbiased.
    variance
        Noise variance of ``line_integrals`` (V, R, C), float32, or broadcastable to it.
        ``inf`` marks pixels without a measurement (shutters, padding).
    geometry
        Pose per view; world = patient LPS, mm.
    times_s
        Time per view (V,), s; 0 = first frame of the fill run.
    duration_s
        Time of the last frame of the fill run, s (views may be a selection of frames).
    frame_index
        Frame number in the fill run per view (V,).
    source_uids
        SOP Instance UIDs of the runs.
    warnings
        (code, message) pairs collected on the way here.
    counting_share
        Part of ``variance`` (V, R, C) that is counting noise and tells the intensity; the
        rest is what moving a frame leaves at edges. ``None`` = all of it.
    head_motion_mm
        Motion of the head (V, 6) that ``geometry`` follows: shift (x, y, z) and turn about x, y, z as a
        length at 60 mm. ``None`` = the poses are those of the header.
    """

    line_integrals: NDArray[np.float32]
    variance: NDArray[np.float32]
    geometry: ConeBeamGeometry
    times_s: NDArray[np.float64]
    duration_s: float
    frame_index: NDArray[np.int64]
    source_uids: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    counting_share: NDArray[np.float16] | None = None
    head_motion_mm: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        views = len(self.geometry)
        shape = (views, *self.geometry.detector_shape)
        if self.line_integrals.shape != shape:
            raise ValueError(f"line_integrals must have shape {shape}; got {self.line_integrals.shape}")
        if np.broadcast_shapes(self.variance.shape, shape) != shape:
            raise ValueError(f"variance must be broadcastable to {shape}; got {self.variance.shape}")
        if self.counting_share is not None and self.counting_share.shape != shape:
            raise ValueError(f"counting_share must have shape {shape}; got {self.counting_share.shape}")
        if self.times_s.shape != (views,) or self.frame_index.shape != (views,):
            raise ValueError(f"times_s and frame_index must have shape ({views},)")

    def __len__(self) -> int:
        return len(self.geometry)

    def select(self, views: ArrayLike) -> Angiogram:
        """The given views (indices or slice) only; times and duration stay those of the run."""
        index = views if isinstance(views, slice) else np.asarray(views)
        variance = self.variance[index] if self.variance.ndim == 3 and len(self.variance) > 1 else self.variance
        return replace(
            self,
            line_integrals=self.line_integrals[index],
            variance=variance,
            geometry=self.geometry[index],
            times_s=self.times_s[index],
            frame_index=self.frame_index[index],
            counting_share=None if self.counting_share is None else self.counting_share[index],
            head_motion_mm=None if self.head_motion_mm is None else self.head_motion_mm[index],
        )

    def binned(self, factor: int) -> Angiogram:
        """Views averaged over ``factor`` x ``factor`` pixel blocks (variance of the mean)."""
        rows, columns = (n // factor for n in self.geometry.detector_shape)

        def blocks(images: NDArray[np.float32]) -> NDArray[np.float32]:
            whole = images[:, : rows * factor, : columns * factor]
            return whole.reshape(len(images), rows, factor, columns, factor).mean((2, 4), dtype=np.float32)

        full = np.broadcast_to(self.variance, self.line_integrals.shape)
        share = self.counting_share
        if share is not None:
            finite = np.where(np.isfinite(full), full, 0)
            counting = blocks(finite * share.astype(np.float32)) / np.maximum(blocks(finite), np.float32(1e-12))
            share = np.clip(counting, 1e-3, 1).astype(np.float16)
        return replace(
            self,
            line_integrals=blocks(self.line_integrals),
            variance=blocks(full) / np.float32(factor * factor),
            geometry=self.geometry.binned(factor),
            counting_share=share,
        )
