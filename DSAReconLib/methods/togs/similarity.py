"""Difference of two pictures on any torch device: mean absolute error and structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


class SimilarityLoss:
    """(1 - weight) mean |x - y| + weight (1 - mean SSIM(x, y)) against fixed pictures (3DGS; TOGS, 4DRGS).

    SSIM with an 11 x 11 Gaussian window (sigma 1.5 px), constants 0.01^2 and 0.03^2, zeros
    outside. What depends on the fixed pictures alone is computed once.

    Parameters
    ----------
    pictures
        (V, R, C).
    weight
        Share of the structural part, 0 to 1.
    """

    def __init__(self, pictures: Tensor, weight: float) -> None:
        self._rows, self._columns = (_blur_matrix(size, pictures) for size in pictures.shape[1:])
        self._pictures, self._weight = pictures, weight
        self._mean = self._power = pictures[:0]
        if weight:
            self._mean = self._blurred(pictures)
            self._power = self._blurred(pictures * pictures) - self._mean**2

    def __call__(self, image: Tensor, view: int) -> Tensor:
        """Loss (scalar) of ``image`` (R, C) against picture ``view``; differentiable."""
        picture = self._pictures[view]
        absolute = (image - picture).abs().mean()
        if not self._weight:
            return absolute
        return (1 - self._weight) * absolute + self._weight * (1 - self._similarity(image, view).mean())

    def _similarity(self, image: Tensor, view: int) -> Tensor:
        """SSIM per pixel (R, C)."""
        mean, square, mixed = self._blurred(torch.stack([image, image * image, image * self._pictures[view]]))
        other, other_power = self._mean[view], self._power[view]
        power, common = square - mean * mean, mixed - mean * other
        numerator = (2 * mean * other + _C1) * (2 * common + _C2)
        return numerator / ((mean * mean + other * other + _C1) * (power + other_power + _C2))

    def _blurred(self, stack: Tensor) -> Tensor:
        """(n, R, C) convolved with the window, zeros outside."""
        return self._rows @ stack @ self._columns


def _blur_matrix(size: int, like: Tensor) -> Tensor:
    """Band matrix (size, size) of the window: for pictures of some hundred pixels faster than a convolution."""
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    offset = torch.arange(_WINDOW, dtype=like.dtype, device=like.device) - _WINDOW // 2
    distance = place[:, None] - place
    window = torch.exp(-0.5 * (distance / _SIGMA) ** 2) / torch.exp(-0.5 * (offset / _SIGMA) ** 2).sum()
    return torch.where(distance.abs() <= _WINDOW // 2, window, torch.zeros_like(window))
