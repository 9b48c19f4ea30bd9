"""A complete simulated case: two rotational runs and the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.io.truth import Truth
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis
from DSAReconLib.simulation.anatomy import Patient, patient_of
from DSAReconLib.simulation.background import TissuePaths
from DSAReconLib.simulation.carm import RunPoses, poses_of_runs
from DSAReconLib.simulation.config import SimulationConfig
from DSAReconLib.simulation.detector import IODINE_MM_ML_MG, detect, median_behind_head, transmission
from DSAReconLib.simulation.layering import layering_factors
from DSAReconLib.simulation.projection import project_contrast
from DSAReconLib.simulation.tissue import with_blush
from DSAReconLib.simulation.transport import ContrastCurves, Flow, contrast_curves
from DSAReconLib.simulation.trees import VesselTree
from DSAReconLib.simulation.voxelize import VesselVoxels, grid_around, voxelize_tree

NODE_STEP_MM = 0.8
"""Longest distance between the nodes at which curves are computed."""
MOST_COEFFICIENTS = 100_000_000
"""Values of the truth over time (voxels x frames), 400 MB; only trees of 30 ml and more need larger voxels for it."""


@dataclass(frozen=True)
class SimulatedCase:
    """Two runs as a reader would return them, and what they were made from.

    Parameters
    ----------
    config
        How the case was made.
    mask_run, fill_run
        Runs with the poses that a header can express; intensities are 16-bit integers as float32.
    mask_poses, fill_poses
        Angles, nominal and true poses.
    truth
        Ground truth.
    """

    config: SimulationConfig
    mask_run: RotationalRun
    fill_run: RotationalRun
    mask_poses: RunPoses
    fill_poses: RunPoses
    truth: Truth


def simulate_case(config: SimulationConfig, progress: Progress) -> SimulatedCase:
    """Simulate mask run and fill run. The same config gives the same case, bit for bit."""
    progress.report("vessel tree", 0.0)
    mask_poses, fill_poses = poses_of_runs(config)
    patient = patient_of(config)
    tree = patient.tree.resampled(NODE_STEP_MM)
    curves = contrast_curves(tree, config.flow, config.duration_s, seed=config.seed)
    progress.check_cancelled()
    voxels = _voxels(tree, config)
    volume = DynamicVolume(
        voxels.grid,
        _attenuation(voxels, tree=tree, curves=curves, times_s=fill_poses.times_s, flow=config.flow),
        TemporalBasis.hats(fill_poses.times_s),
        voxels.support,
    )
    if config.flow.model == "blush":
        volume = with_blush(volume, tree, curves, config.flow, seed=config.seed)
    clean = project_contrast(
        volume.grid.points_mm(volume.support),
        volume.grid.spacing_mm[0],
        volume.coefficients,
        fill_poses.true,
        progress=progress,
    )
    mask_run, fill_run = _expose(config, patient, mask_poses, fill_poses, clean, progress)
    truth = Truth(
        volume=volume,
        occupancy=_scatter(voxels, voxels.occupancy, 0.0),
        arrival_s=_scatter(voxels, voxels.interpolate(tree, curves.arrival_s), np.nan),
        centerline_mm=tree.points_mm,
        centerline_radius_mm=tree.radius_mm,
        centerline_branch=tree.branch,
        centerline_arrival_s=curves.arrival_s,
        frame_times_s=fill_poses.times_s,
        facts=_facts(config, patient, volume.grid.spacing_mm[0]),
        clean_line_integrals=clean,
        geometry=fill_poses.true,
        centerline_parent=tree.parent,
    )
    progress.report("simulate", 1.0)
    return SimulatedCase(config, mask_run, fill_run, mask_poses, fill_poses, truth)


def _voxels(tree: VesselTree, config: SimulationConfig) -> VesselVoxels:
    """The tree on the grid of the truth; voxels grow where the curves would not fit into the memory."""
    spacing = config.voxel_mm
    while True:
        voxels = voxelize_tree(tree, grid_around(tree, spacing))
        excess = len(voxels.support) * config.views / MOST_COEFFICIENTS
        if excess <= 1:
            return voxels
        spacing *= 1.02 * excess ** (1 / 3)


def _attenuation(
    voxels: VesselVoxels, *, tree: VesselTree, curves: ContrastCurves, times_s: NDArray[np.float64], flow: Flow
) -> NDArray[np.float32]:
    """Contrast attenuation (F, N), 1/mm, of the voxels at the frame times."""
    at_nodes = curves.at(times_s)
    attenuation = np.empty((len(times_s), len(voxels.support)), np.float32)
    scale = np.float32(IODINE_MM_ML_MG) * voxels.occupancy
    if flow.model == "layering":
        scale = scale * layering_factors(voxels, tree, flow)
    for frame, concentration in enumerate(at_nodes):
        attenuation[frame] = scale * voxels.interpolate(tree, concentration)
    return attenuation


def _expose(
    config: SimulationConfig,
    patient: Patient,
    mask_poses: RunPoses,
    fill_poses: RunPoses,
    clean: NDArray[np.float32],
    progress: Progress,
) -> tuple[RotationalRun, RotationalRun]:
    """Detected frames of both runs, with the same exposure."""
    mask_paths = patient.paths(mask_poses.true, progress)
    same = mask_poses.true == fill_poses.true
    fill_paths: TissuePaths = mask_paths if same else patient.paths(fill_poses.true, progress)
    runs: list[RotationalRun] = []
    median: float | None = None
    for name, poses, paths, contrast in (
        ("mask", mask_poses, mask_paths, None),
        ("fill", fill_poses, fill_paths, clean),
    ):
        progress.check_cancelled()
        progress.report(f"expose {name} run", 0.0)
        primary = transmission(paths, contrast, config)
        median = median_behind_head(primary) if median is None else median
        rng = np.random.default_rng([config.seed, 7, len(runs)])
        values, photons_per_unit = detect(primary, median, config, rng)
        runs.append(
            RotationalRun(
                intensity=values.astype(np.float32),
                geometry=poses.nominal,
                times_s=poses.times_s,
                counts_per_unit=photons_per_unit,
                attributes={"series_description": f"Simulated {name} run", "pixel_intensity_relationship": "LIN"},
            )
        )
    return runs[0], runs[1]


def _scatter(voxels: VesselVoxels, values: NDArray[np.float32], fill: float) -> NDArray[np.float32]:
    volume = np.full(voxels.grid.num_voxels, fill, np.float32)
    volume[voxels.support] = values
    return volume.reshape(voxels.grid.shape_zyx)


def _facts(config: SimulationConfig, patient: Patient, voxel_mm: float) -> dict[str, object]:
    return {
        "config": config.to_dict(),
        "voxel_mm": voxel_mm,
        "branches": patient.tree.num_branches,
        "vessel_volume_ml": round(patient.tree.volume_ml, 3),
        "radius_mm": [round(float(r), 3) for r in (patient.tree.radius_mm.min(), patient.tree.radius_mm.max())],
        "iodine_attenuation_mm_per_mg_ml": IODINE_MM_ML_MG,
    }
