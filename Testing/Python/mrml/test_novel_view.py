"""Novel views behind a 3D view and in a volume, on VTK and slicer-core."""

import numpy as np
import pytest
from helpers.novel_views import GEOMETRY, started_client, wait_for, write_spiral_result

vtk = pytest.importorskip("vtk")
pytest.importorskip("slicer")

from DSAReconLib.jobs.render_client import RenderedFrame  # noqa: E402
from DSAReconLib.mrml.camera import aim_camera, camera_angles, pose_of_camera  # noqa: E402
from DSAReconLib.mrml.core_application import core_context, read_bundle, save_bundle  # noqa: E402
from DSAReconLib.mrml.display import prepare_threed_view  # noqa: E402
from DSAReconLib.mrml.novel_view import NovelViewFollower, NovelViewPresenter  # noqa: E402
from DSAReconLib.mrml.offscreen import OffscreenView  # noqa: E402
from DSAReconLib.rendering.pacing import PicturePacing  # noqa: E402
from DSAReconLib.rendering.pose import pose_from_angles  # noqa: E402

pytestmark = pytest.mark.mrml

LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def context():
    return core_context()


@pytest.fixture(scope="module")
def window(context):
    window = OffscreenView(context, 320, 240)
    yield window
    window.close()


@pytest.fixture
def view(window):
    """One 3D view for all tests: camera and background as at the beginning."""
    window.camera.SetPosition(70.0, 260.0, 40.0)
    window.camera.SetFocalPoint(4.0, -3.0, 2.0)
    window.camera.SetViewUp(0.1, 0.0, 1.0)
    window.camera.SetViewAngle(24.0)
    prepare_threed_view(window.node)
    yield window
    renderer_of(window).SetTexturedBackground(False)
    renderer_of(window).SetBackgroundTexture(None)


def renderer_of(view):
    return view.window.GetRenderers().GetFirstRenderer()


def vtk_renderer(size=(311, 207)):
    """A plain renderer with a tilted camera."""
    window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
    window.SetOffScreenRendering(True)
    window.SetSize(*size)
    window.AddRenderer(renderer)
    camera = renderer.GetActiveCamera()
    camera.SetPosition(-150, 310, 90)
    camera.SetFocalPoint(5, -8, 3)
    camera.SetViewUp(0.2, 0.1, 1)
    camera.SetViewAngle(21)
    camera.SetClippingRange(10, 1000)
    return window, renderer


def seen_by_vtk(renderer, point_ras):
    """(row, column) of a point, pixel centers at whole numbers, row 0 at the top."""
    renderer.SetWorldPoint(*point_ras, 1.0)
    renderer.WorldToDisplay()
    x, y, _ = renderer.GetDisplayPoint()
    return renderer.GetSize()[1] - 0.5 - y, x - 0.5


def tilt(camera, kind):
    if kind == "horizontal angle":
        camera.SetUseHorizontalViewAngle(True)
    if kind == "parallel":
        camera.SetParallelProjection(True)
        camera.SetParallelScale(60.0)


@pytest.mark.parametrize("kind", ["vertical angle", "horizontal angle", "parallel"])
@pytest.mark.parametrize("size", [(311, 207), (200, 400)])
def test_a_point_is_seen_at_the_same_pixel_by_the_renderer_and_by_the_pose(kind, size):
    _window, renderer = vtk_renderer(size)
    tilt(renderer.GetActiveCamera(), kind)
    points = np.random.default_rng(0).uniform(-40, 40, (30, 3))
    pose = pose_of_camera(renderer.GetActiveCamera(), renderer.GetSize())
    assert pose.shape == (size[1], size[0])
    expected = np.array([seen_by_vtk(renderer, point) for point in points])
    seen = pose.geometry().project_points(points * LPS)[0][0]
    assert np.abs(seen - expected).max() < 0.05
    assert np.ptp(expected, axis=0).min() > 50


