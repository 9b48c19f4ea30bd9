"""Exports are whole copies at the chosen place, or an error that says why not."""

import pytest

pytestmark = pytest.mark.mrml

from DSAReconLib.errors import ResourceError, ResultError  # noqa: E402
from DSAReconLib.io.result_folder import open_result  # noqa: E402
from DSAReconLib.mrml.export import export_kinds, export_result, movie_arguments  # noqa: E402


@pytest.fixture
def result(tmp_path):
    """A result of its own, to be damaged."""
    from helpers.scene_cases import write_truth_result

    return open_result(write_truth_result(tmp_path / "result"))


def test_every_kind_is_copied_bit_by_bit(result, tmp_path):
    (result.folder / "turn.gif").write_bytes(b"GIF89a")
    kinds = export_kinds(result)
    assert {"attenuation_nrrd", "surface_stl", "surface_vtp", "gaussians_ply", "all_nrrd", "movie/turn.gif"} <= {
        kind.key for kind in kinds
    }
    for kind in kinds:
        target = tmp_path / "out" / kind.file_name
        written = export_result(result, kind.key, target)
        assert written
        for path in written:
            assert path.read_bytes() == (result.folder / path.name).read_bytes()
    volumes = {path.name for path in (tmp_path / "out" / "volumes").iterdir()}
    assert volumes == {path.name for path in result.folder.glob("*.nrrd")}


def test_failed_export_leaves_the_old_file(result, tmp_path):
    target = tmp_path / "old.stl"
    target.write_bytes(b"old")
    (result.folder / "vessels.stl").unlink()
    with pytest.raises(ResultError, match=r"vessels\.stl"):
        export_result(result, "surface_stl", target)
    assert target.read_bytes() == b"old"
    assert "surface_stl" not in {kind.key for kind in export_kinds(result)}


def test_unwritable_place_is_named(result, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match=r"copy\.ply"):
        export_result(result, "gaussians_ply", tmp_path / "file" / "copy.ply")


def test_export_onto_itself_keeps_the_file(result):
    path = result.folder / "gaussians.ply"
    before = path.read_bytes()
    export_result(result, "gaussians_ply", path)
    assert path.read_bytes() == before


def test_movie_is_rendered_by_a_command_that_exists(result, tmp_path):
    import argparse

    from DSAReconLib.cli import render

    module, *arguments = movie_arguments(result, tmp_path / "film.gif")[1:]
    parser = argparse.ArgumentParser()
    render.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    assert (module, arguments[0]) == ("DSAReconLib", "render")
    assert parsed.result == str(result.folder)
    assert parsed.acquired
    assert parsed.out == str(tmp_path / "film.gif")
