"""Data term, optimizers, loop and region, each against what defines it."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from helpers.contrast_runs import tubes  # noqa: E402

from DSAReconLib.checkpoint import CheckpointStore  # noqa: E402
from DSAReconLib.errors import JobCancelled  # noqa: E402
from DSAReconLib.fitting.data_term import ProjectionLoss  # noqa: E402
from DSAReconLib.fitting.loop import FittingLoop  # noqa: E402
from DSAReconLib.fitting.optimizers import AcceleratedDescent, ProjectedAdam  # noqa: E402
from DSAReconLib.fitting.pixel_weights import pixel_weights  # noqa: E402
from DSAReconLib.fitting.projection import FootprintProjection, JosephProjection  # noqa: E402
from DSAReconLib.fitting.region import bounding_box, contrast_support, refined_support  # noqa: E402
from DSAReconLib.geometry import VolumeGrid  # noqa: E402
from DSAReconLib.models.voxels import TimeVoxels  # noqa: E402
from DSAReconLib.progress import SilentProgress  # noqa: E402

GRID = VolumeGrid.centered(20, 1.2)
SUPPORT = np.flatnonzero(np.linalg.norm(GRID.points_mm(), axis=1) < 8)
KNOTS = np.linspace(0, 4, 5)


def make_loss(kind, angiogram):
    geometry = angiogram.geometry
    projection = (
        JosephProjection(GRID, SUPPORT, geometry, "cpu")
        if kind == "joseph"
        else FootprintProjection(GRID, SUPPORT, geometry)
    )
    loss = ProjectionLoss(angiogram, projection, device="cpu", variance_weights=False)
    model = TimeVoxels.zeros(GRID, SUPPORT, KNOTS)
    return loss, torch.as_tensor(model.mixing(angiogram.times_s)), model


@pytest.mark.parametrize("kind", ["joseph", "footprint"])
def test_the_gradient_and_the_curvature_belong_to_the_loss(kind):
    loss, mixing, model = make_loss(kind, tubes(views=9)[0])
    generator = torch.Generator().manual_seed(0)
    values = 0.02 * torch.rand(model.values.shape, generator=generator)
    move = 0.02 * torch.randn(values.shape, generator=generator)
    value, gradient, _ = loss(values, mixing, SilentProgress())
    ahead, behind = (loss(values + sign * move, mixing, SilentProgress())[0] for sign in (1, -1))
    assert float((gradient * move).sum()) == pytest.approx((ahead - behind) / 2, rel=2e-3)
    curvature = loss.curvature(values, mixing, SilentProgress())
    assert ahead <= value + float((gradient * move).sum() + 0.5 * (curvature * move**2).sum()) * (1 + 1e-4)


def test_the_loss_does_not_depend_on_binning_much():
    angiogram = tubes(views=9, detector=96)[0]
    values = torch.zeros(len(KNOTS), len(SUPPORT))
    fine, mixing, _ = make_loss("footprint", angiogram)
    coarse, _, _ = make_loss("footprint", angiogram.binned(2))
    noise = 0.5 * 0.004**2 * 0.75 * np.prod(angiogram.geometry.isocenter_pixel_mm) * 96**2
    first, second = (loss(values, mixing, SilentProgress())[0] for loss in (fine, coarse))
    assert first - noise == pytest.approx(second, rel=0.05)


def test_missing_pixels_weigh_nothing_and_noisy_ones_little():
    angiogram = tubes(views=4)[0]
    variance = np.full(angiogram.line_integrals.shape, 2.0, np.float32)
    variance[0, 0, :3] = np.inf, 4.0, 1.0
    angiogram = replace(angiogram, variance=variance)
    assert pixel_weights(angiogram, True)[0, 0, :4].tolist() == [0.0, 0.5, 2.0, 1.0]
    assert pixel_weights(angiogram, False)[0, 0, :4].tolist() == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["accelerated", "adam"])
def test_the_optimizers_solve_non_negative_least_squares(kind):
    rng = np.random.default_rng(0)
    matrix, wanted = rng.normal(size=(30, 12)), np.maximum(rng.normal(size=12), 0)
    data = matrix @ wanted + 0.3 * rng.normal(size=30)
    from scipy.optimize import nnls

    expected = nnls(matrix, data)[0]
    a, b = torch.tensor(matrix), torch.tensor(data)
    bound = (a.abs().T @ a.abs().sum(1))[None]

    def evaluate(x):
        residual = a @ x[0] - b
        return float(0.5 * residual @ residual), (a.T @ residual)[None], bound

    start = torch.zeros(1, 12, dtype=torch.float64)
    optimizer = AcceleratedDescent(start) if kind == "accelerated" else ProjectedAdam(start, lambda n: 0.1 * 0.99**n)
    for _ in range(1500):
        optimizer.step(evaluate)
    np.testing.assert_allclose(optimizer.x[0].numpy(), expected, atol=2e-3)
    assert optimizer.x.min() >= 0


class _Cancel(SilentProgress):
    def __init__(self, after):
        super().__init__()
        self.left = after

    def check_cancelled(self):
        self.left -= 1
        if self.left < 0:
            raise JobCancelled


def test_a_cancelled_loop_keeps_the_finished_iterations(tmp_path):
    store = CheckpointStore(tmp_path)
    done = []
    loop = FittingLoop(_Cancel(after=3), "fit", checkpoint=store)
    with pytest.raises(JobCancelled):
        loop.run(lambda n: done.append(n) or {}, 10, state=lambda n: {"iteration": n})
    assert done == [0, 1, 2]
    assert int(store.load()["iteration"]) == 3


def test_the_region_holds_the_tubes_and_little_else():
    angiogram, _ = tubes(views=30)
    grid = angiogram.geometry.field_of_view_grid()
    support = contrast_support(angiogram, grid, window_s=1.0, progress=SilentProgress())
    inside = np.zeros(grid.num_voxels, bool)
    inside[support] = True
    along = np.linspace(-13, 13, 40)
    tube = np.stack([6 * np.sin(along / 7), 4 * np.cos(along / 6), along], -1)
    index = np.rint(grid.index_of(tube)).astype(int)
    assert inside[np.ravel_multi_index(tuple(index.T[::-1]), grid.shape_zyx)].mean() > 0.98
    assert inside.mean() < 0.2
    shuffled = angiogram.select(np.random.default_rng(0).permutation(30))
    np.testing.assert_array_equal(support, contrast_support(shuffled, grid, window_s=1.0, progress=SilentProgress()))


def test_a_refined_support_covers_the_coarse_one():
    coarse = VolumeGrid.centered((6, 7, 8), 2.0)
    support = np.array([100, 101, 150])
    fine = bounding_box(support, coarse, 2.0).resampled(1.0)
    exact = refined_support(support, coarse, fine, margin=0)
    assert len(exact) == 8 * len(support)
    nearest = coarse.index_of(fine.points_mm(exact))
    flat = np.ravel_multi_index(tuple(np.rint(nearest).astype(int).T[::-1]), coarse.shape_zyx)
    assert set(flat) == set(support)
    assert set(exact) < set(refined_support(support, coarse, fine, margin=1))


def test_moving_to_finer_voxels_keeps_a_linear_attenuation():
    coarse = VolumeGrid.centered((6, 7, 8), 2.0)
    ramp = torch.as_tensor(coarse.points_mm() @ [0.1, 0.2, 0.3], dtype=torch.float32)[None].repeat(2, 1)
    model = TimeVoxels(coarse, np.arange(coarse.num_voxels), np.array([0.0, 1.0]), ramp)
    fine = VolumeGrid.centered((9, 10, 11), 1.0)
    support = np.arange(0, fine.num_voxels, 7)
    moved = model.transferred(fine, support)
    expected = fine.points_mm(support) @ [0.1, 0.2, 0.3]
    np.testing.assert_allclose(moved.values[1].numpy(), expected, atol=1e-5)
    volume = moved.frozen()
    assert volume.at(0.5).reshape(-1)[support] == pytest.approx(expected, abs=1e-5)