def test_the_pose_of_a_camera_node_is_that_of_its_camera(view):
    assert pose_of_camera(view.camera, (320, 240)) == pose_of_camera(view.camera.GetCamera(), (320, 240))


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (35, -12), (-80, 25), (120, 5)])
def test_the_camera_of_angles_sees_from_these_angles(view, primary, secondary):
    centered = GEOMETRY.shifted_detector((1.5, -2.0))
    pose = pose_from_angles(centered, primary, secondary, (240, 320))
    aim_camera(view.camera, pose)
    np.testing.assert_allclose(camera_angles(view.camera), (primary, secondary), atol=0.3)
    assert view.camera.GetFocalPoint() == pytest.approx((0, 0, 0), abs=3)
    again = pose_of_camera(view.camera, (320, 240))
    np.testing.assert_allclose(again.source_mm, pose.source_mm, atol=1e-6)
    assert np.linalg.norm(again.geometry().project_points([[0, 0, 0]])[0] - [119.5, 159.5]) < 1e-6


def test_a_camera_without_a_direction_asks_for_nothing_and_raises_nothing(view):
    follower, client, _ = follower_of(view)
    view.camera.SetFocalPoint(view.camera.GetPosition())
    assert follower.tick() is False
    assert client.requests == []


# ---------------------------------------------------------------------- presenter
def spot_picture(pose, points_lps, sigma=1.5):
    """Line integrals with a spot where each point is seen."""
    rows, columns = np.mgrid[: pose.rows, : pose.columns]
    picture = np.zeros(pose.shape, np.float32)
    for row, column in pose.geometry().project_points(points_lps)[0][0]:
        picture += np.exp(-0.5 * ((rows - row) ** 2 + (columns - column) ** 2) / sigma**2)
    return picture


def centroid(weights):
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(rows * weights).sum(), (columns * weights).sum()]) / weights.sum()


def red_ball(view, center_ras):
    ball, mapper, actor = vtk.vtkSphereSource(), vtk.vtkPolyDataMapper(), vtk.vtkActor()
    ball.SetCenter(*center_ras)
    ball.SetRadius(2.0)
    ball.SetThetaResolution(30)
    ball.SetPhiResolution(30)
    mapper.SetInputConnection(ball.GetOutputPort())
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(1, 0, 0)
    actor.GetProperty().LightingOff()
    renderer_of(view).AddActor(actor)
    return actor


@pytest.mark.parametrize("shape", [None, (120, 160), (60, 80)], ids=["full", "half", "quarter"])
def test_the_picture_lies_where_the_scene_is_drawn(view, shape):
    points = np.array([[18.0, -5.0, 11.0], [-21.0, 9.0, -14.0]])
    presenter = NovelViewPresenter()
    presenter.attach(renderer_of(view))
    pose = pose_of_camera(view.camera, (320, 240), shape)
    for point in points:
        presenter.show(spot_picture(pose, point[None] * LPS))
        dark = 255.0 - view.picture()[..., 0]
        actor = red_ball(view, point)
        picture = view.picture().astype(float)
        renderer_of(view).RemoveActor(actor)
        red = (picture[..., 0] > 200) & (picture[..., 1] < 50)
        assert 20 < red.sum() < 2000
        assert np.abs(centroid(dark) - centroid(red)).max() < 0.5


def test_vessels_are_dark_on_light_within_the_window_and_can_be_inverted(view):
    presenter = NovelViewPresenter()
    presenter.attach(renderer_of(view))
    line_integrals = np.zeros((240, 320), np.float32)
    line_integrals[:80], line_integrals[80:160] = 0.5, 2.0
    presenter.show(line_integrals)
    presenter.set_value_range([0.0, 1.0])

    def shown():
        return view.picture()[[40, 120, 200], 160, 1].tolist()

    assert np.allclose(shown(), [128, 0, 255], atol=2)
    presenter.set_inverted(True)
    assert np.allclose(shown(), [128, 255, 0], atol=2)
    presenter.set_window_level(4.0, 2.0)
    assert np.allclose(shown(), [32, 128, 0], atol=2)
    np.testing.assert_allclose(presenter.picture()[[40, 120, 200], 160], shown(), atol=1)
    with pytest.raises(ValueError, match="window"):
        presenter.set_window_level(0.0, 1.0)


