"""Time: nearest frame, playback in real time, several results at one time."""

import numpy as np
import pytest
from helpers.scene_cases import write_truth_result

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from DSAReconLib.mrml import volumes  # noqa: E402
from DSAReconLib.mrml.result import load_result, remove_result  # noqa: E402
from DSAReconLib.mrml.sequence import TimeLink, current_time, select_time, set_playback  # noqa: E402


@pytest.fixture
def both(context, result_folder, tmp_path):
    """Two results with different frame times."""
    other = write_truth_result(tmp_path / "other", frames=7)
    return load_result(context, result_folder), load_result(context, other)


def test_nearest_frame_is_shown(context, result_folder):
    nodes = load_result(context, result_folder)
    times = nodes.times_s
    step = times[1] - times[0]
    assert select_time(nodes.browser, times[3] + 0.4 * step) == pytest.approx(times[3])
    assert select_time(nodes.browser, times[3] + 0.6 * step) == pytest.approx(times[4])
    assert current_time(nodes.browser) == pytest.approx(times[4])
    frame = volumes.voxels(nodes.sequence.GetNthDataNode(4))
    np.testing.assert_array_equal(volumes.voxels(nodes.proxy), frame)
    assert select_time(nodes.browser, -99) == pytest.approx(times[0])
    assert select_time(nodes.browser, 99) == pytest.approx(times[-1])


def test_playback_runs_in_real_time_and_starts_again(context, result_folder):
    import time

    nodes = load_result(context, result_folder)
    times = nodes.times_s
    assert nodes.browser.GetPlaybackRateFps() == pytest.approx((len(times) - 1) / (times[-1] - times[0]))
    assert nodes.browser.GetPlaybackLooped()
    select_time(nodes.browser, times[-1])
    set_playback(nodes.browser, True, speed=20)
    seen = set()
    end = time.monotonic() + 5
    while len(seen) < 4 and time.monotonic() < end:
        context.sequences_logic.UpdateAllProxyNodes()
        seen.add(current_time(nodes.browser))
        time.sleep(0.005)
    set_playback(nodes.browser, False)
    assert len(seen) >= 4
    stopped = current_time(nodes.browser)
    time.sleep(0.05)
    context.sequences_logic.UpdateAllProxyNodes()
    assert current_time(nodes.browser) == stopped


def test_static_result_does_not_play(context, static_folder):
    nodes = load_result(context, static_folder)
    set_playback(nodes.browser, True)
    assert not nodes.browser.GetPlaybackActive()


def test_linked_results_move_together_whoever_moves(context, both):
    first, second = both
    told = []
    link = TimeLink(context, [first.browser, second.browser], told.append)
    select_time(first.browser, first.times_s[8])
    assert current_time(second.browser) == pytest.approx(
        second.times_s[np.abs(second.times_s - first.times_s[8]).argmin()]
    )
    second.browser.SetSelectedItemNumber(0)  # as Slicer's toolbar does
    assert current_time(first.browser) == pytest.approx(first.times_s[0])
    link.select_time(first.times_s[-1])
    assert current_time(first.browser) == pytest.approx(first.times_s[-1])
    assert current_time(second.browser) == pytest.approx(second.times_s[-1])
    assert told == pytest.approx([first.times_s[8], second.times_s[0], first.times_s[-1]])
    link.close()
    link.close()
    select_time(first.browser, first.times_s[0])
    assert current_time(second.browser) == pytest.approx(second.times_s[-1])


def test_link_survives_the_end_of_a_result_and_of_the_scene(context, both):
    first, second = both
    link = TimeLink(context, [first.browser, second.browser])
    remove_result(context, first)
    assert link.browsers == [second.browser]
    link.select_time(second.times_s[1])
    assert current_time(second.browser) == pytest.approx(second.times_s[1])
    context.scene.Clear(False)
    link.select_time(0.0)
    assert link.browsers == []
    link.close()
