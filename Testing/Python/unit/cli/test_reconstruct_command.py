"""``dsarecon reconstruct``: options, and one clear message for everything that can go wrong."""

import argparse
import contextlib
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from helpers import method_doubles

from DSAReconLib.cli import reconstruct
from DSAReconLib.cli.main import main
from DSAReconLib.errors import ConfigError
from DSAReconLib.io.result_folder import open_result
from DSAReconLib.methods.registry import METHODS

DOUBLE = ["--method", "double", "--size", "16", "--registration", "none", "--no-report"]


@pytest.fixture(autouse=True)
def _doubles():
    method_doubles.install()
    yield
    METHODS.pop(method_doubles.NAME)


@pytest.fixture
def case(tiny_case, tmp_path):
    """A copy of the tiny case that a test may damage."""
    folder = tmp_path / "case"
    folder.mkdir()
    for name in ("mask.dcm", "fill.dcm"):
        shutil.copy(tiny_case / name, folder)
    return folder


def _job(*arguments):
    parser = argparse.ArgumentParser()
    reconstruct.add_arguments(parser)
    return reconstruct.job_from_arguments(parser.parse_args(arguments))


def _edit(path, **changes):
    dataset = pydicom.dcmread(path)
    for name, value in changes.items():
        if value is None:
            dataset.pop(name, None)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def _refused(capsys, case, out, *options, code=1):
    """The command fails with one message and leaves no result; returns what it said."""
    assert main(["reconstruct", str(case), "--out", str(out), *DOUBLE, *options]) == code
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "Traceback" not in captured.err
    assert captured.out == ""
    if out.parent.is_dir():
        left = {path.name for path in out.parent.iterdir() if path.name.strip(".").startswith(out.name)}
        assert left <= ({f"{out.name}.checkpoint"} if "--resume" in captured.err else set())
    return captured.err


def test_result_folder_is_the_only_output(case, tmp_path, capsys):
    assert (
        main(["reconstruct", str(case), "--out", str(tmp_path / "out"), *DOUBLE, "--views", "6", "--times", "4"]) == 0
    )
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    result = open_result(tmp_path / "out")
    assert len(result.selected_views) == 6
    assert len(result.record["sequence_times_s"]) == 4


def test_options_become_the_job():
    job = _job(
        *("--fill", "f", "--mask", "m", "--out", "o", "--method", "tiavox", "--preset", "fast", "--device", "cpu"),
        *("--view-indices", "0:9:3", "--set", "seed=3", "a=b", "--spacing", "0.5", "--seed", "7", "--resume"),
        *("--header", "DistanceSourceToPatient=750"),
    )
    assert (job.fill, job.mask, job.out, job.method, job.preset, job.device) == ("f", "m", "o", "tiavox", "fast", "cpu")
    assert (job.view_indices, job.spacing_mm, job.seed, job.resume) == ("0:9:3", 0.5, 7, True)
    assert job.overrides == {"seed": "3", "a": "b"}
    assert job.header == {"DistanceSourceToPatient": "750"}


def test_config_file_gives_the_defaults_and_options_win(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps({"method": "fdk", "views": 10, "overrides": {"a": 1, "b": 2}}))
    job = _job("x", "--out", "o", "--config", str(tmp_path / "job.json"), "--views", "20", "--set", "b=3")
    assert (job.method, job.views, job.overrides) == ("fdk", 20, {"a": 1, "b": "3"})


