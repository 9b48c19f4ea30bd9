import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from DSAReconLib.dicom.angles import expand_increments, increment_form
from DSAReconLib.dicom.attributes import Findings
from DSAReconLib.dicom.times import times_from_vector

ARCS = st.tuples(
    st.floats(-150, 150),
    st.floats(90, 200) | st.floats(-200, -90),
    st.integers(30, 200),
    st.floats(0, 0.9),
)


def _angles(arc):
    """Angles of a C-arm that speeds up and brakes; the last number says how gently."""
    start, sweep, frames, gentle = arc
    share = np.linspace(0, 1, frames)
    return start + sweep * ((1 - gentle) * share + gentle * (3 * share**2 - 2 * share**3))


def _expand(base, increments):
    increments = np.round(np.asarray(increments, float), 6)
    form = increment_form(base, increments)
    return expand_increments(base, increments, len(increments), "Primary", Findings(), form=form)


@settings(max_examples=60, deadline=None)
@given(ARCS)
def test_offsets_and_steps_of_any_spin_give_its_angles(arc):
    angles = _angles(arc)
    base = float(angles[0])
    np.testing.assert_allclose(_expand(base, angles - base), angles, atol=1e-3)
    if np.abs(np.diff(angles)[1:]).min() > 0.25:
        np.testing.assert_allclose(_expand(base, np.diff(angles, prepend=base)), angles, atol=1e-2)


@settings(max_examples=60, deadline=None)
@given(ARCS.filter(lambda arc: abs(arc[0]) > 6))
def test_absolute_angles_of_any_spin_are_recognized(arc):
    angles = _angles(arc)
    np.testing.assert_allclose(_expand(0.0, angles), angles, atol=1e-3)
    np.testing.assert_allclose(_expand(float(angles[0]), angles), angles, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(10, 300), min_size=2, max_size=200), st.floats(0, 1000))
def test_increments_of_time_add_up(steps_ms, first):
    times = times_from_vector(np.array([0.0, *steps_ms]), len(steps_ms) + 1, Findings())
    if not _grows(steps_ms):
        np.testing.assert_allclose(times, np.cumsum([0.0, *steps_ms]) / 1000)
    assert times[0] == 0
    assert np.all(np.diff(times) >= 0)


def _grows(steps_ms):
    """Increments that grow from frame to frame cannot be told from clock times; no C-arm slows down like that."""
    return bool(np.all(np.diff([0.0, *steps_ms]) > 0))
