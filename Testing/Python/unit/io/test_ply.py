"""Gaussians as PLY: exact for ourselves, well formed for others."""

import numpy as np
import pytest
import trimesh

from DSAReconLib.errors import ResultError
from DSAReconLib.io.ply import read_gaussians, write_gaussians
from DSAReconLib.reconstruction import RadiativeGaussians, TemporalBasis


def _gaussians(count=50):
    rng = np.random.default_rng(0)
    quats = rng.normal(size=(count, 4)).astype(np.float32)
    basis = TemporalBasis(np.array([0, 0.1, 1 / 3, 4.0]), rng.random((3, 4), np.float32))
    return RadiativeGaussians(
        rng.normal(size=(count, 3)).astype(np.float32),
        rng.uniform(0.1, 2, (count, 3)).astype(np.float32),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        rng.random((3, count), np.float32),
        basis,
    )


@pytest.mark.parametrize("count", [0, 1, 50])
def test_round_trip_is_exact(tmp_path, count):
    written = _gaussians(count)
    write_gaussians(tmp_path / "g.ply", written)
    read = read_gaussians(tmp_path / "g.ply")
    for name in ("means_mm", "scales_mm", "quats_wxyz", "coefficients"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name), err_msg=name)
    np.testing.assert_array_equal(read.basis.times_s, written.basis.times_s)
    np.testing.assert_array_equal(read.basis.values, written.basis.values)


def test_another_ply_reader_finds_the_splatting_attributes(tmp_path):
    gaussians = _gaussians()
    write_gaussians(tmp_path / "g.ply", gaussians)
    cloud = trimesh.load(tmp_path / "g.ply")
    vertices = cloud.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(vertices["scale_1"].ravel(), np.log(gaussians.scales_mm[:, 1]), rtol=1e-6)
    np.testing.assert_array_equal(vertices["rot_0"].ravel(), gaussians.quats_wxyz[:, 0])
    opacity = 1 / (1 + np.exp(-vertices["opacity"].ravel()))
    assert 0 < opacity.min() < opacity.max() < 1
    np.testing.assert_allclose(cloud.vertices, gaussians.means_mm, rtol=1e-6)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing"])
def test_damaged_files_are_refused(tmp_path, damage):
    path = tmp_path / "g.ply"
    write_gaussians(path, _gaussians())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "foreign":
        path.write_bytes(trimesh.creation.box().export(file_type="ply"))
    else:
        path.unlink()
    with pytest.raises(ResultError, match=r"g\.ply"):
        read_gaussians(path)
