"""Parts of the radiative fit: scales, seeds, priors, control, neural attenuation."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.contrast_runs import tubes

from DSAReconLib.fitting.course_priors import CoursePriors, nearest, neighbor_course, roughness_slope
from DSAReconLib.fitting.density import VisibilityStatistics
from DSAReconLib.fitting.voxelizing import dynamic_volume
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.radiative.config import Config
from DSAReconLib.methods.radiative.control import controlled, without_specks
from DSAReconLib.methods.radiative.reconstruct import reconstruct
from DSAReconLib.methods.radiative.seeding import chosen_voxels
from DSAReconLib.models.attenuation_field import NeuralAttenuation, spline_basis
from DSAReconLib.models.gaussian_table import GaussianTable, ScaleBounds
from DSAReconLib.progress import SilentProgress
from DSAReconLib.reconstruction import RadiativeGaussians, TemporalBasis

BOUNDS = ScaleBounds(0.1, 10.0)
BOX = VolumeGrid.centered(130, 1.0)


def table(means, coefficients=None, sigma=1.0):
    means = np.asarray(means, np.float32)
    if coefficients is None:
        coefficients = np.ones((len(means), 2), np.float32)
    return GaussianTable.isotropic(means, np.full(len(means), sigma), BOUNDS, np.asarray(coefficients, np.float32))


def seen(gradients, attenuation):
    statistics = VisibilityStatistics(len(gradients))
    statistics.add(np.full(len(gradients), 10), 10 * np.asarray(gradients), 10 * np.asarray(attenuation))
    return statistics


def test_scale_bounds_invert_and_their_slope_is_the_derivative():
    scales = np.array([0.2, 1.0, 4.0, 9.5], np.float32)
    raw = BOUNDS.raw(scales)
    np.testing.assert_allclose(BOUNDS.scales(raw), scales, rtol=1e-5)
    step = 1e-2
    numeric = (BOUNDS.scales(raw + step) - BOUNDS.scales(raw - step)) / (2 * step)
    np.testing.assert_allclose(BOUNDS.slope(raw), numeric, rtol=1e-3)
    assert np.isfinite(BOUNDS.raw(np.array([0.0, 50.0]))).all(), "values beyond the bounds are clamped"


def test_splines_are_a_partition_of_unity_without_negative_parts():
    basis = spline_basis(9, 5.0)
    values = basis.at(np.linspace(0, 5, 77))
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)
    assert values.min() >= -1e-7
    assert len(spline_basis(2, 5.0)) == 2


def test_seeds_lie_above_the_threshold_or_are_the_brightest():
    rng = np.random.default_rng(0)
    values = rng.permutation(np.linspace(-0.01, 0.04, 500)).astype(np.float32)
    random = chosen_voxels(values, Config(points=100, seed_choice="random"), rng)
    assert len(random) == 100
    assert values[random].min() > 0.016
    lowered = chosen_voxels(values, Config(points=300, seed_choice="random"), rng)
    assert len(lowered) == 300
    assert set(lowered) == set(np.argsort(-values)[:300])
    assert (values[chosen_voxels(values, Config(points=1000), rng)] > 0).all()


def test_the_roughness_slope_is_the_derivative():
    courses = np.random.default_rng(1).uniform(0, 1, (4, 7))

    def roughness(values):
        return 0.5 * (np.diff(values, 2, axis=1) ** 2).sum()

    slope = roughness_slope(courses)
    for place in [(0, 0), (1, 3), (3, 6)]:
        moved = courses.copy()
        moved[place] += 1e-6
        assert slope[place] == pytest.approx((roughness(moved) - roughness(courses)) / 1e-6, abs=1e-5)


def test_coherence_pulls_an_odd_course_towards_its_neighbors():
    means = np.random.default_rng(2).normal(size=(12, 3)).astype(np.float32)
    courses = np.tile(np.float32([0, 1, 0, 0]), (12, 1))
    courses[5] = [0, 0, 0, 2]
    neighbors = nearest(means)
    assert neighbors.shape == (12, 9)
    assert (neighbors[:, 0] == np.arange(12)).all()
    priors = CoursePriors(sparsity=0, smoothness=0, coherence=1, reweighting=0, reference=1)
    slope = priors.gradient(courses, neighbors)
    assert slope[5, 3] > 0 > slope[5, 1]
    np.testing.assert_allclose(neighbor_course(courses, neighbors).sum(1), courses.sum(1), rtol=1e-5)


def test_reweighted_sparsity_spares_what_is_bright():
    courses = np.float32([[1, 1], [0.01, 0.01], [0, 0]])
    priors = CoursePriors(sparsity=1, smoothness=0, coherence=0, reweighting=0.05, reference=1)
    weights = priors.sparsity_weights(courses, None)
    assert weights[0] < weights[1] < weights[2]
    assert weights[2] == pytest.approx(10)


def test_gaussians_without_accumulated_attenuation_are_pruned_but_not_those_that_were_bright_once():
    config = Config(prune_volume=0, prune_specks=0, reseeds=0)
    statistics = seen([0, 0], [0.0, 0.002])
    left = controlled(table([[0, 0, 0], [5, 0, 0]]), statistics, config, 25, BOX, 1.0, views=10)
    assert left.rows["means"][:, 0].tolist() == [5]
    few = controlled(table([[0, 0, 0], [5, 0, 0]]), statistics, config, 25, BOX, 1.0, views=30)
    assert len(few) == 2, "not every view was seen: an empty vessel may fill later"


def test_centers_outside_the_box_are_pruned():
    config = Config(prune_volume=0, prune_specks=0)
    left = controlled(table([[0, 0, 0], [0, 0, 66]]), seen([0, 0], [1, 1]), config, 25, BOX, 1.0, views=10)
    assert left.rows["means"].tolist() == [[0, 0, 0]]


def test_copies_share_the_attenuation_and_children_the_mass():
    config = Config(grow=True, grow_from=0, prune_volume=0, prune_specks=0, gradient_threshold=1.0, split_above=2.0,
                    split_above_last=2.0)  # fmt: skip
    gaussians = table([[0, 0, 0], [50, 0, 0]])
    gaussians.rows["raw_scales"][1] = BOUNDS.raw(np.float32([3, 3, 3]))
    mass = (gaussians.volumes_mm3 * gaussians.rows["coefficients"][:, 0]).copy()
    grown = controlled(gaussians, seen([2, 2], [1, 1]), config, 50, BOX, 1.0, views=10)
    assert len(grown) == 4
    near = np.abs(grown.rows["means"][:, 0]) < 25
    masses = grown.volumes_mm3 * grown.rows["coefficients"][:, 0]
    assert masses[near].sum() == pytest.approx(mass[0], rel=1e-4)
    assert masses[~near].sum() == pytest.approx(mass[1], rel=1e-4)
    np.testing.assert_allclose(grown.scales[~near], 3 / 1.6, rtol=1e-4)


def test_specks_go_and_chains_stay():
    chain = [[0.4 * n, 0, 0] for n in range(40)]
    left = without_specks(table([*chain, [0, 30, 0]], sigma=0.5), 1.0, 1.0, 10.0)
    assert len(left) == 40
    assert left.rows["means"][:, 1].max() == 0


def test_narrow_gaussians_keep_their_mass_on_voxels():
    rng = np.random.default_rng(4)
    scales = rng.uniform(0.1, 0.9, (20, 3)).astype(np.float32)
    quats = rng.normal(size=(20, 4)).astype(np.float32)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    model = RadiativeGaussians(
        rng.uniform(-6, 6, (20, 3)).astype(np.float32), scales, quats, rng.uniform(0.1, 1, (3, 20)).astype(np.float32),
        TemporalBasis.hats(np.arange(3.0)),
    )  # fmt: skip
    volume = dynamic_volume(model, VolumeGrid.centered(60, 0.7), floor=1e-7)
    expected = (2 * np.pi) ** 1.5 * (scales.prod(1) * model.coefficients).sum(1)
    np.testing.assert_allclose(volume.coefficients.sum(1) * 0.7**3, expected, rtol=0.01)
    assert volume.grid.num_voxels < 60**3, "only the part that the Gaussians reach"


def neural(seed=0):
    pytest.importorskip("torch")
    return NeuralAttenuation(
        VolumeGrid.centered(16, 4.0), 5.0, log2_entries=10, samples=8, seed=seed, device="cpu"
    )  # fmt: skip


def brightened(field, gaussians, times, steps):
    """Pull all attenuations up for some steps."""
    for _ in range(steps):
        amplitudes = field.amplitudes(gaussians, times)
        field.pull_back(gaussians, times, (amplitudes - 0.05).astype(np.float32))
        field.update(1e-2)
    return field.amplitudes(gaussians, times)


def test_the_neural_field_learns_an_attenuation_and_goes_on_exactly_from_a_state():
    gaussians = table(np.random.default_rng(5).uniform(-25, 25, (60, 3)))
    del gaussians.rows["coefficients"]
    times = np.array([0.5, 3.0])
    field = neural()
    learned = brightened(field, gaussians, times, 60)
    assert np.abs(learned - 0.05).mean() < 0.02
    again = neural(seed=9)
    again.restore({name: np.array(value) for name, value in field.state().items()})
    np.testing.assert_array_equal(brightened(again, gaussians, times, 3), brightened(field, gaussians, times, 3))


def test_positions_receive_the_gradient_through_the_encodings():
    gaussians = table(np.random.default_rng(6).uniform(-25, 25, (40, 3)))
    del gaussians.rows["coefficients"]
    times, field = np.array([1.0]), neural()
    brightened(field, gaussians, times, 30)
    direction = np.random.default_rng(7).normal(size=(40, 3)).astype(np.float32)
    found = field.pull_back(gaussians, times, np.ones((1, 40), np.float32))["means"]
    step, ahead_behind = 3e-4, []
    for sign in (1, -1):
        moved = table(gaussians.rows["means"] + sign * step * direction)
        ahead_behind.append(field.amplitudes(moved, times)[0].astype(float))
    numeric = (ahead_behind[0] - ahead_behind[1]) / (2 * step)
    # the encodings are linear between vertices: a point that crosses one may differ
    assert np.corrcoef(numeric, (found * direction).sum(1))[0, 1] > 0.99
    assert np.median(np.abs(numeric - (found * direction).sum(1))) < 0.02 * np.abs(numeric).mean()


def test_a_dead_neural_field_starts_again():
    gaussians = table(np.random.default_rng(8).uniform(-25, 25, (40, 3)))
    field, times = neural(), np.array([1.0])
    with pytest.importorskip("torch").no_grad():
        for weight in field._module[2].weights:
            weight.zero_()
    assert not field.amplitudes(gaussians, times).any()
    field.pull_back(gaussians, times, np.full((1, 40), -1, np.float32))
    assert field.amplitudes(gaussians, times).any()


@pytest.mark.slow
def test_the_paper_preset_runs_in_small():
    pytest.importorskip("torch")
    angiogram, _ = tubes(views=12)
    from DSAReconLib.methods.parameters import build_config

    config = replace(build_config("radiative", "paper"), steps=24, points=800, field_log2_entries=10, control_every=12)
    grid = angiogram.geometry.field_of_view_grid()
    result = reconstruct(angiogram, grid, config, device="cpu", progress=SilentProgress())
    assert len(result.gaussians.basis) == config.field_samples
    assert np.isfinite(result.gaussians.coefficients).all()
