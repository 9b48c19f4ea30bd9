"""The patient on the table: vessel tree and head, placed around the isocenter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.progress import Progress
from DSAReconLib.simulation.background import TissuePaths, ellipsoid_paths, no_paths
from DSAReconLib.simulation.centerlines import read_centerlines
from DSAReconLib.simulation.config import BUILT_IN_TREES, SimulationConfig
from DSAReconLib.simulation.procedural import aneurysm_tree, avm_tree, carotid_tree, tiny_tree, with_cortical_veins
from DSAReconLib.simulation.skull import skull_phantom
from DSAReconLib.simulation.trees import VesselTree

HEAD_MIDDLE_MM = np.array([0.0, 4.0, 7.0])
"""Point of the head frame at which trees from files are centered."""


@dataclass(frozen=True)
class Patient:
    """Vessels and head in the isocenter frame.

    Parameters
    ----------
    tree
        Vessels, LPS mm.
    head_shift_mm
        Where the origin of the head frame lies (3,).
    background
        ``skull``, ``none`` or path of a CT.
    """

    tree: VesselTree
    head_shift_mm: NDArray[np.float64]
    background: str

    def paths(self, geometry: ConeBeamGeometry, progress: Progress) -> TissuePaths:
        """Tissue along every ray of the poses."""
        if self.background == "none":
            return no_paths(geometry)
        if self.background == "skull":
            return ellipsoid_paths(skull_phantom().moved(self.head_shift_mm), geometry, progress=progress)
        from DSAReconLib.simulation.head_ct import ct_paths

        return ct_paths(Path(self.background), self.head_shift_mm + HEAD_MIDDLE_MM, geometry, progress=progress)


def patient_of(config: SimulationConfig) -> Patient:
    """Vessel tree and head of a configuration.

    Raises
    ------
    ConfigError
        The tree does not fit between source and detector.
    """
    tree = _tree(config).scaled(config.tree_scale)
    middle = tree.bounds_mm().mean(0)
    shift = np.asarray(config.isocenter_offset_mm, float) - (middle if config.center_tree else 0.0)
    built_in = config.tree in BUILT_IN_TREES
    head_shift = shift if built_in else shift + middle - HEAD_MIDDLE_MM
    tree = tree.moved(shift)
    reach = float(np.linalg.norm(tree.points_mm, axis=1).max())
    if reach > 0.45 * min(config.sod_mm, config.sdd_mm - config.sod_mm):
        raise ConfigError(
            f"tree reaches {reach:.0f} mm from the isocenter, which does not fit between source and detector.",
            hint="Scale the tree down, or check that its file is in mm.",
        )
    return Patient(tree, head_shift, config.background)


def _tree(config: SimulationConfig) -> VesselTree:
    if config.tree == "tiny":
        return tiny_tree(config.seed)
    named = {"carotid": carotid_tree, "aneurysm": aneurysm_tree, "avm": avm_tree}
    if config.tree not in named:
        return read_centerlines(Path(config.tree))
    density = {} if config.branch_density is None else {"density": config.branch_density}
    tree = named[config.tree](config.seed, **density)
    return with_cortical_veins(tree, config.seed) if config.flow.model == "blush" else tree
