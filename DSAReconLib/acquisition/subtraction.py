"""Contrast line integrals: ln(mask) - ln(fill), paired by angle, with a noise variance per pixel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.angiogram import Angiogram
from DSAReconLib.acquisition.edge_noise import edge_variance, sharpness
from DSAReconLib.acquisition.gain import correction, frame_gain
from DSAReconLib.acquisition.interpolation import InterpolatedMask, smooth_log_variance
from DSAReconLib.acquisition.noise import NoiseModel, estimate_noise
from DSAReconLib.acquisition.pairing import check_pair
from DSAReconLib.acquisition.registration import Motion, estimate_motion, mean_radius_px
from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.acquisition.saturation import Clipping, clipping, clipping_note
from DSAReconLib.acquisition.trajectory import PoseMatch, match_poses
from DSAReconLib.acquisition.warping import move_image
from DSAReconLib.errors import PairingError, ResourceError
from DSAReconLib.progress import Progress, SilentProgress

REGISTRATIONS = ("none", "translation", "rigid", "rigid3d")
DEFAULT_REGISTRATION = "rigid3d"
"""Never worse than the others on data without motion, and clearly better where the head turned."""
FrameImage = NDArray[np.float32]
Aligner = Callable[
    [int, FrameImage, FrameImage, FrameImage, NDArray[np.bool_], Motion], tuple[FrameImage, FrameImage, Motion]
]
"""From a fill frame's number, ln(mask), its variance, ln(fill), usable pixels and the motion in the plane of the image
to ln(mask) and variance as the fill frame sees them, and the motion that was found."""
_NOISE_FRAMES = 12
_OUTSIDE_STEPS = 1.0
_MOST_OUTSIDE = 0.25
_INTERPOLATED_STEPS = 0.25
# What a wider interpolation leaves of bone edges looks like turns.
_WIDEST_GAP_DEG = 1.6
# Frames are independent of each other; more threads than this only wait for the interpreter.
_MOST_THREADS = 4
# float16 divides by nothing smaller without loss.
_LEAST_SHARE = 1e-3
# Motion beyond this is worth a note.
_NOTED_PX = 0.1


def subtract(
    mask_run: RotationalRun,
    fill_run: RotationalRun,
    *,
    register: str = "none",
    aligner: Aligner | None = None,
    correct_gain: bool = True,
    progress: Progress | None = None,
) -> Angiogram:
    """Log subtraction of two rotational runs.

    The mask is interpolated in the log domain to the angles of the fill frames (a mask
    frame at the very angle is taken as it is); an exposure difference beside the vessels
    is taken off; nothing is clipped, so that noise below zero stays.

    Parameters
    ----------
    mask_run, fill_run
        Runs without and with contrast, of the same detector and arc.
    register
        ``"none"``; ``"translation"``: shift each mask frame onto its fill frame by a
        sub-pixel displacement; ``"rigid"``: shift and turn it in its plane (only shift
        it where the mask is interpolated over more than a few degrees); ``"rigid3d"``: then
        hand it to ``aligner``, which knows about depth.
    aligner
        For ``"rigid3d"`` only, see :class:`DSAReconLib.fitting.head_alignment.HeadAlignment`.
    correct_gain
        Take off the exposure difference of each frame.
    progress
        Watches and may cancel.

    Returns
    -------
    Angiogram
        Fill frames whose angle lies on the mask's arc.

    Raises
    ------
    PairingError
        ``acquisition.detector`` or ``acquisition.arc``: the runs do not belong together.
    ValueError
        Unknown ``register``, or ``"rigid3d"`` without an aligner.
    """
    if register not in REGISTRATIONS:
        raise ValueError(f"register must be one of {', '.join(REGISTRATIONS)}; got {register!r}")
    if (register == "rigid3d") != (aligner is not None):
        raise ValueError("an aligner is needed for register='rigid3d', and for nothing else")
    progress = progress or SilentProgress()
    if mask_run.attributes.get("subtracted"):  # a blank mask: there is nothing to register, and no exposure of its own
        register, correct_gain = "none", False
    job = _Subtraction(mask_run, fill_run, register, aligner, correct_gain, progress)
    job.warn_all(check_pair(mask_run, fill_run))
    job.select_frames()
    job.measure_noise()
    line_integrals, variance = job.subtract_frames()
    moved = any(motion.moved for motion in job.motions)
    job.summarize(line_integrals, variance)
    frames = job.frames
    return Angiogram(
        line_integrals=line_integrals,
        variance=variance,
        geometry=fill_run.geometry[frames],
        times_s=np.asarray(fill_run.times_s, float)[frames],
        duration_s=float(fill_run.times_s[-1]),
        frame_index=frames,
        source_uids=tuple(dict.fromkeys(u for u in (mask_run.sop_instance_uid, fill_run.sop_instance_uid) if u)),
        warnings=tuple(dict.fromkeys((*mask_run.warnings, *fill_run.warnings, *job.warnings))),
        counting_share=job.counting_share if moved else None,
    )


@dataclass
class _Subtraction:
    """State of one subtraction: which frames, which noise, what happened per frame."""

    mask: RotationalRun
    fill: RotationalRun
    register: str
    aligner: Aligner | None
    correct_gain: bool
    progress: Progress
    warnings: list[tuple[str, str]] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    clippings: list[Clipping | None] = field(default_factory=list)
    motions: list[Motion] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        self.warnings.append((code, message))
        self.progress.warn(code, message)

    def warn_all(self, warnings: tuple[tuple[str, str], ...]) -> None:
        for code, message in warnings:
            self.warn(code, message)

    def select_frames(self) -> None:
        """Match the poses; drop the fill frames beyond the arc of the mask."""
        match = match_poses(self.mask.geometry, self.fill.geometry)
        inside = match.distance_steps <= _OUTSIDE_STEPS
        outside = int(np.count_nonzero(~inside))
        worst = float(match.distance_deg.max())
        if outside > _MOST_OUTSIDE * len(self.fill):
            raise PairingError(
                f"{outside} of {len(self.fill)} fill frames lie up to {worst:.1f} degrees off the arc of the mask run.",
                code="acquisition.arc",
                hint="Choose mask and fill runs of the same rotation protocol.",
            )
        if outside:
            self.warn(
                "acquisition.outside_arc",
                f"{outside} fill frames lie up to {worst:.1f} degrees off the arc of the mask run and are left out.",
            )
        self.frames: NDArray[np.int64] = np.flatnonzero(inside)
        self.match: PoseMatch = match
        between = np.minimum(match.weight, 1 - match.weight)[inside]
        if np.median(between) > _INTERPOLATED_STEPS:
            self.warn(
                "acquisition.interpolated_mask",
                f"Mask and fill frames were taken at different angles: most mask frames are interpolated over "
                f"{match.step_deg:.1f} degrees, which blurs bone and leaves its edges in the difference.",
            )

    def measure_noise(self) -> None:
        """Noise models of both runs: as stated by the runs, else estimated together."""
        stated = (self.mask.counts_per_unit, self.fill.counts_per_unit)
        if all(stated):
            models = [NoiseModel(float(counts)) for counts in stated if counts]
        else:
            models = [estimate_noise(self._noise_pairs(), self._valid(int(self.frames[0])))] * 2
        self.fill_noise = models[1]
        self.interpolated = InterpolatedMask(self.mask, self.match, models[0])

    def _noise_pairs(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], float]]:
        chosen = self.frames[np.linspace(0, len(self.frames) - 1, min(_NOISE_FRAMES, len(self.frames))).astype(int)]
        for frame in np.unique(chosen):
            self.progress.check_cancelled()
            weight = self.match.weight[frame]
            lower = self.mask.intensity[self.match.lower[frame]]
            upper = self.mask.intensity[self.match.upper[frame]]
            mask = lower if weight == 0 else upper if weight == 1 else _log_mean(lower, upper, weight)
            yield mask, self.fill.intensity[frame], weight**2 + (1 - weight) ** 2

    def _valid(self, frame: int) -> NDArray[np.bool_] | None:
        """Pixels (R, C) that both runs measured in a fill frame and the mask frames beside it."""
        valid = None
        for run, frames in ((self.mask, (self.match.lower[frame], self.match.upper[frame])), (self.fill, (frame,))):
            if run.valid is None:
                continue
            for index in frames:
                here = run.valid if run.valid.ndim == 2 else run.valid[index]
                valid = here if valid is None else valid & here
        return valid

    def subtract_frames(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Line integrals and variance (V, R, C) of all selected frames."""
        shape = (len(self.frames), *self.fill.geometry.detector_shape)
        try:
            line_integrals, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
            self.counting_share = np.ones(shape, np.float16)
        except MemoryError:
            raise ResourceError(
                f"The subtraction needs {2 * np.prod(shape, dtype=float) * 4 / 1e9:.1f} GB of memory.",
                code="resource.memory",
                hint="Close other programs or use a machine with more memory.",
            ) from None
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            results = pool.map(self._subtract_frame, self.frames.tolist())
            try:
                for view, (difference, spread, edges, gain, motion, clipped) in enumerate(results):
                    self.progress.check_cancelled()
                    line_integrals[view], variance[view] = difference, spread
                    if edges is not None:
                        self.counting_share[view] = np.maximum(1 - edges / spread, _LEAST_SHARE)
                    self.clippings.append(clipped)
                    self.gains.append(gain)
                    self.motions.append(motion)
                    self.progress.report("subtract", (view + 1) / len(self.frames))
            finally:
                pool.shutdown(cancel_futures=True)  # when cancelled, what has not begun never does
        return line_integrals, variance

    def _subtract_frame(
        self, frame: int
    ) -> tuple[FrameImage, FrameImage, FrameImage | None, float, Motion, Clipping | None]:
        """Line integrals, variance and its part from edges (R, C); exposure difference and motion; what is clipped."""
        mask_log, mask_variance = self.interpolated.at(frame)
        fill = self.fill.intensity[frame]
        fill_log, fill_variance = self.fill_noise.log(fill), smooth_log_variance(self.fill_noise, fill)
        clipped = clipping(self.mask, self.fill, self.match, frame)
        if clipped is not None:
            fill_variance[clipped.pixels] = mask_variance[clipped.pixels] = np.inf
        valid = self._valid(frame)
        motion = Motion(reliable=True)
        if self.register != "none":
            measured = np.isfinite(mask_variance + fill_variance)
            usable = measured if valid is None else measured & valid
            turn = self.register != "translation" and self._gap_deg(frame) <= _WIDEST_GAP_DEG
            motion = estimate_motion(mask_log, fill_log, usable, mask_variance, turn=turn)
            sharp = sharpness(mask_log, mask_variance)
            if self.aligner is not None and turn:
                mask_log, mask_variance, motion = self.aligner(frame, mask_log, mask_variance, fill_log, usable, motion)
            else:
                mask_log, mask_variance = move_image(mask_log, mask_variance, motion.row_column_px, motion.turn_deg)
        difference, variance = mask_log - fill_log, mask_variance + fill_variance
        if valid is not None:
            difference[~valid], variance[~valid] = 0, np.inf
        gain = 0.0
        if self.correct_gain:
            gain = correction(*frame_gain(difference, variance, valid))
            difference -= np.float32(gain) if valid is None else np.where(valid, np.float32(gain), 0)
        edges = edge_variance(sharp, difference, variance) if motion.moved else None
        if edges is not None:
            variance += edges
        return difference, variance, edges, gain, motion, clipped

    def _gap_deg(self, frame: int) -> float:
        """Angle from a fill frame to the nearest mask frame."""
        weight = float(self.match.weight[frame])
        return min(weight, 1 - weight) * self.match.step_deg + float(self.match.distance_deg[frame])

    def summarize(self, line_integrals: NDArray[np.float32], variance: NDArray[np.float32]) -> None:
        """Warn about what was corrected, and about data that look inverted."""
        gains = np.array(self.gains)
        if gains.size and np.max(np.abs(gains)) > 0.02:
            self.warn(
                "acquisition.gain",
                f"The exposure of mask and fill differs by up to {100 * np.max(np.abs(gains)):.0f} %; corrected.",
            )
        self._summarize_motions()
        note = clipping_note(self.clippings)
        if note:
            self.warn("acquisition.saturated", note)
        sample = line_integrals[:: max(1, len(line_integrals) // 16), ::4, ::4]
        finite = np.isfinite(np.broadcast_to(variance, line_integrals.shape)[:: max(1, len(variance) // 16), ::4, ::4])
        low, high = np.quantile(sample[finite], [0.002, 0.998]) if finite.any() else (0.0, 0.0)
        if low < -0.05 and -low > 2 * high:
            self.warn(
                "acquisition.negative_contrast",
                "Contrast seems to raise the intensity: mask and fill may be swapped, or the pixels inverted.",
            )

    def _summarize_motions(self) -> None:
        """Warn about frames that moved, and about those whose motion could not be found."""
        radius = mean_radius_px(self.fill.geometry.detector_shape)
        shifts = [float(np.hypot(*motion.row_column_px)) for motion in self.motions]
        turns = [abs(motion.turn_deg) for motion in self.motions]
        if max(shifts) > _NOTED_PX or np.deg2rad(max(turns)) * radius > _NOTED_PX:
            turned = f" and turned by up to {max(turns):.2f} degrees" if max(turns) > 0 else ""
            self.warn(
                "acquisition.registered",
                f"Mask frames were shifted by {np.mean(shifts):.2f} pixels on average (at most {max(shifts):.2f})"
                f"{turned}.",
            )
        failed = sum(not motion.reliable for motion in self.motions)
        if failed:
            self.warn(
                "acquisition.not_registered", f"{failed} of {len(self.motions)} frames could not be registered safely."
            )


def _log_mean(lower: NDArray[np.float32], upper: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Weighted geometric mean; 0 where one of the frames is not positive."""
    positive = (lower > 0) & (upper > 0)
    safe = [np.where(positive, image, 1) for image in (lower, upper)]
    return np.where(positive, np.exp((1 - weight) * np.log(safe[0]) + weight * np.log(safe[1])), 0).astype(np.float32)
