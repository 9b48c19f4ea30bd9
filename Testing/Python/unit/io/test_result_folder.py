"""The result folder: complete or absent, and readable again."""

import errno
import json

import numpy as np
import pytest

from DSAReconLib.errors import JobCancelled, ResourceError, ResultError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io import result_folder
from DSAReconLib.io.derived import gaussians_from_volume
from DSAReconLib.io.nrrd import read_sequence, read_volume
from DSAReconLib.io.result_folder import FILES, open_result, write_result
from DSAReconLib.progress import SilentProgress
from DSAReconLib.reconstruction import DetectorMotion, DynamicVolume, Reconstruction, TemporalBasis

GRID = VolumeGrid.centered(12, 0.5)
TIMES = np.linspace(0, 4, 9)
GEOMETRY = ConeBeamGeometry.from_angles(
    np.linspace(-100, 100, 9), sod_mm=750, sdd_mm=1200, detector_shape=(16, 16), detector_spacing_mm=(0.6, 0.6)
)
RECORD = {"method": "test", "selected_views": [0, 4, 8], "heldout_views": [1, 2, 3, 5, 6, 7]}


def _reconstruction(static=False, **changes):
    support = np.flatnonzero(np.linalg.norm(GRID.points_mm()[:, :2], axis=1) < 1.3)
    basis = TemporalBasis.constant() if static else TemporalBasis.hats([0, 1, 3, 4])
    curve = np.ones(1) if static else np.array([0, 1, 1, 0.2])
    coefficients = (0.05 * curve[:, None] * np.ones(len(support))).astype(np.float32)
    return Reconstruction(DynamicVolume(GRID, coefficients, basis, support), surface_threshold=0.02, **changes)


def _write(folder, reconstruction=None, **options):
    reconstruction = reconstruction or _reconstruction()
    return write_result(folder, reconstruction, record=RECORD, geometry=GEOMETRY, times_s=TIMES, **options)


