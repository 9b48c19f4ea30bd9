"""The evaluation of record: which numbers are computed, on what, and how they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.acquisition.scatter import with_scatter
from DSAReconLib.errors import ResultError
from DSAReconLib.evaluation import image, surface, temporal, topology, volume
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.progress import Progress, SilentProgress
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

    from DSAReconLib.io.truth import Truth

Metrics = dict[str, float]
"""Flat, names with units; NaN where a number does not exist (distance to an empty surface)."""

VERSION = 2
"""Of the definitions here. 2: poses as the method found them, scatter put back to compare with measured frames."""


@dataclass(frozen=True)
class TruthProtocol:
    """How a result is compared with the truth; defaults as in flagship.md section 3.

    Parameters
    ----------
    spacing_mm
        Voxel of the evaluation grid.
    margin_mm
        The grid covers the true vessels and this much around them. What a result invents
        farther away is reported as ``false_positive_far_ml``.
    mask_occupancy
        Evaluation voxels with a larger vessel fraction are vessel.
    point_occupancy, max_points, seed
        Time-attenuation curves are compared at up to ``max_points`` voxels, drawn at
        random, with a larger vessel fraction than ``point_occupancy``.
    thresholds
        Lowest, highest (relative to the attenuation of a full vessel voxel) and number
        of the thresholds that the best Dice is searched over, in equal ratios.
    instants
        Number of times that the 4D PSNR averages over.
    """

    spacing_mm: float = 0.6
    margin_mm: float = 8.0
    mask_occupancy: float = 0.3
    point_occupancy: float = 0.6
    max_points: int = 8000
    seed: int = 0
    thresholds: tuple[float, float, int] = (0.028, 0.84, 24)
    instants: int = 9


@dataclass(frozen=True)
class TruthReference:
    """What :func:`evaluate_truth` needs of a truth, computed once for all results of a case."""

    protocol: TruthProtocol
    grid: VolumeGrid
    attenuation: DynamicVolume
    full_attenuation: float
    mask: NDArray[np.bool_]
    skeleton: NDArray[np.bool_]
    surface_mm: NDArray[np.float64]
    centerline: cKDTree
    radius_mm: NDArray[np.float64]
    points_mm: NDArray[np.float64]
    curves: NDArray[np.float64]
    times_s: NDArray[np.float64]

    @property
    def box_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high corner (x, y, z) of the evaluated box."""
        half = self.grid.size_mm / 2
        return self.grid.center_mm - half, self.grid.center_mm + half

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds of the Dice sweep, 1/mm."""
        low, high, count = self.protocol.thresholds
        return np.geomspace(low, high, count) * self.full_attenuation


# ------------------------------------------------------------------ held-out views
def evaluate_heldout(
    reconstruction: Reconstruction,
    heldout: Angiogram,
    *,
    clean: NDArray[np.float32] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Metrics:
    """Metrics of frames that the reconstruction has not seen.

    Parameters
    ----------
    reconstruction
        Contrast attenuation over time; rendered at the times of ``heldout`` and at its poses,
        corrected by what the method found out about them.
    heldout
        Measured contrast line integrals of the held-out frames.
    clean
        Noise-free line integrals (V, R, C) of the same frames, where a truth has them.

    Returns
    -------
    See :func:`evaluate_images`.
    """
    from DSAReconLib.rendering.views import render_line_integrals

    poses = reconstruction.poses(heldout.geometry, heldout.times_s)
    rendered = render_line_integrals(reconstruction.model, poses, heldout.times_s, device=device, progress=progress)
    return evaluate_images(np.asarray(rendered), heldout, clean=clean, scatter_share=reconstruction.scatter_share)


def evaluate_images(
    rendered: NDArray[np.float32],
    heldout: Angiogram,
    *,
    clean: NDArray[np.float32] | None = None,
    scatter_share: float = 0.0,
) -> Metrics:
    """Metrics of rendered held-out frames (V, R, C), named as in :func:`image.compare_images`.

    The plain names compare with the measured (noisy) frames, which hold scatter: what the
    method took off (``scatter_share``) is put back. Names with ``_clean`` compare what was
    rendered, free of scatter, with the noise-free line integrals. Either reference has its
    own data range, the median over the frames of :func:`image.frame_peaks`, and skips frames
    whose peak stays below 10 % of it. Pixels without measurement (infinite variance) are ignored.
    """
    variance = np.broadcast_to(heldout.variance, heldout.line_integrals.shape)
    expected = with_scatter(rendered, heldout, scatter_share)
    result = _against(expected, heldout.line_integrals, variance)
    if clean is not None:
        noise_free = np.where(np.isfinite(variance), 0.0, np.inf)
        result |= {_with_suffix(name, "clean"): v for name, v in _against(rendered, clean, noise_free).items()}
    return result


def _against(rendered: NDArray[np.float32], reference: NDArray[np.float32], variance: NDArray[np.floating]) -> Metrics:
    """Image metrics against one reference, and what they were computed on."""
    peaks = image.frame_peaks(reference, variance)
    data_range = image.contrast_range(peaks)
    frames = (peaks >= image.MINIMUM_CONTRAST * data_range) & (peaks > 0)
    measured = np.isfinite(variance)
    result = image.compare_images(rendered, reference, data_range=data_range, measured=measured, frames=frames)
    return result | {
        "heldout_frames": float(frames.sum()),
        "heldout_frames_skipped": float((~frames).sum()),
        "heldout_data_range": data_range,
    }


# ------------------------------------------------------------------ truth
def prepare_truth(truth: Truth, protocol: TruthProtocol = TruthProtocol()) -> TruthReference:
    """Masks, surface, points and curves of the truth on the evaluation grid.

    Raises
    ------
    ResultError
        The truth has no vessel voxel.
    """
    from scipy.spatial import cKDTree

    occupied = np.flatnonzero(truth.occupancy > 0)
    if not len(occupied):
        raise ResultError("The truth has no vessels: its occupancy is 0 everywhere.", code="result.truth")
    fine = truth.volume.grid
    points = fine.points_mm(occupied)
    half = np.array(fine.spacing_mm) / 2 + protocol.margin_mm
    grid = volume.box_grid(points.min(0) - half, points.max(0) + half, protocol.spacing_mm)
    vessel = DynamicVolume(fine, truth.occupancy.reshape(1, -1)[:, occupied], TemporalBasis.constant(), occupied)
    occupancy = volume.averaged(vessel, grid).at(0.0)
    mask = occupancy > protocol.mask_occupancy
    vessel_points = _random_points(grid, occupancy, protocol)
    centerline, radius = topology.dense_centerline(
        truth.centerline_mm, truth.centerline_radius_mm, truth.centerline_parent
    )
    times = np.asarray(truth.frame_times_s, float)
    return TruthReference(
        protocol=protocol,
        grid=grid,
        attenuation=volume.averaged(truth.volume, grid),
        full_attenuation=float(np.percentile(truth.volume.coefficients.max(0), 99)),
        mask=mask,
        skeleton=topology.skeleton(mask),
        surface_mm=surface.thinned(surface.surface_vertices(truth.occupancy, fine, 0.5)),
        centerline=cKDTree(centerline),
        radius_mm=radius,
        points_mm=vessel_points,
        curves=temporal.box_curves(truth.volume, vessel_points, times),
        times_s=times,
    )


def evaluate_truth(
    reconstruction: Reconstruction, truth: Truth | TruthReference, *, progress: Progress | None = None
) -> Metrics:
    """Volume, surface, topology and time metrics of a result against the truth.

    Vessels of the result are where the mean over the brightest 20 % of the frame times
    exceeds a threshold: ``_best`` = the one of 24 with the largest Dice, ``_auto`` = the
    result's own ``surface_threshold``. Names without either (``chamfer_mm``, ``hd95_mm``,
    ``recall_radius_...``) belong to the best threshold.

    Returns
    -------
    ``dice_*``, ``threshold_*_per_mm``
        Overlap with voxels of occupancy > 0.3 on the 0.6 mm evaluation grid.
    ``cldice_*``, ``centerline_recall_*``, ``centerline_precision_*``, ``cldice_voxel_*``
        See :mod:`~DSAReconLib.evaluation.topology`.
    ``chamfer_mm``, ``chamfer_mean_mm``, ``hd95_mm``, ``hd100_mm``, and with ``_auto``
        See :func:`~DSAReconLib.evaluation.surface.surface_distances`; the true surface is
        occupancy = 0.5 on the truth's own grid.
    ``recall_radius_*``
        Centerline recall by true vessel radius.
    ``false_positive_far_ml``
        Volume above the automatic threshold outside the evaluated box, ml.
    ``psnr_3d_db``, ``psnr_4d_db``
        Of the time-averaged volume, and of the volumes at 9 instants, on the evaluation
        grid; range = the truth's maximum.
    ``tac_*``, ``arrival_mae_s``, ``centroid_mae_s``
        See :func:`~DSAReconLib.evaluation.temporal.curve_metrics`.
    """
    progress = progress or SilentProgress()
    reference = truth if isinstance(truth, TruthReference) else prepare_truth(truth)
    inside = volume.cropped(reconstruction.volume, *reference.box_mm)
    # half of the lowest threshold: what stays below it can be no vessel at any threshold
    peak = volume.top_mean_above(inside, reference.times_s, reference.thresholds[0] / 2)
    bright = volume.resampled(peak.at(0.0), peak.grid, reference.grid)
    progress.check_cancelled()
    dice_best, threshold = volume.best_dice(bright, reference.mask, reference.thresholds)
    automatic = float(reconstruction.surface_threshold)
    result = {"dice_best": dice_best, "threshold_best_per_mm": threshold, "threshold_auto_per_mm": automatic}
    best_metrics, recall = _shape_metrics(bright, threshold, reference)
    progress.check_cancelled()
    auto_metrics, _ = _shape_metrics(bright, automatic, reference)
    result |= _named(best_metrics, "best") | _named(auto_metrics, "auto") | recall
    progress.check_cancelled()
    result["dice_auto"] = volume.dice(bright > automatic, reference.mask)
    result["false_positive_far_ml"] = _far_volume_ml(reconstruction.volume, automatic, reference)
    result |= volume.volume_psnr(
        inside, reference.attenuation, reference.grid, reference.times_s, instants=reference.protocol.instants
    )
    progress.check_cancelled()
    curves = temporal.box_curves(reconstruction.volume, reference.points_mm, reference.times_s)
    return result | temporal.curve_metrics(curves, reference.curves, reference.times_s)


# ------------------------------------------------------------------ helpers
_SHAPE_NAMES_OF_BEST = ("chamfer", "hd")


def _named(metrics: Metrics, kind: str) -> Metrics:
    """Metrics with ``_best`` or ``_auto`` before the unit; distances at the best threshold keep their name."""
    plain = kind == "best"
    return {
        name if plain and name.startswith(_SHAPE_NAMES_OF_BEST) else _with_suffix(name, kind): value
        for name, value in metrics.items()
    }


def _with_suffix(name: str, suffix: str) -> str:
    """``psnr_db`` -> ``psnr_clean_db``: the unit stays last."""
    for unit in ("_db", "_mm", "_ml", "_s"):
        if name.endswith(unit):
            return f"{name.removesuffix(unit)}_{suffix}{unit}"
    return f"{name}_{suffix}"


def _random_points(grid: VolumeGrid, occupancy: NDArray[np.float32], protocol: TruthProtocol) -> NDArray[np.float64]:
    """Voxel centers (P, 3) deep inside vessels; the fullest voxels where all vessels are thin."""
    level = min(protocol.point_occupancy, 0.9 * float(occupancy.max()))
    candidates = np.flatnonzero(occupancy > level)
    order = np.random.default_rng(protocol.seed).permutation(len(candidates))[: protocol.max_points]
    return grid.points_mm(candidates[order])


def _shape_metrics(bright: NDArray[np.float32], threshold: float, reference: TruthReference) -> tuple[Metrics, Metrics]:
    """Topology and surface metrics of ``bright > threshold``, and the recall by radius."""
    mask = bright > threshold
    skeleton = topology.skeleton(mask)
    found = topology.centerline_found(mask, reference.grid, reference.centerline.data)
    recall = float(found.mean())
    precision = topology.centerline_precision(skeleton, reference.grid, reference.centerline, reference.radius_mm)
    vertices = surface.surface_vertices(bright, reference.grid, threshold)
    metrics = {
        "cldice": topology.harmonic_mean(recall, precision),
        "centerline_recall": recall,
        "centerline_precision": precision,
        "cldice_voxel": topology.voxel_cldice(mask, skeleton, reference.mask, reference.skeleton),
    }
    metrics |= surface.surface_distances(vertices, reference.surface_mm)
    return metrics, topology.recall_by_radius(found, reference.radius_mm)


def _far_volume_ml(result: DynamicVolume, threshold: float, reference: TruthReference) -> float:
    peak = volume.top_mean_above(result, reference.times_s, threshold)
    bright = peak.support[peak.coefficients[0] > threshold]  # type: ignore[index]
    points = result.grid.points_mm(bright)
    low, high = reference.box_mm
    outside = ((points < low) | (points > high)).any(1)
    return float(outside.sum() * np.prod(result.grid.spacing_mm) / 1000)
