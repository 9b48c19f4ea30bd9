"""How sure a voxel is: how strongly the views support it, and how alone it stands in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.kernels.sparse.neighborhoods import neighborhood_sums
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.reconstruction import DynamicVolume

NEIGHBORHOOD = 3
"""Edge in voxels of what is taken away to see how much worse the data would be explained."""
_EXCLUSIVE_VIEWS = 3
_SHARE_EXPONENT = 1.5
_CHUNK = 1 << 15
_INTERCEPT = -6.83
_SLOPES = np.array([3.27, 0.96])
"""Logistic regression of "within 1 mm of a true vessel" on the features (a simulated carotid tree seen in 10 views).

The number of views that confirm a voxel adds nothing once the first feature is known.
"""


@dataclass(frozen=True)
class Sight:
    """What V views show of n voxels.

    Parameters
    ----------
    own
        Line integrals (V, n) through the 3 x 3 x 3 neighborhood alone.
    total, rest
        Line integrals (V, n) of the model, and what the data hold beyond it.
    trust
        Weights of the pixels (V, n).
    seen
        Whether the voxel lies in the image (V, n).
    noise
        Standard deviation of ``rest`` where the weight is 1.
    """

    own: NDArray[np.float32]
    total: NDArray[np.float32]
    rest: NDArray[np.float32]
    trust: NDArray[np.float32]
    seen: NDArray[np.bool_]
    noise: float

    @property
    def gain(self) -> NDArray[np.floating]:
        """By how many noise variances the data would be missed by more without the neighborhood (V, n)."""
        return np.where(self.seen, self.trust * self.own * (self.own + 2 * self.rest), 0) / self.noise**2

    def share(self, width: NDArray[np.float32] | float = 1.0) -> NDArray[np.float32]:
        """Share (V, n) of the line integral that ``width`` (n,) such neighborhoods side by side account for."""
        own = self.own * width
        return np.where(self.seen, own / np.maximum(np.maximum(self.total, own), self.noise), 0)


class Sights:
    """What the views show of the supported voxels of a volume.

    Parameters
    ----------
    volume
        Attenuation with a sparse support of N voxels.
    evidence
        The data; its noise is what a gain is measured in.
    model
        Line integrals (V, R, C) of the model.
    """

    def __init__(self, volume: DynamicVolume, evidence: Evidence, model: NDArray[np.float32]) -> None:
        if volume.support is None:
            raise ValueError("confidence needs a volume with a sparse support")
        self.support: NDArray[np.int64] = volume.support
        self.points_mm = volume.grid.points_mm(volume.support)
        self.spacing_mm = spacing = volume.grid.spacing_mm[0]
        self.evidence = evidence
        index = np.stack(np.unravel_index(volume.support, volume.grid.shape_zyx), -1).astype(np.int32)
        sigma = spacing / evidence.pixel_mm
        self._images = [
            np.stack([ndimage.gaussian_filter(image, sigma) for image in stack])
            for stack in (model, evidence.line_integrals - model)
        ]
        self._noise = evidence.noise / max(2 * np.sqrt(np.pi) * sigma, 1.0)
        curves = volume.basis.at(evidence.times_s) @ volume.coefficients
        mean = np.full(NEIGHBORHOOD, 1 / NEIGHBORHOOD, np.float32)
        self._boxed = neighborhood_sums(curves, index, volume.grid.shape_zyx, mean)

    def __len__(self) -> int:
        return len(self.points_mm)

    def of(self, part: slice | NDArray[np.intp]) -> Sight:
        """What is seen of some of the voxels."""
        geometry, kernels = self.evidence.geometry, self.evidence.kernels
        projector = SparseProjector(self.points_mm[part], self.spacing_mm, geometry, kernels)
        own = self._boxed[:, part] * np.float32(NEIGHBORHOOD * self.spacing_mm)
        reach = projector.T(np.ones(projector.range_shape, np.float32))
        seen = reach > 0
        reach[~seen] = 1
        total, rest, trust = (projector.T(stack) / reach for stack in (*self._images, self.evidence.weights))
        return Sight(own, total, rest, trust, seen, self._noise)


def confidence_features(sights: Sights) -> NDArray[np.float32]:
    """Features (N, 2) of the supported voxels.

    1. log(1 + z): z = by how many noise standard deviations the data would be missed without
       the voxel's 3 x 3 x 3 neighborhood.
    2. Share of the line integral that it accounts for, in its three clearest views: ghosts
       lie under other vessels in all views.
    """
    features = np.empty((len(sights), 2), np.float32)
    for start in range(0, len(sights), _CHUNK):
        part = slice(start, start + _CHUNK)
        features[part] = _features(sights.of(part))
    return features


def confidence_values(volume: DynamicVolume, evidence: Evidence, model: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability (N,) that a supported voxel lies in a vessel."""
    return probabilities(Sights(volume, evidence, model))


def probabilities(sights: Sights) -> NDArray[np.float32]:
    """Probability (N,) that a supported voxel lies in a vessel, from what the views show of it."""
    score = confidence_features(sights) @ _SLOPES + _INTERCEPT
    return (1 / (1 + np.exp(-score))).astype(np.float32)


def transverse_evidence(sights: Sights, voxels: NDArray[np.intp], widths: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much speaks for voxels (n,) in directions other than the one that shows them best, noise variances.

    What a view gains by the voxel's neighborhood counts by the share of the line integral that
    its vessel accounts for: what lies under denser vessels could be theirs as well. Summed over
    the views as tensors of the rays' directions, whose second eigenvalue is returned:
    what is seen from one direction only could lie anywhere along its rays.

    Parameters
    ----------
    voxels
        Positions (n,) in the support.
    widths
        Diameter (n,) of the vessel in neighborhoods, at least 1.
    """
    sight = sights.of(voxels)
    rays = sights.points_mm[voxels] - sights.evidence.geometry.source_mm[:, None]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    gain = np.maximum(sight.gain, 0) * sight.share(widths) ** _SHARE_EXPONENT
    return np.linalg.eigvalsh(np.einsum("vn,vni,vnj->nij", gain, rays, rays))[:, 1]


def _features(sight: Sight) -> NDArray[np.float32]:
    """Features (n, 2) of one chunk."""
    share = sight.share()
    count = min(_EXCLUSIVE_VIEWS, len(share))
    clearest = np.partition(share, -count, axis=0)[-count:].mean(0)
    strength = np.sqrt(np.maximum(sight.gain.sum(0), 0))
    return np.stack([np.log1p(strength), clearest], -1).astype(np.float32)
