"""Gaussians prepared once for pictures of one view at a time: real-time novel views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import DependencyError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.backend import cpu_kernels
from DSAReconLib.kernels.splat import SPLAT_CUTOFF_SIGMA, packed_views

if TYPE_CHECKING:
    from DSAReconLib.kernels.cuda.splat import DeviceScene

_CUT = SPLAT_CUTOFF_SIGMA**2


class SplatScene:
    """Gaussians whose line integrals are wanted for many poses and times, one picture at a time.

    Gives what :func:`~DSAReconLib.kernels.splat.splat_xray` with ``pixel_box=True`` gives,
    except that kernels around the source are left out. Not thread safe.

    Parameters
    ----------
    means_mm, scales_mm, quats_wxyz
        Centers (N, 3), standard deviations (N, 3) > 0, mm, and rotations (N, 4) as
        (w, x, y, z) of any length, kernel axes to LPS.
    device
        ``"cpu"`` or a CUDA device of torch.

    Raises
    ------
    DependencyError
        The device is the CPU and numba is not installed.
    """

    def __init__(
        self, means_mm: ArrayLike, scales_mm: ArrayLike, quats_wxyz: ArrayLike, *, device: str = "cpu"
    ) -> None:
        self._kernels = _prepared(means_mm, scales_mm, quats_wxyz)
        shapes = (np.ascontiguousarray(value, np.float32) for value in (means_mm, scales_mm, quats_wxyz))
        self._means, self._scales, self._quats = shapes
        self._reach = SPLAT_CUTOFF_SIGMA * self._scales.max(1, initial=0)
        self._middle = self._means.mean(0) if len(self._means) else np.zeros(3, np.float32)
        self._radius = (np.linalg.norm(self._means - self._middle, axis=1) + self._reach).max(initial=0)
        self._device: DeviceScene | None = None
        if device == "cpu":
            if cpu_kernels() != "numba":
                raise DependencyError("Real-time novel views on the CPU need numba.", hint="pip install numba")
            return
        from DSAReconLib.kernels.cuda.splat import DeviceScene

        self._device = DeviceScene(self._kernels, device)

    def __len__(self) -> int:
        return len(self._kernels)

    def render(
        self, amplitudes: NDArray[np.float32], geometry: ConeBeamGeometry, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Line integrals (R, C) of one view, averaged over the pixels' areas.

        Parameters
        ----------
        amplitudes
            Central attenuation (N,), 1/mm. The CUDA path keeps a copy of the newest array
            on the device, by identity: do not change it in place.
        geometry
            One view.
        out
            Contiguous float32 array (R, C) to fill, e.g. in shared memory.
        """
        if len(geometry) != 1 or amplitudes.shape != (len(self),):
            raise ValueError(
                f"expected one view and amplitudes ({len(self)},); got {len(geometry)}, {amplitudes.shape}"
            )
        picture = np.empty(geometry.detector_shape, np.float32) if out is None else out
        if picture.shape != geometry.detector_shape or picture.dtype != np.float32 or not picture.flags.c_contiguous:
            raise ValueError(f"out must be a contiguous float32 array of shape {geometry.detector_shape}")
        if self._device is not None:
            self._device.splat(amplitudes, _view_constants(geometry), _CUT, picture)
            return picture
        from DSAReconLib.kernels.splat import cpu

        shown = self._without_those_around(geometry.source_mm[0], np.ascontiguousarray(amplitudes, np.float32))
        cpu.splat_forward(
            self._means, self._scales, self._quats, shown[None], *packed_views(geometry),
            cutoff_sigma=SPLAT_CUTOFF_SIGMA, pixel_box=True, out=picture[None],
        )  # fmt: skip
        return picture

    def _without_those_around(
        self, source: NDArray[np.float64], amplitudes: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Amplitudes (N,) that are 0 for kernels that the source is inside of: a whole line means nothing there."""
        if np.linalg.norm(source - self._middle) > self._radius:
            return amplitudes
        offset = self._means - source.astype(np.float32)
        near = np.flatnonzero(np.einsum("ni,ni->n", offset, offset) <= self._reach**2)
        whitened = np.einsum("nij,nj->ni", self._kernels[near, :9].reshape(-1, 3, 3), offset[near])
        shown = amplitudes.copy()
        shown[near[(whitened**2).sum(1) <= _CUT]] = 0
        return shown


def _prepared(means_mm: ArrayLike, scales_mm: ArrayLike, quats_wxyz: ArrayLike) -> NDArray[np.float32]:
    """Rows of S^-1 R^T and centers (N, 12)."""
    means, scales, quats = (np.asarray(value, float) for value in (means_mm, scales_mm, quats_wxyz))
    if len(scales) and not scales.min() > 0:
        raise ValueError(f"scales_mm must be positive; the smallest is {scales.min():g}")
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    whitening = (rotation.transpose(1, 0, 2) / scales.T[:, None]).reshape(9, -1).T
    return np.ascontiguousarray(np.concatenate([whitening, means], 1), np.float32)


def _view_constants(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """What the kernels need of a view (25,).

    Source (3), D_u (3), D_v (3), left part of the projection matrix (9), 1/sdd, and the
    squared distance from the source to pixel (row y, column x) as
    e0 + y e1 + y^2 e2 + x (e3 + y e4) + x^2 e5 (6).
    """
    source, step_u, step_v = geometry.source_mm[0], geometry.detector_u_mm[0], geometry.detector_v_mm[0]
    rows, columns = geometry.detector_shape
    corner = geometry.detector_center_mm[0] - source - (columns - 1) / 2 * step_u - (rows - 1) / 2 * step_v
    squares = [corner @ corner, 2 * corner @ step_v, step_v @ step_v, 2 * corner @ step_u, 2 * step_u @ step_v]
    matrix = geometry.projection_matrices[0, :, :3].ravel()
    return np.concatenate([source, step_u, step_v, matrix, 1 / geometry.sdd_mm, squares, [step_u @ step_u]])