def test_hidden_cleared_or_detached_the_view_has_its_own_background(view):
    plain = view.picture()
    presenter = NovelViewPresenter()
    presenter.attach(renderer_of(view))
    assert (view.picture() == plain).all()
    presenter.show(np.zeros((24, 32), np.float32))
    assert (view.picture() > 250).all()
    presenter.visible = False
    assert (view.picture() == plain).all()
    presenter.visible = True
    assert (view.picture() > 250).all()
    presenter.clear()
    assert (view.picture() == plain).all()
    presenter.show(np.zeros((24, 32), np.float32))
    presenter.detach()
    presenter.detach()
    assert (view.picture() == plain).all()


def test_the_background_survives_a_change_of_the_view_node(view):
    presenter = NovelViewPresenter()
    presenter.attach(renderer_of(view))
    presenter.show(np.zeros((24, 32), np.float32))
    view.node.SetBackgroundColor(0.3, 0.1, 0.1)
    view.node.SetBackgroundColor2(0.1, 0.3, 0.1)
    assert (view.picture() > 250).all()


def test_markups_are_drawn_over_the_picture(view, context):
    presenter = NovelViewPresenter()
    presenter.attach(renderer_of(view))
    presenter.show(np.zeros((240, 320), np.float32))
    markups = context.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "point")
    markups.CreateDefaultDisplayNodes()
    markups.GetDisplayNode().SetSelectedColor(0, 0, 1)
    markups.GetDisplayNode().SetTextScale(0)
    point = np.array([10.0, 5.0, -12.0])
    markups.AddControlPoint(*point)
    picture = view.picture().astype(float)
    markups.GetDisplayNode().SetVisibility(False)
    context.scene.RemoveNode(markups)
    blue = (picture[..., 2] > 120) & (picture[..., 0] < 80)
    assert blue.any()
    row, column = pose_of_camera(view.camera, (320, 240)).geometry().project_points([point * LPS])[0][0, 0]
    assert np.abs(centroid(blue) - (row, column)).max() < 1.0


def test_pictures_of_changing_size_replace_each_other(view):
    presenter = NovelViewPresenter()
    presenter.attach(renderer_of(view))
    for shape in ((24, 32), (240, 320), (3, 4), (120, 160)):
        presenter.show(np.zeros(shape, np.float32))
        assert (view.picture() > 250).all()
        presenter.show(np.full(shape, 9, np.float32))
        assert (view.picture() < 5).all()


# ---------------------------------------------------------------------- volume
def test_the_volume_holds_the_line_integrals_upright_in_an_axial_view(context):
    from slicer.util import arrayFromVolume

    presenter = NovelViewPresenter()
    presenter.set_value_range([0.0, 3.0])
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    presenter.show(picture)
    volume = presenter.show_in_volume(context.scene)
    np.testing.assert_array_equal(arrayFromVolume(volume), picture[None])
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    first, right, down = (np.array(matrix.MultiplyPoint((*ijk, 1)))[:3] for ijk in ((0, 0, 0), (3, 0, 0), (0, 2, 0)))
    assert (right - first)[0] < 0  # an axial view has the patient's left on its right side
    assert (down - first)[1] < 0  # and anterior at its top
    np.testing.assert_allclose(first[:2] + (np.array(matrix.MultiplyPoint((3, 2, 0, 1))))[:2], 0, atol=1e-6)
    display = volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (3.0, 1.5)
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"
    presenter.set_inverted(True)
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"
    presenter.show(np.full((6, 8), 7, np.float32))
    np.testing.assert_array_equal(arrayFromVolume(volume), np.full((1, 6, 8), 7))
    assert presenter.show_in_volume(context.scene) is volume
    context.scene.RemoveNode(volume)
    presenter.show(picture)
    assert presenter.show_in_volume(context.scene) is not volume
    context.scene.RemoveNode(presenter.show_in_volume(context.scene))


def test_a_volume_that_is_asked_for_first_is_filled_by_the_first_picture(context):
    from slicer.util import arrayFromVolume

    presenter = NovelViewPresenter()
    volume = presenter.show_in_volume(context.scene)
    presenter.set_window_level(2.0, 1.0)
    presenter.show(np.ones((5, 7), np.float32))
    np.testing.assert_array_equal(arrayFromVolume(volume), np.ones((1, 5, 7)))
    assert volume.GetDisplayNode().GetWindow() == 2.0
    context.scene.RemoveNode(volume)


