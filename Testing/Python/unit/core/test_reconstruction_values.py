"""The value types that methods return."""

from __future__ import annotations

import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import (
    DynamicVolume,
    RadiativeGaussians,
    TemporalBasis,
    arrival_times,
)

GRID = VolumeGrid.centered((2, 3, 4), 1.0)
KNOTS = np.array([0.0, 1.0, 3.0])


def test_hats_interpolate_linearly_and_are_constant_outside():
    basis = TemporalBasis.hats(KNOTS)
    np.testing.assert_allclose(basis.at([-1.0, 0.5, 2.0, 9.0]), [[1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])


def test_constant_basis_gives_the_same_volume_at_all_times():
    values = np.arange(24, dtype=np.float32)[None]
    volume = DynamicVolume(GRID, values, TemporalBasis.constant())
    np.testing.assert_array_equal(volume.at(0.3), volume.at(4.0))
    np.testing.assert_array_equal(volume.at(0.3).ravel(), values[0])


def test_sparse_and_dense_volumes_agree():
    rng = np.random.default_rng(0)
    support = np.array([1, 7, 20])
    sparse = rng.random((3, 3)).astype(np.float32)
    dense = np.zeros((3, 24), np.float32)
    dense[:, support] = sparse
    basis, times = TemporalBasis.hats(KNOTS), np.linspace(0, 3, 7)
    a, b = DynamicVolume(GRID, sparse, basis, support), DynamicVolume(GRID, dense, basis)
    for name in ("mean", "peak", "top_mean"):
        np.testing.assert_allclose(getattr(a, name)(times), getattr(b, name)(times), atol=1e-6)
    np.testing.assert_allclose(a.at(1.7), b.at(1.7), atol=1e-6)


def test_arrival_is_the_half_rise_time():
    curves = np.array([[0.0, 0.0, 1.0, 2.0, 0.0]], np.float32)
    assert arrival_times(curves, np.arange(5.0))[0] == pytest.approx(2.0)
    assert arrival_times(curves, np.arange(5.0), fraction=0.25)[0] == pytest.approx(1.5)


def test_a_shifted_bolus_shifts_the_arrival_time():
    times = np.linspace(0, 5, 101)
    early = np.exp(-0.5 * ((times - 1.5) / 0.3) ** 2)
    late = np.exp(-0.5 * ((times - 1.5 - 0.75) / 0.3) ** 2)
    arrival = arrival_times(np.stack([early, late]).astype(np.float32), times)
    assert arrival[1] - arrival[0] == pytest.approx(0.75, abs=0.01)


def test_arrival_is_missing_where_nothing_arrives():
    curves = np.array([[0.0, 0.0, 0.0], [0.0, 0.02, 0.02]], np.float32)
    volume = DynamicVolume(GRID, curves.T.copy(), TemporalBasis.hats(KNOTS), np.array([0, 5]))
    arrival = volume.arrival_time(KNOTS, minimum=0.01)
    assert np.isnan(arrival.ravel()[0])
    assert arrival.ravel()[5] == pytest.approx(0.5)
    assert np.isnan(arrival).sum() == 23


@pytest.mark.parametrize("name", ["means_mm", "scales_mm", "quats_wxyz", "coefficients"])
def test_gaussians_refuse_arrays_that_do_not_fit(name):
    arrays = {
        "means_mm": np.zeros((5, 3), np.float32),
        "scales_mm": np.ones((5, 3), np.float32),
        "quats_wxyz": np.tile(np.float32([1, 0, 0, 0]), (5, 1)),
        "coefficients": np.ones((3, 5), np.float32),
    }
    arrays[name] = arrays[name][:, :2]
    with pytest.raises(ValueError, match="must have shape"):
        RadiativeGaussians(**arrays, basis=TemporalBasis.hats(KNOTS))
