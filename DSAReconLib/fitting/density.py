"""Density control of Gaussians: which rows of the parameter tables are copied, split or dropped.

Adaptive control after 3D Gaussian splatting (Kerbl et al. 2023) as 4DRGS and TOGS use it. A
table is a dictionary of arrays (numpy or torch) whose first axis counts the Gaussians. One
:class:`RowEdit` says which old row each new row comes from; the same edit is applied to the
parameters and to the optimizer's moments, so that both always fit together::

    edit = row_edit(count, clone=clone, split=split, prune=prune)
    parameters = edit.rows(parameters)
    moments = edit.moments(moments)                       # zero for new rows
    means = scatter_children(means, scales, rotations, edit, rng)  # children of splits
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLIT_SHRINK = 1.6
"""Children of a split are narrower by this factor (3DGS: 0.8 times the number of children)."""
SPLIT_CHILDREN = 2
KEPT, CLONED, SPLIT = 0, 1, 2
"""Kinds of new rows: an old Gaussian, the copy of one that stays, one part of one that went."""


@dataclass(frozen=True)
class RowEdit:
    """New tables in terms of the old ones.

    Parameters
    ----------
    source
        Old row (M,) of every new row: first the kept ones in their order, then copies, then
        the children of splits (all first children, then all second ones).
    kind
        (M,), one of ``KEPT``, ``CLONED``, ``SPLIT``.
    """

    source: NDArray[np.int64]
    kind: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def changes(self) -> dict[str, int]:
        """Numbers of copies and of children of splits."""
        return {"cloned": int((self.kind == CLONED).sum()), "split": int((self.kind == SPLIT).sum())}

    @property
    def duplicated(self) -> NDArray[np.bool_]:
        """New rows (M,) that share their old row with another one: the kept original of a copy, the copy, children."""
        copies = np.bincount(self.source, minlength=int(self.source.max(initial=-1)) + 1)
        return copies[self.source] > 1

    def rows(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters (arrays or detached tensors) after the edit; children equal their parents."""
        return {name: _taken(values, self.source) for name, values in table.items()}

    def moments(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Optimizer moments after the edit: zero for every row that is not ``KEPT``."""
        result = self.rows(table)
        fresh = np.flatnonzero(self.kind != KEPT)
        for values in result.values():
            values[fresh if isinstance(values, np.ndarray) else values.new_tensor(fresh).long()] = 0
        return result


def row_edit(
    count: int,
    *,
    clone: NDArray[np.bool_] | None = None,
    split: NDArray[np.bool_] | None = None,
    prune: NDArray[np.bool_] | None = None,
) -> RowEdit:
    """Edit from masks (N,) of the old rows.

    What is pruned is neither cloned nor split; what is split disappears itself; a row
    that is both to be cloned and split is split.
    """
    masks = [np.zeros(count, bool) if mask is None else np.asarray(mask, bool) for mask in (clone, split, prune)]
    for name, mask in zip(("clone", "split", "prune"), masks, strict=True):
        if mask.shape != (count,):
            raise ValueError(f"{name} must have shape {(count,)}; got {mask.shape}")
    cloned, divided, dropped = masks
    divided = divided & ~dropped
    kept = np.flatnonzero(~dropped & ~divided)
    copies = np.flatnonzero(cloned & ~divided & ~dropped)
    children = np.tile(np.flatnonzero(divided), SPLIT_CHILDREN)
    kind = np.repeat(np.array([KEPT, CLONED, SPLIT], np.int8), [len(kept), len(copies), len(children)])
    return RowEdit(np.concatenate([kept, copies, children]).astype(np.int64), kind)


def grown(
    gradients: NDArray[np.floating],
    largest_scales: NDArray[np.floating],
    *,
    gradient_threshold: float,
    size_threshold: float,
    room: int | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which Gaussians to clone (small) and which to split (large): masks (N,), (N,).

    Parameters
    ----------
    gradients
        Mean norm of the positional gradient per Gaussian (N,).
    largest_scales
        Largest standard deviation of each (N,).
    gradient_threshold, size_threshold
        Grow where the gradient reaches the one; split what is larger than the other.
    room
        At most so many new rows: those with the largest gradients. Default: no limit.
    """
    chosen = np.asarray(gradients) >= gradient_threshold
    if room is not None and int(chosen.sum()) > room:
        best = np.argsort(-np.asarray(gradients), kind="stable")[: max(room, 0)]
        limited = np.zeros(len(chosen), bool)
        limited[best] = True
        chosen &= limited
    large = np.asarray(largest_scales) > size_threshold
    return chosen & ~large, chosen & large


def random_prune(count: int, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (N,) of a uniformly random ``fraction`` of the rows (TOGS; an ablation of 4DRGS)."""
    mask = np.zeros(count, bool)
    mask[rng.permutation(count)[: round(fraction * count)]] = True
    return mask


def scatter_children(
    means: NDArray[np.floating], scales: NDArray[np.floating], rotations: NDArray[np.floating],
    edit: RowEdit, rng: np.random.Generator,
) -> NDArray[np.floating]:  # fmt: skip
    """Means (M, 3) after the edit with the children of splits drawn from their parents' Gaussians.

    Parameters
    ----------
    means, scales, rotations
        After ``edit.rows``: (M, 3), parents' standard deviations (M, 3), rotation matrices
        (M, 3, 3) from kernel axes to the world.
    edit
        The edit.
    rng
        Source of the offsets: one normal draw per child, in the order of the rows.
    """
    children = edit.kind == SPLIT
    local = rng.standard_normal((int(children.sum()), 3)) * scales[children]
    moved = np.array(means)
    moved[children] += np.einsum("nij,nj->ni", rotations[children], local).astype(moved.dtype)
    return moved


class VisibilityStatistics:
    """Sums per Gaussian over the iterations since the last control step in which it was visible.

    Parameters
    ----------
    count
        Number of Gaussians.
    """

    def __init__(self, count: int) -> None:
        self.gradient = np.zeros(count)
        self.attenuation = np.zeros(count)
        self.visible = np.zeros(count)

    def add(
        self, visible: NDArray[np.floating], gradient: NDArray[np.floating], attenuation: NDArray[np.floating]
    ) -> None:
        """One step: number of views (N,) that saw each Gaussian, sums (N,) over those views."""
        self.visible += visible
        self.gradient += gradient
        self.attenuation += attenuation

    def mean_gradient(self) -> NDArray[np.float64]:
        """Mean norm of the positional gradient (N,); 0 for what was never seen."""
        return self.gradient / np.maximum(self.visible, 1)

    def mean_attenuation(self) -> NDArray[np.float64]:
        """Accumulated attenuation A_i of 4DRGS (N,); 0 for what was never seen."""
        return self.attenuation / np.maximum(self.visible, 1)

    def edited(self, edit: RowEdit) -> VisibilityStatistics:
        """The statistics carried over to new rows."""
        result = VisibilityStatistics(len(edit))
        for name in ("gradient", "attenuation", "visible"):
            setattr(result, name, getattr(self, name)[edit.source])
        return result

    def state(self) -> dict[str, NDArray[np.float64]]:
        """All arrays by name, for a checkpoint."""
        return {"gradient": self.gradient, "attenuation": self.attenuation, "visible": self.visible}

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[np.float64]]) -> VisibilityStatistics:
        """From a stored :meth:`state`."""
        result = cls(len(state["visible"]))
        result.gradient, result.attenuation = state["gradient"].copy(), state["attenuation"].copy()
        result.visible = state["visible"].copy()
        return result


def _taken(values: Any, index: NDArray[np.int64]) -> Any:
    """Rows of an array or of a tensor (detached, on its device)."""
    if isinstance(values, np.ndarray):
        return np.ascontiguousarray(values[index])
    return values.detach()[values.new_tensor(index).long()]
