"""Distances to a reference surface that a case brings along, as the papers measure them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.evaluation.surface import rigidly_aligned, surface_distances, surface_vertices
from DSAReconLib.reconstruction import Reconstruction

PAPERS_LEVEL_PER_MM = 0.008
"""VPAL and 4DRGS cut the attenuation, averaged over time, here."""


def evaluate_reference(
    reconstruction: Reconstruction, reference_mm: NDArray[np.floating], times_s: ArrayLike
) -> dict[str, float]:
    """Surface distances after rigid ICP: such surfaces come from another program's reconstruction.

    Parameters
    ----------
    reference_mm
        Vertices (P, 3) in LPS, mm.
    times_s
        Times of all frames (F,).

    Returns
    -------
    ``chamfer_reference_mm``, ``hd95_reference_mm``
        Of the surface at the automatic threshold.
    ``chamfer_papers_mm``, ``hd95_papers_mm``
        Of the surface where the mean over all frame times is 0.008 / mm.

    NaN where there is no surface. Definitions: :func:`~DSAReconLib.evaluation.surface.surface_distances`.
    """
    volume = reconstruction.volume
    surfaces = {
        "reference": (volume.top_mean(times_s), reconstruction.surface_threshold),
        "papers": (volume.mean(times_s), PAPERS_LEVEL_PER_MM),
    }
    result: dict[str, float] = {}
    for name, (values, level) in surfaces.items():
        vertices = surface_vertices(values, volume.grid, level)
        if len(vertices):
            vertices = rigidly_aligned(vertices, np.asarray(reference_mm, float))
        distances = surface_distances(vertices, np.asarray(reference_mm, float))
        result |= {f"{kind}_{name}_mm": distances[f"{kind}_mm"] for kind in ("chamfer", "hd95")}
    return result
