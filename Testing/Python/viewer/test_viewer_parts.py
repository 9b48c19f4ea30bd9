"""Parts of the viewer that need neither a server nor a browser."""

import numpy as np
import pytest
from helpers.cases import small_case

from DSAReconLib.rendering.pose import pose_of_frame
from DSAReconLib.viewer.acquired import _padded
from DSAReconLib.viewer.novel import filling, zoomed
from DSAReconLib.viewer.picking import nearest_in_cone, ray_of_pose
from DSAReconLib.viewer.playback import advanced
from DSAReconLib.viewer.security import Gate, new_token

OURS = "127.0.0.1:4711"


def gate():
    return Gate("vabc", lambda: 4711)


@pytest.mark.parametrize(
    ("host", "origin", "query", "cookie", "allowed"),
    [
        (OURS, None, "vabc", None, True),
        (OURS, f"http://{OURS}", None, "vabc", True),
        ("localhost:4711", None, "vabc", None, True),
        (OURS, None, None, None, False),
        (OURS, None, "", "", False),
        (OURS, None, "vabcd", None, False),
        (OURS, None, "väbc", None, False),
        ("evil.example:4711", None, "vabc", "vabc", False),
        ("127.0.0.1:4712", None, "vabc", None, False),
        (OURS, "http://evil.example", "vabc", "vabc", False),
        (OURS, "null", "vabc", "vabc", False),
        ("", None, "vabc", None, False),
    ],
)
def test_gate_wants_the_token_this_host_and_this_page(host, origin, query, cookie, allowed):
    assert gate().allows(host, origin, query, cookie) is allowed


def test_tokens_are_long_random_and_never_a_number_for_javascript():
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(token[0] == "v" and len(token) == 33 for token in tokens)


@pytest.mark.parametrize(("time_s", "by_s", "expected"), [(1.0, 0.5, 1.5), (4.9, 0.2, 1.1), (1.0, 12.5, 1.5)])
def test_playing_goes_on_from_the_start_at_the_end(time_s, by_s, expected):
    assert advanced(time_s, by_s, (1.0, 5.0)) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(100, 100), (100, 260), (300, 120)])
def test_view_widened_to_an_area_keeps_source_center_and_square_pixels(shape):
    pose = pose_of_frame(small_case(views=12, detector=32)[1].geometry, 3)
    wide = filling(pose, shape)

    assert wide.shape == shape
    assert np.array_equal(wide.source_mm, pose.source_mm)
    assert np.linalg.norm(wide.detector_u_mm) == pytest.approx(np.linalg.norm(wide.detector_v_mm))
    sides = [
        [np.linalg.norm(view.detector_u_mm) * view.columns, np.linalg.norm(view.detector_v_mm) * view.rows]
        for view in (wide, pose)
    ]
    assert np.all(np.array(sides[0]) >= np.array(sides[1]) - 1e-9)
    assert np.min(np.array(sides[0]) / sides[1]) == pytest.approx(1)


def test_zoom_shows_a_smaller_part_of_the_detector():
    pose = pose_of_frame(small_case(views=12, detector=32)[1].geometry, 3)
    assert np.allclose(zoomed(pose, 2).detector_u_mm * 2, pose.detector_u_mm)


def test_ray_through_the_middle_of_a_picture_meets_the_isocenter():
    pose = pose_of_frame(small_case(views=12, detector=32)[1].geometry, 0)
    origin, direction, radius = ray_of_pose(pose, (50.0, 25.0), (100, 50))
    direction = direction / np.linalg.norm(direction)
    assert np.linalg.norm(np.cross(-origin, direction)) < 3.0  # an isocentric arm, a little wobble at most
    assert 0 < radius < 0.05


def test_first_vessel_under_the_mouse_is_picked_at_its_middle():
    near = np.array([[x, 0.0, 10.0] for x in (-0.5, 0.0, 0.5)])
    far = np.array([[0.0, 0.0, 30.0]])
    points = np.concatenate([far, near])
    assert nearest_in_cone(points, (0.1, 0, 0), (0, 0, 1), 0.05, 0.5) == (0.0, 0.0, 10.0)
    assert nearest_in_cone(far, (0, 0, 0), (0, 0, 1), 0.05, 0.5) == (0.0, 0.0, 30.0)
    assert nearest_in_cone(points, (0, 0, 0), (0, 0, -1), 0.05, 0.5) is None
    assert nearest_in_cone(points[:0], (0, 0, 0), (0, 0, 1), 0.05, 0.5) is None


@pytest.mark.parametrize(("aspect", "shape"), [(1.0, (4, 4)), (2.0, (4, 8)), (0.5, (8, 4))])
def test_acquired_frame_lies_in_the_middle_of_its_area(aspect, shape):
    padded = _padded(np.ones((4, 4), np.uint8), 7, aspect)
    assert padded.shape == shape
    assert (padded == 1).sum() == 16
    assert np.array_equal(padded, padded[::-1, ::-1])


def test_half_resolution_keeps_thin_vessels():
    pytest.importorskip("vtk")
    from DSAReconLib.viewer.draft import half_resolution

    volume = np.zeros((5, 6, 7), np.uint16)
    volume[2, 3, :] = 9
    small = half_resolution(volume)
    assert small.shape == (2, 3, 3)
    assert np.array_equal(small[1, 1], [9, 9, 9])
    assert small.sum() == 27
