"""The hash encoding: layout, numba against the torch reference, gradients."""

import numpy as np
import pytest

from DSAReconLib.kernels import hashgrid
from DSAReconLib.kernels.hashgrid import HashGrid

torch = pytest.importorskip("torch")
from DSAReconLib.kernels.hashgrid import reference  # noqa: E402
from DSAReconLib.kernels.hashgrid.autograd import encode  # noqa: E402

KINDS = [(3, 2), (3, 8), (4, 2), (4, 8)]


def small_grid(dimensions, features):
    """Dense and hashed levels."""
    grid = HashGrid(dimensions, levels=6, features=features, log2_entries=10, base_resolution=3, growth=1.7)
    assert grid.dense.any()
    assert not grid.dense.all()
    return grid


def arrays(grid, count=400, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.random((count, grid.dimensions)).astype(np.float32)
    points[:3] = [[0.0], [1.0], [0.5]]
    return (
        points,
        rng.normal(size=grid.table_shape).astype(np.float32),
        rng.normal(size=(count, grid.width)).astype(np.float32),
    )


def reference_gradients(grid, points, table, slopes, active):
    place = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    entries = torch.tensor(table, dtype=torch.float64, requires_grad=True)
    features = reference.encode(place, entries, grid, active)
    features.backward(torch.tensor(slopes, dtype=torch.float64))
    return features.detach().numpy(), entries.grad.numpy(), place.grad.numpy()


def assert_close(result, expected, tolerance):
    """Relative L2, cosine and bias: a small absolute tolerance must not hide a missing part."""
    scale = np.linalg.norm(expected)
    assert np.linalg.norm(result - expected) < tolerance * scale
    assert np.vdot(result, expected) > (1 - tolerance) * np.linalg.norm(result) * scale
    assert abs((result - expected).sum(dtype=float)) < tolerance * np.abs(expected).sum()


def test_published_sizes_have_the_published_resolutions_and_parameters():
    space = HashGrid(3, levels=12, features=8, log2_entries=19, base_resolution=8, growth=1.45)
    time = HashGrid(4, levels=12, features=8, log2_entries=19, base_resolution=2, growth=1.4)
    assert space.resolutions.tolist() == [8, 12, 17, 25, 36, 52, 75, 108, 157, 227, 329, 477]
    assert time.resolutions.tolist() == [2, 3, 4, 6, 8, 11, 16, 22, 30, 42, 58, 81]
    assert np.prod(space.table_shape) == pytest.approx(26.0e6, rel=0.01)
    assert np.prod(time.table_shape) == pytest.approx(19.3e6, rel=0.01)


@pytest.mark.parametrize(("dimensions", "features"), KINDS)
def test_numba_equals_the_reference_in_value_and_gradients(dimensions, features):
    grid = small_grid(dimensions, features)
    points, table, slopes = arrays(grid)
    values, of_table, of_points = reference_gradients(grid, points, table, slopes, active=5)
    assert_close(hashgrid.encode(points, table, grid, active_levels=5), values, 1e-5)
    assert_close(hashgrid.encode_adjoint(points, slopes, grid, active_levels=5), of_table, 1e-5)
    inside = (points > 0).all(1) & (points < 1).all(1)  # clamping: the reference's derivative there is 0
    found = hashgrid.encode_points_adjoint(points, table, slopes, grid, active_levels=5)
    assert_close(found[inside], of_points[inside], 1e-4)


@pytest.mark.parametrize(("dimensions", "features"), KINDS)
def test_the_adjoint_is_exact_and_the_same_for_any_number_of_threads(dimensions, features):
    import numba

    grid = small_grid(dimensions, features)
    points, table, slopes = arrays(grid, count=9000)
    before = numba.get_num_threads()
    results = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            results.append(hashgrid.encode_adjoint(points, slopes, grid))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*results)
    forward = np.vdot(hashgrid.encode(points, table, grid).astype(float), slopes)
    assert forward == pytest.approx(np.vdot(table.astype(float), results[0]), rel=1e-4)


@pytest.mark.parametrize("dimensions", [3, 4])
def test_reference_passes_gradcheck(dimensions):
    grid = HashGrid(dimensions, levels=2, features=2, log2_entries=5, base_resolution=2, growth=2.0)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(5, dimensions, dtype=torch.float64, generator=generator).requires_grad_()
    table = torch.rand(*grid.table_shape, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: reference.encode(p, t, grid, 2), (points, table))


