import argparse
import json

import numpy as np
import pytest
from helpers.xa_objects import stored_frames, write_xa

from DSAReconLib.cli import inspect as inspect_command
from DSAReconLib.errors import DicomRunError
from DSAReconLib.progress import SilentProgress


class _Console:
    def __init__(self):
        self.progress = SilentProgress()
        self.text = ""

    def out(self, text):
        self.text += text + "\n"


def _run(*words):
    parser = argparse.ArgumentParser()
    inspect_command.add_arguments(parser)
    console = _Console()
    try:
        code = inspect_command.run(parser.parse_args([str(word) for word in words]), console)
    except DicomRunError as error:
        return error, console.text
    return code, console.text


@pytest.fixture
def folder(tmp_path):
    pixels = stored_frames()
    write_xa(tmp_path / "mask.dcm", pixels, SeriesDescription="Mask", AcquisitionTime="100000")
    write_xa(
        tmp_path / "fill.dcm",
        pixels - np.uint16(300),
        SeriesDescription="Fill",
        Manufacturer="SIEMENS",
        DistanceSourceToPatient=None,
        EstimatedRadiographicMagnificationFactor=1.6,
    )
    write_xa(tmp_path / "still.dcm", PositionerPrimaryAngleIncrement=None, PositionerSecondaryAngleIncrement=None)
    return tmp_path


def test_runs_pairs_warnings_and_refusals_are_listed(folder):
    code, text = _run(folder)
    assert code == 0
    assert "mask mask.dcm  +  fill fill.dcm" in text
    assert "[geometry.sod_from_magnification]" in text
    assert "still.dcm: Positioner Primary Angle Increment" in text
    table = [line for line in text.splitlines() if "x 32" in line or "primary" in line]
    assert len(table) == 3
    assert len({line.index("24 x 32") + 7 for line in table[1:]} | {table[0].index("size") + 4}) == 1


def test_json_holds_the_same(folder):
    code, text = _run(folder, "--json")
    assert code == 0
    report = json.loads(text)
    assert {run["role"] for run in report["runs"]} == {"mask", "fill"}
    assert report["pairs"][0]["fill"]["path"].endswith("fill.dcm")
    assert report["refused"][0]["code"] == "dicom.angles_missing"
    assert report["pairing_problem"] is None


def test_runs_that_do_not_pair_are_listed_with_the_problem(folder):
    code, text = _run(folder / "mask.dcm", "--json")
    assert code == 0
    assert json.loads(text)["pairing_problem"]["code"] == "acquisition.missing_run"
    assert "Pairs: none." in _run(folder / "mask.dcm")[1]


def test_no_run_at_all_fails_with_the_reason(folder, tmp_path_factory):
    error, text = _run(folder / "still.dcm")
    assert error.code == "dicom.angles_missing"
    assert "still.dcm" in text
    error, text = _run(folder / "missing.dcm", "--json")
    assert error.code == "dicom.not_found"
    assert json.loads(text)["runs"] == []
    empty = tmp_path_factory.mktemp("empty")
    assert _run(empty)[0].code == "dicom.none_found"


def test_angles_around_zero_have_no_sign(tmp_path):
    pixels = stored_frames()
    tilt = [0.0] + [-0.02] * (len(pixels) - 1)
    write_xa(tmp_path / "run.dcm", pixels, PositionerSecondaryAngle=-0.0, PositionerSecondaryAngleIncrement=tilt)
    text = _run(tmp_path)[1]
    assert "-0.0" not in text
    assert "0.0 .. 0.0" in text
