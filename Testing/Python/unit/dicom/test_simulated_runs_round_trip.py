import numpy as np
import pytest
from helpers.cases import simulated

from DSAReconLib.acquisition import subtract
from DSAReconLib.dicom import find_runs, load_pair
from DSAReconLib.dicom.xa_writer import ANGLE_FORMS, XaEncoding
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation.writing import write_case

OFFSET = {"principal_point_offset_px": (3.5, -2.0)}
SWING = {"secondary_angle_deg": 10.0, "secondary_swing_deg": 4.0}


def _round_trip(tmp_path, *, one_object=False, changes=None, **encoding):
    case = simulated(views=24, **(changes or {}))
    write_case(tmp_path, case, XaEncoding(**encoding), one_object=one_object)
    (tmp_path / "truth" / "README").write_text("no image")
    return case, load_pair([tmp_path])


@pytest.mark.parametrize("angles", ANGLE_FORMS)
@pytest.mark.parametrize("changes", [{}, {**OFFSET, **SWING}], ids=["plain", "decentred, tilted"])
def test_poses_survive_every_form_of_angles(tmp_path, angles, changes):
    if angles == "mean_step" and changes:
        pytest.skip("one mean step cannot hold a swing")
    case, (mask, fill) = _round_trip(tmp_path, changes=changes, angles=angles)
    for run, truth in ((mask, case.mask_run), (fill, case.fill_run)):
        assert run.geometry.isclose(truth.geometry, 1e-3)
        np.testing.assert_allclose(run.times_s, truth.times_s, atol=1e-6)
        np.testing.assert_array_equal(run.intensity, truth.intensity)


@pytest.mark.parametrize("pixels", ["LIN", "LOG"])
@pytest.mark.parametrize("times", ["frame_time", "frame_time_vector"])
@pytest.mark.parametrize("transfer_syntax", ["explicit", "implicit", "rle", "jpeg-ls"])
def test_frames_survive_every_encoding(tmp_path, pixels, times, transfer_syntax):
    case, (mask, fill) = _round_trip(tmp_path, pixels=pixels, times=times, transfer_syntax=transfer_syntax)
    tolerance = 0.003 if pixels == "LOG" else 0
    for run, truth in ((mask, case.mask_run), (fill, case.fill_run)):
        np.testing.assert_allclose(run.intensity, truth.intensity, rtol=tolerance, atol=1 if tolerance else 0)
        np.testing.assert_allclose(run.times_s, truth.times_s, atol=1e-6)


@pytest.mark.parametrize("pixels", ["LIN", "LOG"])
def test_mask_and_fill_in_one_object_give_the_same_line_integrals(tmp_path, pixels):
    case, (mask, fill) = _round_trip(tmp_path, one_object=True, pixels=pixels)
    assert fill.geometry.isclose(case.fill_run.geometry, 1e-3)
    result, expected = subtract(mask, fill), subtract(case.mask_run, case.fill_run)
    difference = (result.line_integrals - expected.line_integrals) / np.sqrt(expected.variance)
    assert np.sqrt(np.mean(difference**2)) < 0.2


def test_the_truth_folder_beside_the_runs_is_passed_over(tmp_path):
    _round_trip(tmp_path)
    assert sorted(summary.path.name for summary in find_runs([tmp_path])) == ["fill.dcm", "mask.dcm"]


def test_what_holds_for_both_runs_is_said_once(tmp_path):
    case = simulated(views=24)
    write_case(tmp_path, case, XaEncoding())
    progress = SilentProgress()
    load_pair([tmp_path], overrides={"EstimatedRadiographicMagnificationFactor": 1.2}, progress=progress)
    assert [code for code, _ in progress.warnings] == ["geometry.magnification"]
