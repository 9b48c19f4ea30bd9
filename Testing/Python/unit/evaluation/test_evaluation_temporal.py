import numpy as np
import pytest
from helpers.evaluation_cases import TIMES_S, bolus

from DSAReconLib.evaluation.temporal import box_curves, curve_metrics
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

ARRIVAL = np.linspace(1.0, 2.0, 7)


def test_equal_curves_have_no_error():
    truth = bolus(TIMES_S, ARRIVAL)
    metrics = curve_metrics(truth, truth, TIMES_S)
    assert metrics.pop("tac_coverage") == 1
    assert metrics == pytest.approx(dict.fromkeys(metrics, 0.0))


def test_delayed_curves_have_the_delay_as_arrival_error():
    metrics = curve_metrics(bolus(TIMES_S, ARRIVAL + 0.23), bolus(TIMES_S, ARRIVAL), TIMES_S)
    assert metrics["arrival_mae_s"] == pytest.approx(0.23, abs=1e-3)


def test_shifted_pulses_have_the_shift_as_centroid_error():
    pulse = np.exp(-(((TIMES_S - 1.5) / 0.2) ** 2))[None]
    later = np.exp(-(((TIMES_S - 1.8) / 0.2) ** 2))[None]
    assert curve_metrics(later, pulse, TIMES_S)["centroid_mae_s"] == pytest.approx(0.3, abs=1e-3)


def test_scale_error_enters_the_absolute_but_not_the_shape_error():
    truth = bolus(TIMES_S, ARRIVAL).astype(float)
    metrics = curve_metrics(1.2 * truth, truth, TIMES_S)
    assert metrics["tac_nrmse"] == pytest.approx(0.2)
    assert metrics["tac_rmse_per_mm"] == pytest.approx(0.2 * np.sqrt(np.mean(truth**2)))
    assert metrics["tac_shape_nrmse"] == pytest.approx(0, abs=1e-9)


def test_missing_curves_lower_the_coverage_and_count_as_the_mean_curve():
    truth = bolus(TIMES_S, ARRIVAL)
    lost = truth.copy()
    lost[0] = 0
    metrics = curve_metrics(lost, truth, TIMES_S)
    assert metrics["tac_coverage"] == pytest.approx(6 / 7)
    assert np.isfinite(metrics["arrival_mae_s"])


def brute_force_box_mean(volume: np.ndarray, grid: VolumeGrid, point, side: float) -> float:
    total = 0.0
    for index, value in np.ndenumerate(volume):
        center = grid.points_mm([np.ravel_multi_index(index, volume.shape)])[0]
        half = np.array(grid.spacing_mm) / 2
        overlap = np.minimum(center + half, point + side / 2) - np.maximum(center - half, point - side / 2)
        total += value * np.prod(np.clip(overlap, 0, None))
    return total / side**3


@pytest.mark.parametrize("sparse", [False, True])
def test_box_curves_are_exact_box_means(sparse):
    grid = VolumeGrid((7, 8, 9), (0.5, 0.7, 0.9), (-2.0, -2.4, -2.7))
    rng = np.random.default_rng(4)
    values = np.where(rng.random(grid.shape_zyx) > 0.5, rng.random(grid.shape_zyx), 0).astype(np.float32)
    volume = DynamicVolume(grid, values.reshape(1, -1), TemporalBasis.constant())
    if sparse:
        support = rng.permutation(np.flatnonzero(values))
        volume = DynamicVolume(grid, values.reshape(1, -1)[:, support], TemporalBasis.constant(), support)
    points = np.array([[0.0, 0.1, 0.2], [-1.9, -2.0, -2.5], [1.33, 1.0, 1.7], [40.0, 0, 0]])
    curves = box_curves(volume, points, [0.0, 1.0])
    expected = [brute_force_box_mean(values, grid, point, 1.8) for point in points]
    np.testing.assert_allclose(curves, np.stack([expected] * 2, -1), rtol=1e-5, atol=1e-7)


def test_empty_volume_gives_zero_curves():
    grid = VolumeGrid((4, 4, 4), (1, 1, 1), (0, 0, 0))
    empty = DynamicVolume(grid, np.zeros((1, 0), np.float32), TemporalBasis.constant(), np.empty(0, np.int64))
    assert not box_curves(empty, np.zeros((2, 3)), [0.0, 1.0]).any()