# ---------------------------------------------------------------------- follower
class RecordingClient:
    """A render server that answers when the test says so."""

    max_pixels = 1024 * 1024

    def __init__(self):
        self.requests, self.frame = [], None

    def request(self, pose, time_s):
        self.requests.append((pose, time_s))
        return len(self.requests)

    def answer(self, render_ms=5.0):
        pose, time_s = self.requests[-1]
        self.frame = RenderedFrame(len(self.requests), np.zeros(pose.shape, np.float32), time_s, render_ms)

    def newest(self):
        frame, self.frame = self.frame, None
        return frame


def follower_of(view, **options):
    client, clock = RecordingClient(), [0.0]
    follower = NovelViewFollower(
        client, NovelViewPresenter(), view.camera, lambda: (320, 240), clock=lambda: clock[0], **options
    )
    return follower, client, clock


def test_a_resting_view_is_asked_for_once_in_full(view):
    follower, client, clock = follower_of(view)
    for now in (0.0, 0.1, 0.5):
        clock[0] = now
        follower.tick()
    assert [pose.shape for pose, _ in client.requests] == [(240, 320)]
    assert client.requests[0][0] == pose_of_camera(view.camera, (320, 240))


def test_a_moving_view_of_a_slow_server_is_asked_for_small_and_at_rest_in_full(view):
    follower, client, clock = follower_of(view, pacing=PicturePacing(target_ms=20))
    follower.tick()
    client.answer(render_ms=100)
    assert follower.tick() is True
    for step in range(1, 11):
        clock[0] = 0.02 * step
        view.camera.GetCamera().Azimuth(2)
        follower.tick()
        client.answer(render_ms=100 * client.requests[-1][0].rows ** 2 / 240**2)
    moving = client.requests[-1][0]
    assert moving.rows < 120
    assert moving == pose_of_camera(view.camera, (320, 240), moving.shape)
    clock[0] += 0.5
    follower.tick()
    assert client.requests[-1][0] == pose_of_camera(view.camera, (320, 240))
    count = len(client.requests)
    follower.tick()
    assert len(client.requests) == count


def test_a_new_time_is_asked_for(view):
    follower, client, _clock = follower_of(view)
    follower.tick()
    follower.set_time(1.25)
    follower.tick()
    assert [time for _, time in client.requests] == [0.0, 1.25]


def test_a_view_without_pixels_asks_for_nothing(view):
    client = RecordingClient()
    follower = NovelViewFollower(client, NovelViewPresenter(), view.camera, lambda: (0, 0))
    assert follower.tick() is False
    assert client.requests == []


def test_following_a_real_server_ends_with_the_picture_of_the_camera(view, tmp_path):
    with started_client(write_spiral_result(tmp_path / "result")) as client:
        presenter = NovelViewPresenter()
        presenter.attach(renderer_of(view))
        presenter.set_value_range(client.info["value_range"])
        follower = NovelViewFollower(client, presenter, view.camera, renderer_of(view).GetSize)
        follower.set_time(3.5)
        for _ in range(20):
            view.camera.GetCamera().Azimuth(3)
            follower.tick()
        wanted = pose_of_camera(view.camera, (320, 240))
        assert wait_for(lambda: follower.tick() and follower.frame.request_id == client._last_id)
        expected = client.render(wanted, 3.5).line_integrals
    np.testing.assert_allclose(presenter.line_integrals, expected, rtol=1e-4, atol=1e-6)
    picture = view.picture()[..., 0]
    assert picture[expected > client.info["value_range"][1]].max() < 10
    assert picture[0, 0] > 245


def test_the_volume_is_saved_with_the_scene(context, tmp_path):
    from slicer.util import arrayFromVolume

    presenter = NovelViewPresenter()
    presenter.set_value_range([0.0, 2.0])
    picture = np.random.default_rng(0).uniform(0, 2, (24, 32)).astype(np.float32)
    presenter.show(picture)
    volume = presenter.show_in_volume(context.scene, "Novel view to save")
    bundle = save_bundle(context, tmp_path / "scene.mrb")
    context.scene.RemoveNode(volume)
    other = core_context()
    read_bundle(other, bundle)
    again = other.scene.GetFirstNode("Novel view to save", "vtkMRMLScalarVolumeNode")
    np.testing.assert_array_equal(arrayFromVolume(again), picture[None])
    assert again.GetDisplayNode().GetWindow() == 2.0