def test_run_record_repeats_a_result(case, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    assert main(["reconstruct", str(case), "--out", str(first), *DOUBLE, "--views", "5", "--set", "seed=9"]) == 0
    assert main(["reconstruct", str(case), "--out", str(again), "--config", str(first / "run.json")]) == 0
    assert open_result(first).record["fingerprint"] == open_result(again).record["fingerprint"]
    volumes = [open_result(folder).load_reconstruction().volume.coefficients for folder in (first, again)]
    np.testing.assert_array_equal(*volumes)


@pytest.mark.parametrize("text", ["{", "[1]", '{"schema_version": 1}'])
def test_unusable_config_file_is_refused(tmp_path, text):
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(ConfigError):
        _job("x", "--out", "o", "--config", str(tmp_path / "job.json"))


def test_truncated_file_is_refused(case, tmp_path, capsys):
    content = (case / "fill.dcm").read_bytes()
    (case / "fill.dcm").write_bytes(content[: len(content) // 2])
    assert "fill.dcm" in _refused(capsys, case, tmp_path / "out")


def test_single_frame_is_refused(case, tmp_path, capsys):
    dataset = pydicom.dcmread(case / "fill.dcm")
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // int(dataset.NumberOfFrames)]
    dataset.NumberOfFrames = 1
    dataset.save_as(case / "fill.dcm")
    _refused(capsys, case, tmp_path / "out")


def test_wrong_modality_is_refused(case, tmp_path, capsys):
    _edit(case / "fill.dcm", Modality="CT", SOPClassUID=pydicom.uid.CTImageStorage)
    _refused(capsys, case, tmp_path / "out")


def test_missing_angles_are_refused(case, tmp_path, capsys):
    _edit(case / "fill.dcm", PositionerPrimaryAngle=None, PositionerPrimaryAngleIncrement=None)
    assert "fill.dcm" in _refused(capsys, case / "fill.dcm", tmp_path / "out")


def test_runs_of_different_studies_are_refused(case, tmp_path, capsys):
    _edit(case / "mask.dcm", StudyInstanceUID=pydicom.uid.generate_uid())
    assert "different stud" in _refused(capsys, case, tmp_path / "out")


def test_folder_without_dicom_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "No DICOM file" in _refused(capsys, tmp_path / "empty", tmp_path / "out")


def test_path_that_does_not_exist_is_refused(tmp_path, capsys):
    assert "nowhere" in _refused(capsys, tmp_path / "nowhere", tmp_path / "out")


def test_unknown_parameter_is_wrong_usage(case, tmp_path, capsys):
    assert "no parameter 'speed'" in _refused(capsys, case, tmp_path / "out", "--set", "speed=9", code=2)


def test_result_in_a_place_that_cannot_be_written_is_refused(case, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "could not be written" in _refused(capsys, case, tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused(case, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "could not be written" in _refused(capsys, case, tmp_path / "locked" / "out")


@contextlib.contextmanager
def _tiny_disk(folder):
    """Mount a file system of 200 kB on ``folder``; skip where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_said_and_leaves_no_result(case, tmp_path, capsys):
    disk = tmp_path / "disk"
    with _tiny_disk(disk):
        (disk / "filler").write_bytes(b"0" * 150_000)
        assert "disk is full" in _refused(capsys, case, disk / "out", "--set", "steps=1", "--size", "64")


def test_full_disk_at_the_end_keeps_the_checkpoint(case, tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("DSAReconLib.io.result_folder.write_gaussians", full)
    (tmp_path / "disk").mkdir()
    message = _refused(capsys, case, tmp_path / "disk" / "out")
    assert "disk is full" in message
    assert "go on with --resume" in message


def test_running_out_of_memory_is_said_and_leaves_nothing(case, tmp_path, capsys):
    (tmp_path / "results").mkdir()
    message = _refused(capsys, case, tmp_path / "results" / "out", "--set", "behavior=memory")
    assert "memory of this machine" in message
    assert "--size" in message


def test_limited_address_space_is_refused_before_the_work(case, tmp_path):
    limit = 6 << 30

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    command = [sys.executable, "-m", "DSAReconLib", "reconstruct", str(case), "--out", str(tmp_path / "out")]
    command += ["--method", "tiavox", "--size", "1024", "--device", "cpu"]
    root = str(Path(__file__).parents[4])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert "needs at least" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case"]


def _write_table(path, column_px):
    angles = np.linspace(-110, 110, 23)
    path.write_text("primary_deg,column_px\n" + "".join(f"{angle},{column_px}\n" for angle in angles))
    return path


def test_a_table_of_geometry_corrections_moves_the_poses_and_is_asked_for_again(case, tmp_path, capsys):
    table = _write_table(tmp_path / "sag.csv", 2.0)
    assert main(["reconstruct", str(case), "--out", str(tmp_path / "plain"), *DOUBLE]) == 0
    assert (
        main(["reconstruct", str(case), "--out", str(tmp_path / "moved"), *DOUBLE, "--correct-geometry", str(table)])
        == 0
    )
    plain, moved = (open_result(tmp_path / name) for name in ("plain", "moved"))
    shift = [result.geometry.project_points(np.zeros((1, 3)))[0][0, 0] for result in (plain, moved)]
    np.testing.assert_allclose(shift[1] - shift[0], [0, 2], atol=1e-6)
    assert any("sag.csv" in message for _, message in moved.record["warnings"])
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "moved"), str(case)]) == 1
    assert "--correct-geometry" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "moved"), str(case), "--correct-geometry", str(table), "--quiet"]) == 0
    repeat = [
        "reconstruct",
        str(case),
        "--config",
        str(tmp_path / "moved" / "run.json"),
        "--out",
        str(tmp_path / "again"),
    ]
    assert main(repeat) > 0
    assert "--correct-geometry" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--correct-geometry", "nowhere.csv"], "nowhere.csv"),
        (["--header", "DistanceSourceToPatinet=750"], "DistanceSourceToPatinet"),
        (["--header", "DistanceSourceToPatient=far"], "far"),
    ],
)
def test_wrong_corrections_name_the_option(case, tmp_path, capsys, arguments, words):
    assert main(["reconstruct", str(case), "--out", str(tmp_path / "out"), *DOUBLE, *arguments]) in (1, 2)
    message = capsys.readouterr().err
    assert words in message
    assert arguments[0] in message
    assert not (tmp_path / "out").exists()
