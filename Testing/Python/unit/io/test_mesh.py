"""Surfaces of a sphere: place, orientation, files."""

import numpy as np
import pytest
import trimesh

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.io.mesh import extract_surface, write_stl, write_vtp

GRID = VolumeGrid.centered((40, 50, 60), (0.5, 0.6, 0.7), (5.0, -3.0, 2.0))
CENTER = np.array([6.0, -4.0, 3.0])


def _sphere(radius_mm=6.0):
    distance = np.linalg.norm(GRID.points_mm() - CENTER, axis=1)
    return (radius_mm - distance).reshape(GRID.shape_zyx).astype(np.float32)


def test_sphere_surface_lies_at_its_radius_around_its_center():
    surface = extract_surface(_sphere(), GRID, 0.0)
    distance = np.linalg.norm(surface.vertices_mm - CENTER, axis=1)
    np.testing.assert_allclose(distance, 6.0, atol=0.05)


def test_stl_is_closed_and_faces_outward(tmp_path):
    write_stl(tmp_path / "s.stl", extract_surface(_sphere(), GRID, 0.0))
    mesh = trimesh.load(tmp_path / "s.stl")
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.01)
    assert b"SPACE=LPS" in (tmp_path / "s.stl").read_bytes()[:80]


def test_vessel_cut_by_the_grid_is_closed_there():
    volume = np.zeros((8, 8, 8), np.float32)
    volume[:, 3:5, 3:5] = 1
    surface = extract_surface(volume, VolumeGrid.centered(8, 1.0), 0.5)
    assert trimesh.Trimesh(surface.vertices_mm, surface.triangles).is_watertight


def test_level_above_everything_gives_an_empty_surface(tmp_path):
    surface = extract_surface(_sphere(), GRID, 100.0, maps={"arrival_time_s": _sphere()})
    assert len(surface.triangles) == 0
    write_stl(tmp_path / "s.stl", surface)
    assert (tmp_path / "s.stl").stat().st_size == 84


def test_point_data_is_the_nearest_value_that_is_known():
    values = np.where(_sphere() > 0, 2.5, np.nan).astype(np.float32)
    surface = extract_surface(_sphere(), GRID, 0.0, maps={"arrival_time_s": values})
    np.testing.assert_array_equal(surface.point_data["arrival_time_s"], 2.5)


def test_vtp_holds_the_same_points_and_their_data(tmp_path):
    reader_module = pytest.importorskip("vtkmodules.vtkIOXML")
    surface = extract_surface(_sphere(), GRID, 0.0, maps={"arrival_time_s": _sphere()})
    write_vtp(tmp_path / "s.vtp", surface)
    reader = reader_module.vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "s.vtp"))
    reader.Update()
    polydata = reader.GetOutput()
    assert polydata.GetNumberOfPoints() == len(surface.vertices_mm)
    assert polydata.GetNumberOfPolys() == len(surface.triangles)
    np.testing.assert_allclose(polydata.GetPoint(7), surface.vertices_mm[7])
    array = polydata.GetPointData().GetArray("arrival_time_s")
    assert array.GetValue(7) == surface.point_data["arrival_time_s"][7]
