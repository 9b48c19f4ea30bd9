"""``dsarecon render``: which views, and what is written."""

import argparse
import json
import sys

import numpy as np
import pytest

from DSAReconLib.cli import render
from DSAReconLib.cli.console import Console
from DSAReconLib.errors import ConfigError, DependencyError, ResultError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.nrrd import read_volume
from DSAReconLib.io.result_folder import open_result, write_result
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis
from DSAReconLib.rendering.views import render_line_integrals

FRAMES = 9


@pytest.fixture
def result(tmp_path):
    grid = VolumeGrid.centered(8, 2.0)
    support = np.flatnonzero(np.linalg.norm(grid.points_mm()[:, :2], axis=1) < 4)
    coefficients = np.outer([0.0, 1.0, 0.4], np.full(len(support), 0.05)).astype(np.float32)
    volume = DynamicVolume(grid, coefficients, TemporalBasis.hats([0.0, 1.0, 2.0]), support)
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-60, 60, FRAMES), sod_mm=750.0, sdd_mm=1200.0, detector_shape=(20, 24), detector_spacing_mm=(2, 2)
    )
    record = {
        "method": "double",
        "selected_views": list(range(0, FRAMES, 2)),
        "heldout_views": list(range(1, FRAMES, 2)),
        "native": "volume",
        "surface_threshold": 0.02,
    }
    return write_result(
        tmp_path / "result",
        Reconstruction(volume, 0.02),
        record=record,
        geometry=geometry,
        times_s=np.linspace(0, 2, FRAMES),
    )


def run(result, *options):
    parser = argparse.ArgumentParser()
    render.add_arguments(parser)
    return render.run(parser.parse_args([str(result), *map(str, options)]), Console(quiet=True))


def test_the_heldout_frames_are_the_default(result, tmp_path):
    assert run(result, "--out", tmp_path / "views") == 0
    images, grid = read_volume(tmp_path / "views" / "line_integrals.nrrd")
    views = json.loads((tmp_path / "views" / "views.json").read_text())
    assert views["frames"] == [1, 3, 5, 7]
    assert images.shape == (4, 20, 24)
    assert grid.spacing_mm[:2] == pytest.approx((2.0, 2.0))
    assert len(list((tmp_path / "views").glob("view_*.png"))) == 4


def test_the_written_line_integrals_are_those_of_the_model(result, tmp_path):
    run(result, "--acquired", "--out", tmp_path / "all.nrrd")
    images, _ = read_volume(tmp_path / "all.nrrd")
    views = json.loads((tmp_path / "all.views.json").read_text())
    volume = open_result(result).load_reconstruction().volume
    geometry = ConeBeamGeometry.from_dict(views["geometry"])
    np.testing.assert_allclose(images, render_line_integrals(volume, geometry, views["times_s"]), atol=1e-5)
    assert images.max() > 0.1


def test_a_negative_angle_pair_is_no_option(result, tmp_path):
    run(result, "--angles", "-30,-10", "--times", "1", "--out", tmp_path / "one.nrrd")
    views = json.loads((tmp_path / "one.views.json").read_text())
    geometry = ConeBeamGeometry.from_dict(views["geometry"])
    assert geometry.primary_angle_deg == pytest.approx([-30])
    assert geometry.secondary_angle_deg == pytest.approx([-10])
    assert views["times_s"] == [1.0]


def test_one_angle_shows_all_times_and_many_angles_span_the_run(result, tmp_path):
    run(result, "--angles", "20", "--out", tmp_path / "fixed.nrrd")
    assert len(json.loads((tmp_path / "fixed.views.json").read_text())["times_s"]) == FRAMES
    run(result, "--angles", "-20", "0", "20", "--out", tmp_path / "turning.nrrd")
    assert json.loads((tmp_path / "turning.views.json").read_text())["times_s"] == [0.0, 1.0, 2.0]


def test_the_gaussians_render_nearly_the_same(result, tmp_path):
    run(result, "--out", tmp_path / "a" / "v.nrrd")
    run(result, "--model", "gaussians", "--out", tmp_path / "b" / "g.nrrd")
    voxels, _ = read_volume(tmp_path / "a" / "v.nrrd")
    splats, _ = read_volume(tmp_path / "b" / "g.nrrd")
    assert splats.sum() == pytest.approx(voxels.sum(), rel=0.03)


def test_a_gif_is_written(result, tmp_path):
    run(result, "--acquired", "--out", tmp_path / "film.gif")
    assert (tmp_path / "film.gif").read_bytes()[:3] == b"GIF"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--angles", "0", "10", "--times", "0", "1", "2"], "do not go with"),
        (["--times", "1"], "belongs to --angles"),
        (["--out", "film.avi"], "no known kind"),
    ],
)
def test_contradicting_options_are_refused(result, tmp_path, options, message):
    out = [] if "--out" in options else ["--out", tmp_path / "x.nrrd"]
    with pytest.raises(ConfigError, match=message):
        run(result, *options, *out)


def test_a_folder_that_is_no_result_is_refused(tmp_path):
    with pytest.raises(ResultError):
        run(tmp_path, "--out", tmp_path / "x.nrrd")


def test_a_film_that_cannot_be_written_is_refused_before_rendering(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr("DSAReconLib.rendering.views.render_line_integrals", None)
    with pytest.raises(DependencyError, match="imageio-ffmpeg"):
        run(result, "--out", tmp_path / "film.mp4")


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_an_impossible_frame_rate_is_refused(result, tmp_path, rate):
    with pytest.raises(ConfigError, match="--fps"):
        run(result, f"--fps={rate}", "--out", tmp_path / "film.gif")
