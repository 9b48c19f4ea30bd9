"""Blind estimate of the inlet curve from views that are too far apart to see it rise in one place."""

import numpy as np
import pytest

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.methods.transit.evidence import Evidence, gather_evidence
from DSAReconLib.methods.transit.inlet_update import updated_inlet
from DSAReconLib.methods.transit.support import Support
from DSAReconLib.methods.transit.transit_model import InletCurve, curve_times, transit_delays
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.progress import SilentProgress

VIEWS, NOISE, DURATION_S = 10, 0.005, 5.0
TIMES = np.linspace(0, 4.5, VIEWS)
RISE_S = 0.2


def bolus(rise_s: float) -> InletCurve:
    times = curve_times(DURATION_S)
    rise, fall = np.clip((times - 0.5) / rise_s + 0.5, 0, 1), np.clip((3.2 - times) / rise_s + 0.5, 0, 1)
    return InletCurve(times, 0.1 * rise * fall)


@pytest.fixture(name="vessel", scope="module")
def long_vessel() -> tuple[Support, np.ndarray]:
    """A winding vessel through which contrast travels for 0.9 s, and the arrival in its voxels."""
    grid = VolumeGrid.centered((150, 40, 40), 0.8)
    z, y, x = np.indices(grid.shape_zyx)
    inside = np.hypot(y - 20 - 8 * np.sin(z / 15), x - 20 - 8 * np.cos(z / 11)) < 2.5
    support = Support(grid, np.argwhere(inside).astype(np.int32))
    return support, 0.9 * support.index_zyx[:, 0] / 150


@pytest.fixture(name="evidence", scope="module")
def ten_views(vessel):
    return seen_at(TIMES, vessel)


def seen_at(times: np.ndarray, vessel) -> Evidence:
    """Evidence of views at some times."""
    support, arrival = vessel
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-95, 85, len(times)),
        sod_mm=750,
        sdd_mm=1200,
        detector_shape=(128, 64),
        detector_spacing_mm=(1.8, 1.8),
    )
    curve = bolus(RISE_S)
    values = np.interp(times[:, None] - arrival, curve.times_s, curve.values, left=0).astype(np.float32)
    clean = SparseProjector(support.points_mm, support.spacing_mm, geometry)(values)
    noisy = clean + np.random.default_rng(0).normal(0, NOISE, clean.shape).astype(np.float32)
    variance = np.full(clean.shape, NOISE**2, np.float32)
    return gather_evidence(Angiogram(noisy, variance, geometry, times, DURATION_S, np.arange(len(times))))


def densities(arrival: np.ndarray, delays: np.ndarray) -> np.ndarray:
    """Transit densities around delays that are wrong in every voxel, and bent by when the views look."""
    bent = 0.05 * np.sin(2 * np.pi * arrival / (TIMES[1] - TIMES[0]))
    believed = arrival + bent + np.random.default_rng(1).normal(0, 0.15, len(arrival))
    return np.maximum(0, 1 - np.abs(delays[:, None] - believed) / (delays[1] - delays[0])).astype(np.float32)


@pytest.mark.parametrize("believed_rise_s", [RISE_S, 0.5])
def test_the_bolus_is_found_from_views_half_a_second_apart_though_arrivals_are_wrong(vessel, evidence, believed_rise_s):
    support, arrival = vessel
    before, true = bolus(believed_rise_s), bolus(RISE_S)
    delays = transit_delays(before, step_s=0.2, delays_max=28)
    found = updated_inlet(before, evidence, support, densities(arrival, delays), delays, SilentProgress())
    assert found.plateau == pytest.approx(before.plateau, rel=1e-3)
    error = found.values / found.plateau - true.values / true.plateau
    assert np.sqrt(np.mean(error**2)) < 0.08


def test_six_views_find_the_bolus_in_vessels_that_fill_over_a_whole_interval_between_them(vessel):
    support, arrival = vessel
    six, true = seen_at(np.arange(6) * DURATION_S / 6, vessel), bolus(RISE_S)
    before = bolus(0.8)
    delays = transit_delays(before, step_s=0.15, delays_max=28)
    found = updated_inlet(before, six, support, densities(arrival, delays), delays, SilentProgress())
    error = found.values / found.plateau - true.values / true.plateau
    assert np.sqrt(np.mean(error**2)) < 0.025
    plateau = found.values[(found.times_s > 1.0) & (found.times_s < 2.8)] / found.plateau
    assert plateau.std() < 0.05


def test_a_solution_without_filling_leaves_the_curve_alone(vessel, evidence):
    support, _ = vessel
    inlet = bolus(RISE_S)
    delays = transit_delays(inlet, step_s=0.2, delays_max=28)
    empty = np.zeros((len(delays), len(support)), np.float32)
    assert updated_inlet(inlet, evidence, support, empty, delays, SilentProgress()) is inlet
