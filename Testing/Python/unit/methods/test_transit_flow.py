"""What the transit method does about late, pulsatile and otherwise unmatched flow."""

from dataclasses import replace

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.methods.transit.assumptions import failed_assumptions
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.flow_swing import flow_swing, steady_swing
from DSAReconLib.methods.transit.outputs import sampled_curves
from DSAReconLib.methods.transit.phases import views_of_all_phases
from DSAReconLib.methods.transit.refinement import (
    GaussianState,
    RefinementPlan,
    initial_gaussians,
    refine_step,
    render,
)
from DSAReconLib.methods.transit.support import Support
from DSAReconLib.methods.transit.transit_model import InletCurve, curve_times, transit_basis, transit_delays
from DSAReconLib.methods.transit.unsteady import UnsteadyFlow, modulated, steady_flow, swings
from DSAReconLib.methods.transit.voxel_stage import TransitSolution, with_late_delays
from DSAReconLib.reconstruction import TemporalBasis

DURATION_S = 5.0


def bolus() -> InletCurve:
    times = curve_times(DURATION_S)
    return InletCurve(times, np.clip((times - 0.4) / 0.15, 0, 1) * np.clip((3.2 - times) / 0.15, 0, 1) * 0.15)


@pytest.fixture(name="vessel")
def vertical_vessel() -> TransitSolution:
    """Voxels on a line, all filled with the third delay."""
    grid = VolumeGrid.centered((24, 8, 8), (1.0, 1.0, 1.0))
    index = np.array([(z, 4, 4) for z in range(2, 22)], np.int32)
    delays = transit_delays(bolus(), step_s=0.2, delays_max=28)
    coefficients = np.zeros((len(delays), len(index)), np.float32)
    coefficients[3] = 1
    return TransitSolution(Support(grid, index), bolus(), delays, coefficients)


def test_without_late_contrast_the_delays_stay_as_they_are(vessel):
    assert with_late_delays(vessel, DURATION_S) is vessel


def test_late_contrast_gets_delays_up_to_the_end_of_the_run(vessel):
    coefficients = vessel.coefficients.copy()
    coefficients[-1, :4] = 0.3
    late = with_late_delays(replace(vessel, coefficients=coefficients), DURATION_S)
    onset = late.inlet.onset_s + late.delays_s[-1]
    assert DURATION_S - 0.4 < onset < DURATION_S
    np.testing.assert_allclose(np.diff(late.delays_s), np.diff(vessel.delays_s)[0])
    np.testing.assert_array_equal(late.coefficients[: len(vessel.delays_s)], coefficients)
    assert not late.coefficients[len(vessel.delays_s) :].any()


# ------------------------------------------------------------------ injections in phases
def two_boluses() -> InletCurve:
    times = curve_times(DURATION_S)
    values = [(times >= start) & (times <= start + 1.0) for start in (0.4, 2.8)]
    return InletCurve(times, 0.15 * (values[0] + 0.8 * values[1]))


def evidence_of(images, noise=0.01):
    views, *shape = images.shape
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-90, 90, views), sod_mm=750, sdd_mm=1200, detector_shape=shape, detector_spacing_mm=(1.6, 1.6)
    )
    return Evidence(images, np.ones_like(images), noise, geometry, np.linspace(0, DURATION_S, views), DURATION_S)


def test_one_phase_leaves_the_views_alone():
    evidence = evidence_of(np.zeros((20, 8, 8), np.float32))
    searched, width = views_of_all_phases(evidence, bolus())
    assert searched is evidence
    assert width == bolus().width_s


def test_views_of_the_later_phase_stand_beside_those_of_the_first():
    evidence = evidence_of(np.arange(41, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32))
    searched, width = views_of_all_phases(evidence, two_boluses())
    view = searched.line_integrals[:, 0, 0]
    assert width == pytest.approx(1.0, abs=0.1)
    assert np.all(np.diff(searched.times_s) >= 0)
    np.testing.assert_allclose(searched.times_s[searched.times_s < 0.35], evidence.times_s[:3], atol=1e-9)
    later = view * DURATION_S / 40 - searched.times_s  # how much later than listed the view was taken
    np.testing.assert_allclose(np.minimum(later, abs(later - 2.4)), 0, atol=0.05)
    # a vessel filled from 0.5 s on is filled in every view of its window, in half of them by the second phase
    window = (searched.times_s > 0.5) & (searched.times_s < 1.2)
    assert (later[window] > 1).mean() == pytest.approx(0.5, abs=0.1)


# ------------------------------------------------------------------ unsteady flow
TIMES_S = np.linspace(0, DURATION_S, 16)


def swinging(flow, change=0.2, delay_s=0.0):
    """Fields that swing with 0.6 Hz in the same way everywhere."""
    beat = np.sin(2 * np.pi * 0.6 * flow.knots_s)[:, None]
    fields = np.stack([np.broadcast_to(size * beat, flow.values.shape[1:]) for size in (change, delay_s)])
    return replace(flow, values=fields.astype(np.float32))


@pytest.fixture(name="state")
def gaussians(vessel) -> GaussianState:
    return initial_gaussians(vessel)


@pytest.fixture(name="basis")
def vessel_basis(vessel) -> TemporalBasis:
    return transit_basis(vessel.inlet, vessel.delays_s)


def evidence_with(flow, state, basis, noise=0.002):
    """Images of the Gaussians under a flow, with noise."""
    empty = evidence_of(np.zeros((len(TIMES_S), 32, 32), np.float32), noise)
    empty = replace(empty, times_s=TIMES_S)
    images = render(state, empty, basis, flow)
    rng = np.random.default_rng(0)
    return replace(empty, line_integrals=images + rng.normal(0, noise, images.shape).astype(np.float32))


