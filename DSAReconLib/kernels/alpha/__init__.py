"""Front-to-back alpha compositing of anisotropic Gaussians, as 3D Gaussian splatting does.

Functions of arrays: the affine (EWA) footprint with gsplat's conventions, one grey channel,
forward and adjoint. The CPU runs numba, CUDA devices kernels that are compiled at run time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry

LOW_PASS = 0.3
"""Added to both variances of a footprint, px^2 (3DGS; ``eps2d`` of gsplat)."""
NEAREST_MM = 0.01
"""Gaussians closer to the source are left out (gsplat's near plane)."""
CLAMP_MARGIN = 0.15
"""The affine map is taken at the center, at most this share of the image outside of it."""

Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


class AlphaGradients(NamedTuple):
    """Gradients of a scalar with respect to the arguments of :func:`composite_alpha`.

    ``centers_px`` (V, N, 2) is that of the projected centers (column, row), summed over the
    pixels: what adaptive density control watches.
    """

    means_mm: NDArray[np.float32]
    scales_mm: NDArray[np.float32]
    quats_wxyz: NDArray[np.float32]
    opacities: NDArray[np.float32]
    colors: NDArray[np.float32]
    centers_px: NDArray[np.float32]


class AlphaComposite:
    """Composited views that remember what their adjoint needs (CPU).

    Parameters are those of :func:`composite_alpha`.
    """

    def __init__(
        self,
        means_mm: ArrayLike,
        scales_mm: ArrayLike,
        quats_wxyz: ArrayLike,
        opacities: ArrayLike,
        colors: ArrayLike,
        geometry: ConeBeamGeometry,
        *,
        background: float = 1.0,
        low_pass: float = LOW_PASS,
    ) -> None:
        from DSAReconLib.kernels.alpha import cpu

        self._arrays = _validated(means_mm, scales_mm, quats_wxyz, opacities, colors, len(geometry))
        self._views, self._background = packed_views(geometry, low_pass), background
        shape = geometry.detector_shape
        means, scales, quats, alphas, greys = self._arrays
        self._frames = [
            cpu.forward(means, scales, quats, alphas[n], greys[n], view, shape, background)
            for n, view in enumerate(self._views)
        ]
        self.images: NDArray[np.float32] = np.stack([frame.image for frame in self._frames])

    @property
    def transmittance(self) -> NDArray[np.float32]:
        """Share (V, R, C) of the background that each pixel shows."""
        return np.stack([frame.transmittance for frame in self._frames])

    @property
    def radii_px(self) -> NDArray[np.float32]:
        """Larger half extent (V, N) of the footprint at three standard deviations; 0 where it shows nowhere."""
        from DSAReconLib.kernels.alpha import cpu

        return np.stack([cpu.footprint_radii(frame) for frame in self._frames])

    def adjoint(self, gradients: ArrayLike) -> AlphaGradients:
        """Gradients of a scalar L from dL/d(images) (V, R, C)."""
        from DSAReconLib.kernels.alpha import cpu

        slopes = np.ascontiguousarray(gradients, np.float32)
        if slopes.shape != self.images.shape:
            raise ValueError(f"gradients must have shape {self.images.shape}; got {slopes.shape}")
        means, scales, quats, opacities, colors = self._arrays
        shapes, sums = np.zeros((len(means), 10), np.float32), []
        for n, (view, frame) in enumerate(zip(self._views, self._frames, strict=True)):
            arrays = (means, scales, quats, opacities[n], colors[n])
            of_shape, of_view = cpu.adjoint(*arrays, view, frame, self._background, slopes[n])
            shapes += of_shape
            sums.append(of_view)
        total = np.stack(sums)
        return AlphaGradients(
            shapes[:, :3], shapes[:, 3:6], shapes[:, 6:], total[:, :, 5], total[:, :, 6], total[:, :, :2]
        )


def composite_alpha(
    means_mm: ArrayLike,
    scales_mm: ArrayLike,
    quats_wxyz: ArrayLike,
    opacities: ArrayLike,
    colors: ArrayLike,
    geometry: ConeBeamGeometry,
    *,
    background: float = 1.0,
    low_pass: float = LOW_PASS,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Images (V, R, C) = sum_i c_i a_i prod_{k<i} (1 - a_k) + background prod_k (1 - a_k), nearest first.

    a_i = min(0.99, opacity_i exp(-1/2 d' C_i^-1 d)) at the pixel's center, d = pixel minus
    projected center, C_i = affine projection of the covariance + low pass (3DGS, TOGS).
    a_i < 1/255 is skipped; the Gaussian that would take the transmittance of a pixel to 1e-4
    or below ends the pixel without being used.

    Parameters
    ----------
    means_mm, scales_mm, quats_wxyz
        Centers (N, 3), standard deviations (N, 3) > 0, mm, and rotations (N, 4) as
        (w, x, y, z) of any length, kernel axes to LPS.
    opacities, colors
        Per view (V, N), or (N,) for all views; dimensionless. Opacities may exceed 1.
    geometry
        V views.
    background
        Color behind everything.
    low_pass
        Added to both variances of every footprint, px^2. It is part of what was fitted: on
        pixels of another size than those of the fit, give it in these.
    device
        ``"cpu"`` (numba) or a CUDA device.

    Returns
    -------
    (V, R, C)
        float32.
    """
    if device == "cpu":
        values = (means_mm, scales_mm, quats_wxyz, opacities, colors)
        return AlphaComposite(*values, geometry, background=background, low_pass=low_pass).images
    arrays = _validated(means_mm, scales_mm, quats_wxyz, opacities, colors, len(geometry))
    from DSAReconLib.kernels.cuda.alpha import composite_views

    return composite_views(arrays, geometry, background=background, low_pass=low_pass, device=device)


def packed_views(geometry: ConeBeamGeometry, low_pass: float = LOW_PASS) -> NDArray[np.float64]:
    """View constants (V, 18) of the kernels, see ``cpu_projection``."""
    rows, columns = geometry.detector_shape
    views = np.zeros((len(geometry), 18))
    views[:, :12] = geometry.projection_matrices.reshape(-1, 12)
    # integers are pixel centers: the image begins half a pixel before the first of them
    for place, size in ((12, columns), (14, rows)):
        views[:, place] = -0.5 - CLAMP_MARGIN * size
        views[:, place + 1] = -0.5 + (1 + CLAMP_MARGIN) * size
    views[:, 16], views[:, 17] = NEAREST_MM, low_pass
    return views


def _validated(
    means_mm: ArrayLike,
    scales_mm: ArrayLike,
    quats_wxyz: ArrayLike,
    opacities: ArrayLike,
    colors: ArrayLike,
    views: int,
) -> Arrays:
    """Contiguous float32 arrays of matching shapes."""
    means, scales, quats = (np.ascontiguousarray(value, np.float32) for value in (means_mm, scales_mm, quats_wxyz))
    count = len(means)
    for name, value, width in (("means_mm", means, 3), ("scales_mm", scales, 3), ("quats_wxyz", quats, 4)):
        if value.shape != (count, width):
            raise ValueError(f"{name} must have shape {(count, width)}; got {value.shape}")
    if count and not scales.min() > 0:
        raise ValueError(f"scales_mm must be positive; the smallest is {scales.min():g}")
    if count and not np.einsum("ni,ni->n", quats, quats).min() > 0:
        raise ValueError("quats_wxyz must not be zero")
    rows = []
    for name, value in (("opacities", np.asarray(opacities, np.float32)), ("colors", np.asarray(colors, np.float32))):
        if value.shape not in ((count,), (views, count)):
            raise ValueError(f"{name} must have shape {(count,)} or {(views, count)}; got {value.shape}")
        rows.append(np.ascontiguousarray(np.broadcast_to(value, (views, count))))
    return means, scales, quats, rows[0], rows[1]
