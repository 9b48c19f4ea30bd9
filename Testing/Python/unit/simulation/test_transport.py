from dataclasses import replace

import numpy as np
import pytest

from DSAReconLib.simulation.procedural import avm_tree, carotid_tree, tiny_tree, with_cortical_veins
from DSAReconLib.simulation.transport import FLOW_MODELS, Flow, contrast_curves, injection, travel_times
from DSAReconLib.simulation.trees import VesselKind, VesselTree

DURATION_S = 6.0
PLAIN = Flow(pulsatility=0.0)


def straight_tube(length_mm=120.0, radius_mm=1.1, kind=None):
    z = np.arange(0, length_mm + 0.5, 1.0)
    points = np.stack([np.zeros_like(z), np.zeros_like(z), z], -1)
    return VesselTree.from_parents(points, np.full(len(z), radius_mm), np.arange(len(z)) - 1, kind)


def areas(curves):
    return curves.concentration_mg_ml.sum(1) * (curves.times_s[1] - curves.times_s[0])


def test_arrival_in_a_tube_is_path_over_velocity():
    tube = straight_tube()
    np.testing.assert_allclose(travel_times(tube, PLAIN), tube.points_mm[:, 2] / 200.0, atol=1e-12)


def test_velocity_is_limited_in_narrow_and_wide_vessels():
    assert travel_times(straight_tube(60, 0.01), PLAIN)[-1] == pytest.approx(1.0)
    assert travel_times(straight_tube(60, 50.0), PLAIN)[-1] == pytest.approx(0.1)


def test_the_chain_keeps_the_amount_of_contrast_and_delays_its_mean_by_arrival_and_dispersion():
    flow = replace(PLAIN, injection_duration_s=0.8)
    tube = straight_tube()
    curves = contrast_curves(tube, flow, DURATION_S)
    np.testing.assert_allclose(areas(curves), areas(curves)[0], rtol=2e-3)
    mean = (curves.concentration_mg_ml * curves.times_s).sum(1) / curves.concentration_mg_ml.sum(1)
    expected = 1.25 * travel_times(tube, flow)
    np.testing.assert_allclose(mean - mean[0], expected - expected[0], atol=5e-3)


def test_dispersion_widens_curves_on_the_way():
    curves = contrast_curves(straight_tube(), PLAIN, DURATION_S)
    steepest = np.diff(curves.concentration_mg_ml, axis=1).max(1)
    assert np.all(np.diff(steepest[::20]) < 0)


def test_a_sac_fills_later_and_holds_contrast_longer_than_its_artery():
    kind = np.zeros(121, np.int8)
    kind[-1] = VesselKind.ANEURYSM
    curves = contrast_curves(straight_tube(kind=kind), PLAIN, DURATION_S)
    artery, sac = curves.concentration_mg_ml[-2], curves.concentration_mg_ml[-1]
    assert curves.arrival_s[-1] > curves.arrival_s[-2] + 0.1
    assert sac[-200] > 5 * artery[-200]


def test_trapping_keeps_contrast_in_the_sac_to_the_end():
    kind = np.zeros(121, np.int8)
    kind[-1] = VesselKind.ANEURYSM
    curves = contrast_curves(straight_tube(kind=kind), replace(PLAIN, model="trapping"), DURATION_S)
    assert curves.concentration_mg_ml[-1, -1] > 0.5 * curves.concentration_mg_ml[-1].max()


def test_veins_of_an_avm_fill_early_and_those_of_normal_tissue_late():
    flow = Flow()
    early, late = avm_tree(0, density=0.0), with_cortical_veins(carotid_tree(0, density=0.3), 0)
    first = [contrast_curves(tree, flow, DURATION_S).arrival_s[tree.kind == VesselKind.VEIN] for tree in (early, late)]
    assert np.nanmin(first[0]) < 1.7
    assert np.nanmin(first[1]) > np.nanmin(first[0]) + 0.7


@pytest.mark.parametrize("model", sorted(FLOW_MODELS))
def test_every_flow_model_gives_bounded_causal_curves(model):
    tree = tiny_tree(0)
    flow = Flow(model=model, velocity_mm_s=90.0, velocity_limits_mm_s=(25.0, 600.0))
    curves = contrast_curves(tree, flow, DURATION_S, seed=1)
    concentration = curves.concentration_mg_ml
    assert concentration.min() >= 0
    assert 0.5 * flow.concentration_mg_ml < concentration.max() < 1.3 * flow.concentration_mg_ml
    assert concentration[:, curves.times_s < 0.3].max() < 0.01 * flow.concentration_mg_ml
    assert np.isfinite(curves.arrival_s).all()
    assert curves.arrival_s[-1] > curves.arrival_s[0]


def test_unmatched_models_differ_from_the_standard():
    tree = tiny_tree(0)
    flow = Flow(velocity_mm_s=90.0, velocity_limits_mm_s=(25.0, 600.0))
    standard = contrast_curves(tree, flow, DURATION_S).concentration_mg_ml
    for model in ("pulsatile", "two-phase", "recirculation", "advection-diffusion"):
        other = contrast_curves(tree, replace(flow, model=model), DURATION_S).concentration_mg_ml
        assert np.abs(other - standard).max() > 0.08 * standard.max(), model


def test_advection_carries_contrast_with_the_velocity_and_loses_none():
    flow = replace(PLAIN, model="advection-diffusion", injection_duration_s=0.8)
    tube = straight_tube()
    curves = contrast_curves(tube, flow, DURATION_S)
    inner = slice(5, -5)
    np.testing.assert_allclose(areas(curves)[inner], areas(curves)[5], rtol=0.01)
    travel = travel_times(tube, flow)
    mean = (curves.concentration_mg_ml * curves.times_s).sum(1) / curves.concentration_mg_ml.sum(1)
    np.testing.assert_allclose(mean[100] - mean[20], travel[100] - travel[20], atol=0.02)


def test_curves_between_samples_are_interpolated():
    curves = contrast_curves(tiny_tree(0), PLAIN, 2.0)
    middle = curves.at(np.array([0.9975]))[0]
    expected = 0.5 * (curves.concentration_mg_ml[:, 199] + curves.concentration_mg_ml[:, 200])
    np.testing.assert_allclose(middle, expected, rtol=1e-4, atol=1e-3)


def test_the_injection_rises_stays_and_falls():
    times = np.arange(0, 5, 0.005)
    inlet = injection(PLAIN, times)
    assert inlet[times < 0.34].max() == 0
    assert np.allclose(inlet[(times > 0.55) & (times < 3.1)], 150.0)
    assert inlet[times > 3.4].max() == 0
