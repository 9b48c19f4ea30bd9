"""Poses that follow a head that moved within the fill run."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.fitting.head_motion import TURN_RADIUS_MM
from DSAReconLib.fitting.head_poses import HeadCourse, head_course, seen_from_head
from DSAReconLib.fitting.head_volume import reconstruct_head
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.jobs.subtraction import subtract_runs
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation.background import ellipsoid_paths
from DSAReconLib.simulation.skull import skull_phantom

FRAMES, PIXELS, PHOTONS = 40, 72, 2e4
JUMP_MM = np.array([0.6, -0.5, 0.5, 0.5, -0.45, 0.4])
"""Shift, and turns of about 0.4 degrees as a length at 60 mm."""
HEADER = ConeBeamGeometry.from_angles(
    np.linspace(-100, 100, FRAMES),
    sod_mm=750,
    sdd_mm=1200,
    detector_shape=(PIXELS, PIXELS),
    detector_spacing_mm=(281.6 / PIXELS,) * 2,
)


def jump(size=1.0, frame=18):
    """Motion per frame (F, 6): still, then moved; zero in the mean."""
    step = (np.arange(FRAMES) >= frame).astype(float)
    return size * (step - step.mean())[:, None] * JUMP_MM


@lru_cache(maxsize=8)
def run(size, contrast):
    geometry = seen_from_head(HEADER, jump(size)) if size else HEADER
    paths = ellipsoid_paths(skull_phantom().moved(np.array([0.0, -5.0, -10.0])), geometry, progress=SilentProgress())
    attenuation = 0.07 * paths.bone_mm + 0.0225 * paths.soft_mm
    if contrast:
        attenuation = attenuation.copy()
        attenuation[:, 20:60, 34:36] += 0.8
    level = np.exp(-np.median(attenuation[attenuation > 0.5]))
    counts = np.random.default_rng(int(contrast)).poisson(np.exp(-attenuation) / level * PHOTONS)
    intensity = np.maximum(counts, 1).astype(np.float32)
    return RotationalRun(intensity, HEADER, 0.1 * np.arange(FRAMES), counts_per_unit=1.0)


@lru_cache(maxsize=4)
def head(size):
    return reconstruct_head(run(size, False), SilentProgress())


@lru_cache(maxsize=4)
def course(mask_size, fill_size):
    """Course of the head from the true motion between both runs."""
    return course_of(jump(fill_size) - jump(mask_size), mask_size)


def course_of(motion, mask_size=0.0):
    return head_course(run(mask_size, False), HEADER, motion, head(mask_size), SilentProgress())


def pose_error_mm(geometry, true):
    """Rms distance at the isocenter between where points are seen, but for a motion of the whole patient."""
    points = 40 * np.random.default_rng(0).normal(size=(30, 3))
    seen, wanted = (poses.project_points(points)[0].ravel() for poses in (geometry, true))
    still = np.zeros((FRAMES, 6))
    motions = [seen_from_head(HEADER, still + 0.01 * unit).project_points(points)[0].ravel() for unit in np.eye(6)]
    design = (np.stack(motions, 1) - HEADER.project_points(points)[0].ravel()[:, None]) / 0.01
    error = wanted - seen
    error -= design @ np.linalg.lstsq(design, error, rcond=None)[0]
    return np.sqrt(np.mean(error**2)) * HEADER.isocenter_pixel_mm[0]


def test_a_moved_head_seen_from_the_header_pose_is_a_still_head_seen_from_the_moved_pose():
    points = 50 * np.random.default_rng(1).normal(size=(20, 3))
    turn = Rotation.from_rotvec(JUMP_MM[3:] / TURN_RADIUS_MM)
    moved, _ = HEADER.project_points(turn.apply(points) + JUMP_MM[:3])
    seen, _ = seen_from_head(HEADER, np.tile(JUMP_MM, (FRAMES, 1))).project_points(points)
    np.testing.assert_allclose(seen, moved, atol=1e-9)


def test_poses_follow_a_head_that_moved_during_the_fill_run():
    angiogram = subtract_runs(run(0.0, False), run(1.0, True), registration="rigid3d")
    true = seen_from_head(HEADER, jump())
    assert pose_error_mm(angiogram.geometry, true) < 0.2 * pose_error_mm(HEADER, true)
    assert [code for code, _ in angiogram.warnings][-1] == "acquisition.head_moved"
    assert angiogram.geometry == seen_from_head(HEADER, angiogram.head_motion_mm)
    part = angiogram.select([3, 20])
    np.testing.assert_array_equal(part.head_motion_mm, angiogram.head_motion_mm[[3, 20]])


def test_poses_stay_if_only_the_mask_run_moved():
    assert course(1.0, 0.0) is None


def test_a_motion_of_both_runs_is_shared_between_them():
    found = course(-0.5, 0.5)
    assert found.mask_share == pytest.approx(0.5, abs=0.2)
    assert "put down to the run without contrast" in found.message
    true = seen_from_head(HEADER, jump(0.5))
    assert pose_error_mm(seen_from_head(HEADER, found.motion_mm), true) < 0.5 * pose_error_mm(HEADER, true)


def test_a_motion_between_the_runs_moves_no_pose():
    motion = np.tile(JUMP_MM, (FRAMES, 1))
    along = np.einsum("vi,i->v", HEADER.detector_normal, JUMP_MM[:3])
    motion[:, :3] -= along[:, None] * HEADER.detector_normal  # a view sees nothing along its beam
    assert course_of(motion) is None


def test_poses_stay_if_the_motion_of_most_frames_is_unknown():
    motion = jump()
    motion[::2], motion[1:20] = np.nan, np.nan
    assert course_of(motion) is None


def test_frames_whose_motion_is_unknown_take_that_of_their_neighbors():
    motion = jump()
    motion[[5, 30]] = np.nan
    found = course_of(motion)
    np.testing.assert_allclose(found.motion_mm[[5, 30]], found.motion_mm[[4, 31]], atol=1e-12)


def test_the_message_names_the_largest_shift_and_turn():
    motion = np.zeros((3, 6))
    motion[1, 0], motion[2, 4] = 1.23, TURN_RADIUS_MM * np.deg2rad(0.71)
    assert "up to 1.2 mm and 0.7 degrees" in HeadCourse(motion, 0.0).message


def test_runs_without_motion_keep_their_poses():
    fill = run(0.0, True)
    few = np.arange(0, FRAMES, 5)
    short = replace(fill, intensity=fill.intensity[few], geometry=HEADER[few], times_s=fill.times_s[few])
    angiogram = subtract_runs(run(0.0, False), short, registration="rigid3d")
    assert angiogram.head_motion_mm is None
    np.testing.assert_array_equal(angiogram.geometry.source_mm, HEADER.source_mm[few])
