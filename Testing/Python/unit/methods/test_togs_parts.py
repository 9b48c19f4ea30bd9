"""Parts of TOGS: the published table, opacity over time, color, loss, density control, gsplat's cameras."""

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
from helpers.requires import requires_host_compiler

from DSAReconLib.errors import DependencyError, GeometryError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.togs.config import Config
from DSAReconLib.methods.togs.hyperparameters import SCHEDULES, schedule_for
from DSAReconLib.methods.togs.schedule import run_schedule
from DSAReconLib.reconstruction import PictureScale

torch = pytest.importorskip("torch")
from DSAReconLib.kernels.alpha import reference  # noqa: E402
from DSAReconLib.methods.togs import density, model, rasterizers  # noqa: E402
from DSAReconLib.methods.togs.similarity import SimilarityLoss  # noqa: E402
from DSAReconLib.methods.togs.training import camera_extent  # noqa: E402
from DSAReconLib.rendering.views import grey_values  # noqa: E402


def geometry(views=3, **changes):
    options = {"sod_mm": 300.0, "sdd_mm": 500.0, "detector_shape": (28, 36), "detector_spacing_mm": (1.3, 1.1)}
    return ConeBeamGeometry.from_angles(
        np.linspace(-70, 60, views), np.linspace(-20, 25, views), **{**options, **changes}
    )


def parameters(count=12, knots=5, degree=3, seed=0):
    rng = np.random.default_rng(seed)
    tables = model.first_parameters(rng.uniform(-8, 8, (count, 3)), knots, degree, rng, "cpu")
    tables["opacity"] = torch.tensor(rng.normal(0, 1, (count, 1)), dtype=torch.float32)
    tables["offsets"] = torch.tensor(rng.normal(-1, 1, (count, knots)), dtype=torch.float32)
    tables["harmonics"] = torch.tensor(rng.normal(0, 0.3, tables["harmonics"].shape), dtype=torch.float32)
    return tables


# --------------------------------------------------------------------------- schedule
def test_thirty_views_have_the_published_values():
    schedule = run_schedule(build_config("togs", "paper"), 30)
    assert schedule == SCHEDULES[30]
    assert (schedule.iterations, schedule.feature_rate, schedule.opacity_rate) == (30000, 1.5e-3, 0.025)
    assert (schedule.ssim_weight, schedule.smooth_weight, schedule.random_share) == (0.10, 0.0043, 0.08)


@pytest.mark.parametrize(("views", "row"), [(2, 4), (7, 4), (8, 10), (15, 10), (33, 30), (56, 60), (133, 100)])
def test_other_numbers_of_views_take_the_nearest_row(views, row):
    assert schedule_for(views) == SCHEDULES[row]


def test_fewer_iterations_move_density_control_and_resets_along():
    schedule = run_schedule(Config(iterations=3000), 30)
    assert (schedule.start, schedule.stop, schedule.reset, schedule.interval) == (100, 2000, 300, 10)
    assert run_schedule(Config(iterations=3000, opacity_reset=900), 30).reset == 900
    assert run_schedule(Config(ssim_weight=0.0), 30).ssim_weight == 0


# --------------------------------------------------------------------------- model
def test_opacity_is_linear_between_the_knots_of_the_offset():
    tables = parameters(knots=5)
    knots = torch.sigmoid(tables["opacity"]) + torch.sigmoid(tables["offsets"])
    for phase, expected in ((0.0, knots[:, 0]), (0.5, knots[:, 2]), (1.0, knots[:, 4]), (0.125, knots[:, :2].mean(1))):
        torch.testing.assert_close(model.opacities_at(tables, phase), expected)


def test_the_frozen_model_has_the_same_opacities_and_colors():
    tables = parameters()
    value = model.frozen(tables, 4.0, PictureScale("linear", 1.0), 0.7)
    np.testing.assert_allclose(value.opacities_at([1.3])[0], model.opacities_at(tables, 1.3 / 4).numpy(), atol=1e-6)
    source = np.array([200.0, -120.0, 50.0])
    greys = model.colors_from(tables, torch.tensor(source, dtype=torch.float32), 3).numpy()
    np.testing.assert_allclose(grey_values(value, source), greys, atol=1e-5)
    assert greys.min() >= 0


def test_a_lower_degree_ignores_the_higher_harmonics():
    tables = parameters()
    source = torch.tensor([200.0, -120.0, 50.0])
    flat = model.colors_from(tables, source, 0)
    torch.testing.assert_close(flat, 0.5 + 0.28209479 * tables["color"][:, 0])
    assert (model.colors_from(tables, source, 1) - flat).abs().max() > 0.01


def test_the_start_is_mid_grey_nearly_transparent_and_as_wide_as_its_neighborhood():
    line = np.stack([np.arange(20.0), np.zeros(20), np.zeros(20)], 1)
    tables = model.first_parameters(line, 5, 3, np.random.default_rng(0), "cpu")
    torch.testing.assert_close(model.opacities_at(tables, 0.4), torch.full((20,), 0.1001), atol=1e-5, rtol=0)
    middle = float(tables["log_scales"][10, 0].exp())
    assert middle == pytest.approx(np.sqrt((1 + 1 + 4) / 3))


