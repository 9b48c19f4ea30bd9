"""Additive X-ray splatting of anisotropic Gaussians: exact cone-beam line integrals and voxelizing.

Functions of arrays; the CPU runs numba, other devices the torch reference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

SPLAT_CUTOFF_SIGMA = 3.0
"""Footprints end here, as in the published rasterizers: 1.1 % of a kernel's mass lies outside."""
VOXEL_CUTOFF_SIGMA = 4.0
"""Voxelizing is not time critical: 0.1 % of the mass lies outside."""


Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


class SplatGradients(NamedTuple):
    """Gradients of a scalar with respect to the arguments of :func:`splat_xray`."""

    means_mm: NDArray[np.float32]
    scales_mm: NDArray[np.float32]
    quats_wxyz: NDArray[np.float32]
    amplitudes: NDArray[np.float32]


def splat_xray(
    means_mm: ArrayLike,
    scales_mm: ArrayLike,
    quats_wxyz: ArrayLike,
    amplitudes: ArrayLike,
    geometry: ConeBeamGeometry,
    *,
    pixel_box: bool = False,
    affine: bool = False,
    cutoff_sigma: float = SPLAT_CUTOFF_SIGMA,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Line integrals (V, R, C) of sum_i a_i exp(-1/2 |S_i^-1 R_i^T (x - m_i)|^2).

    Parameters
    ----------
    means_mm, scales_mm, quats_wxyz
        Centers (N, 3), standard deviations (N, 3) > 0, mm, and rotations (N, 4) as
        (w, x, y, z) of any length, kernel axes to LPS.
    amplitudes
        Central attenuation per view (V, N), or (N,) for all views, 1/mm.
    geometry
        V views.
    pixel_box
        Average over the pixel's area (adds 1/12 px^2 to the footprint and keeps its
        mass) instead of sampling the pixel's center.
    affine
        The affine form of R2-Gaussian and 4DRGS (perspective frozen at each kernel's
        center) instead of the exact integrals.
    cutoff_sigma
        Radius of the footprint in standard deviations.
    device
        ``"cpu"`` (numba) or a torch device, which runs the torch reference.

    Returns
    -------
    (V, R, C)
        Dimensionless, float32. Kernels whose center lies behind the source give nothing.

    Notes
    -----
    By default the cone-beam integral is exact (no affine approximation of the perspective
    inside a kernel as in EWA splatting and R2-Gaussian): see ``cpu_footprint``. The affine
    form lacks the clamp of 4DRGS for centers far outside the detector.
    """
    arrays = _validated(means_mm, scales_mm, quats_wxyz, amplitudes, len(geometry))
    if device != "cpu":
        return _splat_torch(arrays, geometry, cutoff_sigma, pixel_box, affine, device)
    from DSAReconLib.kernels.splat import cpu

    options: dict[str, Any] = {"cutoff_sigma": cutoff_sigma, "pixel_box": pixel_box, "affine": affine}
    return cpu.splat_forward(*arrays, *packed_views(geometry), **options)


def splat_xray_adjoint(
    means_mm: ArrayLike,
    scales_mm: ArrayLike,
    quats_wxyz: ArrayLike,
    amplitudes: ArrayLike,
    geometry: ConeBeamGeometry,
    gradients: ArrayLike,
    *,
    pixel_box: bool = False,
    affine: bool = False,
    cutoff_sigma: float = SPLAT_CUTOFF_SIGMA,
) -> SplatGradients:
    """Gradients of a scalar L from dL/d(line integrals) ``gradients`` (V, R, C), on the CPU.

    The arguments are those of :func:`splat_xray`; the gradient of the quaternions is that
    of the unnormalized ones. ``amplitudes`` must be (V, N), their gradient is (V, N).
    """
    from DSAReconLib.kernels.splat import cpu

    arrays = _validated(means_mm, scales_mm, quats_wxyz, amplitudes, len(geometry))
    images = np.asarray(gradients, np.float32)
    expected = (len(geometry), *geometry.detector_shape)
    if images.shape != expected:
        raise ValueError(f"gradients must have shape {expected}; got {images.shape}")
    options: dict[str, Any] = {"cutoff_sigma": cutoff_sigma, "pixel_box": pixel_box, "affine": affine}
    shape_grads, amplitude_grads, _ = cpu.splat_adjoint(*arrays, *packed_views(geometry), images, **options)
    return SplatGradients(shape_grads[:, :3], shape_grads[:, 3:6], shape_grads[:, 6:], amplitude_grads)


def voxelize(
    means_mm: ArrayLike,
    scales_mm: ArrayLike,
    quats_wxyz: ArrayLike,
    amplitudes: ArrayLike,
    grid: VolumeGrid,
    *,
    cutoff_sigma: float = VOXEL_CUTOFF_SIGMA,
) -> NDArray[np.float32]:
    """Gaussians sampled at the voxel centers of ``grid``.

    Returns (Z, Y, X) for amplitudes (N,) and (K, Z, Y, X) for amplitudes (K, N), 1/mm.
    Kernels narrower than a voxel are sampled, not averaged: their mass may be missed.
    """
    from DSAReconLib.kernels.splat import cpu

    flat = np.ndim(amplitudes) == 1
    arrays = _validated(means_mm, scales_mm, quats_wxyz, np.atleast_2d(amplitudes), np.atleast_2d(amplitudes).shape[0])
    origin, spacing = np.array(grid.origin_mm), np.array(grid.spacing_mm)
    volume = cpu.voxelize(*arrays, origin, spacing, grid.shape_zyx, cutoff_sigma=cutoff_sigma)
    return volume[0] if flat else volume


def _validated(
    means_mm: ArrayLike, scales_mm: ArrayLike, quats_wxyz: ArrayLike, amplitudes: ArrayLike, views: int
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
    heights = np.asarray(amplitudes, np.float32)
    if heights.shape not in ((count,), (views, count)):
        raise ValueError(f"amplitudes must have shape {(count,)} or {(views, count)}; got {heights.shape}")
    return means, scales, quats, np.ascontiguousarray(np.broadcast_to(heights, (views, count)))


def packed_views(geometry: ConeBeamGeometry) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """View constants (V, 22) of the CPU kernels and the distance source to pixel (V, R, C), mm."""
    matrices = geometry.projection_matrices.reshape(len(geometry), 12)
    views = np.concatenate(
        [geometry.source_mm, geometry.detector_u_mm, geometry.detector_v_mm, matrices, 1 / geometry.sdd_mm[:, None]], 1
    )
    return np.ascontiguousarray(views), _ray_lengths(geometry)


def _ray_lengths(geometry: ConeBeamGeometry) -> NDArray[np.float32]:
    """Distance (V, R, C) from source to pixel, mm: a quadratic form of row and column."""
    step_u, step_v = geometry.detector_u_mm, geometry.detector_v_mm
    center = geometry.detector_center_mm - geometry.source_mm
    rows, columns = ((np.arange(size) - (size - 1) / 2)[None] for size in geometry.detector_shape)

    def product(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x * y).sum(1)[:, None]

    constant = product(center, center) + rows * (2 * product(center, step_v) + rows * product(step_v, step_v))
    linear = 2 * (product(center, step_u) + rows * product(step_u, step_v))
    quadratic = product(step_u, step_u) * columns**2
    squared = linear.astype(np.float32)[:, :, None] * columns.astype(np.float32)[:, None]
    squared += constant.astype(np.float32)[:, :, None]
    squared += quadratic.astype(np.float32)[:, None]
    return np.sqrt(squared, out=squared)


def _splat_torch(
    arrays: Arrays, geometry: ConeBeamGeometry, cutoff_sigma: float, pixel_box: bool, affine: bool, device: str
) -> NDArray[np.float32]:
    """:func:`splat_xray` on a torch device, view by view."""
    import torch

    from DSAReconLib.kernels.splat import reference

    means, scales, quats, amplitudes = (torch.as_tensor(array, device=device) for array in arrays)
    rows, columns = geometry.detector_shape
    pixel00 = (
        geometry.detector_center_mm
        - (columns - 1) / 2 * geometry.detector_u_mm
        - (rows - 1) / 2 * geometry.detector_v_mm
    )
    images = np.empty((len(geometry), rows, columns), np.float32)
    for view in range(len(geometry)):
        vectors = {
            "source": geometry.source_mm,
            "pixel00": pixel00,
            "step_u": geometry.detector_u_mm,
            "step_v": geometry.detector_v_mm,
        }
        constants = {name: means.new_tensor(value[view]) for name, value in vectors.items()}
        image = reference.splat_view(
            means, scales, quats, amplitudes[view], shape=(rows, columns), cutoff_sigma=cutoff_sigma,
            pixel_box=pixel_box, affine=affine, **constants,
        )  # fmt: skip
        images[view] = image.cpu().numpy()
    return images
