"""Self-calibration against the reconstruction: smooth background, detector shifts and turns.

What no contrast can explain is put down to the measurement: scatter, a background that is
smooth over the detector, and a shift and a turn of each view (gantry wobble). Shifts that equal a motion of
the patient cannot be told from one and are taken out (gauge).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.acquisition.corrections import rolled_detector
from DSAReconLib.acquisition.registration import mean_radius_px
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.sparse.movement import MovementSums, movement_sums
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.scatter import updated_share, without_scatter
from DSAReconLib.reconstruction import DetectorMotion

_SHIFT_SIGNIFICANCE = 2.0
# Turns that are not there reach 0.8 on still data.
_TURN_SIGNIFICANCE = 1.1
# The model takes up most of a turn: the residual shows a quarter of it.
_TURN_RELAXATION = 1.5
# Error of neighboring views' mean, relative to the shifts or turns themselves, up to which they hold between views.
_PREDICTED = 0.5
_FEWEST_PREDICTED = 5
_SHIFT_PRIOR_PX = 0.1
_SHIFT_STEP_MAX_PX = 1.5
_VESSEL_SHARE = 0.05
_HUBER_NOISE = 3.0
_BACKGROUND_BLOCK = 8
_BACKGROUND_MM = 15.0


@dataclass(frozen=True)
class Calibration:
    """Corrections of the measurement.

    Parameters
    ----------
    movement_px
        Where each view's image is moved to, (row, column) pixels, and how it is turned clockwise, as the
        movement at the root mean square distance from its middle, pixels (V, 3).
    background
        Smooth additive part of the line integrals on blocks of 8 x 8 pixels (V, r, c).
    scatter
        Share of scatter in the intensity of a homogeneous frame.
    """

    movement_px: NDArray[np.float64]
    background: NDArray[np.float32]
    scatter: float = 0.0


def no_calibration(evidence: Evidence) -> Calibration:
    """Nothing to correct."""
    rows, columns = (-(-n // _BACKGROUND_BLOCK) for n in evidence.geometry.detector_shape)
    return Calibration(np.zeros((len(evidence), 3)), np.zeros((len(evidence), rows, columns), np.float32))


def calibrated(evidence: Evidence, calibration: Calibration) -> Evidence:
    """The raw evidence with a calibration applied to values, weights and geometry."""
    geometry = evidence.geometry
    if calibration.movement_px.any():
        geometry = geometry.shifted_detector(calibration.movement_px[:, :2])
    if calibration.movement_px[:, 2].any():
        turn = np.rad2deg(calibration.movement_px[:, 2] / mean_radius_px(geometry.detector_shape))
        geometry = rolled_detector(geometry, turn)
    values, weights = without_scatter(evidence, calibration.scatter)
    if calibration.background.any():
        values = values - _expanded(calibration.background, values.shape)
    return replace(evidence, line_integrals=values, weights=weights, geometry=geometry)


def updated_background(raw: Evidence, calibration: Calibration, model: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smooth part of data minus model outside the vessels, on blocks of pixels."""
    bare = calibrated(raw, replace(calibration, background=np.zeros_like(calibration.background)))
    level = _VESSEL_SHARE * float(np.percentile(model.max((1, 2)), 50))
    limit = np.float32(_HUBER_NOISE * raw.noise)
    weights = np.where(model < level, bare.weights, np.float32(0))
    residual = np.clip(bare.line_integrals - model, -limit, limit) * weights
    sigma = _BACKGROUND_MM / (raw.pixel_mm * _BACKGROUND_BLOCK)
    total = ndimage.gaussian_filter(_blocks(residual), (0, sigma, sigma), mode="nearest")
    trust = ndimage.gaussian_filter(_blocks(weights), (0, sigma, sigma), mode="nearest")
    return np.where(trust > 0.05 * trust.max(), total / np.maximum(trust, np.float32(1e-6)), 0).astype(np.float32)


def updated_scatter(raw: Evidence, calibration: Calibration, model: NDArray[np.float32]) -> float:
    """Share of scatter after one step of :func:`~DSAReconLib.methods.transit.scatter.updated_share`."""
    return updated_share(raw, calibrated(raw, calibration), model, calibration.scatter)


def updated_movement(raw: Evidence, calibration: Calibration, model: NDArray[np.float32]) -> NDArray[np.float64]:
    """Detector shifts and turns (V, 3) after one robust Gauss-Newton step per view, gauge removed.

    Turns are estimated with the shifts if they are significant, else the shifts alone. Those that resemble a
    rotation of the patient stay: such a rotation would also turn what is seen out of the plane of the image.
    """
    evidence = calibrated(raw, calibration)
    centers, radius = _centers_of_turn(evidence.geometry), mean_radius_px(evidence.geometry.detector_shape)
    measured, limit = (evidence.line_integrals, evidence.weights), _HUBER_NOISE * raw.noise
    sums = movement_sums(model, *measured, limit=limit, centers_px=centers, radius_px=radius)
    for free in (3, 2):
        steps, errors = _misalignment(sums, raw.noise, free)
        known = np.isfinite(errors).all(1)
        if known.any() and _significant((steps[known] / errors[known]) ** 2):
            # views without contrast know nothing of their shift: shrink by the prior
            steps *= _SHIFT_PRIOR_PX**2 / (_SHIFT_PRIOR_PX**2 + errors**2)
            steps[:, 2:] *= _TURN_RELAXATION
            trust = 1 / (_SHIFT_PRIOR_PX**2 + errors[:, :2] ** 2)
            steps[:, :2] = _without_motion(steps[:, :2], trust, raw.geometry)
            moved = calibration.movement_px.copy()
            moved[:, :free] += np.clip(steps, -_SHIFT_STEP_MAX_PX, _SHIFT_STEP_MAX_PX)
            return moved
    return calibration.movement_px