def test_smoothness_is_the_mean_total_variation_of_the_offsets():
    tables = parameters(count=2, knots=3)
    tables["offsets"] = torch.logit(torch.tensor([[0.1, 0.4, 0.2], [0.3, 0.3, 0.3]]))
    assert float(model.smoothness(tables)) == pytest.approx(0.25, abs=1e-6)


# --------------------------------------------------------------------------- loss
def test_the_structural_part_equals_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 1, (2, 40, 33)).astype(np.float32)
    loss = SimilarityLoss(torch.tensor(y)[None], 1.0)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0, "full": True}
    expected = metrics.structural_similarity(x, y, **options)[1]
    ours = loss._similarity(torch.tensor(x), 0).numpy()
    np.testing.assert_allclose(ours[6:-6, 6:-6], expected[6:-6, 6:-6], atol=2e-5)


def test_the_loss_mixes_absolute_error_and_structure():
    rng = np.random.default_rng(3)
    x, y = (torch.tensor(rng.uniform(0, 1, (20, 24)), dtype=torch.float32) for _ in range(2))
    parts = [float(SimilarityLoss(y[None], weight)(x, 0)) for weight in (0.0, 1.0, 0.25)]
    assert parts[0] == pytest.approx(float((x - y).abs().mean()))
    assert parts[2] == pytest.approx(0.75 * parts[0] + 0.25 * parts[1], rel=1e-5)
    assert float(SimilarityLoss(y[None], 1.0)(y, 0)) == pytest.approx(0, abs=1e-5)


# --------------------------------------------------------------------------- density control
def control(tables, gradients, radii=None, after_reset=False, **changes):
    schedule = replace(SCHEDULES[30], **changes)
    radii = np.zeros(len(gradients), np.float32) if radii is None else radii
    return density.controlled(
        tables, np.asarray(gradients, float), radii, schedule, Config(), extent_mm=800.0, after_reset=after_reset
    )


def test_small_gaussians_are_copied_large_ones_split_and_faint_ones_go():
    tables = parameters(count=4)
    tables["log_scales"][:] = 0.0
    tables["log_scales"][1] = np.log(20.0)  # larger than 0.02 * 800 mm
    tables["opacity"][2], tables["offsets"][2] = -8.0, -8.0
    edit = control(tables, [1e-3, 1e-3, 1e-3, 0.0])
    new = density.edited(tables, edit, np.random.default_rng(0))
    assert sorted(edit.source.tolist()) == [0, 0, 1, 1, 3]
    children = new["log_scales"][torch.tensor(np.flatnonzero(edit.source == 1))].exp()
    torch.testing.assert_close(children, torch.full((2, 3), 20 / 1.6))
    moved = new["means"][torch.tensor(np.flatnonzero(edit.source == 1))] - tables["means"][1]
    assert moved.abs().max() > 0.1


def test_an_offset_alone_keeps_a_gaussian():
    tables = parameters(count=1)
    tables["opacity"][:], tables["offsets"][:] = -8.0, -8.0
    assert len(control(tables, [0.0])) == 0
    tables["offsets"][0, 3] = 0.0
    assert len(control(tables, [0.0])) == 1


def test_after_the_first_reset_what_is_too_large_goes_as_well():
    tables = parameters(count=3)
    tables["log_scales"][:] = 0.0
    tables["log_scales"][0] = np.log(81.0)
    radii = np.array([0, 0.03, 0.01], np.float32)
    assert len(control(tables, np.zeros(3), radii)) == 3
    assert control(tables, np.zeros(3), radii, after_reset=True).source.tolist() == [2]


def test_thinning_takes_a_random_share_and_the_reset_only_lowers():
    edit = density.thinned(1000, 0.08, np.random.default_rng(1))
    assert len(edit) == 920
    assert not np.array_equal(edit.source, np.arange(920))
    logits = torch.tensor([[3.0], [-7.0]])
    density.reset_opacity(logits)
    np.testing.assert_allclose(torch.sigmoid(logits).numpy()[:, 0], [0.01, 1 / (1 + np.exp(7))], rtol=1e-5)


def test_the_extent_is_that_of_the_sources():
    sources = np.array([[100.0, 0, 0], [-100.0, 0, 0]])
    assert camera_extent(sources) == pytest.approx(110.0)


# --------------------------------------------------------------------------- gsplat
def pinhole_images(tables, viewmats, intrinsics, width, height):
    """What gsplat renders, by our reference: one channel, white background."""
    matrix = intrinsics[0] @ viewmats[0][:3]
    means, scales, quats, opacities, colors = tables
    centers, conics, depths = reference.project(means, scales, quats, matrix, (height, width))
    centers = centers + 0  # a tensor of the graph of its own, as gsplat hands out
    image = reference.composite_view(
        centers - 0.5, conics, depths, opacities, colors[:, 0], shape=(height, width), background=1.0
    )
    return image, centers


