import contextlib
import os
import warnings

import numpy as np
import pytest
from helpers.realdata import real_data
from helpers.xa_objects import ROWS, compress, file_digest, stored_frames, write_xa

from DSAReconLib.dicom import find_runs, read_run
from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.progress import SilentProgress


def _refusal(path):
    with pytest.raises(DSAReconError) as caught:
        read_run(path)
    assert path.name in caught.value.message
    assert "Traceback" not in str(caught.value)
    return caught.value.code


def test_files_that_are_no_dicom_are_refused(tmp_path):
    (tmp_path / "text.txt").write_text("hello\n" * 100)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "zeros.dcm").write_bytes(bytes(4096))
    (tmp_path / "mark.dcm").write_bytes(bytes(128) + b"DICM")
    assert _refusal(tmp_path / "text.txt") == "dicom.not_dicom"
    assert _refusal(tmp_path / "empty.dcm") == "dicom.empty"
    assert _refusal(tmp_path / "zeros.dcm") == "dicom.not_dicom"
    assert _refusal(tmp_path / "mark.dcm").startswith("dicom.")
    assert _refusal(tmp_path / "missing.dcm") == "dicom.not_found"
    assert _refusal(tmp_path) == "dicom.is_folder"


@pytest.mark.skipif(os.name == "nt", reason="named pipes are a POSIX thing")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert _refusal(tmp_path / "pipe") == "dicom.unreadable"
    assert find_runs([tmp_path]) == []


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.3, 0.6, 0.95, 0.9999])
def test_a_file_cut_anywhere_is_refused(tmp_path, share):
    whole = write_xa(tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: int(share * len(whole))])
    assert _refusal(tmp_path / "cut.dcm").startswith("dicom.")


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_compressed_file_cut_within_its_frames_is_refused_by_header_and_fragments_alone(tmp_path, share):
    whole = compress(write_xa(tmp_path / "a.dcm"), tmp_path / "whole.dcm", "1.2.840.10008.1.2.5").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: int(share * len(whole))])
    assert _refusal(tmp_path / "cut.dcm") == "dicom.truncated"
    assert find_runs([tmp_path / "cut.dcm"])[0].refusal_code == "dicom.truncated"


def test_damaged_fragments_are_refused(tmp_path):
    path = compress(write_xa(tmp_path / "a.dcm"), tmp_path / "run.dcm", "1.2.840.10008.1.2.5")
    data = bytearray(path.read_bytes())
    data[-3000:-2900] = bytes(100)
    data[-20000:-16000] = bytes(4000)
    path.write_bytes(bytes(data))
    assert _refusal(path).startswith("dicom.")


def test_random_damage_never_escapes_as_another_error(tmp_path):
    whole = write_xa(tmp_path / "whole.dcm").read_bytes()
    rng = np.random.default_rng(0)
    target = tmp_path / "damaged.dcm"
    for _ in range(60):
        data = bytearray(whole)
        for position in rng.integers(132, 2200, 12):
            data[position] = rng.integers(256)
        target.write_bytes(bytes(data))
        with contextlib.suppress(DSAReconError):
            read_run(target)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "dicom.modality"),
        ({"Modality": "RF", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.2"}, "dicom.modality"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.1"}, "dicom.modality"),
        ({"NumberOfFrames": 13, "PositionerPrimaryAngleIncrement": 15.0}, "dicom.frame_count"),
        ({"NumberOfFrames": 1}, "dicom.single_frame"),
        ({"NumberOfFrames": None}, "dicom.single_frame"),
        ({"Rows": None}, "dicom.pixel_format"),
        ({"Rows": 2 * ROWS}, "dicom.frame_count"),
        ({"SamplesPerPixel": 3}, "dicom.pixel_format"),
        ({"PixelData": None}, "dicom.no_pixels"),
    ],
)
def test_objects_that_are_no_rotational_run_say_why(tmp_path, attributes, code):
    assert _refusal(write_xa(tmp_path / "run.dcm", **attributes)) == code


def test_empty_frames_are_refused(tmp_path):
    assert _refusal(write_xa(tmp_path / "run.dcm", np.zeros_like(stored_frames()))) == "dicom.empty_frames"


def test_unreadable_values_count_as_missing(tmp_path):
    path = write_xa(tmp_path / "run.dcm", DistanceSourceToPatient="750.0", Manufacturer="SIEMENS")
    path.write_bytes(path.read_bytes().replace(b"750.0", b"75x.0"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = read_run(path)
    np.testing.assert_allclose(run.geometry.sod_mm, 785)


def test_reading_leaves_file_and_patient_alone(tmp_path):
    path = write_xa(tmp_path / "run.dcm")
    before = file_digest(path)
    run = read_run(path)
    assert file_digest(path) == before
    shown = repr(run.attributes) + repr(run.warnings) + run.patient_key + repr(find_runs([path]))
    assert "Doe" not in shown
    assert "4711" not in shown
    assert "1950" not in shown
    other = read_run(write_xa(tmp_path / "other.dcm", PatientID="SOMEBODY ELSE"))
    assert other.patient_key != run.patient_key


def test_reading_can_be_cancelled_between_frames(tmp_path):
    class Impatient(SilentProgress):
        calls = 0

        def check_cancelled(self):
            self.calls += 1
            if self.calls > 3:
                raise JobCancelled

    progress = Impatient()
    with pytest.raises(JobCancelled):
        read_run(write_xa(tmp_path / "run.dcm"), progress=progress)
    assert progress.calls == 4


@pytest.mark.realdata
def test_every_real_file_is_refused_with_its_reason(capfd):
    summaries = find_runs([real_data("xa_dicom")])
    codes = {summary.path.name: summary.refusal_code for summary in summaries}
    assert codes.pop("rubo_0002_XA_96f_jpeg_baseline.dcm") == "dicom.angles_missing"
    assert codes.pop("rubo_0015_RF_GE_DRS.dcm") == "dicom.modality"
    assert len(codes) == 8
    assert set(codes.values()) == {"dicom.single_frame"}
    out, err = capfd.readouterr()
    assert out == err == ""