def detector_motion(calibration: Calibration, evidence: Evidence) -> DetectorMotion | None:
    """What a calibration says of frames between its views: the parts of it that each view's neighbors predict.

    Gantries sag and wobble smoothly; jitter from view to view says nothing of other frames.
    """
    times, shifts = evidence.times_s, calibration.movement_px
    if len(times) < _FEWEST_PREDICTED or not shifts.any():
        return None
    after = ((times[1:-1] - times[:-2]) / (times[2:] - times[:-2]))[:, None]
    missed = (1 - after) * shifts[:-2] + after * shifts[2:] - shifts[1:-1]
    predicted = (missed**2).mean(0) < _PREDICTED**2 * (shifts[1:-1] ** 2).mean(0)
    if not predicted.any():
        return None
    known = np.where(predicted, shifts, 0)
    geometry = evidence.geometry
    turns = np.rad2deg(known[:, 2] / mean_radius_px(geometry.detector_shape))
    return DetectorMotion(times, known[:, :2] * np.array(geometry.detector_spacing_mm), turns)


def _significant(squares: NDArray[np.float64]) -> bool:
    """Whether steps (V, 2) or (V, 3) relative to their errors, squared, are more than noise and model errors."""
    shift = float(squares[:, :2].mean())
    if squares.shape[1] == 2:
        return shift >= _SHIFT_SIGNIFICANCE**2
    # shifts that are not yet corrected look like turns
    return float(squares[:, 2].mean()) >= max(_TURN_SIGNIFICANCE**2, shift)


def _misalignment(sums: MovementSums, noise: float, free: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first ``free`` of shift along rows, columns and turn of each view (V, free), and their errors."""
    steps, errors = np.zeros((len(sums.right), free)), np.full((len(sums.right), free), np.inf)
    for view, information in enumerate(sums.information[:, :free, :free]):
        if np.linalg.cond(information) > 1e4:
            continue
        inverse = np.linalg.inv(information)
        steps[view] = -inverse @ sums.right[view, :free]
        # what the model misses is no noise, but moves the estimate just as well
        steepness = float(np.trace(information[:2, :2]))
        misfit = np.sqrt(sums.misfit[view] / max(steepness, 1e-12))
        errors[view] = max(noise, float(misfit)) * np.sqrt(np.diag(inverse))
    return steps, errors


def _centers_of_turn(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Pixel (row, column) per view (V, 2) about which :func:`rolled_detector` turns."""
    foot = geometry.source_mm + geometry.sdd_mm[:, None] * geometry.detector_normal - geometry.detector_center_mm
    steps = np.stack([geometry.detector_v_mm, geometry.detector_u_mm], 1)
    middle = (np.array(geometry.detector_shape) - 1) / 2
    return np.asarray(middle + np.einsum("vki,vi->vk", steps, foot) / (steps**2).sum(-1))


def _without_motion(
    shifts: NDArray[np.float64], trust: NDArray[np.float64], geometry: ConeBeamGeometry
) -> NDArray[np.float64]:
    """Take out the part of shifts (V, 2) that a translation of the patient causes."""
    center, _ = geometry.project_points(np.zeros((1, 3)))
    moved, _ = geometry.project_points(np.eye(3))
    motion = (moved - center).transpose(0, 2, 1).reshape(-1, 3)
    root = np.sqrt(trust / max(trust.max(), 1e-12)).reshape(-1, 1)
    translation, *_ = np.linalg.lstsq(motion * root, shifts.reshape(-1, 1) * root, rcond=None)
    return shifts - (motion @ translation).reshape(-1, 2)


def _blocks(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums over blocks of 8 x 8 pixels, the last ones cut."""
    views, rows, columns = images.shape
    block = _BACKGROUND_BLOCK
    padded = np.pad(images, ((0, 0), (0, -rows % block), (0, -columns % block)))
    return padded.reshape(views, padded.shape[1] // block, block, -1, block).sum((2, 4))


def _expanded(blocks: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear interpolation of block values to all pixels (V, R, C)."""
    rows, columns = (_between_blocks(*counts) for counts in zip(shape[1:], blocks.shape[1:], strict=True))
    return np.asarray(rows @ blocks @ columns.T, np.float32)


def _between_blocks(pixels: int, blocks: int) -> NDArray[np.float32]:
    """Shares (pixels, blocks) of the blocks' middles in the value at each pixel along one axis."""
    place = np.clip((np.arange(pixels) + 0.5) / _BACKGROUND_BLOCK - 0.5, 0, blocks - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(blocks)), 0).astype(np.float32)
