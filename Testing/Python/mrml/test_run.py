"""An acquired run in the scene: upright, with its angles and times."""

import numpy as np
import pytest
from helpers.cases import small_case

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from DSAReconLib.acquisition.angiogram import Angiogram  # noqa: E402
from DSAReconLib.mrml import volumes  # noqa: E402
from DSAReconLib.mrml.core_application import read_bundle, save_bundle  # noqa: E402
from DSAReconLib.mrml.run import frame_at_angle, load_run, run_of_sequence  # noqa: E402
from DSAReconLib.mrml.sequence import select_time  # noqa: E402


@pytest.fixture(scope="module")
def fill():
    """The fill run of the tiny case."""
    return small_case(views=12, detector=32)[1]


def test_frames_times_and_angles_are_kept(context, fill):
    nodes = load_run(context, fill, name="Fill")
    np.testing.assert_allclose(nodes.times_s, fill.times_s)
    assert nodes.sequence.GetIndexUnit() == "s"
    for number in (0, 5, 11):
        frame = nodes.sequence.GetNthDataNode(number)
        stored = volumes.real_voxels(frame)
        assert stored.shape == (1, *fill.intensity.shape[1:])
        step = volumes.scale_of(frame)
        np.testing.assert_allclose(stored[0], fill.intensity[number], atol=0.51 * step)
        assert fill.intensity.max() / step > 6000
        assert float(nodes.sequence.GetNthIndexValue(number)) == pytest.approx(fill.times_s[number])
    select_time(nodes.browser, fill.times_s[7])
    angle = float(nodes.proxy.GetAttribute("DSARecon.PrimaryAngleDeg"))
    assert angle == pytest.approx(fill.geometry.primary_angle_deg[7])
    assert float(nodes.proxy.GetAttribute("DSARecon.TimeS")) == pytest.approx(fill.times_s[7])
    assert nodes.proxy.GetAttribute("DICOM.instanceUIDs") == fill.sop_instance_uid
    assert nodes.proxy.GetName() == "Fill"


def test_run_is_upright_in_an_axial_view_and_in_mm(context, fill):
    nodes = load_run(context, fill)
    matrix = volumes.ijk_to_ras_of(nodes.proxy)
    rows, columns = fill.geometry.detector_shape
    first, right, below = (matrix @ [*ijk, 0, 1] for ijk in ((0, 0), (1, 0), (0, 1)))
    row_mm, column_mm = fill.geometry.detector_spacing_mm
    np.testing.assert_allclose((right - first)[:3], [-column_mm, 0, 0])  # patient left is right on the screen
    np.testing.assert_allclose((below - first)[:3], [0, -row_mm, 0])
    middle = matrix @ [(columns - 1) / 2, (rows - 1) / 2, 0, 1]
    np.testing.assert_allclose(middle[:3], 0, atol=1e-9)


def test_angiogram_shows_vessels_dark(context, fill):
    values = np.random.default_rng(0).normal(0, 0.05, fill.intensity.shape).astype(np.float32)
    values[:, 10:14] += 1.5
    angiogram = Angiogram(
        line_integrals=values,
        variance=np.ones((1, 1, 1), np.float32),
        geometry=fill.geometry,
        times_s=fill.times_s,
        duration_s=float(fill.times_s[-1]),
        frame_index=np.arange(len(fill)),
        source_uids=("1.2", "1.3"),
    )
    nodes = load_run(context, angiogram)
    frame = nodes.sequence.GetNthDataNode(4)
    assert volumes.voxels(frame).dtype == np.int16
    np.testing.assert_allclose(volumes.real_voxels(frame)[0], values[4], atol=0.51 * volumes.scale_of(frame))
    shown = nodes.proxy.GetDisplayNode()
    color = np.zeros(4)
    shown.GetColorNode().GetColor(shown.GetColorNode().GetNumberOfColors() - 1, color)
    assert color[:3].max() < 0.05
    assert not shown.GetAutoWindowLevel()
    assert nodes.proxy.GetAttribute("DICOM.instanceUIDs") == "1.2 1.3"


def test_saved_run_is_found_again(context, fill, tmp_path):
    nodes = load_run(context, fill)
    frame = volumes.voxels(nodes.sequence.GetNthDataNode(3)).copy()
    save_bundle(context, tmp_path / "run.mrb")
    read_bundle(context, tmp_path / "run.mrb")
    sequence = context.scene.GetFirstNodeByClass("vtkMRMLSequenceNode")
    again = run_of_sequence(context, sequence)
    np.testing.assert_allclose(again.primary_angle_deg, fill.geometry.primary_angle_deg)
    np.testing.assert_allclose(again.secondary_angle_deg, fill.geometry.secondary_angle_deg)
    np.testing.assert_allclose(again.times_s, fill.times_s)
    np.testing.assert_array_equal(volumes.voxels(again.sequence.GetNthDataNode(3)), frame)
    other = context.scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    assert run_of_sequence(context, other) is None


def test_nearest_angle_is_found_across_the_wrap(context, fill):
    nodes = load_run(context, fill)
    angles = fill.geometry.primary_angle_deg
    for number in (0, 4, 11):
        assert frame_at_angle(nodes, angles[number] + 0.3) == number
    assert frame_at_angle(nodes, angles[4] + 360.0) == 4
