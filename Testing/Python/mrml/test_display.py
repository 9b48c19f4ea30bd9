"""What is seen: vessels where they are, presets that differ, no change of look between frames."""

import numpy as np
import pytest
from helpers.scene_cases import truth

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from DSAReconLib.mrml import display  # noqa: E402
from DSAReconLib.mrml.coordinates import flipped  # noqa: E402
from DSAReconLib.mrml.offscreen import OffscreenView  # noqa: E402
from DSAReconLib.mrml.presets import PRESETS  # noqa: E402
from DSAReconLib.mrml.result import load_result  # noqa: E402
from DSAReconLib.mrml.sequence import select_time  # noqa: E402

SIZE = 160
DIRECTION = (0.5, 1.0, 0.25)


@pytest.fixture
def view(context):
    """A small dark view."""
    made = OffscreenView(context, SIZE, SIZE)
    yield made
    made.close()


@pytest.fixture
def shown(context, view, result_folder):
    """A result seen obliquely from the front."""
    nodes = load_result(context, result_folder)
    view.picture()
    view.look(DIRECTION)
    return nodes


def _brightness(picture):
    return picture.astype(float).max(2)


def _vessel_mask(view):
    """Pixels within a vessel's projected radius, and pixels well away from all of them."""
    case = truth()
    pixel = view.project(flipped(case.centerline_mm))
    side = view.project(flipped(case.centerline_mm + case.centerline_radius_mm[:, None] * [1, 0, 0]))
    radius = np.maximum(np.linalg.norm(side - pixel, axis=1), 1.0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(columns[..., None] - pixel[:, 0], rows[..., None] - pixel[:, 1]) / radius
    return distance.min(2) < 0.4, distance.min(2) > 3.5


@pytest.mark.parametrize("what", ["volume", "surface"])
def test_bright_pixels_lie_where_the_truth_projects(view, shown, what):
    display.show_volume(shown, what == "volume")
    display.show_surface(shown, what == "surface")
    brightness = _brightness(view.picture())
    vessel, away = _vessel_mask(view)
    assert vessel.sum() > 100
    assert (brightness[vessel] > 60).mean() > 0.9
    assert (brightness[away] > 60).mean() < 0.005


def test_picture_changes_with_the_viewing_direction_as_the_projection_does(view, shown):
    view.look((-1.0, 0.2, 0.0))
    vessel, away = _vessel_mask(view)
    brightness = _brightness(view.picture())
    assert (brightness[vessel] > 60).mean() > 0.9
    assert (brightness[away] > 60).mean() < 0.005


def test_vessels_fill_over_time_under_one_transfer_function(view, shown):
    before = _functions(shown)
    lit = []
    for time in shown.times_s:
        select_time(shown.browser, time)
        lit.append((_brightness(view.picture()) > 60).sum())
        assert _functions(shown) == before
    filled = int(np.argmax(lit))
    assert lit[0] < 0.1 * lit[filled]
    assert filled > 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_shows_vessels_on_a_dark_background(context, view, shown, name):
    display.apply_preset(context, shown, name)
    assert display.current_preset(shown) == name
    picture = view.picture()
    vessel, away = _vessel_mask(view)
    assert np.median(_brightness(picture)[vessel]) > 90
    assert np.percentile(_brightness(picture)[away], 99) < 40
    technique = view.node.GetRaycastTechnique()
    assert (technique == view.node.MaximumIntensityProjection) == (name == "X-ray MIP")


def test_presets_differ_and_leave_no_trace(context, view, shown):
    first = view.picture().astype(int)
    for name in PRESETS[1:]:
        display.apply_preset(context, shown, name)
        assert np.abs(view.picture().astype(int) - first).max() > 40
    display.apply_preset(context, shown, PRESETS[0])
    np.testing.assert_allclose(view.picture().astype(int), first, atol=2)
    red = _color_of_vessels(context, view, shown, "Angiography red")
    assert red[0] > 2 * red[2]


def test_higher_threshold_shows_less(context, view, shown):
    lit = []
    for factor in (1, 4):
        display.apply_preset(context, shown, PRESETS[0], threshold=factor * 0.5 * shown.surface_threshold)
        lit.append((_brightness(view.picture()) > 60).sum())
    assert lit[1] < 0.8 * lit[0]
    assert display.visible_from(shown) == pytest.approx(2 * shown.surface_threshold)


def test_mapper_is_switched_without_changing_the_look(context, view, shown):
    assert shown.rendering.GetClassName() == display.MAPPERS["cpu"]
    before, count = _functions(shown), context.scene.GetNumberOfNodes()
    display.set_mapper(context, shown, "gpu")
    assert shown.rendering.GetClassName() == display.MAPPERS["gpu"]
    assert _functions(shown) == before
    assert display.volume_visible(shown)
    assert context.scene.GetNumberOfNodes() == count
    vessel, _ = _vessel_mask(view)
    assert np.median(_brightness(view.picture())[vessel]) > 90
    with pytest.raises(ValueError, match="gpu, cpu"):
        display.set_mapper(context, shown, "fpga")


def test_arrival_colors_go_from_red_to_blue_along_the_tree(view, shown):
    from scipy.spatial import cKDTree

    display.show_volume(shown, False)
    display.show_surface(shown)
    case = truth()
    picture = view.picture().astype(float)
    pixel = view.project(flipped(case.centerline_mm))
    order = np.argsort(case.centerline_arrival_s)
    tree = cKDTree(pixel)
    alone = [n for n in order if np.ptp(case.centerline_arrival_s[tree.query_ball_point(pixel[n], 6)]) < 0.3]
    early, late = alone[: len(alone) // 6], alone[-len(alone) // 6 :]

    def mean_color(nodes):
        columns, rows = np.rint(pixel[nodes]).astype(int).T
        return picture[rows, columns].mean(0)

    assert mean_color(early)[0] > 1.5 * mean_color(early)[2]
    assert mean_color(late)[2] > 1.5 * mean_color(late)[0]


def test_legend_is_seen_and_hidden(context, view, shown):
    display.show_surface(shown)
    without = view.picture()
    display.show_legend(context, shown)
    assert display.legend_visible(shown)
    with_legend = view.picture()
    right = np.abs(with_legend.astype(int) - without)[:, SIZE * 3 // 4 :].max(2)
    assert (right > 40).sum() > 50
    display.show_legend(context, shown, False)
    np.testing.assert_allclose(view.picture().astype(int), without, atol=2)
    display.show_legend(context, shown, True)
    assert context.scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == 1


def test_slices_show_the_volume(context, shown):
    composite = context.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    display.show_in_slices(context, shown.peak)
    assert composite.GetBackgroundVolumeID() == shown.peak.GetID()
    display.show_in_slices(context, None)
    assert composite.GetBackgroundVolumeID() is None


def _functions(nodes):
    """Points of all transfer functions."""
    property_node = nodes.rendering.GetVolumePropertyNode()
    points = []
    functions = (property_node.GetScalarOpacity(), property_node.GetGradientOpacity(), property_node.GetColor())
    for function, width in zip(functions, (4, 4, 6)):
        for number in range(function.GetSize()):
            value = [0.0] * width
            function.GetNodeValue(number, value)
            points.append(tuple(value))
    return points


def _color_of_vessels(context, view, nodes, name):
    display.apply_preset(context, nodes, name)
    picture = view.picture()
    return picture[_vessel_mask(view)[0]].mean(0)
