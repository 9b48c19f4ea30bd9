"""Thin vessels drawn as narrow as their mass tells."""

import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit.concentration import concentrated, gathered
from DSAReconLib.methods.transit.config import PRESETS, Config
from DSAReconLib.methods.transit.outputs import gaussian_volume
from DSAReconLib.methods.transit.refinement import GaussianState, RefinementPlan, refinement_steps
from DSAReconLib.reconstruction import TemporalBasis

SPACING_MM = 0.8
BASIS = TemporalBasis(np.array([0.0, 1.0]), np.ones((1, 2), np.float32))


def gaussians(centers_mm, mass_mm3, sigma_mm=0.32):
    """Gaussians of equal mass (fully opacified volume)."""
    count = len(centers_mm)
    shapes = np.column_stack([centers_mm, np.full(count, np.log(sigma_mm))]).astype(np.float32)
    amplitude = mass_mm3 / ((2 * np.pi) ** 1.5 * sigma_mm**3)
    coefficients = np.full((count, 1), amplitude, np.float32)
    return GaussianState(shapes, coefficients, tuple(np.zeros((count, n), np.float32) for n in (4, 4, 1, 1)))


def blurred_vessel(radius_mm, *, spread_mm, seed=0):
    """A straight vessel along x whose mass lies spread around its line."""
    rng = np.random.default_rng(seed)
    length, count = 30.0, 120
    along = (np.arange(count) + 0.5) / count * length - length / 2
    centers = np.column_stack([along, *(spread_mm * rng.standard_normal((2, count)))])
    return gaussians(centers, np.pi * radius_mm**2 * length / count)


def drawn(state):
    return concentrated(state, SPACING_MM).of(state)


def faintest_on_line(state):
    """The lowest value of the volume along the x axis, away from the ends."""
    box = VolumeGrid.centered((12, 12, 60), (0.5, 0.5, 0.5), (0.0, 0.25, 0.25))
    volume = gaussian_volume(state, BASIS, box, SPACING_MM).at(0.0)
    return volume.max((0, 1))[len(volume[0, 0]) // 4 : -len(volume[0, 0]) // 4].min()


def test_a_thin_vessel_that_was_spread_passes_the_surface_threshold_everywhere():
    blurred = blurred_vessel(0.3, spread_mm=0.4)
    assert faintest_on_line(blurred) < 0.2
    assert faintest_on_line(drawn(blurred)) > 0.3


def test_every_gaussian_keeps_its_mass():
    blurred = blurred_vessel(0.3, spread_mm=0.4)
    pieces = concentrated(blurred, SPACING_MM)
    mass = np.bincount(pieces.owner, pieces.of(blurred).volumes_mm3)
    np.testing.assert_allclose(mass, blurred.volumes_mm3, rtol=1e-4)


def test_a_thin_vessel_stays_on_its_line_and_gets_its_radius():
    result = drawn(blurred_vessel(0.4, spread_mm=0.35))
    inner = np.abs(result.means_mm[:, 0]) < 12
    across = result.means_mm[inner, 1:]
    assert np.abs(across.mean(0)).max() < 0.08
    assert across.std(0).max() < 0.2
    assert np.median(result.sigmas_mm[inner]) == pytest.approx(0.63 * 0.4, rel=0.1)


def test_gaussians_of_a_thick_vessel_stay_as_they_are():
    axis = np.arange(-7.6, 8, SPACING_MM)
    x, y, z = (a.ravel() for a in np.meshgrid(2 * axis, axis, axis))
    inside = y**2 + z**2 < 2.0**2
    thick = gaussians(np.column_stack([x, y, z])[inside], 2 * SPACING_MM**3)
    result = concentrated(thick, SPACING_MM)
    middle = np.abs(thick.means_mm[result.owner, 0]) < 10
    np.testing.assert_allclose(result.shapes[middle], thick.shapes[result.owner[middle]], atol=1e-5)
    np.testing.assert_allclose(result.share[middle], 1, rtol=1e-4)


def test_two_thin_vessels_side_by_side_stay_two():
    first, second = (blurred_vessel(0.3, spread_mm=0.3, seed=seed) for seed in (1, 2))
    second.shapes[:, 1] += 2.5
    both = GaussianState(
        np.concatenate([first.shapes, second.shapes]),
        np.concatenate([first.coefficients, second.coefficients]),
        first.moments,
    )
    result = concentrated(both, SPACING_MM)
    inner = np.abs(result.shapes[:, 0]) < 12
    height = result.shapes[:, 1] - np.where(result.owner < 120, 0.0, 2.5)
    assert np.quantile(np.abs(height[inner]), 0.99) < 0.5
    assert np.abs(height[inner]).max() < 1


def test_a_vessel_smeared_into_a_sheet_is_not_gathered_into_threads():
    across, along = np.meshgrid(np.arange(-8, 8.1, 0.8), np.arange(-12, 12.1, 0.8), indexing="ij")
    centers = np.column_stack([along.ravel(), across.ravel(), np.zeros(along.size)])
    sheet = gaussians(centers + np.random.default_rng(3).normal(0, 0.2, centers.shape), 0.2 * 0.8**3)
    inner = (np.abs(centers[:, 0]) < 10) & (np.abs(centers[:, 1]) < 6)
    moved = np.linalg.norm(gathered(sheet, SPACING_MM).means_mm - sheet.means_mm, axis=1)
    assert np.quantile(moved[inner], 0.75) < 0.05


def test_lone_and_empty_gaussians_stay_finite_and_none_gives_none():
    lone = gaussians(np.array([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0]]), 0.01)
    lone.coefficients[1] = 0
    result = drawn(lone)
    assert np.isfinite(result.shapes).all()
    assert np.isfinite(result.coefficients).all()
    assert result.volumes_mm3.sum() == pytest.approx(0.01, rel=1e-4)
    assert len(drawn(lone.subset(np.zeros(2, bool))).shapes) == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_looks_for_missed_and_thin_vessels_and_fits_them_afterwards(preset):
    config = Config(**PRESETS[preset])
    steps = refinement_steps(config.refine_steps, 30)
    plan = RefinementPlan(None, BASIS, SPACING_MM, steps, config.refine_batch, config.seed)
    looks = [step for step in range(1, steps + 1) if plan.second_look(step)]
    assert looks
    assert steps - looks[-1] >= 40
    assert plan.review(steps)
