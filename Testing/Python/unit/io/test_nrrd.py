"""NRRD round trips, and agreement with SimpleITK on grid and voxels."""

import numpy as np
import pytest
import SimpleITK

from DSAReconLib.errors import ResultError
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.io.nrrd import read_sequence, read_volume, round_mantissa, write_sequence, write_volume

GRID = VolumeGrid((2, 3, 4), (0.5, 0.6, 0.7), (-1.25, 3.0, 1 / 3))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16", "int16"])
def test_volume_round_trip_is_exact(tmp_path, dtype):
    volume = np.random.default_rng(0).integers(0, 200, GRID.shape_zyx).astype(dtype)
    write_volume(tmp_path / "v.nrrd", volume, GRID)
    read, grid = read_volume(tmp_path / "v.nrrd")
    assert read.dtype == volume.dtype
    np.testing.assert_array_equal(read, volume)
    assert grid == GRID


def test_simpleitk_reads_the_same_voxels_and_grid(tmp_path):
    volume = np.random.default_rng(0).random(GRID.shape_zyx, np.float32)
    write_volume(tmp_path / "v.nrrd", volume, GRID)
    image = SimpleITK.ReadImage(str(tmp_path / "v.nrrd"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), volume)
    np.testing.assert_allclose(image.GetSpacing(), GRID.spacing_mm, rtol=1e-12)
    np.testing.assert_allclose(image.GetOrigin(), GRID.origin_mm, rtol=1e-12)
    np.testing.assert_array_equal(np.reshape(image.GetDirection(), (3, 3)), np.eye(3))


def test_reads_a_volume_that_simpleitk_wrote(tmp_path):
    volume = np.random.default_rng(0).random(GRID.shape_zyx, np.float32)
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing(GRID.spacing_mm)
    image.SetOrigin(GRID.origin_mm)
    SimpleITK.WriteImage(image, str(tmp_path / "v.nrrd"), useCompression=True)
    read, grid = read_volume(tmp_path / "v.nrrd")
    np.testing.assert_array_equal(read, volume)
    assert grid.isclose(GRID)


def test_sequence_round_trip_keeps_times_exactly(tmp_path):
    times = np.array([0.0, 1 / 3, 2.5])
    frames = np.random.default_rng(0).random((3, *GRID.shape_zyx), np.float32)
    write_sequence(tmp_path / "a.seq.nrrd", iter(frames), GRID, times)
    read, grid, read_times = read_sequence(tmp_path / "a.seq.nrrd")
    np.testing.assert_array_equal(read, frames)
    np.testing.assert_array_equal(read_times, times)
    assert grid == GRID


def test_sequence_with_fewer_frames_than_times_is_refused(tmp_path):
    frames = np.zeros((2, *GRID.shape_zyx), np.float32)
    with pytest.raises(ValueError, match="shorter"):
        write_sequence(tmp_path / "a.seq.nrrd", frames, GRID, [0.0, 1.0, 2.0])


def test_equal_data_gives_equal_files(tmp_path):
    volume = np.ones(GRID.shape_zyx, np.float32)
    write_volume(tmp_path / "a.nrrd", volume, GRID)
    write_volume(tmp_path / "b.nrrd", volume, GRID)
    assert (tmp_path / "a.nrrd").read_bytes() == (tmp_path / "b.nrrd").read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "text", "missing", "rotated"])
def test_damaged_files_are_refused_with_their_name(tmp_path, damage):
    path = tmp_path / "v.nrrd"
    write_volume(path, np.random.default_rng(0).random(GRID.shape_zyx, np.float32), GRID)
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[:-20])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content.replace(b"(0.5,0,0)", b"(0.5,0.1,0)"))
    with pytest.raises(ResultError, match=r"v\.nrrd"):
        read_volume(path)


def test_rounding_the_mantissa_stays_within_its_bound():
    values = np.random.default_rng(0).normal(size=10000).astype(np.float32)
    rounded = round_mantissa(values, 12)
    assert np.abs(rounded / values - 1).max() <= 2.0**-13
    assert np.all(rounded.view(np.uint32) & 0x7FF == 0)


def test_rounding_keeps_zero_and_non_finite_values():
    values = np.array([0, np.nan, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(round_mantissa(values), values)
