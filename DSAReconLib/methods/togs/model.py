"""The Gaussians of TOGS as torch parameters: what they mean, and how they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DSAReconLib.kernels.alpha.harmonics import harmonics, num_functions
from DSAReconLib.reconstruction import OpacityGaussians, TemporalBasis

if TYPE_CHECKING:
    from DSAReconLib.reconstruction import PictureScale

Parameters = dict[str, Tensor]
"""By name, the first axis counts the Gaussians: means (N, 3) mm, log_scales (N, 3), quats
(N, 4) wxyz, opacity (N, 1) and offsets (N, K) as logits, color (N, 1) and harmonics (N, H - 1)."""

FIRST_OPACITY, FIRST_OFFSET = 0.1, 1e-4
_MID_GREY = 0.5
_NEIGHBORS = 3


def first_parameters(
    points_mm: NDArray[np.float64], knots: int, degree: int, rng: np.random.Generator, device: str
) -> Parameters:
    """Round, nearly transparent, mid-grey Gaussians at ``points_mm`` (N, 3), as wide as the way to their neighbors."""
    from scipy.spatial import cKDTree

    count = len(points_mm)
    neighbors = min(_NEIGHBORS, count - 1)
    distance = cKDTree(points_mm).query(points_mm, k=neighbors + 1)[0][:, 1:] if neighbors else np.ones((count, 1))
    width = np.maximum(np.sqrt((distance**2).mean(1)), 1e-3)
    quats = np.tile([1.0, 0, 0, 0], (count, 1))
    arrays = {
        "means": points_mm,
        "log_scales": np.repeat(np.log(width)[:, None], 3, 1),
        "quats": quats,
        "opacity": np.full((count, 1), _logit(FIRST_OPACITY)),
        "offsets": np.full((count, knots), _logit(FIRST_OFFSET)),
        "color": rng.uniform(0, 1 / 255, (count, 1)),
        "harmonics": np.zeros((count, num_functions(degree) - 1)),
    }
    return {name: torch.tensor(array, dtype=torch.float32, device=device) for name, array in arrays.items()}


def opacities_at(parameters: Parameters, phase: float) -> Tensor:
    """Opacity (N,) in (0, 2) at ``phase`` in [0, 1] of the run (TOGS eq. 3.1 of our notes: base plus offset)."""
    offsets = parameters["offsets"]
    place = phase * (offsets.shape[1] - 1)
    first = min(int(place), offsets.shape[1] - 2)
    share = place - first
    pair = torch.sigmoid(offsets[:, first : first + 2])
    return torch.sigmoid(parameters["opacity"][:, 0]) + (1 - share) * pair[:, 0] + share * pair[:, 1]


def colors_from(parameters: Parameters, source_mm: Tensor, degree: int) -> Tensor:
    """Grey (N,) >= 0 as seen from ``source_mm`` (3,); one channel stands for all three (the grey constraint)."""
    direction = torch.nn.functional.normalize(parameters["means"] - source_mm, dim=1)
    values = harmonics(direction, degree)
    grey = _MID_GREY + values[0] * parameters["color"][:, 0]
    if degree:
        grey = grey + (torch.stack(values[1:], 1) * parameters["harmonics"][:, : len(values) - 1]).sum(1)
    return grey.clamp(min=0)


def smoothness(parameters: Parameters) -> Tensor:
    """Mean over the Gaussians of the offset's total variation over time (the smooth loss)."""
    offsets = torch.sigmoid(parameters["offsets"])
    return (offsets[:, 1:] - offsets[:, :-1]).abs().sum(1).mean()


def highest_opacity(parameters: Parameters) -> Tensor:
    """Largest opacity (N,) over the knots."""
    return torch.sigmoid(parameters["opacity"][:, 0]) + torch.sigmoid(parameters["offsets"]).amax(1)


def frozen(parameters: Parameters, duration_s: float, picture: PictureScale, pixel_mm: float) -> OpacityGaussians:
    """The parameters, fitted with pixels of ``pixel_mm``, as a value that renderers and files know."""
    arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in parameters.items()}
    knots = arrays["offsets"].shape[1]
    alphas = _expit(arrays["opacity"]) + _expit(arrays["offsets"])
    quats = arrays["quats"] / np.linalg.norm(arrays["quats"], axis=1, keepdims=True)
    return OpacityGaussians(
        means_mm=arrays["means"].astype(np.float32),
        scales_mm=np.exp(arrays["log_scales"]).astype(np.float32),
        quats_wxyz=quats.astype(np.float32),
        opacities=np.ascontiguousarray(alphas.T, np.float32),
        color_harmonics=np.concatenate([arrays["color"], arrays["harmonics"]], 1).astype(np.float32),
        basis=TemporalBasis.hats(np.linspace(0.0, duration_s, knots)),
        picture=picture,
        pixel_mm=pixel_mm,
    )


def _logit(value: float) -> float:
    return float(np.log(value / (1 - value)))


def _expit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))