def plan_of(evidence, basis, steps=120, flow=None):
    return RefinementPlan(evidence, basis, 1.0, steps, 4, 0, flow)


def test_fields_of_zero_leave_the_curves_as_they_are(state, basis):
    flow = steady_flow(state.means_mm, DURATION_S, 16)
    curves = modulated(flow, state.coefficients, state.means_mm, basis, TIMES_S)
    np.testing.assert_allclose(curves.amplitudes, basis.at(TIMES_S) @ state.coefficients.T, atol=1e-6)


def test_a_delay_shifts_curves_and_a_change_scales_them(state, basis):
    flow = steady_flow(state.means_mm, DURATION_S, 16)
    flow.values[0], flow.values[1] = 0.1, 0.16
    curves = modulated(flow, state.coefficients, state.means_mm, basis, TIMES_S)
    late = np.clip(TIMES_S - 0.16, 0, None)
    np.testing.assert_allclose(curves.amplitudes, 1.1 * (basis.at(late) @ state.coefficients.T), atol=2e-3)


@pytest.mark.parametrize("field", [0, 1])
def test_gradients_of_unsteady_curves_are_those_of_differences(field, state, basis):
    flow = swinging(steady_flow(state.means_mm, DURATION_S, 16), 0.2, 0.11)
    slope = np.random.default_rng(1).normal(size=(len(TIMES_S), len(state.shapes))).astype(np.float32)

    def loss(values, coefficients):
        moved = replace(flow, values=values.astype(np.float32))
        curves = modulated(moved, coefficients.astype(np.float32), state.means_mm, basis, TIMES_S)
        return float((slope * curves.amplitudes).sum(dtype=float))

    curves = modulated(flow, state.coefficients, state.means_mm, basis, TIMES_S)
    step = np.zeros_like(flow.values)
    step[field] = 1e-3 * np.random.default_rng(2).normal(size=step[field].shape)
    rise = loss(flow.values + step, state.coefficients) - loss(flow.values - step, state.coefficients)
    assert rise == pytest.approx(2 * float((step * curves.by_fields(slope)).sum()), rel=0.05)
    move = 1e-2 * np.random.default_rng(3).normal(size=state.coefficients.shape)
    rise = loss(flow.values, state.coefficients + move) - loss(flow.values, state.coefficients - move)
    assert rise == pytest.approx(2 * float((move * curves.by_coefficients(slope)).sum()), rel=0.02)


def test_only_flow_that_swings_is_called_unsteady(state, basis):
    still = steady_flow(state.means_mm, DURATION_S, 16)
    swings_of = []
    for flow in (still, swinging(still)):
        plan = plan_of(evidence_with(flow, state, basis), basis)
        swings_of.append(flow_swing(state, plan.evidence, basis, render(state, plan.evidence, basis)))
    assert swings_of[0] < 0.5 * steady_swing(len(plan.evidence))
    assert swings_of[1] > 2 * steady_swing(len(plan.evidence))


def test_a_constant_error_of_scale_is_no_swing(state, basis):
    plan = plan_of(evidence_with(None, state, basis), basis)
    model = 0.85 * render(state, plan.evidence, basis)
    assert flow_swing(state, plan.evidence, basis, model) < 0.5 * steady_swing(len(plan.evidence))


def test_the_refinement_finds_how_the_concentration_swings(state, basis):
    still = steady_flow(state.means_mm, DURATION_S, 16)
    evidence = evidence_with(swinging(still), state, basis, noise=0.0004)
    plan, left = plan_of(evidence, basis, flow=still), []
    for _ in range(plan.steps):
        state, residual = refine_step(state, plan)
        left.append(residual)
    assert left[-1] < 1.3 < 2 < left[0]
    change, delay = swings(still, state.coefficients, state.means_mm, basis)
    assert change == pytest.approx(0.2 / np.sqrt(2), rel=0.35)
    assert delay < 0.06
    curves = modulated(still, state.coefficients, state.means_mm, basis, TIMES_S).amplitudes.mean(1)
    truth = (1 + 0.2 * np.sin(2 * np.pi * 0.6 * TIMES_S)) * basis.at(TIMES_S)[:, 3]
    assert np.corrcoef(curves, truth)[0, 1] > 0.99


def test_unsteady_curves_are_returned_as_samples(state, basis):
    flow = swinging(steady_flow(state.means_mm, DURATION_S, 16))
    sampled, hats = sampled_curves(state, basis, flow, 0.15)
    curves = modulated(flow, state.coefficients, state.means_mm, basis, hats.times_s).amplitudes
    np.testing.assert_allclose(hats.at(hats.times_s) @ sampled.coefficients.T, np.maximum(curves, 0), atol=1e-5)


def test_fields_survive_a_round_trip(state):
    flow = swinging(steady_flow(state.means_mm, DURATION_S, 16))
    again = UnsteadyFlow.from_arrays({name: np.asarray(value) for name, value in flow.arrays().items()})
    np.testing.assert_array_equal(again.values, flow.values)
    np.testing.assert_array_equal(again.moments[1], flow.moments[1])
    assert (again.shape, again.step) == (flow.shape, flow.step)


def test_unsteady_flow_is_warned_of_whether_it_is_followed_or_not():
    facts = {"voxels": 1e4, "flow_swing": 0.09}
    [(code, text)] = failed_assumptions(bolus(), facts, 30)
    assert code == "transit.unsteady"
    assert "does not follow" in text
    [(code, text)] = failed_assumptions(bolus(), facts | {"concentration_swing": 0.14, "arrival_swing_s": 0.04}, 30)
    assert code == "transit.unsteady"
    assert "14 %" in text
    assert not failed_assumptions(bolus(), facts | {"flow_swing": 0.02}, 30)
