"""``attenuation.seq.nrrd`` in 3D Slicer: a sequence with the right times, spacing, place and values."""

import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.io.mesh import extract_surface, write_stl, write_vtp
from DSAReconLib.io.nrrd import write_sequence, write_volume

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

GRID = VolumeGrid((4, 5, 6), (0.5, 0.6, 0.7), (-10.0, 20.0, 30.0))
TIMES_S = np.array([0.0, 1 / 3, 2.5])


@pytest.fixture
def scene():
    """A scene that knows sequences."""
    new_scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(new_scene)
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(new_scene)
    yield new_scene
    new_scene.Clear(True)


def _load(scene, node_class, storage_class, path):
    node = scene.AddNewNodeByClass(node_class)
    storage = scene.AddNewNodeByClass(storage_class)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node


def _ijk_to_lps(volume_node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    ras = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    return np.diag([-1, -1, 1, 1]) @ ras


def _voxels(volume_node):
    from vtk.util.numpy_support import vtk_to_numpy

    image = volume_node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def test_sequence_has_times_grid_and_values(scene, tmp_path):
    frames = np.random.default_rng(0).random((3, *GRID.shape_zyx), np.float32)
    write_sequence(tmp_path / "attenuation.seq.nrrd", frames, GRID, TIMES_S, keys={"attenuation unit": "1/mm"})
    sequence = _load(
        scene, "vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode", tmp_path / "attenuation.seq.nrrd"
    )
    assert sequence.GetNumberOfDataNodes() == 3
    assert sequence.GetIndexName() == "time"
    assert sequence.GetIndexUnit() == "s"
    times = [float(sequence.GetNthIndexValue(number)) for number in range(3)]
    np.testing.assert_allclose(times, TIMES_S, rtol=1e-12)
    for number, frame in enumerate(frames):
        volume = sequence.GetNthDataNode(number)
        assert volume.IsA("vtkMRMLScalarVolumeNode")
        np.testing.assert_allclose(volume.GetSpacing(), GRID.spacing_mm)
        np.testing.assert_allclose(_ijk_to_lps(volume), GRID.index_to_world, atol=1e-9)
        np.testing.assert_array_equal(_voxels(volume), frame)


def test_single_frame_is_a_sequence_too(scene, tmp_path):
    frame = np.ones(GRID.shape_zyx, np.float32)
    write_sequence(tmp_path / "a.seq.nrrd", [frame], GRID, [0.0])
    sequence = _load(scene, "vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode", tmp_path / "a.seq.nrrd")
    assert sequence.GetNumberOfDataNodes() == 1


def test_volume_has_grid_and_values_with_nan(scene, tmp_path):
    volume = np.random.default_rng(0).random(GRID.shape_zyx, np.float32)
    volume[0] = np.nan
    write_volume(tmp_path / "arrival_time.nrrd", volume, GRID)
    node = _load(scene, "vtkMRMLScalarVolumeNode", "vtkMRMLVolumeArchetypeStorageNode", tmp_path / "arrival_time.nrrd")
    np.testing.assert_allclose(_ijk_to_lps(node), GRID.index_to_world, atol=1e-9)
    np.testing.assert_array_equal(_voxels(node), volume)


@pytest.mark.parametrize(("name", "write"), [("vessels.stl", write_stl), ("vessels.vtp", write_vtp)])
def test_surface_is_taken_as_lps(scene, tmp_path, name, write):
    grid = VolumeGrid.centered(16, 1.0, (10.0, 20.0, 30.0))
    distance = np.linalg.norm(grid.points_mm() - [10.0, 20.0, 30.0], axis=1).reshape(grid.shape_zyx)
    write(tmp_path / name, extract_surface((5 - distance).astype(np.float32), grid, 0.0))
    model = _load(scene, "vtkMRMLModelNode", "vtkMRMLModelStorageNode", tmp_path / name)
    bounds = np.reshape(model.GetPolyData().GetBounds(), (3, 2))
    np.testing.assert_allclose(bounds.mean(1), [-10.0, -20.0, 30.0], atol=0.05)
