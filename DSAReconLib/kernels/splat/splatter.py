"""Images of changing Gaussians on the same views, with gradients: what a fit calls in every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.splat import SPLAT_CUTOFF_SIGMA, packed_views

if TYPE_CHECKING:
    from DSAReconLib.kernels.cuda.launch import Launch

FloatArray = NDArray[np.float32]


class Shapes(NamedTuple):
    """Gaussians without their attenuation: centers (N, 3), deviations (N, 3), mm, rotations (N, 4) = w, x, y, z."""

    means_mm: FloatArray
    scales_mm: FloatArray
    quats_wxyz: FloatArray


class ShapeGradients(NamedTuple):
    """Gradients of a scalar by all that makes up an image."""

    means_mm: FloatArray
    scales_mm: FloatArray
    quats_wxyz: FloatArray
    amplitudes: FloatArray
    """(V, N); also where the amplitude is 0."""
    pulls: FloatArray
    """(V, N): length of the gradient of the projected center, per pixel; -1 where no pixel sees the Gaussian."""


class XraySplatter:
    """Line integrals of Gaussians on fixed views; see :func:`DSAReconLib.kernels.splat.splat_xray`.

    Arguments are not checked and must be contiguous float32 arrays.

    Parameters
    ----------
    geometry
        All views of the fit.
    pixel_box, affine, cutoff_sigma
        As for ``splat_xray``.
    device
        ``"cpu"`` runs numba, a CUDA device of torch the CUDA kernels.
    launch
        Launcher of the CUDA kernels, to run them elsewhere; default: on ``device``.
    """

    def __init__(
        self, geometry: ConeBeamGeometry, *, pixel_box: bool, affine: bool = False,
        cutoff_sigma: float = SPLAT_CUTOFF_SIGMA, device: str = "cpu", launch: Launch | None = None,
    ) -> None:  # fmt: skip
        self._views, self._lengths = packed_views(geometry)
        self._options: dict[str, Any] = {"cutoff_sigma": cutoff_sigma, "pixel_box": pixel_box, "affine": affine}
        self._device, self._launch = device, launch

    def images(self, shapes: Shapes, amplitudes: FloatArray, views: ArrayLike) -> FloatArray:
        """Line integrals (n, R, C) of Gaussians with amplitudes (n, N), 1/mm, on the given n views."""
        index = np.asarray(views)
        if self._on_cpu:
            from DSAReconLib.kernels.splat import cpu

            return cpu.splat_forward(*shapes, amplitudes, self._views[index], self._lengths[index], **self._options)
        from DSAReconLib.kernels.cuda import xray_splat

        arguments = self._moved(shapes, amplitudes, index)
        images = xray_splat.splat_forward(*arguments, launch=self._launch, **self._options)
        return images.cpu().numpy()

    def gradients(
        self, shapes: Shapes, amplitudes: FloatArray, views: ArrayLike, image_gradients: FloatArray
    ) -> ShapeGradients:
        """Gradients of a scalar whose derivative by the images is ``image_gradients`` (n, R, C)."""
        index = np.asarray(views)
        if self._on_cpu:
            from DSAReconLib.kernels.splat import cpu

            constants = (self._views[index], self._lengths[index], image_gradients)
            by_shape, by_amplitude, pulls = cpu.splat_adjoint(*shapes, amplitudes, *constants, **self._options)
        else:
            import torch

            from DSAReconLib.kernels.cuda import xray_splat

            slopes = torch.from_numpy(np.ascontiguousarray(image_gradients, np.float32)).to(self._device)
            arguments = (*self._moved(shapes, amplitudes, index), slopes)
            found = xray_splat.splat_adjoint(*arguments, launch=self._launch, **self._options)
            by_shape, by_amplitude, pulls = (tensor.cpu().numpy() for tensor in found)
        return ShapeGradients(by_shape[:, :3], by_shape[:, 3:6], by_shape[:, 6:], by_amplitude, pulls)

    @property
    def _on_cpu(self) -> bool:
        return self._device == "cpu" and self._launch is None

    def _moved(self, shapes: Shapes, amplitudes: FloatArray, index: NDArray[np.int64]) -> tuple[Any, ...]:
        """Shapes, amplitudes and view constants on the device."""
        import torch

        from DSAReconLib.kernels.cuda.xray_splat import DeviceViews

        arrays = [torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in (*shapes, amplitudes)]
        return (*arrays, DeviceViews.of(self._views[index], self._lengths[index], self._device))
