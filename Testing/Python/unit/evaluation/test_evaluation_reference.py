"""Distances to the surface that a case brings along."""

import numpy as np
import pytest

from DSAReconLib.evaluation.reference import evaluate_reference
from DSAReconLib.evaluation.surface import surface_vertices
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

GRID = VolumeGrid.centered((30, 30, 30), 1.0)
TIMES = np.linspace(0, 1, 5)


def _blob(size):
    """An egg of three different half axes, in voxels, falling from 2 in the middle through 1 at its surface."""
    x, y, z = GRID.axes_mm()
    radius = np.sqrt((z[:, None, None] / size) ** 2 + (y[:, None] / (0.8 * size)) ** 2 + (x / (0.6 * size)) ** 2)
    return np.clip(2 - radius, 0, 2).astype(np.float32)


def _result(volume, basis, threshold):
    coefficients = volume.reshape(1, -1)
    return Reconstruction(DynamicVolume(GRID, coefficients, basis), surface_threshold=threshold)


def test_surface_in_the_right_place_is_near_even_if_the_reference_is_moved():
    reference = surface_vertices(_blob(9.0), GRID, 1.0) + np.array([1.5, -1.0, 0.5])
    found = evaluate_reference(_result(0.016 * _blob(9.0), TemporalBasis.constant(), 0.016), reference, TIMES)
    assert found["hd95_reference_mm"] < 0.4
    # their level is half of the threshold here: radius 1.5 instead of 1
    assert found["hd95_papers_mm"] > 2
    assert found["chamfer_papers_mm"] > found["chamfer_reference_mm"]


def test_papers_cut_the_mean_over_time_and_we_the_bright_part_of_it():
    reference = surface_vertices(_blob(9.0), GRID, 1.0)
    curve = TemporalBasis(TIMES, np.array([[0, 0, 5, 0, 0]], np.float32))  # mean 1, brightest fifth 5
    found = evaluate_reference(_result(0.008 * _blob(9.0), curve, 0.04), reference, TIMES)
    assert found["hd95_reference_mm"] < 0.4
    assert found["hd95_papers_mm"] < 0.4


def test_nothing_has_no_distance():
    empty = _result(np.zeros((30, 30, 30), np.float32), TemporalBasis.constant(), 0.01)
    found = evaluate_reference(empty, surface_vertices(_blob(9.0), GRID, 1.0), TIMES)
    assert set(found) == {"chamfer_reference_mm", "hd95_reference_mm", "chamfer_papers_mm", "hd95_papers_mm"}
    assert all(value == pytest.approx(np.nan, nan_ok=True) for value in found.values())
