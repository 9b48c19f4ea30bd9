import dataclasses
import json

import numpy as np
import pytest
from helpers.cases import small_case

from DSAReconLib.errors import ResultError
from DSAReconLib.io.truth import read_truth, write_truth


@pytest.fixture
def truth():
    return small_case(views=12)[2]


def test_truth_survives_writing_and_reading(tmp_path, truth):
    write_truth(tmp_path / "truth", truth)
    back = read_truth(tmp_path / "truth")
    peak = truth.volume.coefficients.max()
    np.testing.assert_array_equal(back.volume.support, truth.volume.support)
    assert back.volume.grid.isclose(truth.volume.grid)
    np.testing.assert_allclose(back.volume.coefficients, truth.volume.coefficients, atol=5e-3 * peak)
    error = back.volume.coefficients - truth.volume.coefficients
    assert np.sqrt((error**2).mean()) < 5e-4 * peak
    np.testing.assert_array_equal(back.volume.basis.times_s, truth.frame_times_s)
    np.testing.assert_array_equal(back.occupancy, truth.occupancy)
    np.testing.assert_array_equal(back.arrival_s, truth.arrival_s)
    np.testing.assert_array_equal(back.centerline_mm, truth.centerline_mm)
    np.testing.assert_array_equal(back.centerline_parent, truth.centerline_parent)
    np.testing.assert_allclose(back.clean_line_integrals, truth.clean_line_integrals, atol=3e-5)
    assert back.geometry == truth.geometry
    assert back.facts == json.loads(json.dumps(truth.facts))


def test_truth_without_projections_is_read_back_without(tmp_path, truth):
    write_truth(tmp_path, dataclasses.replace(truth, clean_line_integrals=None, geometry=None))
    back = read_truth(tmp_path)
    assert back.clean_line_integrals is None
    assert back.geometry is None


def test_curves_are_stored_by_few_factors(tmp_path, truth):
    write_truth(tmp_path, truth)
    stored = np.load(tmp_path / "attenuation.npz")
    assert stored["right"].shape[0] < len(truth.frame_times_s) + 1
    assert stored["right"].dtype == np.float16


@pytest.mark.parametrize("name", ["truth.json", "attenuation.npz", "vessels.nrrd", "centerlines.npz"])
def test_a_folder_without_one_of_its_files_is_refused(tmp_path, truth, name):
    write_truth(tmp_path, truth)
    (tmp_path / name).unlink()
    with pytest.raises(ResultError, match=name.replace(".", r"\.")):
        read_truth(tmp_path)


def test_a_truncated_file_is_refused(tmp_path, truth):
    write_truth(tmp_path, truth)
    content = (tmp_path / "attenuation.npz").read_bytes()
    (tmp_path / "attenuation.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ResultError):
        read_truth(tmp_path)


def test_a_newer_schema_is_refused(tmp_path, truth):
    write_truth(tmp_path, truth)
    facts = json.loads((tmp_path / "truth.json").read_text())
    (tmp_path / "truth.json").write_text(json.dumps({**facts, "schema_version": 99}))
    with pytest.raises(ResultError, match="schema 99"):
        read_truth(tmp_path)