@pytest.fixture
def gsplat_double(monkeypatch):
    """A module named gsplat with the one function that TOGS calls."""
    double = ModuleType("gsplat")
    double.__spec__ = ModuleSpec("gsplat", None)

    def rasterization(
        *, means, quats, scales, opacities, colors, viewmats, Ks, width, height, backgrounds, packed, sh_degree
    ):
        assert backgrounds.tolist() == [[1.0]]
        assert not packed
        assert sh_degree is None
        image, centers = pinhole_images((means, scales, quats, opacities, colors), viewmats, Ks, width, height)
        centers = centers[None]
        radii = torch.full((1, len(means), 2), 3, dtype=torch.int32)
        # the picture must depend on the centers that are handed out
        return (image + 0 * centers.sum())[None, :, :, None], None, {"means2d": centers, "radii": radii}

    double.rasterization = rasterization
    monkeypatch.setitem(sys.modules, "gsplat", double)


def gaussians(count=20, seed=1):
    rng = np.random.default_rng(seed)
    arrays = (
        rng.uniform(-8, 8, (count, 3)), rng.uniform(0.5, 3, (count, 3)), rng.normal(size=(count, 4)),
        rng.uniform(0.1, 0.9, count), rng.uniform(0, 1, count),
    )  # fmt: skip
    return [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in arrays]


@pytest.mark.parametrize("roll_deg", [0.0, 11.0])
def test_gsplat_gets_cameras_that_see_what_our_kernels_see(gsplat_double, roll_deg):
    pytest.importorskip("numba")
    place = geometry(roll_deg=roll_deg, principal_point_px=(12.2, 19.4))
    ours, theirs = rasterizers.OwnRasterizer(place), rasterizers.GsplatRasterizer(place, "cpu")
    tensors = gaussians()
    for view in range(3):
        np.testing.assert_allclose(
            theirs(view, *tensors).detach().numpy(), ours(view, *tensors).detach().numpy(), atol=2e-5
        )


def test_both_rasterizers_give_the_same_gradients(gsplat_double):
    pytest.importorskip("numba")
    place = geometry()
    weights = torch.tensor(np.random.default_rng(5).normal(size=place.detector_shape), dtype=torch.float32)
    found = []
    for rasterizer in (rasterizers.OwnRasterizer(place), rasterizers.GsplatRasterizer(place, "cpu")):
        tensors = gaussians()
        (rasterizer(1, *tensors) * weights).sum().backward()
        centers, radii = rasterizer.screen()
        assert centers.shape == (20, 2)
        assert radii.shape == (20,)
        found.append([tensor.grad.numpy() for tensor in tensors])
    for one, other in zip(*found, strict=True):
        assert np.linalg.norm(one - other) < 1e-3 * np.linalg.norm(other)


@requires_host_compiler
def test_our_cuda_rasterizer_gives_the_same_gradients():
    pytest.importorskip("numba")
    from helpers.cuda_on_cpu import cpu_launcher

    place = geometry()
    weights = torch.tensor(np.random.default_rng(5).normal(size=place.detector_shape), dtype=torch.float32)
    found = []
    for rasterizer in (
        rasterizers.OwnRasterizer(place), rasterizers.CudaRasterizer(place, "cpu", cpu_launcher("alpha.cu")),
    ):  # fmt: skip
        tensors = gaussians()
        (rasterizer(1, *tensors) * weights).sum().backward()
        found.append([tensor.grad.numpy() for tensor in tensors] + list(rasterizer.screen()))
    for one, other in zip(*found, strict=True):
        assert np.linalg.norm(one - other) < 2e-3 * np.linalg.norm(other)


def test_pinhole_cameras_reproduce_the_projection_matrices():
    place = geometry(roll_deg=20.0, principal_point_px=(10.0, 21.0))
    cameras, intrinsics, flipped = rasterizers.pinhole_cameras(place)
    points = np.random.default_rng(6).uniform(-10, 10, (30, 3))
    expected, depth = place.project_points(points)
    assert np.linalg.det(cameras[:, :3, :3]) == pytest.approx(1.0)
    for view in range(3):
        homogeneous = (intrinsics[view] @ cameras[view, :3] @ np.c_[points, np.ones(30)].T).T
        np.testing.assert_allclose(homogeneous[:, 2], depth[view], rtol=1e-9)
        column, row = (homogeneous[:, :2] / homogeneous[:, 2:] - 0.5).T
        row = place.detector_shape[0] - 1 - row if flipped[view] else row
        np.testing.assert_allclose(np.stack([row, column], 1), expected[view], atol=1e-6)


def test_a_sheared_detector_is_not_a_pinhole_camera():
    place = geometry()
    sheared = ConeBeamGeometry(
        place.source_mm, place.detector_center_mm, place.detector_u_mm, place.detector_v_mm + 0.1 * place.detector_u_mm,
        place.detector_shape,
    )  # fmt: skip
    with pytest.raises(GeometryError, match="not perpendicular"):
        rasterizers.pinhole_cameras(sheared)


def test_without_gsplat_a_gpu_gets_the_install_line(monkeypatch):
    monkeypatch.setattr(rasterizers, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="not installed") as caught:
        rasterizers.make_rasterizer("auto", geometry(), "cuda:0")
    assert "pip install gsplat" in caught.value.hint
