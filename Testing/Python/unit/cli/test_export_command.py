"""``dsarecon export``: what it writes, prints and refuses."""

import argparse
import io
import shutil

import pydicom
import pytest
from helpers.result_exports import FILL_UID, MASK_UID, PATIENT_NAME, complaints, write_small_result, write_sources

from DSAReconLib.cli import export
from DSAReconLib.cli.console import Console
from DSAReconLib.cli.main import main
from DSAReconLib.errors import ConfigError, ResourceError, ResultError

OBJECTS = ["arrival_time.dcm", "attenuation", "key_views.dcm", "movie.dcm", "vessel_mask.dcm", "vessel_surface.dcm"]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A result folder and its sources."""
    base = tmp_path_factory.mktemp("export")
    return write_small_result(base / "result"), write_sources(base / "source")


def run(result, *options):
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    output = io.StringIO()
    console = Console(quiet=True, stdout=output)
    assert export.run(parser.parse_args([str(result), *map(str, options)]), console) == 0
    return output.getvalue().splitlines(), console


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_panel_s_command_line_writes_every_object(case, tmp_path, capfd):
    pytest.importorskip("highdicom")
    result, source = case
    out = tmp_path / "dicom"
    files = [str(source / "mask.dcm"), str(source / "fill.dcm")]
    assert main(["export", str(result), "--dicom", str(out), "--source", *files]) == 0
    assert names(out) == OBJECTS
    captured = capfd.readouterr()
    assert captured.out.splitlines()[0] == str(out / "attenuation" / "time_000.dcm")
    assert len(captured.out.splitlines()) == 8
    assert "movie.dcm" in captured.err
    for word in PATIENT_NAME.split("^"):
        assert word not in captured.out + captured.err


def test_a_folder_that_the_user_made_is_filled_but_never_emptied(case, tmp_path):
    pytest.importorskip("highdicom")
    result, source = case
    out = tmp_path / "dicom"
    out.mkdir()
    run(result, "--dicom", out, "--source", source, "--times", 1)
    assert names(out / "attenuation") == ["time_000.dcm"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ResultError, match="not empty") as caught:
        run(result, "--dicom", out, "--source", source)
    assert "--overwrite" in caught.value.hint
    run(result, "--dicom", out, "--source", source, "--times", 2, "--overwrite")
    assert len(names(out / "attenuation")) == 2
    assert (out / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.doc").write_text("x")
    with pytest.raises(ResultError, match="not empty") as caught:
        run(result, "--dicom", other, "--source", source, "--overwrite")
    assert "--overwrite" not in caught.value.hint
    assert names(other) == ["thesis.doc"]


def test_copies_need_no_source(case, tmp_path):
    result, _ = case
    printed, console = run(
        result,
        *("--nrrd", tmp_path / "volumes", "--stl", tmp_path / "v.stl", "--ply", tmp_path / "g.ply"),
        *("--movie", tmp_path / "films" / "run.gif"),
    )
    for copy, original in (("v.stl", "vessels.stl"), ("g.ply", "gaussians.ply")):
        assert (tmp_path / copy).read_bytes() == (result / original).read_bytes()
    assert "attenuation.seq.nrrd" in names(tmp_path / "volumes")
    assert (tmp_path / "films" / "run.gif").read_bytes().startswith(b"GIF8")
    assert names(tmp_path / "films") == ["run.gif"]
    assert printed[-1] == str(tmp_path / "films" / "run.gif")
    assert console.result == str(tmp_path / "volumes")


def test_dicom_without_source_explains_why_it_is_needed(case, tmp_path):
    with pytest.raises(ConfigError, match="runs that the result was made from") as caught:
        run(case[0], "--dicom", tmp_path / "out")
    assert "--source" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [((), "Nothing to export"), (("--movie", "x.avi"), "suffix"), (("--stl", "x.stl", "--times", "0"), "at least 1")],
)
def test_wrong_options_are_refused_before_any_work(case, options, message):
    with pytest.raises(ConfigError, match=message):
        run(case[0], *options)


def test_other_sources_end_with_an_error_that_names_the_objects(case, tmp_path, capfd):
    pytest.importorskip("highdicom")
    other = write_sources(tmp_path / "other", SOPInstanceUID="1.2.3.99")
    code = main(["export", str(case[0]), "--dicom", str(tmp_path / "out"), "--source", str(other)])
    assert code == 1
    message = capfd.readouterr().err
    assert MASK_UID in message
    assert FILL_UID in message
    assert "--source" in message
    assert not (tmp_path / "out").exists()


def test_without_highdicom_the_message_says_what_to_install(case, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    code = main(["export", str(case[0]), "--dicom", str(tmp_path / "out"), "--source", str(case[1])])
    assert code == 1
    assert "pip install dsarecon[dicom]" in capfd.readouterr().err


def test_a_damaged_result_is_no_export(case, tmp_path):
    pytest.importorskip("highdicom")
    damaged = shutil.copytree(case[0], tmp_path / "result")
    (damaged / "model.npz").write_bytes(b"cut")
    with pytest.raises(ResultError, match="damaged"):
        run(damaged, "--dicom", tmp_path / "out", "--source", case[1])
    assert names(tmp_path) == ["result"]


@pytest.mark.slow
def test_a_simulated_case_goes_from_runs_to_valid_objects(tiny_case, tmp_path):
    pytest.importorskip("highdicom")
    result, out = tmp_path / "result", tmp_path / "dicom"
    assert main(["reconstruct", str(tiny_case), "--method", "fdk", "--out", str(result), "--quiet"]) == 0
    assert main(["export", str(result), "--source", str(tiny_case), "--dicom", str(out), "--quiet"]) == 0
    found = sorted(out.rglob("*.dcm"))
    assert [complaint for path in found for complaint in complaints(path)] == []
    fill = pydicom.dcmread(tiny_case / "fill.dcm", stop_before_pixels=True)
    for path in found:
        assert pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID == fill.StudyInstanceUID


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(case, tmp_path):
    pytest.importorskip("highdicom")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="could not be written"):
        run(case[0], "--dicom", tmp_path / "file" / "dicom", "--source", case[1])
    with pytest.raises(ResultError, match="is a file"):
        run(case[0], "--dicom", tmp_path / "file", "--source", case[1])
    assert names(tmp_path) == ["file"]
