"""Line integrals of any model at any pose and time: novel views in the unit of the measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.alpha import LOW_PASS, composite_alpha
from DSAReconLib.kernels.alpha.harmonics import harmonics
from DSAReconLib.kernels.splat import splat_xray
from DSAReconLib.operators.conebeam import ConeBeamProjector
from DSAReconLib.reconstruction import DynamicVolume, Model, OpacityGaussians, RadiativeGaussians

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_SPLAT_CHUNK = 4


def render_line_integrals(
    model: Model,
    geometry: ConeBeamGeometry,
    times_s: ArrayLike,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Line integrals of the contrast as seen from V poses at V times.

    Parameters
    ----------
    model
        Voxels (projected by Joseph's method), Gaussians (exact integrals, averaged over
        the pixel's area as a detector does), or a model of pictures (composited, and the
        grey values read as line integrals).
    geometry
        V poses.
    times_s
        Time of each pose (V,), s.
    device
        ``"cpu"`` or a CUDA device.
    progress
        Told how far it is, asked for cancelling.

    Returns
    -------
    (V, R, C), float32, dimensionless.
    """
    times = np.atleast_1d(np.asarray(times_s, float))
    if times.shape != (len(geometry),):
        raise ValueError(f"times_s must have shape ({len(geometry)},); got {times.shape}")
    if isinstance(model, RadiativeGaussians):
        return _render_gaussians(model, geometry, times, device, progress)
    if isinstance(model, OpacityGaussians):
        return _render_pictures(model, geometry, times, device, progress)
    return _render_volume(model, geometry, times, device, progress)


def _render_gaussians(
    model: RadiativeGaussians,
    geometry: ConeBeamGeometry,
    times: NDArray[np.float64],
    device: str,
    progress: Progress | None,
) -> NDArray[np.float32]:
    images = np.empty((len(geometry), *geometry.detector_shape), np.float32)
    amplitudes = model.amplitudes(times)
    shape = (model.means_mm, model.scales_mm, model.quats_wxyz)
    for start in range(0, len(geometry), _SPLAT_CHUNK):
        views = slice(start, start + _SPLAT_CHUNK)
        images[views] = splat_xray(*shape, amplitudes[views], geometry[views], pixel_box=True, device=device)
        _tell(progress, min(start + _SPLAT_CHUNK, len(geometry)) / len(geometry))
    return images


def _render_pictures(
    model: OpacityGaussians,
    geometry: ConeBeamGeometry,
    times: NDArray[np.float64],
    device: str,
    progress: Progress | None,
) -> NDArray[np.float32]:
    images = np.empty((len(geometry), *geometry.detector_shape), np.float32)
    shape = (model.means_mm, model.scales_mm, model.quats_wxyz)
    opacities = model.opacities_at(times)
    for view in range(len(geometry)):
        colors = grey_values(model, geometry.source_mm[view])
        one = geometry[view : view + 1]
        low_pass = LOW_PASS * (model.pixel_mm / float(np.mean(one.isocenter_pixel_mm))) ** 2
        images[view] = composite_alpha(*shape, opacities[view], colors, one, low_pass=low_pass, device=device)[0]
        _tell(progress, (view + 1) / len(geometry))
    return model.picture.line_integrals(images)


def grey_values(model: OpacityGaussians, source_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Grey (N,) >= 0 of every Gaussian as seen from ``source_mm`` (3,)."""
    direction = model.means_mm - source_mm
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    basis = np.stack(harmonics(direction, model.degree), 1)
    return np.maximum(0.5 + (basis * model.color_harmonics).sum(1), 0).astype(np.float32)


def _render_volume(
    model: DynamicVolume, geometry: ConeBeamGeometry, times: NDArray[np.float64], device: str, progress: Progress | None
) -> NDArray[np.float32]:
    images = np.zeros((len(geometry), *geometry.detector_shape), np.float32)
    if model.coefficients.shape[1] == 0:
        return images
    grid, position = _cropped(model)
    projector = ConeBeamProjector(grid, geometry, device)
    weights = model.basis.at(times)
    volume = np.zeros(grid.num_voxels, np.float32)
    if np.all(weights == weights[:1]):
        volume[position] = weights[0] @ model.coefficients
        return np.asarray(projector(volume.reshape(grid.shape_zyx)))
    for view in range(len(geometry)):
        used = np.flatnonzero(weights[view])
        volume[position] = weights[view, used] @ model.coefficients[used]
        images[view] = projector[view](volume.reshape(grid.shape_zyx))[0]
        _tell(progress, (view + 1) / len(geometry))
    return images


def _cropped(model: DynamicVolume) -> tuple[VolumeGrid, NDArray[np.int64] | slice]:
    """Smallest grid that holds the supported voxels, and their flat index in it."""
    if model.support is None:
        return model.grid, slice(None)
    index = np.stack(np.unravel_index(model.support, model.grid.shape_zyx))
    start, stop = index.min(1), index.max(1) + 1
    grid = model.grid.cropped(start[::-1], stop[::-1])
    return grid, np.ravel_multi_index(tuple(index - start[:, None]), grid.shape_zyx)


def _tell(progress: Progress | None, fraction: float) -> None:
    if progress is not None:
        progress.check_cancelled()
        progress.report("render", fraction)
