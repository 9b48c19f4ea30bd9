"""Conversion of voxels to Gaussians, and thresholds."""

import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.io import derived
from DSAReconLib.io.derived import gaussians_from_volume, is_static, soft_threshold
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

GRID = VolumeGrid((10, 12, 14), (0.5, 0.6, 0.7), (1.0, 2.0, 3.0))


def _volume(with_support):
    rng = np.random.default_rng(0)
    basis = TemporalBasis.hats([0.0, 1.0, 2.0])
    support = np.sort(rng.choice(GRID.num_voxels, 300, replace=False)) if with_support else None
    count = 300 if with_support else GRID.num_voxels
    return DynamicVolume(GRID, rng.uniform(0.01, 0.05, (3, count)).astype(np.float32), basis, support)


def _mass(gaussians):
    return gaussians.coefficients @ ((2 * np.pi) ** 1.5 * gaussians.scales_mm.prod(1))


@pytest.mark.parametrize("with_support", [True, False])
@pytest.mark.parametrize("limit", [10**6, 100])
def test_conversion_keeps_mass_and_center_of_mass(monkeypatch, with_support, limit):
    monkeypatch.setattr(derived, "MAX_CONVERTED_GAUSSIANS", limit)
    volume = _volume(with_support)
    gaussians = gaussians_from_volume(volume, 0.0, [0.0, 1.0, 2.0])
    assert len(gaussians) <= limit
    np.testing.assert_allclose(_mass(gaussians), volume.coefficients.sum(1) * np.prod(GRID.spacing_mm), rtol=1e-5)
    center = gaussians.coefficients[0] @ gaussians.means_mm / gaussians.coefficients[0].sum()
    weights = volume.coefficients[0]
    expected = weights @ GRID.points_mm(volume.support) / weights.sum()
    np.testing.assert_allclose(center, expected, atol=0.5 if limit == 100 else 1e-4)


def test_filled_region_is_flat_in_the_middle():
    grid = VolumeGrid.centered(9, 0.7)
    ones = DynamicVolume(grid, np.ones((1, 729), np.float32), TemporalBasis.constant())
    gaussians = gaussians_from_volume(ones, 0.5, [0.0])
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (50, 3))
    distance = (points[:, None] - gaussians.means_mm) / gaussians.scales_mm
    values = np.exp(-0.5 * (distance**2).sum(-1)) @ gaussians.coefficients[0]
    np.testing.assert_allclose(values, 1.0, atol=0.05)


def test_basis_with_many_functions_is_resampled():
    volume = DynamicVolume(GRID, np.ones((50, GRID.num_voxels), np.float32), TemporalBasis.hats(np.linspace(0, 5, 50)))
    gaussians = gaussians_from_volume(volume, 0.5, np.linspace(0, 5, 6))
    assert len(gaussians.basis) == 6


def test_nothing_above_the_minimum_gives_no_gaussians():
    assert len(gaussians_from_volume(_volume(True), 1.0, [0.0, 1.0])) == 0


def test_constant_curves_count_as_static():
    assert is_static(DynamicVolume(GRID, np.ones((1, GRID.num_voxels), np.float32), TemporalBasis.constant()))
    assert not is_static(_volume(True))


def test_soft_threshold_is_half_at_the_threshold():
    np.testing.assert_allclose(soft_threshold(np.array([-1, 0, 1, 2, 3, 9], np.float32), 2.0), [0, 0, 0, 0.5, 1, 1])
