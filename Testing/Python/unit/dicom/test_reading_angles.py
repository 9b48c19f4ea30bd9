import numpy as np
import pytest
from helpers.xa_objects import FRAMES, START_DEG, offsets, write_xa

from DSAReconLib.dicom import read_run
from DSAReconLib.errors import DicomRunError

TRUE = START_DEG + np.array(offsets())


def _codes(run):
    return {code for code, _ in run.warnings}


def _read(tmp_path, **attributes):
    return read_run(write_xa(tmp_path / "run.dcm", **attributes))


@pytest.mark.parametrize(
    ("base", "increments", "warning"),
    [
        (START_DEG, offsets(), None),
        (0.0, TRUE.tolist(), "dicom.absolute_angles"),
        (START_DEG, TRUE.tolist(), "dicom.absolute_angles"),
        (START_DEG, [0.0, *np.diff(TRUE).tolist()], "dicom.step_angles"),
        (START_DEG, [float(np.diff(TRUE)[0]), *np.diff(TRUE).tolist()], "dicom.step_angles"),
        (START_DEG, offsets()[1:], "dicom.increment_missing"),
    ],
    ids=["offsets", "absolute, base 0", "absolute, base repeated", "steps", "steps from the first", "n-1 offsets"],
)
def test_every_form_of_increments_gives_the_same_angles_and_says_what_it_assumed(tmp_path, base, increments, warning):
    run = _read(
        tmp_path, PositionerPrimaryAngle=base, PositionerPrimaryAngleIncrement=[round(i, 5) for i in increments]
    )
    np.testing.assert_allclose(run.geometry.primary_angle_deg, TRUE, atol=1e-3)
    expected = {warning} if warning else set()
    assert {code for code in _codes(run) if "angle" in code or "increment" in code} == expected


def test_one_increment_is_the_mean_step_with_a_warning(tmp_path):
    run = _read(tmp_path, PositionerPrimaryAngleIncrement=12.5, PositionerSecondaryAngleIncrement=0.0)
    np.testing.assert_allclose(run.geometry.primary_angle_deg, START_DEG + 12.5 * np.arange(FRAMES), atol=1e-9)
    assert "dicom.mean_increment" in _codes(run)


def test_secondary_angles_follow_their_own_vector(tmp_path):
    wobble = np.round(3 * np.sin(np.arange(FRAMES)), 4)
    run = _read(
        tmp_path, PositionerSecondaryAngle=20.0, PositionerSecondaryAngleIncrement=(wobble - wobble[0]).tolist()
    )
    np.testing.assert_allclose(run.geometry.secondary_angle_deg, 20 + wobble - wobble[0], atol=1e-6)
    np.testing.assert_allclose(run.geometry.primary_angle_deg, TRUE, atol=1e-3)


def test_a_constant_wobble_of_the_other_axis_is_no_list_of_steps(tmp_path):
    run = _read(tmp_path, PositionerSecondaryAngle=5.0, PositionerSecondaryAngleIncrement=[0.0] + [4.0] * (FRAMES - 1))
    np.testing.assert_allclose(run.geometry.secondary_angle_deg, [5.0] + [9.0] * (FRAMES - 1), atol=1e-6)


def test_a_small_secondary_base_is_read_like_the_primary_one(tmp_path):
    run = _read(
        tmp_path,
        PositionerPrimaryAngleIncrement=TRUE.tolist(),
        PositionerSecondaryAngle=2.0,
        PositionerSecondaryAngleIncrement=[2.0] * FRAMES,
    )
    np.testing.assert_allclose(run.geometry.secondary_angle_deg, 2.0, atol=1e-6)


def test_steps_that_speed_up_and_slow_down_are_still_steps(tmp_path):
    step = np.round(6 * np.sin(np.pi * (np.arange(39) + 0.5) / 39), 4)
    from helpers.xa_objects import stored_frames

    run = _read(
        tmp_path,
        pixels=stored_frames(40),
        PositionerPrimaryAngleIncrement=[0.0, *step.tolist()],
        PositionerSecondaryAngleIncrement=0.0,
    )
    np.testing.assert_allclose(run.geometry.primary_angle_deg[-1], START_DEG + step.sum(), atol=1e-3)


def test_angles_beyond_180_degrees_wrap_without_a_jump(tmp_path):
    wrapped = (120 + np.array(offsets()) + 180) % 360 - 180
    run = _read(tmp_path, PositionerPrimaryAngle=0.0, PositionerPrimaryAngleIncrement=np.round(wrapped, 4).tolist())
    assert run.geometry.scan_arc_deg == pytest.approx(offsets()[-1], abs=0.01)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"PositionerPrimaryAngleIncrement": None, "PositionerSecondaryAngleIncrement": None}, "dicom.angles_missing"),
        ({"PositionerPrimaryAngleIncrement": [0.0, 15.0, 30.0]}, "dicom.angles_count"),
        ({"PositionerPrimaryAngleIncrement": [*offsets(), 180.0]}, "dicom.angles_count"),
        ({"PositionerPrimaryAngleIncrement": [0.01 * k for k in range(FRAMES)]}, "dicom.arc_small"),
        ({"PositionerPrimaryAngleIncrement": [60.0 * k for k in range(FRAMES)]}, "dicom.arc_large"),
        ({"PositionerPrimaryAngle": None}, "dicom.angles_missing"),
        ({"PositionerSecondaryAngle": 80.0, "PositionerSecondaryAngleIncrement": offsets()}, "dicom.angles_range"),
    ],
)
def test_impossible_angles_are_refused_with_the_file_name(tmp_path, attributes, code):
    with pytest.raises(DicomRunError) as caught:
        _read(tmp_path, **attributes)
    assert caught.value.code == code
    assert "run.dcm" in caught.value.message
    assert caught.value.hint
