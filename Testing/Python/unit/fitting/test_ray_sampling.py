"""Rays through a box, points on them, and the cells that are left out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from DSAReconLib.fitting import ray_sampling  # noqa: E402
from DSAReconLib.fitting.ray_sampling import FieldBox, OccupancyGrid, crossings, march  # noqa: E402
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid  # noqa: E402
from DSAReconLib.kernels.raycast import project  # noqa: E402

GRID = VolumeGrid.centered((20, 24, 28), (2.0, 1.5, 1.0), (1.0, -2.0, 3.0))
BOX = FieldBox.of_grid(GRID)


def geometry(views=5):
    return ConeBeamGeometry.from_angles(
        np.linspace(-80, 80, views), 12.0, sod_mm=400.0, sdd_mm=600.0, detector_shape=(18, 22),
        detector_spacing_mm=(3.0, 3.0),
    )  # fmt: skip


def all_rays(geometry):
    return BOX.rays(geometry, np.arange(np.prod((len(geometry), *geometry.detector_shape))))


def random_occupancy(share=0.3, shape=(5, 6, 7)):
    return OccupancyGrid(torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share)


def test_rays_run_from_the_source_to_their_pixel():
    views = geometry()
    pixels = np.array([0, 21, 22 * 18 + 25])
    rays = BOX.rays(views, pixels)
    source = rays.origin.double().numpy() * BOX.size_mm + BOX.low_mm
    np.testing.assert_allclose(source, views.source_mm[[0, 0, 1]], atol=1e-3)
    far_away = source + 700 * rays.step.double().numpy() * BOX.size_mm
    row_column, _ = views.project_points(far_away)
    np.testing.assert_allclose(row_column[0, 0], [0, 0], atol=0.02)
    np.testing.assert_allclose(row_column[0, 1], [0, 21], atol=0.02)
    np.testing.assert_allclose(row_column[1, 2], [1, 3], atol=0.02)


def test_the_path_through_the_box_is_the_integral_of_ones():
    views = geometry()
    rays = all_rays(views)
    length = (rays.far - rays.near).clamp(min=0).numpy()
    # Joseph's volume of ones extends half a voxel further with falling weights: compare where rays cross fully
    ones = project(np.ones(GRID.shape_zyx, np.float32), GRID, views).reshape(-1)
    central = length > 0.5 * length.max()
    assert central.sum() > 50
    np.testing.assert_allclose(length[central], ones[central], rtol=0.12)
    assert np.mean(length[central] - ones[central]) == pytest.approx(0, abs=0.4)


def test_a_ray_beside_the_box_has_no_points_and_a_parallel_one_is_no_fault():
    origin = np.array([[0.5, 0.5, -3.0], [2.0, 0.5, -3.0]])
    near, far = ray_sampling._slabs(origin, np.array([[0.0, 0, 1], [0.0, 0, 1]]))
    assert (near[0], far[0]) == (3.0, 4.0)
    assert far[1] < near[1]


@pytest.mark.parametrize("jitter", [False, True])
def test_numba_and_torch_place_the_same_points(monkeypatch, jitter):
    pytest.importorskip("numba")
    rays = all_rays(geometry())
    times = torch.rand(len(rays), generator=torch.Generator().manual_seed(2))
    offsets = torch.rand(len(rays), generator=torch.Generator().manual_seed(3)) if jitter else None
    fast = march(rays, times, 0.7, random_occupancy(), offsets)
    monkeypatch.setattr(ray_sampling, "_numba", lambda: None)
    slow = march(rays, times, 0.7, random_occupancy(), offsets)
    # points on the face of a cell may fall on either side
    assert abs(len(fast.points) - len(slow.points)) <= 0.001 * len(slow.points)
    counts = [torch.bincount(samples.ray, minlength=len(rays)) for samples in (fast, slow)]
    same = counts[0] == counts[1]
    assert same.float().mean() > 0.99
    kept = [samples.points[same[samples.ray]] for samples in (fast, slow)]
    torch.testing.assert_close(*kept, atol=1e-4, rtol=0)
    assert fast.spacing_mm == slow.spacing_mm <= 0.7
    if not jitter:
        torch.testing.assert_close(crossings(rays, 0.7, random_occupancy()), counts[1])


def test_points_carry_the_time_of_their_ray_and_lie_in_occupied_cells():
    rays = all_rays(geometry())
    times = torch.linspace(0, 1, len(rays))
    occupancy = random_occupancy()
    samples = march(rays, times, 1.0, occupancy)
    torch.testing.assert_close(samples.points[:, 3], times[samples.ray])
    assert bool((samples.ray[1:] >= samples.ray[:-1]).all())
    assert occupancy.holds(samples.points[:, :3]).float().mean() > 0.999
    full = march(rays, times, 1.0, OccupancyGrid.full((5, 6, 7)))
    assert 0.2 < len(samples.points) / len(full.points) < 0.4
    torch.testing.assert_close(crossings(rays, 1.0, occupancy), torch.bincount(samples.ray, minlength=len(rays)))


def test_line_integrals_of_a_smooth_field_are_right_and_differentiable():
    views = geometry()
    rays = all_rays(views)
    samples = march(rays, torch.zeros(len(rays)), 0.25, OccupancyGrid.full((1, 1, 1)))

    def blob(unit):
        return torch.exp(-0.5 * (((unit - 0.5) * torch.from_numpy(BOX.size_mm).float() / 4) ** 2).sum(-1))

    values = blob(samples.points[:, :3]).requires_grad_()
    images = samples.line_integrals(values, len(rays))
    volume = blob(torch.from_numpy(BOX.unit(GRID.points_mm()))).reshape(GRID.shape_zyx).numpy()
    expected = project(volume, GRID, views).reshape(-1)
    assert np.abs(images.detach().numpy() - expected).max() < 0.05 * expected.max()  # Joseph blurs a little
    images.sum().backward()
    torch.testing.assert_close(values.grad, torch.full_like(values, samples.spacing_mm))


def test_random_points_of_cells_lie_in_them():
    occupancy = random_occupancy()
    cells = occupancy.cells
    assert len(cells) == int(occupancy.occupied.sum())
    offsets = torch.rand(len(cells), 3, generator=torch.Generator().manual_seed(5)) * 0.98 + 0.01
    assert bool(occupancy.holds(occupancy.points_in(cells, offsets)).all())
    assert occupancy.share == pytest.approx(float(occupancy.occupied.float().mean()))
    assert OccupancyGrid.full((2, 3, 4)).share == 1
