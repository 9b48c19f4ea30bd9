"""Moves mask frames onto their fill frames as the head moved in space."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.acquisition.registration import Motion, mean_radius_px
from DSAReconLib.acquisition.warping import filled, image_at, move_image
from DSAReconLib.fitting.head_motion import DepthOfStructure, MovedView, estimate_head_motion
from DSAReconLib.fitting.head_poses import HeadCourse, head_course
from DSAReconLib.fitting.head_volume import FEWEST_FRAMES, LEAST_ARC_DEG, HeadVolume, reconstruct_head
from DSAReconLib.progress import Progress

Image = NDArray[np.float32]


class HeadAlignment:
    """Aligner for :func:`DSAReconLib.acquisition.subtract` with ``register="rigid3d"``.

    The head volume is made when the first frame turns out to have moved: runs without
    motion cost nothing more. A frame without motion in its plane is left as it is.
    """

    def __init__(self, mask_run: RotationalRun, fill_run: RotationalRun, progress: Progress) -> None:
        self._mask_run, self._geometry, self._progress = mask_run, fill_run.geometry, progress
        self._lock = threading.Lock()
        self._head: HeadVolume | None = None
        self._motion_mm = np.full((len(fill_run), 6), np.nan)

    @property
    def possible(self) -> bool:
        """Whether the mask run has enough frames on a wide enough arc."""
        return len(self._mask_run) >= FEWEST_FRAMES and self._mask_run.geometry.scan_arc_deg >= LEAST_ARC_DEG

    def __call__(
        self,
        frame: int,
        mask_log: Image,
        mask_variance: Image,
        fill_log: Image,
        usable: NDArray[np.bool_],
        motion: Motion,
    ) -> tuple[Image, Image, Motion]:
        """Mask frame and variance (R, C) moved onto fill frame ``frame``, and the motion in its plane."""
        if not motion.moved:
            self._motion_mm[frame] = 0 if motion.reliable else np.nan
            return mask_log, mask_variance, motion
        view = self._geometry[frame]
        pixel_mm = float(np.sqrt(np.prod(view.isocenter_pixel_mm)))
        structure = DepthOfStructure.of(self._volume().depth_pictures(view), pixel_mm)
        moved = MovedView(view)
        start = moved.motion_in_plane(motion.row_column_px, motion.turn_deg)
        mask, fill = (-filled(image, usable) for image in (mask_log, fill_log))
        found = estimate_head_motion(mask, fill, usable, structure, view, start)
        if not found.reliable:
            return (*move_image(mask_log, mask_variance, motion.row_column_px, motion.turn_deg), motion)
        self._motion_mm[frame] = found.motion_mm
        place, parallax = moved.sources(found.motion_mm)
        place, _, remainder = structure.displaced(place, parallax)
        image, variance = image_at(mask_log, mask_variance, place)
        shift, turn = moved.image_motion(found.motion_mm)
        error_px = found.error_mm / pixel_mm * mean_radius_px(mask_log.shape) / np.hypot(*mask_log.shape)
        return image - (parallax * remainder).sum(0), variance, Motion(shift, turn, float(error_px), True)

    def course(self) -> HeadCourse | None:
        """How the head moved during the fill run, once all frames are aligned; ``None`` if it did not."""
        if self._head is None:
            return None
        return head_course(self._mask_run, self._geometry, self._motion_mm, self._head, self._progress)

    def _volume(self) -> HeadVolume:
        with self._lock:
            if self._head is None:
                self._head = reconstruct_head(self._mask_run, self._progress)
            return self._head
