"""Lines of the protocol, and progress as events."""

import time

import numpy as np
import pytest

from DSAReconLib.errors import JobCancelled
from DSAReconLib.jobs.events import EventProgress, beating
from DSAReconLib.jobs.protocol import CANCEL_LINE, PREFIX, decode_event, encode_event, is_cancel


def test_event_survives_a_line():
    event = {"event": "progress", "stage": "fit", "fraction": 0.5, "metrics": {"loss": 0.25}, "message": "ä\nb"}
    line = encode_event(event)
    assert line.startswith(PREFIX)
    assert line.count("\n") == 1
    assert decode_event(line) == event


def test_numpy_and_infinite_numbers_can_be_sent():
    event = decode_event(encode_event({"event": "progress", "loss": np.float32(0.5), "psnr": float("inf")}))
    assert event == {"event": "progress", "loss": 0.5, "psnr": None}


@pytest.mark.parametrize("line", ["hello\n", PREFIX + "{\n", PREFIX + "[1]\n", PREFIX + '{"a": 1}\n', ""])
def test_other_lines_are_log_text(line):
    assert decode_event(line) is None


def test_only_the_cancel_command_cancels():
    assert is_cancel(CANCEL_LINE)
    assert not is_cancel("cancel\n")
    assert not is_cancel('{"cmd": "pause"}\n')


def test_nothing_follows_a_terminal_event():
    events = []
    progress = EventProgress(events.append)
    assert progress.send("finished", result="x")
    assert not progress.send("cancelled", checkpoint=None)
    progress.report("late", 0.5)
    progress.heartbeat()
    assert [event["event"] for event in events] == ["finished"]


def test_rapid_reports_are_thinned_but_stages_and_ends_are_kept():
    events = []
    progress = EventProgress(events.append)
    for stage in ("a", "b"):
        for step in range(1001):
            progress.report(stage, step / 1000)
    assert [(e["stage"], e["fraction"]) for e in events if e["fraction"] in (0, 1)] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    assert len(events) < 20


def test_remaining_time_follows_from_the_elapsed_time():
    events = []
    progress = EventProgress(events.append)
    progress.report("fit", 0.0)
    time.sleep(0.2)
    progress.report("fit", 0.5)
    assert events[0]["eta_s"] is None
    assert events[1]["eta_s"] == pytest.approx(0.2, abs=0.1)


def test_heartbeat_repeats_the_newest_progress_every_second():
    events = []
    progress = EventProgress(events.append)
    with beating(progress):
        progress.report("fit", 0.25)
        time.sleep(2.1)
    assert 3 <= len(events) <= 5
    assert all(event["fraction"] == 0.25 for event in events)


def test_cancelling_raises_at_the_next_check():
    progress = EventProgress(lambda event: None)
    progress.check_cancelled()
    progress.cancel()
    with pytest.raises(JobCancelled):
        progress.check_cancelled()
