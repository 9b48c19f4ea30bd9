import numpy as np
import pytest
from helpers.xa_objects import FRAMES, write_xa
from pydicom.tag import Tag

from DSAReconLib.dicom import read_run
from DSAReconLib.errors import DicomRunError

VECTOR = Tag(0x0018, 0x1065)


def _read(tmp_path, **attributes):
    return read_run(write_xa(tmp_path / "run.dcm", **attributes))


def test_frame_time_counts_in_milliseconds(tmp_path):
    np.testing.assert_allclose(_read(tmp_path, FrameTime=33.3).times_s, 0.0333 * np.arange(FRAMES))


def test_frame_time_vector_holds_increments(tmp_path):
    steps = [0.0] + [30.0 + k for k in range(FRAMES - 1)]
    run = _read(tmp_path, FrameTime=None, FrameTimeVector=steps, FrameIncrementPointer=VECTOR)
    np.testing.assert_allclose(run.times_s, np.cumsum(steps) / 1000)


def test_the_pointer_decides_between_vector_and_frame_time(tmp_path):
    steps = [0.0] + [50.0] * (FRAMES - 1)
    assert _read(tmp_path, FrameTime=40.0, FrameTimeVector=steps).times_s[1] == pytest.approx(0.04)
    run = _read(tmp_path, FrameTime=40.0, FrameTimeVector=steps, FrameIncrementPointer=VECTOR)
    assert run.times_s[1] == pytest.approx(0.05)


def test_a_first_increment_that_is_not_zero_does_not_delay_the_first_frame(tmp_path):
    run = _read(tmp_path, FrameTime=None, FrameTimeVector=[40.0] * FRAMES, FrameIncrementPointer=VECTOR)
    np.testing.assert_allclose(run.times_s, 0.04 * np.arange(FRAMES))


def test_a_vector_of_clock_times_is_recognized(tmp_path):
    clock = [1000.0 + 40.0 * k for k in range(FRAMES)]
    run = _read(tmp_path, FrameTime=None, FrameTimeVector=clock, FrameIncrementPointer=VECTOR)
    np.testing.assert_allclose(run.times_s, 0.04 * np.arange(FRAMES))
    assert "dicom.times_absolute" in {code for code, _ in run.warnings}


def test_slowly_growing_increments_are_no_clock(tmp_path):
    steps = [0.0] + [100.0 + k for k in range(FRAMES - 1)]
    run = _read(tmp_path, FrameTime=None, FrameTimeVector=steps, FrameIncrementPointer=VECTOR)
    np.testing.assert_allclose(run.times_s, np.cumsum(steps) / 1000)


def test_cine_rate_is_the_fall_back_and_display_rate_never(tmp_path):
    run = _read(tmp_path, FrameTime=None, CineRate=25, RecommendedDisplayFrameRate=10)
    assert run.times_s[1] == pytest.approx(0.04)
    assert "dicom.times_fallback" in {code for code, _ in run.warnings}
    with pytest.raises(DicomRunError) as caught:
        _read(tmp_path, FrameTime=None, RecommendedDisplayFrameRate=10)
    assert caught.value.code == "dicom.times_missing"


@pytest.mark.parametrize(
    ("vector", "code"),
    [([0.0, 40.0, 40.0], "dicom.times_count"), ([0.0] + [-40.0] * (FRAMES - 1), "dicom.times_invalid")],
)
def test_impossible_vectors_are_refused(tmp_path, vector, code):
    with pytest.raises(DicomRunError) as caught:
        _read(tmp_path, FrameTime=None, FrameTimeVector=vector, FrameIncrementPointer=VECTOR)
    assert caught.value.code == code
