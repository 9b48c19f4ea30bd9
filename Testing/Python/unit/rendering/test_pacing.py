"""Sizes of the pictures of a view that moves and rests."""

import pytest

from DSAReconLib.rendering.pacing import PicturePacing

VIEW = (480, 640)


def drag(pacing, ms_per_pixel, pictures=30, start_s=0.0):
    """Sizes while the view moves and every picture takes ``ms_per_pixel``."""
    shapes = []
    for number in range(pictures):
        now = start_s + 0.02 * number
        pacing.moved(now)
        shapes.append(pacing.shape(VIEW, now))
        pacing.measured(shapes[-1], ms_per_pixel * shapes[-1][0] * shapes[-1][1])
    return shapes


def test_a_resting_view_gets_its_own_size():
    assert PicturePacing().shape(VIEW, 0.0) == VIEW


def test_a_fast_renderer_keeps_the_size_while_moving():
    assert set(drag(PicturePacing(target_ms=25), 5 / (480 * 640))) == {VIEW}


@pytest.mark.parametrize("full_ms", [60, 200, 300])
def test_a_slow_renderer_gets_smaller_pictures_that_meet_the_target(full_ms):
    rate = full_ms / (480 * 640)
    rows, columns = drag(PicturePacing(target_ms=25), rate)[-1]
    assert rate * rows * columns <= 25
    assert rows / columns == pytest.approx(480 / 640, rel=0.02)


def test_the_size_does_not_swing():
    for full_ms in range(10, 400, 7):
        assert len(set(drag(PicturePacing(target_ms=25), full_ms / (480 * 640))[10:])) == 1


def test_a_very_slow_renderer_keeps_a_quarter_of_the_sides():
    assert drag(PicturePacing(target_ms=25), 1.0)[-1] == (120, 160)


def test_at_rest_the_full_size_comes_back_after_the_delay():
    pacing = PicturePacing(target_ms=25, rest_s=0.15)
    small = drag(pacing, 200 / (480 * 640))[-1]
    last = 0.02 * 29
    assert pacing.shape(VIEW, last + 0.14) == small
    assert pacing.is_moving(last + 0.14)
    assert pacing.shape(VIEW, last + 0.16) == VIEW


def test_a_renderer_that_becomes_fast_gets_larger_pictures_again():
    pacing = PicturePacing(target_ms=25)
    drag(pacing, 300 / (480 * 640))
    assert drag(pacing, 5 / (480 * 640), start_s=1.0)[-1] == VIEW


def test_views_beyond_the_largest_picture_are_scaled_with_their_aspect():
    rows, columns = PicturePacing(max_pixels=1024 * 1024).shape((2160, 3840), 0.0)
    assert rows * columns <= 1024 * 1024
    assert rows / columns == pytest.approx(2160 / 3840, rel=0.01)
    assert PicturePacing(max_pixels=4).shape((1, 9000), 0.0)[0] == 1
