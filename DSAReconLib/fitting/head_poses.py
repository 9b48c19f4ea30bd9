"""Poses that follow a head that moved within the run with contrast.

Registration tells how the head moved from each mask frame to its fill frame, not during which of
the two runs. A head that moved during the mask run contradicts itself in a volume made of it; the
contradiction is least if the mask frames get the part of the motion that is theirs. What remains
belongs to the fill run: there source and detector moved the other way as the head sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.acquisition.trajectory import match_poses
from DSAReconLib.fitting.head_motion import TURN_RADIUS_MM
from DSAReconLib.fitting.head_volume import HeadVolume, reconstruct_head
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.progress import Progress

# Less motion than this (root mean square across the beam, shift and turn together) is registration error.
_LEAST_MOTION_MM = 0.05
_LEAST_FRAMES_FOUND = 0.5
# A mask run that explains so much of the motion explains all of it.
_ALL_OF_IT = 0.75


@dataclass(frozen=True)
class HeadCourse:
    """Motion of the head during the fill run.

    Parameters
    ----------
    motion_mm
        Per fill frame (F, 6), as in :meth:`DSAReconLib.fitting.head_motion.MovedView.sources`;
        its mean over the run is 0.
    mask_share
        Part of the motion between the runs that happened during the mask run, in [0, 1].
    """

    motion_mm: NDArray[np.float64]
    mask_share: float

    def followed(self, angiogram: Angiogram) -> Angiogram:
        """The angiogram with the poses that the head saw, and what it did."""
        motion = self.motion_mm[angiogram.frame_index]
        return replace(angiogram, geometry=seen_from_head(angiogram.geometry, motion), head_motion_mm=motion)

    @property
    def message(self) -> str:
        """What happened, for a warning."""
        shift = float(np.linalg.norm(self.motion_mm[:, :3], axis=1).max())
        turn = np.rad2deg(np.linalg.norm(self.motion_mm[:, 3:], axis=1).max() / TURN_RADIUS_MM)
        shared = f" {100 * self.mask_share:.0f} % of the motion is put down to the run without contrast."
        return (
            f"The head moved by up to {shift:.1f} mm and {turn:.1f} degrees off its mean position during the run with "
            f"contrast; its poses follow.{shared if self.mask_share > 0 else ''}"
        )


def head_course(
    mask_run: RotationalRun,
    fill_geometry: ConeBeamGeometry,
    motion_mm: NDArray[np.float64],
    head: HeadVolume,
    progress: Progress,
) -> HeadCourse | None:
    """How the head moved during the fill run; ``None`` if it kept still there or too little is known.

    The misfit of a head volume is a parabola in the share of the motion that the mask frames get: it is
    measured at 0 (``head``), 1/2 and 1.

    Parameters
    ----------
    fill_geometry
        Poses of the fill frames.
    motion_mm
        Motion from mask to fill per fill frame (F, 6); NaN where unknown.
    head
        Volume of the mask run as if it had kept still.
    """
    known = np.isfinite(motion_mm).all(1)
    if known.mean() < _LEAST_FRAMES_FOUND:
        return None
    frames = np.arange(len(motion_mm))
    motion = np.stack([np.interp(frames, frames[known], part[known]) for part in motion_mm.T], 1)
    across = _across_beam(fill_geometry)
    motion = motion - _common_motion(motion, across)
    visible = np.einsum("vij,vj->vi", across, motion[:, :3])
    if np.sqrt(np.mean((visible**2).sum(1) + (motion[:, 3:] ** 2).sum(1))) < _LEAST_MOTION_MM:
        return None
    match = match_poses(fill_geometry, mask_run.geometry)
    upper = match.weight[:, None]
    of_mask = (1 - upper) * motion[match.lower] + upper * motion[match.upper]

    def misfit(share: float) -> float:
        moved = replace(mask_run, geometry=seen_from_head(mask_run.geometry, -share * of_mask))
        return reconstruct_head(moved, progress).misfit

    share = _lowest(head.misfit, misfit(0.5), misfit(1.0))
    return None if share > _ALL_OF_IT else HeadCourse((1 - share) * motion, share)


def seen_from_head(geometry: ConeBeamGeometry, motion_mm: NDArray[np.float64]) -> ConeBeamGeometry:
    """The poses relative to a head that moved by ``motion_mm`` (V, 6), shift and turn as a length."""
    from scipy.spatial.transform import Rotation

    back = Rotation.from_rotvec(-motion_mm[:, 3:] / TURN_RADIUS_MM).as_matrix()

    def seen(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("vij,vj->vi", back, vectors)

    return ConeBeamGeometry(
        seen(geometry.source_mm - motion_mm[:, :3]),
        seen(geometry.detector_center_mm - motion_mm[:, :3]),
        seen(geometry.detector_u_mm),
        seen(geometry.detector_v_mm),
        geometry.detector_shape,
    )


def _across_beam(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Projections (V, 3, 3) onto the plane across the beam: what a view sees of a shift."""
    normal = geometry.detector_normal
    return np.eye(3) - normal[:, :, None] * normal[:, None]


def _common_motion(motion_mm: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """The motion (6,) that all frames share: it only moves the patient as a whole."""
    shift = np.linalg.lstsq(across.sum(0), np.einsum("vij,vj->i", across, motion_mm[:, :3]), rcond=1e-6)[0]
    return np.concatenate([shift, motion_mm[:, 3:].mean(0)])


def _lowest(still: float, half: float, whole: float) -> float:
    """Where the parabola through values at 0, 1/2 and 1 is lowest, in [0, 1]."""
    curvature = 2 * (still - 2 * half + whole)
    if curvature <= 0:
        return float(whole < still)
    return float(np.clip(0.5 - (whole - still) / (2 * curvature), 0, 1))
