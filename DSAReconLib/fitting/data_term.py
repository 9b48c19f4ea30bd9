"""Weighted squared error between measured and projected line integrals of time-varying voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.fitting.pixel_weights import pixel_weights
from DSAReconLib.fitting.projection import ViewProjection

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_CHUNK = 6
"""Views between two questions for cancelling."""


class ProjectionLoss:
    """1/2 mean over views of the integral over the detector (scaled to the isocenter, mm^2) of w r^2.

    r is predicted minus measured line integral. As an integral it does not depend on the
    pixel size, so one set of prior weights serves every binning and every voxel size.

    Parameters
    ----------
    angiogram
        Measured views; pixels of infinite variance are ignored.
    projection
        Projects the voxels to these views.
    device
        Torch device of the values to come.
    variance_weights
        Weight pixels by their inverse variance (relative to the median) instead of equally.
    """

    def __init__(
        self, angiogram: Angiogram, projection: ViewProjection, *, device: str, variance_weights: bool
    ) -> None:
        self._projection = projection
        row_mm, column_mm = angiogram.geometry.isocenter_pixel_mm
        self._scale = row_mm * column_mm / len(angiogram)
        weights = pixel_weights(angiogram, variance_weights)
        measured = np.where(weights > 0, angiogram.line_integrals, 0).astype(np.float32)
        self._measured = torch.as_tensor(measured, device=device)
        self._weights = torch.as_tensor(weights, device=device)
        self._measured_pixels = max(int((weights > 0).sum()), 1)
        self._chunks = [slice(start, min(start + _CHUNK, len(weights))) for start in range(0, len(weights), _CHUNK)]

    def __call__(self, values: Tensor, mixing: Tensor, progress: Progress) -> tuple[float, Tensor, float]:
        """Loss, its gradient (K, N) at ``values`` (K, N), and the weighted mean squared residual.

        ``mixing`` (V, K) holds the knots' weights at the times of the views.
        """
        gradient = torch.zeros_like(values)
        total = 0.0
        for views in self._chunks:
            progress.check_cancelled()
            residual = self._projection.project(views, mixing[views] @ values) - self._measured[views]
            weighted = residual * self._weights[views]
            total += float(torch.vdot(weighted.flatten(), residual.flatten()))
            gradient.addmm_(mixing[views].T, self._projection.backproject(views, weighted))
        return 0.5 * self._scale * total, gradient.mul_(self._scale), total / self._measured_pixels

    def curvature(self, values: Tensor, mixing: Tensor, progress: Progress) -> Tensor:
        """Diagonal (K, N) that majorizes the Hessian: sum_v B_vk A_v' W A_v 1 (mixing rows sum to 1).

        The ones fill the support only: rays cross little of it, which makes large steps safe.
        """
        result = torch.zeros_like(values)
        for views in self._chunks:
            progress.check_cancelled()
            ones = torch.ones(views.stop - views.start, values.shape[1], device=values.device)
            chords = self._projection.project(views, ones) * self._weights[views]
            result.addmm_(mixing[views].T, self._projection.backproject(views, chords))
        return result.mul_(self._scale)
