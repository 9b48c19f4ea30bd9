"""What density control of TOGS copies, splits, prunes and resets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DSAReconLib.fitting.density import SPLIT, SPLIT_SHRINK, RowEdit, grown, random_prune, row_edit, scatter_children
from DSAReconLib.kernels.splat.reference import rotation_matrices
from DSAReconLib.methods.togs.config import Config
from DSAReconLib.methods.togs.hyperparameters import Schedule
from DSAReconLib.methods.togs.model import Parameters, highest_opacity

_LARGEST_SHARE = 0.1
"""Of the cameras' extent: larger Gaussians are pruned (after the first reset)."""
_LARGEST_RADIUS = 20 / 1024
"""Of the picture's width: larger footprints are pruned (after the first reset); 20 px of 1024 in the paper."""
_RESET_LOGIT = float(np.log(0.01 / 0.99))


@torch.no_grad()
def controlled(
    parameters: Parameters,
    gradients: NDArray[np.float64],
    radii: NDArray[np.float32],
    schedule: Schedule,
    config: Config,
    *,
    extent_mm: float,
    after_reset: bool,
) -> RowEdit:
    """One density control.

    Parameters
    ----------
    gradients
        Mean norm of the projected centers' gradients (N,), normalized image coordinates.
    radii
        Largest radius since the last control (N,) as share of the picture's width.
    extent_mm
        The cameras' extent.
    after_reset
        Whether too large Gaussians are pruned as well.
    """
    count = len(gradients)
    largest = parameters["log_scales"].exp().amax(1).cpu().numpy()
    clone, split = grown(
        gradients,
        largest,
        gradient_threshold=schedule.gradient,
        size_threshold=config.dense_share * extent_mm,
        room=max(config.max_gaussians - count, 0),
    )
    prune = highest_opacity(parameters).cpu().numpy() < schedule.min_opacity
    if after_reset:
        prune |= (radii > _LARGEST_RADIUS) | (largest > _LARGEST_SHARE * extent_mm)
    return row_edit(count, clone=clone, split=split, prune=prune)


def thinned(count: int, share: float, rng: np.random.Generator) -> RowEdit:
    """Without a random share of all Gaussians."""
    return row_edit(count, prune=random_prune(count, share, rng))


@torch.no_grad()
def edited(parameters: Parameters, edit: RowEdit, rng: np.random.Generator) -> Parameters:
    """The parameters after an edit; the children of a split are smaller and scattered over their parent."""
    tables = edit.rows(parameters)
    children = np.flatnonzero(edit.kind == SPLIT)
    if len(children):
        scales = tables["log_scales"].exp().cpu().numpy()
        rotations = rotation_matrices(tables["quats"]).cpu().numpy()
        means = scatter_children(tables["means"].cpu().numpy(), scales, rotations, edit, rng)
        tables["means"] = torch.as_tensor(means, device=tables["means"].device)
        tables["log_scales"][torch.as_tensor(children)] -= float(np.log(SPLIT_SHRINK))
    return tables


@torch.no_grad()
def reset_opacity(logits: Tensor) -> None:
    """Base opacity to at most 0.01, in place; the offsets stay."""
    logits.clamp_(max=_RESET_LOGIT)
