"""Windows of views that have to agree on contrast."""

import numpy as np

from DSAReconLib.methods.transit.support import window_stops


def test_windows_follow_time_and_hold_at_least_four_views():
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0])
    stops = window_stops(times, 0.5)
    assert stops[0] == 5
    assert stops[4] == 8
    assert (np.diff(stops) >= 0).all()
    assert (stops - np.arange(len(stops)) >= 4).all()


def test_a_vein_that_fills_in_the_last_second_has_windows_of_its_own():
    times = np.linspace(0, 5, 31)
    stops = window_stops(times, 2.2)
    last = times[len(stops) - 1]
    assert 4.1 < last < 4.4
    assert stops[-1] == len(times)
    assert len(window_stops(times[::3], 2.2)) == len(times[::3]) - 3
