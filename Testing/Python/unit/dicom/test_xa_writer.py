import dataclasses
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from helpers.cases import simulated

from DSAReconLib.dicom.reader import read_run, read_runs
from DSAReconLib.dicom.xa_writer import (
    ANGLE_FORMS,
    XaEncoding,
    XaIdentity,
    XaRun,
    write_xa_pair,
    write_xa_run,
)
from DSAReconLib.simulation.writing import xa_runs

IDENTITY = XaIdentity(study_key="test", series_number=2, series_description="Rotation test fill")


@pytest.fixture(scope="module")
def runs():
    case = simulated(views=16, secondary_angle_deg=9.0, secondary_swing_deg=2.0, principal_point_offset_px=(2.5, -3.0))
    return (*xa_runs(case), case)


def complaints(path):
    """Errors that dciodvfy finds; skips the test where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    result = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).splitlines()
    assert "XAImage" in lines
    return [line for line in lines if line.startswith("Error")]


ENCODINGS = [
    XaEncoding(),
    XaEncoding(pixels="LOG", angles="absolute", times="frame_time_vector"),
    XaEncoding(angles="absolute_with_base", transfer_syntax="implicit"),
    XaEncoding(angles="steps", times="frame_time_vector", transfer_syntax="rle"),
    XaEncoding(pixels="LOG", angles="mean_step", distances=False),
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.pixels}-{e.angles}-{e.times}-{e.transfer_syntax}")
def test_objects_are_valid_in_every_form(tmp_path, runs, encoding):
    write_xa_run(tmp_path / "run.dcm", runs[1], IDENTITY, encoding)
    assert complaints(tmp_path / "run.dcm") == []


def test_a_mask_and_fill_object_is_valid(tmp_path, runs):
    write_xa_pair(tmp_path / "run.dcm", runs[0], runs[1], IDENTITY)
    assert complaints(tmp_path / "run.dcm") == []


@pytest.mark.parametrize("form", ANGLE_FORMS[:4])
def test_every_form_of_angles_says_the_same(tmp_path, runs, form):
    write_xa_run(tmp_path / "run.dcm", runs[1], IDENTITY, XaEncoding(angles=form))
    read = read_run(tmp_path / "run.dcm")
    assert read.geometry.isclose(runs[2].fill_run.geometry, 1e-5)
    np.testing.assert_allclose(read.times_s, runs[2].fill_run.times_s, atol=1e-6)


@pytest.mark.parametrize("form", ANGLE_FORMS[:3])
def test_angles_beyond_half_a_turn_are_written_within_it(tmp_path, runs, form):
    run = dataclasses.replace(runs[1], primary_deg=runs[1].primary_deg + 150.0)
    write_xa_run(tmp_path / "run.dcm", run, IDENTITY, XaEncoding(angles=form))
    dataset = pydicom.dcmread(tmp_path / "run.dcm", stop_before_pixels=True)
    assert abs(dataset.PositionerPrimaryAngle) <= 180
    read = read_run(tmp_path / "run.dcm").geometry.primary_angle_deg
    difference = (read - run.primary_deg + 180) % 360 - 180
    np.testing.assert_allclose(difference, 0, atol=1e-5)


def test_pixels_come_back_exactly_as_lin_and_within_a_step_as_log(tmp_path, runs):
    expected = runs[2].fill_run.intensity
    write_xa_run(tmp_path / "lin.dcm", runs[1], IDENTITY)
    write_xa_run(tmp_path / "log.dcm", runs[1], IDENTITY, XaEncoding(pixels="LOG"))
    np.testing.assert_array_equal(read_run(tmp_path / "lin.dcm").intensity, expected)
    log = read_run(tmp_path / "log.dcm").intensity
    assert np.all(np.abs(log - expected) <= 0.002 * expected + 0.5)


def test_both_runs_come_back_from_one_object(tmp_path, runs):
    write_xa_pair(tmp_path / "run.dcm", runs[0], runs[1], IDENTITY)
    mask, fill = read_runs(tmp_path / "run.dcm")
    np.testing.assert_array_equal(mask.intensity, runs[2].mask_run.intensity)
    np.testing.assert_array_equal(fill.intensity, runs[2].fill_run.intensity)
    assert fill.times_s[0] == 0


def test_decimal_strings_keep_to_sixteen_characters(tmp_path, runs):
    write_xa_run(tmp_path / "run.dcm", runs[1], IDENTITY)
    dataset = pydicom.dcmread(tmp_path / "run.dcm", stop_before_pixels=True)
    values = [
        str(value)
        for element in dataset
        if element.VR == "DS"
        for value in (element.value if element.VM > 1 else [element.value])
    ]
    assert len(values) > 30
    assert max(len(value) for value in values) <= 16
    assert dataset["FieldOfViewRotation"].value == 0


def test_uids_depend_on_study_and_series_only():
    again = XaIdentity(study_key="test", series_number=2)
    other = XaIdentity(study_key="test", series_number=1)
    assert IDENTITY.uid("study") == again.uid("study") == other.uid("study")
    assert IDENTITY.uid("series 2") != other.uid("series 1")


def test_writing_twice_gives_the_same_bytes(tmp_path, runs):
    for name in ("a.dcm", "b.dcm"):
        write_xa_run(tmp_path / name, runs[1], IDENTITY)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_a_centered_isocenter_needs_no_detector_module(tmp_path):
    mask, _ = xa_runs(simulated(views=8))
    write_xa_run(tmp_path / "run.dcm", mask, IDENTITY)
    dataset = pydicom.dcmread(tmp_path / "run.dcm", stop_before_pixels=True)
    assert "PositionOfIsocenterProjection" not in dataset
    assert "ContrastBolusAgent" not in dataset


def test_unknown_forms_and_unequal_pairs_are_refused(tmp_path, runs):
    with pytest.raises(ValueError, match="angles"):
        XaEncoding(angles="radians")
    short = XaRun(
        intensity=runs[0].intensity[:4],
        primary_deg=runs[0].primary_deg[:4],
        secondary_deg=runs[0].secondary_deg[:4],
        times_s=runs[0].times_s[:4],
        sod_mm=750.0,
        sdd_mm=1200.0,
        detector_spacing_mm=(1.0, 1.0),
    )
    with pytest.raises(ValueError, match="same shape"):
        write_xa_pair(tmp_path / "run.dcm", short, runs[1], IDENTITY)
