"""The fitted fields as voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from DSAReconLib.fitting.ray_sampling import FieldBox, OccupancyGrid
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.models.neural_field import VesselFields
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

_CHUNK = 1 << 17
"""Points per evaluation of the fields: bounds the memory."""
_NEGLIGIBLE = 1e-3
"""Voxels whose peak stays below this share of the largest one are left out of the support."""
_IMPROBABLE = 1e-4
"""Below this probability the dynamic part is taken for zero without asking the network."""


class VoxelFields(NamedTuple):
    """What the method hands out."""

    volume: DynamicVolume
    probability: NDArray[np.float32] | None
    static: NDArray[np.float32] | None


@torch.no_grad()
def voxel_fields(
    fields: VesselFields,
    grid: VolumeGrid,
    occupancy: OccupancyGrid,
    knots_s: NDArray[np.float64],
    duration_s: float,
    *,
    total: bool,
    progress: Progress,
) -> VoxelFields:
    """Fields at the voxel centers; outside the occupied cells everything is 0.

    Parameters
    ----------
    knots_s
        Times at which the dynamic part is sampled, s.
    total
        The volume holds mu_c, otherwise only its dynamic part.
    """
    box, device = FieldBox.of_grid(grid), occupancy.occupied.device
    shape = grid.num_voxels
    probability = np.zeros(shape, np.float32) if "probability" in fields.fields else None
    static = np.zeros(shape, np.float32) if "static" in fields.fields else None
    knots = np.zeros(1) if fields.variant == "static" else knots_s
    indices, blocks = [], []
    for start in range(0, shape, _CHUNK):
        progress.check_cancelled()
        progress.report("voxels", start / shape)
        flat = np.arange(start, min(start + _CHUNK, shape))
        place = torch.from_numpy(box.unit(grid.points_mm(flat))).to(device)
        inside = occupancy.holds(place)
        place, flat = place[inside].contiguous(), flat[inside.cpu().numpy()]
        if not len(flat):
            continue
        p, s = fields.probability(place), fields.static(place)
        if probability is not None and p is not None:
            probability[flat] = p.cpu().numpy()
        fixed = None if s is None else (s if p is None else (1 - p) * s)
        if static is not None and fixed is not None:
            static[flat] = fixed.cpu().numpy()
        curves = _curves(fields, place, p, knots / duration_s, progress)
        if fixed is not None and (total or fields.variant == "static"):
            curves = curves + fixed
        lit = curves.amax(0).cpu().numpy() > 0
        indices.append(flat[lit])
        blocks.append(curves.cpu().numpy()[:, lit])
    progress.report("voxels", 1.0)
    return VoxelFields(_sparse(grid, indices, blocks, knots), _shaped(probability, grid), _shaped(static, grid))


def _curves(
    fields: VesselFields, place: torch.Tensor, p: torch.Tensor | None, times: NDArray[np.float64], progress: Progress
) -> torch.Tensor:
    """Dynamic part (K, n) at places (n, 3) and times in [0, 1]."""
    out = place.new_zeros(len(times), len(place))
    if "dynamic" not in fields.fields:
        return out
    likely = slice(None) if p is None else torch.nonzero(p > _IMPROBABLE)[:, 0]
    chosen = place[likely].contiguous()
    for knot, time in enumerate(times):
        progress.check_cancelled()
        value = fields.dynamic(chosen, float(time))
        out[knot, likely] = value if p is None else p[likely] * value
    return out


def _sparse(
    grid: VolumeGrid, indices: list[NDArray[np.int64]], blocks: list[NDArray[np.float32]], knots: NDArray[np.float64]
) -> DynamicVolume:
    """Only voxels that are not negligible."""
    basis = TemporalBasis.hats(knots) if len(knots) > 1 else TemporalBasis.constant()
    if not indices:
        return DynamicVolume(grid, np.zeros((len(basis), 0), np.float32), basis, np.zeros(0, np.int64))
    support, values = np.concatenate(indices), np.concatenate(blocks, 1)
    peak = values.max(0) if values.size else np.zeros(0, np.float32)
    kept = peak > _NEGLIGIBLE * (peak.max() if peak.size else 0.0)
    return DynamicVolume(grid, np.ascontiguousarray(values[:, kept]), basis, support[kept])


def _shaped(values: NDArray[np.float32] | None, grid: VolumeGrid) -> NDArray[np.float32] | None:
    return None if values is None else values.reshape(grid.shape_zyx)
