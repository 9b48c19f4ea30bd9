"""Where Transit cuts its volume for the surface of the vessels."""

import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit.outputs import surface_threshold, vessel_probability
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis


def threshold(*parts):
    """Of so many voxels of such a brightness (1/mm) each."""
    return surface_threshold(np.concatenate([np.full(count, value, np.float32) for count, value in parts]), 0.1)


def test_the_surface_threshold_follows_the_attenuation():
    assert threshold((900, 0.04), (300, 0.02)) == pytest.approx(2 * threshold((900, 0.02), (300, 0.01)))


def test_a_volume_of_dilute_veins_lowers_the_surface_threshold_and_a_few_bright_voxels_do_not_raise_it():
    arteries = (1000, 0.04)
    assert threshold(arteries, (3000, 0.015)) < 0.85 * threshold(arteries)
    assert threshold(arteries, (10, 0.08)) == pytest.approx(threshold(arteries), rel=0.05)


def test_faint_remains_all_over_hardly_lower_the_surface_threshold():
    assert 0.99 < threshold((1000, 0.04), (20000, 0.0002)) / threshold((1000, 0.04)) < 1


def test_without_contrast_the_surface_lies_at_a_quarter_of_the_inlet():
    assert threshold((10, 0.0)) == 0.025


def test_the_vessel_probability_is_one_half_at_the_surface_threshold():
    bright = np.array([0.03, 0.01], np.float32)
    volume = DynamicVolume(VolumeGrid.centered((3, 3, 3), 0.8), bright[None], TemporalBasis.constant(), np.arange(2))
    probability = vessel_probability(volume, bright, 0.03).ravel()
    np.testing.assert_allclose(probability[:2], [0.5, 1 / 28], rtol=1e-5)
    assert not probability[2:].any()