def test_every_promised_file_is_there(tmp_path):
    _write(tmp_path / "out", finish=lambda folder: (folder / "report.html").write_text("<html>"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == set(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_model_survives_exactly(tmp_path):
    written = _reconstruction(facts={"iterations": 7.0}, maps={"confidence": np.ones(GRID.shape_zyx, np.float32)})
    result = open_result(_write(tmp_path / "out", written))
    read = result.load_reconstruction()
    np.testing.assert_array_equal(read.volume.coefficients, written.volume.coefficients)
    np.testing.assert_array_equal(read.volume.support, written.volume.support)
    np.testing.assert_array_equal(read.volume.basis.values, written.volume.basis.values)
    np.testing.assert_array_equal(read.maps["confidence"], 1)
    assert read.volume.grid == GRID
    assert read.facts == {"iterations": 7.0}
    assert read.gaussians is None
    assert result.geometry == GEOMETRY
    np.testing.assert_array_equal(result.times_s, TIMES)
    np.testing.assert_array_equal(result.selected_views, [0, 4, 8])


def test_gaussians_of_the_method_survive_exactly(tmp_path):
    own = gaussians_from_volume(_reconstruction().volume, 0.01, TIMES)
    read = open_result(
        _write(tmp_path / "out", _reconstruction(gaussians=own, native="gaussians"))
    ).load_reconstruction()
    assert read.native == "gaussians"
    np.testing.assert_array_equal(read.gaussians.coefficients, own.coefficients)


def test_what_was_found_out_about_the_detector_survives_exactly(tmp_path):
    motion = DetectorMotion(np.array([0, 2.5]), np.array([[0.1, 0.2], [0.3, -0.4]]), np.array([0, 0.05]))
    written = _reconstruction(detector_motion=motion, facts={"scatter_share": 0.048})
    read = open_result(_write(tmp_path / "out", written)).load_reconstruction()
    assert read.scatter_share == 0.048
    assert read.poses(GEOMETRY, TIMES) == written.poses(GEOMETRY, TIMES) != GEOMETRY
    plain = open_result(_write(tmp_path / "plain")).load_reconstruction()
    assert plain.scatter_share == 0
    assert plain.poses(GEOMETRY, TIMES) == GEOMETRY


def test_sequence_shows_the_attenuation_at_its_times(tmp_path):
    reconstruction = _reconstruction()
    _write(tmp_path / "out", reconstruction)
    frames, grid, times = read_sequence(tmp_path / "out" / "attenuation.seq.nrrd")
    assert grid == GRID
    np.testing.assert_allclose(times, TIMES)
    for frame, time in zip(frames, times):
        np.testing.assert_allclose(frame, reconstruction.volume.at(time), rtol=2.0**-12)


def test_arrival_time_is_known_in_vessels_only(tmp_path):
    reconstruction = _reconstruction()
    _write(tmp_path / "out", reconstruction)
    arrival, _ = read_volume(tmp_path / "out" / "arrival_time.nrrd")
    inside = reconstruction.volume.at(1.0) > 0
    np.testing.assert_allclose(arrival[inside], 0.5, atol=0.02)
    assert np.isnan(arrival[~inside]).all()


def test_static_result_has_one_frame_and_no_arrival_time(tmp_path):
    _write(tmp_path / "out", _reconstruction(static=True))
    frames, _, _ = read_sequence(tmp_path / "out" / "attenuation.seq.nrrd")
    assert len(frames) == 1
    assert np.isnan(read_volume(tmp_path / "out" / "arrival_time.nrrd")[0]).all()


def test_derived_probability_is_half_at_the_surface_threshold(tmp_path):
    reconstruction = _reconstruction()
    _write(tmp_path / "out", reconstruction)
    probability, _ = read_volume(tmp_path / "out" / "vessel_probability.nrrd")
    top_mean = reconstruction.volume.top_mean(np.linspace(0, 4, 120))
    np.testing.assert_array_equal(probability > 0.5, top_mean > reconstruction.surface_threshold)


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    record = RECORD | {"metrics": {"psnr_db": np.float32(np.inf), "views": np.int64(3)}}
    write_result(tmp_path / "out", _reconstruction(), record=record, geometry=GEOMETRY, times_s=TIMES)
    read = json.loads((tmp_path / "out" / "run.json").read_text())
    assert read["metrics"] == {"psnr_db": None, "views": 3}


def test_folder_with_foreign_files_is_refused_and_untouched(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(ResultError, match="nothing was written"):
            _write(out, overwrite=overwrite)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_empty_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    _write(tmp_path / "out")
    assert open_result(tmp_path / "out").record["method"] == "test"


def test_older_result_is_kept_unless_overwriting_and_foreign_files_stay(tmp_path):
    out = _write(tmp_path / "out", _reconstruction(maps={"old_map": np.zeros(GRID.shape_zyx, np.float32)}))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ResultError, match="holds a result already"):
        _write(out)
    _write(out, _reconstruction(static=True), overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "old_map.nrrd").exists()
    assert len(open_result(out).record["sequence_times_s"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("existing", [False, True])
def test_failure_leaves_nothing_new(tmp_path, monkeypatch, existing):
    if existing:
        _write(tmp_path / "out")
        before = (tmp_path / "out" / "run.json").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(result_folder, "write_stl", full)
    with pytest.raises(ResourceError, match="disk is full"):
        _write(tmp_path / "out", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if existing else [])
    if existing:
        assert (tmp_path / "out" / "run.json").read_bytes() == before


def test_cancelling_while_writing_leaves_nothing(tmp_path):
    class Cancelled(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        _write(tmp_path / "out", progress=Cancelled())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no record", "bad json", "no geometry", "bad model", "newer schema", "no views"])
def test_damaged_results_are_refused(tmp_path, damage):
    out = _write(tmp_path / "out")
    record = json.loads((out / "run.json").read_text())
    if damage == "no record":
        (out / "run.json").unlink()
    elif damage == "bad json":
        (out / "run.json").write_text("{")
    elif damage == "no geometry":
        (out / "geometry.json").unlink()
    elif damage == "bad model":
        (out / "model.npz").write_bytes(b"PK")
    elif damage == "newer schema":
        (out / "run.json").write_text(json.dumps(record | {"schema_version": 99}))
    else:
        del record["selected_views"]
        (out / "run.json").write_text(json.dumps(record))
    with pytest.raises(ResultError):
        open_result(out).load_reconstruction()
