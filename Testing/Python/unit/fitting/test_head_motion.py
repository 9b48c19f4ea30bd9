"""Registration of mask and fill frames by the motion of the head in space."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from DSAReconLib.acquisition import RotationalRun, subtract
from DSAReconLib.fitting.head_alignment import HeadAlignment
from DSAReconLib.fitting.head_motion import (
    TURN_RADIUS_MM,
    DepthOfStructure,
    MovedView,
    estimate_head_motion,
)
from DSAReconLib.fitting.head_volume import HeadVolume, reconstruct_head
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.jobs.subtraction import subtract_runs
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation.background import ellipsoid_paths
from DSAReconLib.simulation.skull import skull_phantom

PHOTONS, UNITS = 2e4, 40.0
FRAMES = 50
MOTION_MM = np.array([0.3, -0.25, 0.2, 0.35, -0.3, 0.25])
"""Shift, and turn of 0.24 to 0.33 degrees, as a length at 60 mm."""


def _geometry(frames=FRAMES, pixels=96):
    return ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, frames),
        sod_mm=750,
        sdd_mm=1200,
        detector_shape=(pixels, pixels),
        detector_spacing_mm=(281.6 / pixels,) * 2,
    )


def _seen_from(geometry, motion_mm):
    """The C-arm as a head that moved sees it."""
    back = Rotation.from_rotvec(-np.asarray(motion_mm[3:]) / TURN_RADIUS_MM).as_matrix()
    return ConeBeamGeometry(
        (geometry.source_mm - motion_mm[:3]) @ back.T,
        (geometry.detector_center_mm - motion_mm[:3]) @ back.T,
        geometry.detector_u_mm @ back.T,
        geometry.detector_v_mm @ back.T,
        geometry.detector_shape,
    )


def _attenuation(geometry, fine=3):
    """What pixels that have a width measure of the head."""
    rows, columns = geometry.detector_shape
    dense = ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        geometry.detector_u_mm / fine,
        geometry.detector_v_mm / fine,
        (rows * fine, columns * fine),
    )
    paths = ellipsoid_paths(skull_phantom().moved(np.array([0.0, -5.0, -10.0])), dense, progress=SilentProgress())
    image = np.exp(-(0.07 * paths.bone_mm + 0.0225 * paths.soft_mm))
    return -np.log(image.reshape(len(geometry), rows, fine, columns, fine).mean((2, 4)))


def _run(attenuation, geometry, seed):
    level = np.exp(-np.median(attenuation[attenuation > 0.5]))
    counts = np.random.default_rng(seed).poisson(np.exp(-attenuation) / level * PHOTONS)
    return RotationalRun(
        np.maximum(counts, 1).astype(np.float32), geometry, 0.05 * np.arange(len(geometry)), counts_per_unit=1.0
    )


@lru_cache(maxsize=1)
def _mask_run():
    return _run(_attenuation(_geometry()), _geometry(), 1)


@lru_cache(maxsize=1)
def _head():
    return reconstruct_head(_mask_run(), SilentProgress())


def _vessels(count, pixels=96):
    blood = np.zeros((count, pixels, pixels))
    blood[:, 30:80, 46:48], blood[:, 50:52, 20:80], blood[:, 28:33, 40:70] = 1.0, 0.4, 0.8
    return blood


def _fill_run(motion_mm, views, seed=2):
    geometry = _geometry()[views]
    return _run(_attenuation(_seen_from(geometry, motion_mm)) + _vessels(len(geometry)), geometry, seed)


def _structure_left(angiogram, views):
    """Rms beside the vessels after a blur of 2 pixels, in units of what the noise would leave."""
    beside = gaussian_filter(_vessels(1)[0], 1) < 1e-3
    beside[:8], beside[-8:], beside[:, :8], beside[:, -8:] = False, False, False, False
    left, expected = [], []
    for image, variance in zip(angiogram.line_integrals[views], angiogram.variance[views], strict=True):
        known = beside & np.isfinite(variance)
        offset = np.median(image[known])
        left.append(np.mean(gaussian_filter(np.where(known, image - offset, 0), 2)[beside] ** 2))
        expected.append(np.mean(gaussian_filter(np.where(known, variance, 0), 2)[beside]) / (16 * np.pi))
    return float(np.sqrt(np.mean(left) / np.mean(expected)))


def test_places_are_those_of_points_that_moved_with_the_head():
    view = _geometry()[[17]]
    pixels = np.array([[10.0, 80.0], [48.0, 3.0], [90.0, 55.0]])
    place, parallax = MovedView(view).sources(MOTION_MM)
    turn = Rotation.from_rotvec(MOTION_MM[3:] / TURN_RADIUS_MM).as_matrix()
    for row, column in pixels.astype(int):
        corner = view.detector_center_mm[0] + (column - 47.5) * view.detector_u_mm[0]
        ray = (corner + (row - 47.5) * view.detector_v_mm[0] - view.source_mm[0]) / view.sdd_mm[0]
        for q in (-0.12, 0.0, 0.12):
            point = view.source_mm[0] + 750 / (1 + q) * ray
            before = (point - MOTION_MM[:3]) @ turn  # inverse rotation
            expected = view.project_points(before[None])[0][0, 0]
            found = place[:, row, column] + q * parallax[:, row, column]
            np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(parallax).max() > 1


def test_a_motion_in_the_plane_of_the_image_survives_the_way_there_and_back():
    view = MovedView(_geometry()[[30]])
    shift, turn = view.image_motion(view.motion_in_plane((0.7, -0.4), 0.3))
    np.testing.assert_allclose(shift, (0.7, -0.4), atol=0.01)
    assert turn == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("depth_mm", [-60.0, 50.0])
def test_depth_pictures_know_how_deep_a_ball_lies(depth_mm):
    view = _geometry()[[25]]
    toward_detector = view.detector_normal[0]
    grid = VolumeGrid.centered(80, 2.5)
    distance = np.linalg.norm(grid.points_mm() - depth_mm * toward_detector, axis=1).reshape(grid.shape_zyx)
    plain, weighted = HeadVolume(grid, (distance < 12).astype(np.float32)).depth_pictures(view)
    q = 750 / (750 + depth_mm) - 1
    assert plain.shape == (96, 96)
    assert weighted.sum() / plain.sum() == pytest.approx(q, rel=0.05)
    depth = DepthOfStructure.of((plain, weighted), pixel_mm=1.8).mean_depth
    rim = np.unravel_index(np.argmax(np.hypot(*np.gradient(plain))), plain.shape)
    assert depth[rim] == pytest.approx(q, abs=0.15 * abs(q))


def test_the_head_volume_agrees_with_frames_that_see_more_than_the_field_of_view():
    expected = _attenuation(_geometry()[[12]], fine=1)[0]
    found, _ = _head().depth_pictures(_geometry()[[12]])
    expected, found = (image[8:-8, 8:-8] - np.median(image[8:-8, 8:-8]) for image in (expected, found))
    assert np.std(found - expected) < 0.12 * np.std(expected)


def test_a_head_volume_of_too_few_frames_is_a_mistake_of_the_caller():
    run = _mask_run()
    short = replace(run, intensity=run.intensity[:5], geometry=run.geometry[:5], times_s=run.times_s[:5])
    with pytest.raises(ValueError, match="at least 20 frames"):
        reconstruct_head(short, SilentProgress())
    assert not HeadAlignment(short, short, SilentProgress()).possible


def test_all_six_components_are_found_beside_vessels():
    views = [5, 20, 33]
    mask, fill = np.log(_mask_run().intensity[views]), np.log(_fill_run(MOTION_MM, views).intensity)
    for k, view in enumerate(views):
        pose = _geometry()[[view]]
        structure = DepthOfStructure.of(_head().depth_pictures(pose), 1.83)
        found = estimate_head_motion(-mask[k], -fill[k], np.ones(mask[k].shape, bool), structure, pose, np.zeros(6))
        assert found.reliable
        error = found.motion_mm - MOTION_MM
        # along the beam a shift hardly changes the image
        across = error[:3] - (error[:3] @ pose.detector_normal[0]) * pose.detector_normal[0]
        assert np.abs(across).max() < 0.03
        assert np.abs(error[3:]).max() < 0.06


def test_a_head_that_kept_still_is_not_moved():
    views = np.arange(0, FRAMES, 7)
    fill = _fill_run(np.zeros(6), views)
    moved = subtract_runs(_mask_run(), fill, registration="rigid3d")
    still = subtract(_mask_run(), fill, register="none")
    np.testing.assert_array_equal(moved.line_integrals, still.line_integrals)
    np.testing.assert_array_equal(moved.variance, still.variance)


def test_a_motion_in_space_leaves_little_more_than_noise():
    views = np.arange(2, FRAMES, 8)
    fill = _fill_run(MOTION_MM, views)
    left = {
        how: _structure_left(subtract_runs(_mask_run(), fill, registration=how), slice(None))
        for how in ("none", "rigid", "rigid3d")
    }
    assert left["none"] > 5
    assert left["rigid3d"] < 0.5 * left["rigid"]
    assert left["rigid3d"] < 1.15


def test_a_jump_moves_only_the_frames_behind_it():
    views = np.array([6, 12, 24, 36, 42])
    geometry = _geometry()[views]
    paths = np.concatenate([_attenuation(geometry[:3]), _attenuation(_seen_from(geometry[3:], 1.5 * MOTION_MM))])
    fill = _run(paths + _vessels(5), geometry, 3)
    angiogram = subtract_runs(_mask_run(), fill, registration="rigid3d")
    still = subtract(_mask_run(), fill, register="none")
    np.testing.assert_array_equal(angiogram.line_integrals[:3], still.line_integrals[:3])
    assert _structure_left(angiogram, slice(3, None)) < 0.25 * _structure_left(still, slice(3, None))


def test_short_mask_runs_are_registered_in_the_plane():
    run, views = _mask_run(), np.arange(10, 22, 4)
    short = replace(run, intensity=run.intensity[8:24], geometry=run.geometry[8:24], times_s=run.times_s[8:24])
    fill = _fill_run(MOTION_MM, views)
    np.testing.assert_array_equal(
        subtract_runs(short, fill, registration="rigid3d").line_integrals,
        subtract(short, fill, register="rigid").line_integrals,
    )


def test_an_aligner_is_needed_for_rigid3d_and_for_nothing_else():
    run = _mask_run()
    with pytest.raises(ValueError, match="aligner"):
        subtract(run, run, register="rigid3d")
    with pytest.raises(ValueError, match="aligner"):
        subtract(run, run, register="rigid", aligner=HeadAlignment(run, run, SilentProgress()))
