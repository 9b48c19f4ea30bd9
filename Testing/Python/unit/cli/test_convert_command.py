"""``dsarecon convert`` on the tiny case, and the other commands on what it writes."""

import json

import numpy as np
import pytest

from DSAReconLib.cli.main import main
from DSAReconLib.io.datasets import read_dataset
from DSAReconLib.io.result_folder import open_result
from DSAReconLib.io.truth import read_truth
from DSAReconLib.jobs.loading import load_angiogram, load_runs


def _convert(case, out, *options):
    return main(["convert", str(case), "--out", str(out), "--quiet", *options])


@pytest.fixture(scope="module")
def written(tiny_case, tmp_path_factory):
    root = tmp_path_factory.mktemp("converted")
    assert _convert(tiny_case, root / "4drgs", "--layout", "4drgs", "--size", "32") == 0
    assert _convert(tiny_case, root / "togs", "--layout", "togs", "--views", "5") == 0
    return root


def test_4drgs_layout_holds_the_frames_of_the_dicom_runs_at_the_same_poses(written, tiny_case):
    for before, after in zip(load_runs([tiny_case]), load_runs([written / "4drgs"]), strict=True):
        np.testing.assert_array_equal(after.intensity, before.intensity)
        assert after.geometry.isclose(before.geometry, 1e-9)
        np.testing.assert_allclose(after.times_s, before.times_s, atol=1e-12)


def test_reference_mesh_lies_on_the_true_vessels(written, tiny_case):
    truth = read_truth(tiny_case / "truth")
    vertices = read_dataset(written / "4drgs").reference.vertices_mm
    index = np.rint(truth.volume.grid.index_of(vertices)).astype(int)[:, ::-1]
    beside = truth.occupancy[tuple(np.clip(index, 0, np.array(truth.occupancy.shape) - 1).T)]
    assert ((beside > 0.02) & (beside < 1)).mean() > 0.6
    assert len(vertices) > 100


def test_togs_layout_holds_the_line_integrals_and_the_split(written, tiny_case):
    expected = load_angiogram([tiny_case], registration="none")
    found = load_angiogram([written / "togs"])
    step = expected.line_integrals.max() / 255
    np.testing.assert_allclose(found.line_integrals, np.maximum(expected.line_integrals, 0), atol=0.6 * step)
    assert found.geometry.isclose(expected.geometry, 1e-9)
    np.testing.assert_array_equal(read_dataset(written / "togs").training, [0, 4, 8, 12, 16])


def test_subtracted_runs_and_registered_masks_give_the_line_integrals(tiny_case, tmp_path):
    options = ("--layout", "4drgs", "--registration", "translation")
    assert _convert(tiny_case, tmp_path / "both", *options) == 0
    assert _convert(tiny_case, tmp_path / "proj", *options, "--subtracted") == 0
    expected = load_angiogram([tiny_case], registration="translation").line_integrals
    mask, fill = load_runs([tmp_path / "both"])
    np.testing.assert_allclose(np.log(mask.intensity / fill.intensity), expected, atol=1e-4)
    _, fill = load_runs([tmp_path / "proj"])
    np.testing.assert_allclose(-np.log(fill.intensity), np.maximum(expected, 0), atol=1e-5)


def test_results_from_a_data_set_are_made_and_judged_like_others(written, tmp_path, capsys):
    case, out = str(written / "4drgs"), str(tmp_path / "result")
    options = ["--method", "fdk", "--preset", "fast", "--views", "6", "--no-report", "--quiet"]
    assert main(["reconstruct", case, "--out", out, *options]) == 0
    assert len(open_result(tmp_path / "result").selected_views) == 6
    capsys.readouterr()
    assert main(["evaluate", out, case, "--json", "--quiet"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["psnr_db"] > 5
    assert metrics["hd95_reference_mm"] > 0
    assert main(["evaluate", out, str(written / "togs"), "--quiet"]) == 1
    assert "other runs" in capsys.readouterr().err


def test_problems_are_said_in_one_sentence(written, tiny_case, tmp_path, capsys):
    assert _convert(tiny_case, written / "togs", "--layout", "togs") == 1
    assert "exists already" in capsys.readouterr().err
    assert _convert(tiny_case, tmp_path / "x", "--layout", "4drgs", "--size", "2") == 2
    assert "at least 8" in capsys.readouterr().err
    options = ["--header", "DistanceSourceToPatient=700", "--method", "fdk", "--out", str(tmp_path / "y"), "--quiet"]
    assert main(["reconstruct", str(written / "togs"), *options]) == 2
    assert "no DICOM" in capsys.readouterr().err
    assert main(["convert", str(tiny_case), "--layout", "other", "--out", str(tmp_path / "z")]) == 2
