"""Poses from angles, frames and cameras."""

import json
import math

import numpy as np
import pytest
from helpers.novel_views import GEOMETRY

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.geometry.angles import PATIENT_FROM_TABLE
from DSAReconLib.rendering.pose import (
    ViewPose,
    angle_text,
    pose_from_angles,
    pose_from_camera,
    pose_of_frame,
    resized,
)

POINTS = np.random.default_rng(0).uniform(-30, 30, (20, 3))


def pixels(pose, points=POINTS):
    return pose.geometry().project_points(points)[0][0]


def relative(pose, points=POINTS):
    """Positions as (down, right) shares of the picture's sides: 0 and 1 are its edges."""
    return (pixels(pose, points) + 0.5) / pose.shape


def test_a_frame_gives_the_geometry_of_the_frame():
    assert pose_of_frame(GEOMETRY, 3).geometry() == GEOMETRY[3]


def test_pose_survives_json():
    pose = pose_of_frame(GEOMETRY, 2)
    again = ViewPose.from_dict(json.loads(json.dumps(pose.to_dict())))
    assert again == pose
    assert again != pose_of_frame(GEOMETRY, 3)


@pytest.mark.parametrize("frame", [0, 4, 8])
def test_angles_of_a_frame_give_its_pose_with_detector_offset(frame):
    primary, secondary = GEOMETRY.primary_angle_deg[frame], GEOMETRY.secondary_angle_deg[frame]
    assert pose_from_angles(GEOMETRY, primary, secondary).geometry() == GEOMETRY[frame]


def test_angles_between_frames_are_those_asked_for_with_the_same_distances():
    pose = pose_from_angles(GEOMETRY, 17.0, -33.0)
    np.testing.assert_allclose(pose.angles_deg, (17.0, -33.0), atol=1e-9)
    np.testing.assert_allclose(pose.geometry().sod_mm, 750)
    np.testing.assert_allclose(pose.geometry().sdd_mm, 1200)
    np.testing.assert_allclose(pose.geometry().detector_spacing_mm, (1.6, 1.5))


def test_angles_keep_the_up_direction_of_a_feet_first_patient():
    turned = GEOMETRY.rotated(PATIENT_FROM_TABLE["FFS"])
    near = pose_from_angles(turned, turned.primary_angle_deg[4] + 1, turned.secondary_angle_deg[4])
    up = -near.detector_v_mm
    assert up @ -turned.detector_v_mm[4] > 0.99 * np.linalg.norm(up) ** 2


def test_resizing_keeps_the_field_of_view():
    pose = pose_of_frame(GEOMETRY, 1)
    np.testing.assert_allclose(relative(resized(pose, (480, 33))), relative(pose), atol=1e-12)
    np.testing.assert_allclose(
        relative(pose_from_angles(GEOMETRY, 9, 3, (20, 10))), relative(pose_from_angles(GEOMETRY, 9, 3))
    )


def test_camera_sees_what_lies_in_its_view_angle():
    pose = pose_from_camera([0, -500, 0], [0, 0, 0], [0, 0, 1], 30.0, (100, 200))
    half = 500 * math.tan(math.radians(15))
    top, right = relative(pose, np.array([[0, 0, half], [2 * half, 0, 0]]))
    np.testing.assert_allclose(top, (0, 0.5), atol=1e-12)
    np.testing.assert_allclose(right, (0.5, 1), atol=1e-12)


def test_camera_picture_of_rounded_size_covers_the_same_view():
    camera = ([200, -450, 80], [3, 4, 5], [0.1, 0, 1], 28.0)
    whole = pose_from_camera(*camera, (359, 641))
    small = pose_from_camera(*camera, (89, 160), aspect=641 / 359)
    np.testing.assert_allclose(relative(small), relative(whole), atol=1e-12)


def test_parallel_camera_sees_no_perspective():
    pose = pose_from_camera([0, -500, 0], [0, 0, 0], [0, 0, 1], 30.0, (100, 100), parallel_scale_mm=50.0)
    near, far = relative(pose, np.array([[20.0, -60.0, 10.0], [20.0, 60.0, 10.0]]))
    np.testing.assert_allclose(near, far, atol=1e-4)
    np.testing.assert_allclose(near, (0.4, 0.7), atol=1e-4)


@pytest.mark.parametrize(
    ("camera", "word"),
    [
        (([0, 0, 0], [0, 0, 0], [0, 0, 1], 30.0), "focal point"),
        (([0, 0, 9], [0, 0, 0], [0, 0, 1], 30.0), "view-up"),
        (([0, 9, 0], [0, 0, 0], [0, 0, 1], 0.0), "view angle"),
    ],
)
def test_impossible_cameras_are_refused(camera, word):
    with pytest.raises(GeometryError, match=word):
        pose_from_camera(*camera, (10, 10))


@pytest.mark.parametrize(
    "change",
    [
        {"source_mm": [1.0, 2.0]},
        {"source_mm": [1.0, 2.0, float("nan")]},
        {"source_mm": "far"},
        {"rows": 0},
        {"columns": "many"},
        {"detector_u_mm": [0.0, 0.0, 0.0]},
        {"detector_v_mm": None},
    ],
)
def test_impossible_poses_are_refused(change):
    with pytest.raises(GeometryError):
        ViewPose.from_dict(pose_of_frame(GEOMETRY, 0).to_dict() | change)


def test_angles_are_told_as_clinicians_read_them():
    assert angle_text(-31.6, 10.2) == "RAO 32° CRA 10°"
    assert angle_text(0.2, -0.2) == "LAO 0° CRA 0°"
    assert angle_text(90, -5) == "LAO 90° CAU 5°"


def test_pose_of_angles_agrees_with_the_geometry_of_angles():
    geometry = ConeBeamGeometry.from_angles(
        [0.0], sod_mm=700, sdd_mm=1100, detector_shape=(30, 30), detector_spacing_mm=(1.0, 1.0)
    )
    expected = ConeBeamGeometry.from_angles(
        [25.0], [12.0], sod_mm=700, sdd_mm=1100, detector_shape=(30, 30), detector_spacing_mm=(1.0, 1.0)
    )
    assert pose_from_angles(geometry, 25.0, 12.0).geometry() == expected