def test_float32_tensors_run_the_kernels_and_give_both_gradients():
    grid = small_grid(3, 2)
    points, table, slopes = arrays(grid)
    place, entries = (torch.tensor(array, requires_grad=True) for array in (points, table))
    encode(place, entries, grid, active_levels=4).backward(torch.from_numpy(slopes))
    _, of_table, _ = reference_gradients(grid, points, table, slopes, active=4)
    assert_close(entries.grad.numpy(), of_table, 1e-5)
    np.testing.assert_array_equal(
        place.grad.numpy(), hashgrid.encode_points_adjoint(points, table, slopes, grid, active_levels=4)
    )


def test_inactive_levels_are_zero_and_get_no_gradient():
    grid = small_grid(4, 2)
    points, table, slopes = arrays(grid)
    features = hashgrid.encode(points, table, grid, active_levels=2)
    assert np.abs(features[:, :4]).min(1).max() > 0
    assert not features[:, 4:].any()
    gradient = hashgrid.encode_adjoint(points, slopes, grid, active_levels=2)
    assert gradient[: grid.offsets[2]].any()
    assert not gradient[grid.offsets[2] :].any()


def test_a_linear_function_on_a_dense_level_is_reproduced():
    grid = HashGrid(3, levels=1, features=2, log2_entries=12, base_resolution=9)
    line = np.arange(9)
    vertex = np.stack(np.meshgrid(line, line, line, indexing="ij")[::-1], -1).reshape(-1, 3)
    table = np.zeros(grid.table_shape, np.float32)
    table[: len(vertex), 0] = vertex @ [1.0, 2.0, -3.0]
    points = np.random.default_rng(0).random((100, 3)) * 0.9
    expected = (points * grid.scales[0] + 0.5) @ [1.0, 2.0, -3.0]
    np.testing.assert_allclose(hashgrid.encode(points, table, grid)[:, 0], expected, atol=1e-4)


def test_points_outside_are_clamped():
    grid = small_grid(3, 2)
    _, table, _ = arrays(grid)
    outside = hashgrid.encode([[-5.0, 0.5, 2.0]], table, grid)
    np.testing.assert_array_equal(outside, hashgrid.encode([[0.0, 0.5, 1.0]], table, grid))


def test_no_points_give_no_features():
    grid = small_grid(3, 8)
    _, table, _ = arrays(grid)
    assert hashgrid.encode(np.zeros((0, 3)), table, grid).shape == (0, grid.width)


def test_torch_stands_in_where_numba_is_missing(monkeypatch):
    grid = small_grid(4, 2)
    points, table, slopes = arrays(grid, count=50)
    calls = [
        lambda: hashgrid.encode(points, table, grid, active_levels=3),
        lambda: hashgrid.encode_adjoint(points, slopes, grid, active_levels=3),
        lambda: hashgrid.encode_points_adjoint(points[3:], table, slopes[3:], grid, active_levels=3),
    ]
    fast = [call() for call in calls]
    monkeypatch.setenv("DSARECON_CPU_KERNELS", "torch")
    for expected, call in zip(fast, calls, strict=True):
        assert_close(call(), expected, 1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 2}, "dimensions"),
        ({"features": 3}, "features"),
        ({"levels": 0}, "levels"),
        ({"growth": 0.5}, "growth"),
        ({"levels": 32, "growth": 3.0}, "finest"),
    ],
)
def test_impossible_grids_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        HashGrid(**({"dimensions": 3} | change))


def test_wrong_arrays_are_refused():
    grid = small_grid(3, 2)
    points, table, slopes = arrays(grid)
    with pytest.raises(ValueError, match="points must have shape"):
        hashgrid.encode(points[:, :2], table, grid)
    with pytest.raises(ValueError, match="table must have shape"):
        hashgrid.encode(points, table[1:], grid)
    with pytest.raises(ValueError, match="gradients must have shape"):
        hashgrid.encode_adjoint(points, slopes[1:], grid)
    with pytest.raises(ValueError, match="finite"):
        hashgrid.encode(np.full((1, 3), np.nan), table, grid)
