"""How sure a voxel is: how many views support it, how strongly, and how alone it stands in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.kernels.sparse.neighborhoods import neighborhood_sums
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.reconstruction import DynamicVolume

_OPACIFIED = 0.3
_EXCLUSIVE_VIEWS = 3
_CHUNK = 1 << 15
_INTERCEPT = -6.83
_SLOPES = np.array([3.27, 0.0, 0.96])
"""Logistic regression of "within 1 mm of a true vessel" on the features (a simulated carotid tree seen in 10 views).

The number of confirming views adds nothing once the first feature is known.
"""


def confidence_features(volume: DynamicVolume, evidence: Evidence, model: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (N, 3) of the supported voxels.

    1. log(1 + z): z = by how many noise standard deviations the data would be missed without
       the voxel's 3 x 3 x 3 neighborhood.
    2. log(1 + n): n = views in which it is opacified and the data confirm at least half of it.
    3. Share of the line integral that it accounts for, in its three clearest views: ghosts
       lie under other vessels in all views.
    """
    if volume.support is None:
        raise ValueError("confidence needs a volume with a sparse support")
    spacing = volume.grid.spacing_mm[0]
    index = np.stack(np.unravel_index(volume.support, volume.grid.shape_zyx), -1).astype(np.int32)
    sigma = spacing / evidence.pixel_mm
    images = [
        np.stack([ndimage.gaussian_filter(image, sigma) for image in stack])
        for stack in (model, evidence.line_integrals - model)
    ]
    noise = evidence.noise / max(2 * np.sqrt(np.pi) * sigma, 1.0)
    curves = volume.basis.at(evidence.times_s) @ volume.coefficients
    boxed = neighborhood_sums(curves, index, volume.grid.shape_zyx, np.full(3, 1 / 3, np.float32))
    points = volume.grid.points_mm(volume.support)
    features = np.empty((len(points), 3), np.float32)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        projector = SparseProjector(points[part], spacing, evidence.geometry, evidence.kernels)
        own = boxed[:, part] * np.float32(3 * spacing)
        features[part] = _features(projector, own, images, evidence.weights, noise)
    return features


def confidence_values(volume: DynamicVolume, evidence: Evidence, model: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability (N,) that a supported voxel lies in a vessel."""
    score = confidence_features(volume, evidence, model) @ _SLOPES + _INTERCEPT
    return (1 / (1 + np.exp(-score))).astype(np.float32)


def confidence_map(volume: DynamicVolume, evidence: Evidence, model: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability (z, y, x) that a voxel lies in a vessel, given the support; 0 elsewhere."""
    return volume.scatter(confidence_values(volume, evidence, model))


def _features(projector, own, images, weights, noise) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Features of one chunk; ``own`` (V, n) are the neighborhood's line integrals."""
    reach = projector.T(np.ones(projector.range_shape, np.float32))
    seen = reach > 0
    reach[~seen] = 1
    total, rest, trust = (projector.T(stack) / reach for stack in (*images, weights))
    opacified = seen & (own > _OPACIFIED * own.max(0)) & (own > 0)
    gain = np.where(seen, trust * own * (own + 2 * rest), 0).sum(0) / noise**2
    confirmed = (opacified & (rest > -own / 2)).sum(0)
    share = np.where(seen, own / np.maximum(np.maximum(total, own), noise), 0)
    count = min(_EXCLUSIVE_VIEWS, len(share))
    clearest = np.partition(share, -count, axis=0)[-count:].mean(0)
    strength = np.sqrt(np.maximum(gain, 0))
    return np.stack([np.log1p(strength), np.log1p(confirmed), clearest], -1).astype(np.float32)
