"""The virtual C-arm: where source and detector are, as the header says and in truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.simulation.config import SimulationConfig

ROLL_PER_WOBBLE_DEG_MM = 0.2
"""Detector roll that goes with 1 mm of wobble; Daly et al. 2008 saw 0.9-2.9 deg beside 10-16 mm."""
REPEATABILITY = 0.03
"""Part of the wobble that differs between two runs (0.16 mm beside some mm in Daly et al. 2008)."""
HEAD_RADIUS_MM = 60.0
"""Distance from the center of rotation at which a head turn moves as much as the head shifts."""


@dataclass(frozen=True)
class RunPoses:
    """Poses of one run.

    Parameters
    ----------
    primary_deg, secondary_deg
        Angles of the header (F,).
    times_s
        Frame times (F,).
    nominal
        What the header describes.
    true
        Where source and detector really were, relative to the vessels' patient.
    """

    primary_deg: NDArray[np.float64]
    secondary_deg: NDArray[np.float64]
    times_s: NDArray[np.float64]
    nominal: ConeBeamGeometry
    true: ConeBeamGeometry


def poses_of_runs(config: SimulationConfig) -> tuple[RunPoses, RunPoses]:
    """Poses of the mask run and of the fill run."""
    wobble, error, roll = (_SmoothMotion(np.random.default_rng([config.seed, k]), 3) for k in (101, 102, 104))
    motion_rng = np.random.default_rng([config.seed, 103])

    def flexed(angle_deg: NDArray[np.float64], repeatability: float) -> NDArray[np.float64]:
        deviation = repeatability * error(angle_deg)
        amount = config.wobble_mm * (wobble(angle_deg) + deviation)
        amount[:, 2] = ROLL_PER_WOBBLE_DEG_MM * amount[:, 2] + config.roll_deg * (roll(angle_deg) + deviation)[:, 2]
        return amount

    fill = _run(config, config.views, 0.0, lambda angle: flexed(angle, 0.0))
    mask = _run(
        config,
        config.mask_views or config.views,
        config.mask_angle_offset_deg,
        lambda angle: flexed(angle, REPEATABILITY),
    )
    if config.misregistration_mm > 0:
        moved = _with_head_motion(mask.true, mask.primary_deg, config.misregistration_mm, motion_rng)
        mask = RunPoses(mask.primary_deg, mask.secondary_deg, mask.times_s, mask.nominal, moved)
    return mask, fill


def _run(config, frames, offset_deg, flexed) -> RunPoses:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Header angles and both geometries; ``flexed``: row and column, mm, roll, degrees (F, 3) at angles (F,)."""
    start = -config.arc_deg / 2 if config.start_angle_deg is None else config.start_angle_deg
    share = np.linspace(0.0, 1.0, frames)
    primary = start + offset_deg + config.arc_deg * share
    secondary = config.secondary_angle_deg + config.secondary_swing_deg * np.sin(2 * np.pi * share)
    rows, columns = config.detector_shape
    row_offset, column_offset = config.principal_point_offset_px
    nominal = ConeBeamGeometry.from_angles(
        primary,
        secondary,
        sod_mm=config.sod_mm,
        sdd_mm=config.sdd_mm,
        detector_shape=config.detector_shape,
        detector_spacing_mm=(config.detector_spacing_mm,) * 2,
        principal_point_px=((rows - 1) / 2 + row_offset, (columns - 1) / 2 + column_offset),
    )
    true = nominal
    if config.wobble_mm > 0 or config.roll_deg > 0:
        amount = flexed(primary)
        pixels = amount[:, :2] / np.array(nominal.isocenter_pixel_mm)
        true = _rolled(nominal.shifted_detector(pixels), amount[:, 2])
    return RunPoses(primary, secondary, config.duration_s * share, nominal, true)


class _SmoothMotion:
    """Random smooth functions of an angle with RMS 1: a few slow harmonics."""

    def __init__(self, rng: np.random.Generator, components: int) -> None:
        self.amplitude = rng.normal(size=(components, 3)) / np.array([1, 2, 3])
        self.phase = rng.uniform(0, 2 * np.pi, (components, 3))
        full = self._values(np.arange(0, 360.0))
        self.amplitude /= np.sqrt((full**2).mean(0))[:, None]

    def __call__(self, angle_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (F, components) at angles (F,)."""
        return self._values(angle_deg)

    def _values(self, angle_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = np.deg2rad(angle_deg)[:, None, None]
        return (self.amplitude * np.sin(np.array([1, 2, 3]) * angle + self.phase)).sum(-1)


def _rolled(geometry: ConeBeamGeometry, roll_deg: NDArray[np.float64]) -> ConeBeamGeometry:
    """Detector turned in its own plane about the middle of the pixel array."""
    cosine, sine = np.cos(np.deg2rad(roll_deg))[:, None], np.sin(np.deg2rad(roll_deg))[:, None]
    u, v = geometry.detector_u_mm, geometry.detector_v_mm
    return ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        cosine * u + sine * v,
        cosine * v - sine * u,
        geometry.detector_shape,
    )


def _with_head_motion(
    geometry: ConeBeamGeometry, angle_deg: NDArray[np.float64], rms_mm: float, rng: np.random.Generator
) -> ConeBeamGeometry:
    """The C-arm as seen from a head that moves: shift and turn have the given RMS size together."""
    from scipy.spatial.transform import Rotation

    shift, turn = _SmoothMotion(rng, 3), _SmoothMotion(rng, 3)
    amount = rms_mm / np.sqrt(6)
    translation = amount * shift(angle_deg)
    rotation = Rotation.from_rotvec(-amount / HEAD_RADIUS_MM * turn(angle_deg)).as_matrix()

    def seen(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("vij,vj->vi", rotation, vectors)

    return ConeBeamGeometry(
        seen(geometry.source_mm - translation),
        seen(geometry.detector_center_mm - translation),
        seen(geometry.detector_u_mm),
        seen(geometry.detector_v_mm),
        geometry.detector_shape,
    )
