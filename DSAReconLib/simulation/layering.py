"""Contrast layering: contrast agent is heavier than blood and sinks across wide, slow vessels.

The patient lies on the back, so that gravity points to posterior (LPS +y). Across the lumen the
concentration grows linearly in that direction; its mean stays that of the flow model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.simulation.transport import Flow, node_velocity
from DSAReconLib.simulation.trees import VesselTree
from DSAReconLib.simulation.voxelize import VesselVoxels

GRAVITY = np.array([0.0, 1.0, 0.0])
"""Direction of gravity, LPS, of a patient who lies on the back."""
GRAVITY_MM_S2 = 9810.0
EXCESS_DENSITY_ML_MG = 0.27 / 320
"""Density of contrast agent relative to blood less 1 (1.34 against 1.06 g/ml), per iodine (320 mg/ml)."""
VISCOSITY_MM2_S = 3.5
"""Kinematic viscosity of blood."""
STRONGEST = 0.7
"""Concentration at the lower wall relative to the mean, less 1, where contrast sinks fast."""
MIXED_BELOW, LAYERED_ABOVE = 0.05, 0.25
"""Sinking velocity relative to the blood's: bends and forks mix what sinks more slowly than the first."""


def layering_strength(tree: VesselTree, flow: Flow) -> NDArray[np.float64]:
    """Relative excess (P,) of the concentration at the lower wall of a level vessel.

    Buoyancy against friction in a tube lets contrast sink with g' r^2 / (16 nu), which is compared
    with the velocity of the blood: 0 in vessels below about 0.4 mm, the full strength from about 2 mm.
    """
    reduced_gravity = GRAVITY_MM_S2 * EXCESS_DENSITY_ML_MG * flow.concentration_mg_ml
    sinking = reduced_gravity * tree.radius_mm**2 / (16 * VISCOSITY_MM2_S)
    ratio = sinking / node_velocity(tree, flow)
    return STRONGEST * np.clip((ratio - MIXED_BELOW) / (LAYERED_ABOVE - MIXED_BELOW), 0, 1)


def layering_factors(voxels: VesselVoxels, tree: VesselTree, flow: Flow) -> NDArray[np.float32]:
    """Concentration (N,) of each voxel relative to its cross-section's mean.

    The amount of contrast in the voxels of every segment is kept.
    """
    axis = voxels.interpolate(tree, tree.points_mm.T)
    offset = GRAVITY @ (voxels.grid.points_mm(voxels.support).T - axis)
    offset = np.clip(offset / voxels.interpolate(tree, tree.radius_mm), -1, 1)
    amount = np.bincount(voxels.node, voxels.occupancy, len(tree))
    moment = np.bincount(voxels.node, voxels.occupancy * offset, len(tree))
    offset -= (moment / np.maximum(amount, 1e-12))[voxels.node]
    strength = layering_strength(tree, flow)[voxels.node]
    return np.maximum(1 + strength * offset, 0).astype(np.float32)
