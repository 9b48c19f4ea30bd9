import argparse
import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

from DSAReconLib.cli import simulate
from DSAReconLib.errors import ConfigError, DependencyError, ResourceError, ResultError
from DSAReconLib.io.truth import read_truth
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation import FLOW_MODELS, PRESETS


class FakeConsole:
    def __init__(self):
        self.progress, self.lines, self.result = SilentProgress(), [], None

    def out(self, text):
        self.lines.append(text)

    def note(self, text):
        pass


def parsed(*words):
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return parser.parse_args(words)


def test_a_case_folder_holds_both_runs_and_the_truth(tmp_path):
    out = tmp_path / "case"
    console = FakeConsole()
    args = parsed("--out", str(out), "--preset", "tiny", "--views", "8", "--detector", "32", "--secondary", "5")
    assert simulate.run(args, console) == 0
    assert console.lines == [str(out)]
    assert sorted(path.name for path in out.iterdir()) == ["fill.dcm", "mask.dcm", "truth"]
    mask, fill = (pydicom.dcmread(out / name, stop_before_pixels=True) for name in ("mask.dcm", "fill.dcm"))
    assert mask.StudyInstanceUID == fill.StudyInstanceUID
    assert mask.SeriesInstanceUID != fill.SeriesInstanceUID
    assert (fill.NumberOfFrames, fill.Rows, fill.PositionerSecondaryAngle) == (8, 32, 5)
    assert read_truth(out / "truth").facts["config"]["seed"] == 0


def test_writing_again_replaces_the_case_and_other_files_stay(tmp_path):
    words = ["--out", str(tmp_path), "--preset", "tiny", "--views", "6", "--detector", "16"]
    simulate.run(parsed(*words), FakeConsole())
    (tmp_path / "notes.txt").write_text("mine")
    simulate.run(parsed(*words, "--seed", "4", "--one-object"), FakeConsole())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "run.dcm", "truth"]
    assert json.loads((tmp_path / "truth" / "truth.json").read_text())["config"]["seed"] == 4


def test_options_change_the_preset():
    config = simulate.config_of(
        parsed(
            *("--out", "x", "--preset", "aneurysm", "--flow", "trapping", "--noise", "5000", "--wobble", "0.5"),
            *("--misregistration", "0.4", "--arc", "190", "--detector", "512", "--isocenter-offset", "1", "2", "3"),
            *("--principal-point-offset", "4", "-6", "--beam-hardening", "--head-ct", "none"),
        )
    )
    assert (config.tree, config.flow.model, config.photons, config.arc_deg) == ("aneurysm", "trapping", 5000, 190)
    assert (config.wobble_mm, config.misregistration_mm, config.background) == (0.5, 0.4, "none")
    assert config.detector_shape == (512, 512)
    assert config.detector_spacing_mm * 512 == pytest.approx(256 * 1.1)
    assert config.isocenter_offset_mm == (1, 2, 3)
    assert config.principal_point_offset_px == (4, -6)
    assert config.beam_hardening


def test_layered_contrast_and_roll_reach_the_case_through_the_command_line(tmp_path):
    small = ("--preset", "tiny", "--views", "6", "--detector", "32", "--scale", "1.5")
    for name, more in (("plain", ()), ("layered", ("--flow", "layering", "--roll", "0.4"))):
        simulate.run(parsed("--out", str(tmp_path / name), *small, *more), FakeConsole())
    plain, layered = (read_truth(tmp_path / name / "truth") for name in ("plain", "layered"))
    assert layered.facts["config"]["flow"]["model"] == "layering"
    assert layered.facts["config"]["roll_deg"] == 0.4
    assert layered.geometry != plain.geometry
    ratio = layered.volume.coefficients.max(0) / np.maximum(plain.volume.coefficients.max(0), 1e-9)
    assert ratio.max() > 1.2
    assert layered.volume.coefficients.sum() == pytest.approx(plain.volume.coefficients.sum(), rel=5e-3)


def test_choices_of_the_command_are_those_of_the_library():
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    choices = {action.dest: action.choices for action in parser._actions}
    assert set(choices["flow"]) == set(FLOW_MODELS)
    assert set(choices["preset"]) == set(PRESETS)


def test_a_missing_tree_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.swc"):
        simulate.run(parsed("--out", str(tmp_path / "case"), "--tree", "nowhere.swc"), FakeConsole())
    assert not (tmp_path / "case").exists()


def test_one_object_needs_runs_of_equal_length(tmp_path):
    words = ("--preset", "tiny", "--views", "6", "--mask-views", "5", "--detector", "16", "--one-object")
    with pytest.raises(ConfigError, match="6"):
        simulate.run(parsed("--out", str(tmp_path), *words), FakeConsole())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    args = parsed("--out", str(tmp_path / "file" / "case"), "--preset", "tiny", "--views", "4", "--detector", "16")
    with pytest.raises(ResourceError, match="case"):
        simulate.run(args, FakeConsole())


def test_runs_that_were_not_simulated_are_never_replaced(tmp_path):
    (tmp_path / "fill.dcm").write_text("the only copy")
    with pytest.raises(ResultError, match=r"fill\.dcm"):
        simulate.run(parsed("--out", str(tmp_path), "--preset", "tiny"), FakeConsole())
    assert (tmp_path / "fill.dcm").read_text() == "the only copy"


@pytest.mark.parametrize("shape", ["0", "-3", "8x0", "axb", ""])
def test_a_detector_without_pixels_is_wrong_usage(shape):
    with pytest.raises(SystemExit):
        parsed("--out", "x", f"--detector={shape}")


@pytest.mark.parametrize(("option", "field"), [("--seed=-1", "seed"), ("--arc=nan", "arc"), ("--secondary=inf", "sec")])
def test_impossible_numbers_are_refused(option, field):
    with pytest.raises(ConfigError, match=field):
        simulate.config_of(parsed("--out", "x", option))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def write(path, *rest):
        dataset = pydicom.Dataset()
        dataset.PatientID = "x"
        Path(path).symlink_to("/dev/full")
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)

    monkeypatch.setattr("DSAReconLib.simulation.writing.write_xa_run", write)
    args = parsed("--out", str(tmp_path / "case"), "--preset", "tiny", "--views", "4", "--detector", "16")
    with pytest.raises(ResourceError, match="disk is full") as caught:
        simulate.run(args, FakeConsole())
    assert caught.value.code == "resource.disk"
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_no_empty_folder(tmp_path, monkeypatch):
    def write(*arguments):
        raise DependencyError("No encoder is installed.")

    monkeypatch.setattr("DSAReconLib.simulation.writing.write_xa_run", write)
    args = parsed("--out", str(tmp_path / "case"), "--preset", "tiny", "--views", "4", "--detector", "16")
    with pytest.raises(DependencyError):
        simulate.run(args, FakeConsole())
    assert list(tmp_path.iterdir()) == []
