"""Total variation: numba against torch, gradient against autograd, curvature as a bound."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from DSAReconLib.fitting.priors import neighbor_table, tv_space, tv_time  # noqa: E402

SHAPE = (5, 6, 7)


def case(seed=0, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    support = np.flatnonzero(rng.random(SHAPE) < 0.7)
    values = torch.tensor(rng.normal(size=(4, len(support))), dtype=dtype)
    return support, values, torch.from_numpy(neighbor_table(support, SHAPE))


def dense_tv(support, values, epsilon):
    """The definition on a zero-padded grid."""
    total = 0
    for row in values:
        flat = torch.zeros(int(np.prod(SHAPE)), dtype=values.dtype)
        volume = flat.index_put((torch.from_numpy(support),), row).view(SHAPE)
        padded = torch.nn.functional.pad(volume, (1, 1, 1, 1, 1, 1))
        for axis in range(3):
            difference = padded.diff(dim=axis)
            total = total + (torch.sqrt(difference**2 + epsilon**2) - epsilon).sum()
    return total


def test_the_spatial_prior_and_its_gradient_follow_the_definition():
    support, values, neighbors = case(dtype=torch.float64)
    values.requires_grad_()
    expected = dense_tv(support, values, 0.1)
    expected.backward()
    value, gradient, _ = tv_space(values.detach(), neighbors, 0.1)
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, values.grad, rtol=1e-12, atol=1e-12)


def test_the_temporal_gradient_is_that_of_the_value():
    values = case(dtype=torch.float64)[1].requires_grad_()
    value, gradient, _ = tv_time(values, 0.1)
    (expected,) = torch.autograd.grad(value, values)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


def test_numba_and_torch_agree():
    _, values, neighbors = case(1)
    pairs = [
        (tv_space(values, neighbors, 0.2), tv_space(values.double(), neighbors, 0.2)),
        (tv_time(values, 0.2), tv_time(values.double(), 0.2)),
    ]
    for fast, exact in pairs:
        for ours, theirs in zip(fast, exact, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prior", ["space", "time"])
def test_the_curvature_majorizes_the_prior(prior):
    _, values, neighbors = case(2, torch.float64)

    def evaluate(x):
        return tv_space(x, neighbors, 0.05) if prior == "space" else tv_time(x, 0.05)

    value, gradient, curvature = evaluate(values)
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 0.1, 1.0, 10.0):
        move = scale * torch.randn(values.shape, dtype=torch.float64, generator=generator)
        bound = value + (gradient * move).sum() + 0.5 * (curvature * move**2).sum()
        assert evaluate(values + move)[0] <= bound + 1e-9


def test_neighbors_outside_the_support_are_marked():
    support = np.array([0, 1, 3])
    table = neighbor_table(support, (1, 2, 2))
    assert table[:, 0].tolist() == [-1, -1, -1, -1, -1, 1]
    assert table[:, 2].tolist() == [-1, -1, 1, -1, -1, -1]
