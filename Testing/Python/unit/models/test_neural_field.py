"""Hash fields and the scene model of VPAL."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from DSAReconLib.kernels.hashgrid import HashGrid  # noqa: E402
from DSAReconLib.models.neural_field import VARIANTS, HashField, Perceptron, VesselFields  # noqa: E402

SPACE = HashGrid(3, levels=4, log2_entries=10, base_resolution=4, growth=1.6)
SPACE_TIME = HashGrid(4, levels=4, log2_entries=10, base_resolution=2, growth=1.6)


def vessel_fields(variant="vpal", seed=0):
    fields = VesselFields(variant, SPACE, SPACE_TIME, hidden=16, layers=2, seed=seed)
    with torch.no_grad():  # large features: at the start all values are almost zero
        for field in fields.fields.values():
            field.encoding.table.normal_(generator=torch.Generator().manual_seed(seed + 1))
    return fields


def random_points(count=64):
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(7))


def test_a_fresh_field_is_almost_zero_and_the_same_for_the_same_seed():
    points = random_points()[:, :3].contiguous()
    first, again, other = (HashField(SPACE, hidden=16, seed=seed)(points) for seed in (3, 3, 4))
    assert float(first.detach().abs().max()) < 1e-3
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_field_learns_a_function():
    field = HashField(SPACE, hidden=16, layers=1, outputs=2, seed=1)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0))
    target = torch.stack([torch.sin(4 * points[:, 0]), points[:, 1] * points[:, 2]], 1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((field(points) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.01 * float(target.var())


def test_levels_that_are_off_do_not_matter():
    field = vessel_fields().fields["static"]
    points = random_points()[:, :3].contiguous()
    before = field(points, 2)
    with torch.no_grad():
        field.encoding.table[int(SPACE.offsets[2]) :] += 1
    assert torch.equal(field(points, 2), before)
    assert not torch.equal(field(points, 3), before)


def test_the_parts_are_mixed_by_the_probability():
    values = vessel_fields()(random_points())
    expected = (1 - values.probability) * values.static + values.probability * values.dynamic
    torch.testing.assert_close(values.attenuation, expected)
    assert float(values.probability.min()) > 0
    assert float(values.probability.max()) < 1
    assert min(float(values.static.min()), float(values.dynamic.min())) >= 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_have_the_fields_that_they_name(variant):
    values = vessel_fields(variant)(random_points())
    present = [part is not None for part in values[1:]]
    assert (
        present
        == {
            "vpal": [True, True, True],
            "sd": [False, True, True],
            "pd": [True, False, True],
            "dynamic": [False, False, True],
            "static": [False, True, False],
        }[variant]
    )
    if variant == "sd":
        torch.testing.assert_close(values.attenuation, values.static + values.dynamic)
    if variant == "pd":
        torch.testing.assert_close(values.attenuation, values.probability * values.dynamic)


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant"):
        VesselFields("naf", SPACE, SPACE_TIME, hidden=4, layers=1, seed=0)


def test_probability_gates_the_gradients_of_both_branches():
    """d mu_c / d mu_s = 1 - p and d mu_c / d mu_d = p: why the split is learned without labels."""
    fields = vessel_fields()
    values = fields(random_points())
    by_static, by_dynamic = torch.autograd.grad(values.attenuation.sum(), [values.static, values.dynamic])
    torch.testing.assert_close(by_static, 1 - values.probability)
    torch.testing.assert_close(by_dynamic, values.probability)


def test_reseeding_replaces_all_parameters_in_place():
    field = HashField(SPACE, hidden=16, seed=1)
    before = [parameter.detach().clone() for parameter in field.parameters()]
    field.reseed(2)
    for old, new in zip(before, field.parameters(), strict=True):
        assert not torch.equal(old, new)
    field.reseed(1)
    for old, new in zip(before, field.parameters(), strict=True):
        assert torch.equal(old, new)


def test_perceptron_weights_have_the_variance_of_glorot():
    weight = Perceptron([200, 300], seed=0).weights[0]
    assert float(weight.detach().var()) == pytest.approx(2 / 500, rel=0.05)
    assert np.prod(weight.shape) == 60000
