"""Pieces of the transit method: windows, support, temporal model, solver, calibration, state."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.scattered_frames import scattered
from scipy import ndimage

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.acquisition.corrections import rolled_detector
from DSAReconLib.acquisition.registration import mean_radius_px
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.methods.transit import saved_state, sparse_solver
from DSAReconLib.methods.transit.calibration import (
    calibrated,
    detector_motion,
    no_calibration,
    updated_background,
    updated_movement,
    updated_scatter,
)
from DSAReconLib.methods.transit.config import Config
from DSAReconLib.methods.transit.evidence import gather_evidence
from DSAReconLib.methods.transit.inlet_update import updated_inlet
from DSAReconLib.methods.transit.missed_vessels import with_missed_vessels
from DSAReconLib.methods.transit.refinement import (
    RefinementPlan,
    cell_volume,
    initial_gaussians,
    refinement_steps,
    render,
    without_ghosts,
)
from DSAReconLib.methods.transit.sparse_solver import LinearProblem, solve
from DSAReconLib.methods.transit.support import Support, candidate_support
from DSAReconLib.methods.transit.transit_model import InletCurve, curve_times, transit_basis, transit_delays
from DSAReconLib.methods.transit.voxel_stage import TransitSolution, pruned, uniform_penalty
from DSAReconLib.operators.sparse import SparseProjector
from DSAReconLib.progress import SilentProgress

VIEWS, NOISE = 12, 0.01
TIMES = np.linspace(0, 4, VIEWS)


def bolus(delay_s: float = 0.0) -> InletCurve:
    times = curve_times(4.0)
    rise, fall = np.clip((times - 0.4 - delay_s) / 0.4, 0, 1), np.clip((2.6 + delay_s - times) / 0.8, 0, 1)
    return InletCurve(times, 0.1 * rise * fall)


@pytest.fixture(name="geometry", scope="module")
def short_scan() -> ConeBeamGeometry:
    return ConeBeamGeometry.from_angles(
        np.linspace(-95, 95, VIEWS), sod_mm=750, sdd_mm=1200, detector_shape=(64, 64), detector_spacing_mm=(1.6, 1.6)
    )


@pytest.fixture(name="solution", scope="module")
def vertical_vessel() -> TransitSolution:
    grid = VolumeGrid.centered(40, 0.8)
    z, y, x = np.indices(grid.shape_zyx)
    inside = (np.hypot(y - 20 + 4 * np.sin(z / 6), x - 24) < 2.2) & (z > 3) & (z < 37)
    support = Support(grid, np.argwhere(inside).astype(np.int32))
    inlet = bolus()
    delays = transit_delays(inlet, step_s=0.2, delays_max=28)
    coefficients = np.zeros((len(delays), len(support)), np.float32)
    coefficients[np.argmin(np.abs(delays - 0.2))] = 1
    return TransitSolution(support, inlet, delays, coefficients)


@pytest.fixture(name="clean", scope="module")
def line_integrals(solution, geometry) -> np.ndarray:
    basis = transit_basis(solution.inlet, solution.delays_s).at(TIMES)
    projector = SparseProjector(solution.support.points_mm, solution.support.spacing_mm, geometry)
    return projector.project(basis, solution.coefficients)


@pytest.fixture(name="evidence", scope="module")
def measured(clean, geometry):
    noisy = clean + np.random.default_rng(3).normal(0, NOISE, clean.shape).astype(np.float32)
    variance = np.full(clean.shape, NOISE**2, np.float32)
    return gather_evidence(Angiogram(noisy, variance, geometry, TIMES, 4.0, np.arange(VIEWS)))


def test_noise_is_measured_despite_vessels(evidence):
    assert evidence.noise == pytest.approx(NOISE, rel=0.1)


def test_views_are_sorted_in_time_and_missing_pixels_weigh_nothing(clean, geometry):
    order = np.random.default_rng(0).permutation(VIEWS)
    variance = np.full(clean.shape, 1e-4, np.float32)
    variance[:, :5] = np.inf
    shuffled = Angiogram(clean[order], variance[order], geometry[order], TIMES[order], 4.0, order)
    evidence = gather_evidence(shuffled)
    np.testing.assert_array_equal(evidence.times_s, TIMES)
    assert evidence.geometry == geometry
    assert not evidence.weights[:, :5].any()
    assert evidence.weights[:, 5:].min() == pytest.approx(1)


def test_binning_keeps_the_mean_and_halves_the_noise(evidence):
    binned = evidence.binned(2)
    assert binned.line_integrals.mean() == pytest.approx(evidence.line_integrals.mean(), rel=1e-3)
    assert binned.noise == pytest.approx(evidence.noise / 2)
    assert binned.geometry.detector_shape == (32, 32)


def test_support_holds_the_vessel_and_little_else(evidence, solution):
    box = evidence.geometry.field_of_view_grid(spacing_mm=1.0)
    support, _ = candidate_support(
        evidence, box, spacing_mm=0.8, window_s=1.2, threshold=0.03, voxels_max=10**6, progress=SilentProgress()
    )
    listed = np.zeros(support.grid.shape_zyx, bool)
    listed[tuple(support.index_zyx.T)] = True
    index = np.rint(support.grid.index_of(solution.support.points_mm)).astype(int)
    assert listed[index[:, 2], index[:, 1], index[:, 0]].mean() > 0.98
    assert len(support) < 8 * len(solution.support)


def test_support_is_thinned_to_the_memory(evidence):
    box = evidence.geometry.field_of_view_grid(spacing_mm=1.0)
    options = {"spacing_mm": 0.8, "window_s": 1.2, "threshold": 0.02, "progress": SilentProgress()}
    support, threshold = candidate_support(evidence, box, voxels_max=500, **options)
    assert 0 < len(support) <= 500
    assert threshold > 0.02


def test_basis_functions_are_the_delayed_inlet_curve():
    inlet = bolus()
    basis = transit_basis(inlet, np.array([0.0, 0.2, 0.4]))
    assert basis.values.max() <= inlet.values.max() + 1e-6
    first, last = (np.interp(0.05, row[:40], inlet.times_s[:40]) for row in (basis.values[0], basis.values[2]))
    assert last - first == pytest.approx(0.4, abs=0.02)


def test_delays_reach_from_the_first_frame_to_the_last_arrival_that_can_be_seen():
    delays = transit_delays(bolus(), step_s=0.2, delays_max=28)
    assert delays[0] == pytest.approx(-bolus().onset_s, abs=0.2)
    assert 2.0 < delays[-1] - delays[0] < 4.0
    assert len(transit_delays(bolus(), step_s=0.05, delays_max=10)) <= 11


def test_solver_recovers_filling_and_delay_from_clean_views(solution, clean, geometry):
    basis = transit_basis(solution.inlet, solution.delays_s).at(TIMES)
    projector = SparseProjector(solution.support.points_mm, solution.support.spacing_mm, geometry)
    problem = LinearProblem(projector, basis, clean, np.ones_like(clean))
    penalty = np.full(problem.shape, 1e-6, np.float32)
    found = solve(problem, penalty, epochs=15, subsets=2, full_steps=30, after_pass=lambda done: None)
    assert np.linalg.norm(problem.residual(found)) < 0.05 * np.linalg.norm(clean)
    assert found.sum(0).mean() == pytest.approx(1, abs=0.05)
    mean_delay = (solution.delays_s @ found) / found.sum(0)
    assert np.median(np.abs(mean_delay - 0.2)) < 0.05


def test_leaving_empty_voxels_out_saves_time_and_costs_little(solution, clean, geometry, monkeypatch):
    inside = np.zeros(solution.support.grid.shape_zyx, bool)
    inside[:, 8:32, 12:36] = True
    support = Support(solution.support.grid, np.argwhere(inside).astype(np.int32))
    projector = SparseProjector(support.points_mm, support.spacing_mm, geometry)
    basis = transit_basis(solution.inlet, solution.delays_s).at(TIMES)
    problem = LinearProblem(projector, basis, clean, np.ones_like(clean))
    penalty = np.full(problem.shape, 2e-4, np.float32)
    sizes: list[int] = []
    adjoint = SparseProjector.backproject
    monkeypatch.setattr(
        SparseProjector, "backproject", lambda self, *args: sizes.append(self.domain_shape[1]) or adjoint(self, *args)
    )

    def objective(updates: int) -> float:
        monkeypatch.setattr(sparse_solver, "_SCREENING_UPDATES", updates)
        sizes.clear()
        found = solve(problem, penalty, epochs=50, subsets=2, full_steps=8, after_pass=lambda done: None)
        return 0.5 * float((problem.residual(found) ** 2).sum()) + float((penalty * found).sum())

    every = objective(1000)
    assert min(sizes) == len(support)
    fewer = objective(40)
    assert min(sizes) < 0.5 * len(support)
    assert fewer < 1.05 * every


def test_penalty_scales_with_the_square_of_the_contrast(solution, evidence):
    single = uniform_penalty(solution.support, 0.1, replace(evidence, noise=1e-6), 0.05)
    double = uniform_penalty(solution.support, 0.2, replace(evidence, noise=1e-6), 0.05)
    np.testing.assert_allclose(double, 4 * single, rtol=1e-4)


def test_pruning_drops_lone_voxels(solution):
    lone = Support(solution.support.grid, np.vstack([solution.support.index_zyx, [[1, 1, 1]]]).astype(np.int32))
    extra = np.concatenate([solution.coefficients, solution.coefficients[:, :1] * 0.1], 1)
    kept = pruned(replace(solution, support=lone, coefficients=extra))
    assert len(kept.support) == len(solution.support)


def test_inlet_update_moves_towards_the_true_curve(solution, evidence):
    wrong = InletCurve(solution.inlet.times_s, ndimage.gaussian_filter1d(solution.inlet.values, 15)).scaled(0.1)
    start = replace(solution, inlet=wrong)
    updated = updated_inlet(wrong, evidence, start.support, start.coefficients, start.delays_s, SilentProgress())

    def error(curve):
        return np.sqrt(np.mean((curve.values / curve.plateau - solution.inlet.values / solution.inlet.plateau) ** 2))

    assert error(updated) < 0.75 * error(wrong)


def aligned(moved, solution):
    """Calibration of shifts and turns against the true vessels."""
    calibration = no_calibration(moved)
    basis = transit_basis(solution.inlet, solution.delays_s).at(TIMES)
    for _ in range(6):
        seen = calibrated(moved, calibration)
        projector = SparseProjector(solution.support.points_mm, solution.support.spacing_mm, seen.geometry)
        model = projector.project(basis, solution.coefficients)
        calibration = replace(calibration, movement_px=updated_movement(moved, calibration, model))
    return calibration


def test_detector_shifts_are_found_up_to_a_motion_of_the_patient(solution, clean, geometry, evidence):
    true = np.random.default_rng(5).normal(0, 0.3, (VIEWS, 2))
    moved = replace(evidence, geometry=geometry.shifted_detector(-true))
    calibration = aligned(moved, solution)
    with_contrast = clean.max((1, 2)) > 0.1
    before = true[with_contrast, 1]
    after = (true - calibration.movement_px[:, :2])[with_contrast, 1]
    angle = np.linspace(-95, 95, VIEWS)[with_contrast]
    motion = np.stack([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], 1)
    left = [values - motion @ np.linalg.lstsq(motion, values, rcond=None)[0] for values in (before, after)]
    assert np.sqrt(np.mean(left[1] ** 2)) < 0.25 * np.sqrt(np.mean(left[0] ** 2))


def test_detector_turns_are_found_and_only_where_there_are_any(solution, clean, geometry, evidence):
    true = np.random.default_rng(6).normal(0, 1.0, VIEWS)
    turned = replace(evidence, geometry=rolled_detector(geometry, -true))
    found = np.rad2deg(aligned(turned, solution).movement_px[:, 2] / mean_radius_px((64, 64)))
    with_contrast = clean.max((1, 2)) > 0.1
    assert np.sqrt(np.mean((found - true)[with_contrast] ** 2)) < 0.2
    np.testing.assert_array_equal(aligned(evidence, solution).movement_px, 0)


def test_wobble_holds_between_the_views_and_jitter_does_not(evidence):
    rng = np.random.default_rng(7)
    wobble = np.stack([0.4 * np.sin(TIMES), 0.2 * np.cos(TIMES), rng.normal(0, 0.3, VIEWS)], 1)
    found = detector_motion(replace(no_calibration(evidence), movement_px=wobble), evidence)
    np.testing.assert_allclose(found.shifts_mm, wobble[:, :2] * evidence.geometry.detector_spacing_mm)
    assert not found.turns_deg.any()
    jitter = replace(no_calibration(evidence), movement_px=rng.normal(0, 0.3, (VIEWS, 3)))
    assert detector_motion(jitter, evidence) is None
    assert detector_motion(no_calibration(evidence), evidence) is None


def test_the_poses_of_the_views_are_those_that_the_calibration_used(evidence):
    wobble = np.stack([0.4 * np.sin(TIMES), 0.2 * np.cos(TIMES), 0.3 * np.sin(TIMES)], 1)
    calibration = replace(no_calibration(evidence), movement_px=wobble)
    found, used = detector_motion(calibration, evidence), calibrated(evidence, calibration).geometry
    points = np.random.default_rng(8).uniform(-40, 40, (20, 3))
    after = found.corrected(evidence.geometry, TIMES).project_points(points)[0]
    assert np.abs(after - evidence.geometry.project_points(points)[0]).max() > 0.3
    np.testing.assert_allclose(after, used.project_points(points)[0], atol=1e-3)


def test_smooth_background_is_found_beside_the_vessels(clean, evidence):
    row, column = np.mgrid[:64, :64] / 64
    ramp = (0.02 * row - 0.01 * column).astype(np.float32)
    drifted = replace(evidence, line_integrals=evidence.line_integrals + ramp)
    calibration = no_calibration(drifted)
    calibration = replace(calibration, background=updated_background(drifted, calibration, clean))
    remaining = calibrated(drifted, calibration).line_integrals - evidence.line_integrals
    assert np.abs(remaining).mean() < 0.4 * np.abs(ramp).mean()


def test_scatter_is_found_from_contrast_that_anatomy_hides(clean, geometry):
    values, variance = scattered(4 * clean, 0.08)
    evidence = gather_evidence(Angiogram(values, variance, geometry, TIMES, 4.0, np.arange(VIEWS)))
    calibration = no_calibration(evidence)
    for _ in range(6):
        calibration = replace(calibration, scatter=updated_scatter(evidence, calibration, 4 * clean))
    assert calibration.scatter == pytest.approx(0.08 / 1.08, rel=0.15)
    vessel = clean > 0.1
    before = np.abs(values - 4 * clean)[vessel].mean()
    after = np.abs(calibrated(evidence, calibration).line_integrals - 4 * clean)[vessel].mean()
    assert after < 0.25 * before


def test_edges_that_a_moved_mask_missed_are_not_taken_for_dense_bone(clean, geometry):
    values, variance = scattered(4 * clean, 0.08)
    share = np.ones(variance.shape, np.float16)
    share[:, :, ::9] = share[:, :, 1::9] = 1 / 20
    angiogram = Angiogram(values, variance / share, geometry, TIMES, 4.0, np.arange(VIEWS), counting_share=share)
    evidence = gather_evidence(angiogram)
    calibration = no_calibration(evidence)
    for _ in range(6):
        calibration = replace(calibration, scatter=updated_scatter(evidence, calibration, 4 * clean))
    assert calibration.scatter == pytest.approx(0.08 / 1.08, rel=0.25)


def test_no_scatter_is_found_where_there_is_none(clean, geometry):
    values, variance = scattered(4 * clean, 0.0)
    evidence = gather_evidence(Angiogram(values, variance, geometry, TIMES, 4.0, np.arange(VIEWS)))
    assert updated_scatter(evidence, no_calibration(evidence), 4 * clean) < 0.005


def test_gaussians_start_with_the_mass_of_their_voxels(solution, evidence, clean):
    state = initial_gaussians(solution)
    expected = solution.filling.sum() * solution.support.spacing_mm**3
    assert state.volumes_mm3.sum() == pytest.approx(expected, rel=1e-4)
    rendered = render(state, evidence, transit_basis(solution.inlet, solution.delays_s))
    assert rendered.sum() == pytest.approx(clean.sum(), rel=0.03)


def test_saved_state_survives_a_round_trip_and_is_refused_by_another_job(tmp_path, solution, evidence):
    store = CheckpointStore(tmp_path / "checkpoint")
    key = saved_state.job_key(evidence, Config())
    state = saved_state.SavedState(2, solution, no_calibration(evidence), initial_gaussians(solution))
    saved_state.save(store, key, state)
    loaded = saved_state.load(store, key)
    assert loaded is not None
    assert loaded.rounds == 2
    np.testing.assert_array_equal(loaded.solution.coefficients, solution.coefficients)
    np.testing.assert_array_equal(loaded.gaussians.shapes, state.gaussians.shapes)
    assert saved_state.load(store, saved_state.job_key(evidence, Config(seed=1))) is None


def test_a_bolus_in_two_phases_is_as_wide_as_the_longer_phase():
    times = curve_times(5.0)
    phases = ((times > 0.5) & (times < 1.5)) | ((times > 2.5) & (times < 4.5))
    assert InletCurve(times, 0.1 * phases).width_s == pytest.approx(2.0, abs=0.1)


def test_a_curve_above_the_level_up_to_the_end_has_a_width():
    times = curve_times(5.0)
    assert InletCurve(times, np.full(len(times), 0.1)).width_s == pytest.approx(5.0)


def with_pieces(solution: TransitSolution, pieces: list[tuple[int, int, int]]) -> TransitSolution:
    """The solution with single voxels (z, y, x) beside it, filled like its first one."""
    index = np.concatenate([solution.support.index_zyx, np.array(pieces, np.int32)])
    extra = np.repeat(solution.coefficients[:, :1], len(pieces), 1)
    support = Support(solution.support.grid, index)
    return replace(solution, support=support, coefficients=np.concatenate([solution.coefficients, extra], 1))


def test_what_the_data_do_not_show_is_dropped_and_a_vessel_in_pieces_kept(solution, geometry):
    pieces = [(z, 10, 12) for z in range(5, 36, 3)]
    true, invented = with_pieces(solution, pieces), with_pieces(solution, [*pieces, (20, 32, 6)])
    basis = transit_basis(solution.inlet, solution.delays_s)
    projector = SparseProjector(true.support.points_mm, true.support.spacing_mm, geometry)
    clean = projector.project(basis.at(TIMES), true.coefficients)
    noisy = clean + np.random.default_rng(5).normal(0, NOISE, clean.shape).astype(np.float32)
    variance = np.full(clean.shape, NOISE**2, np.float32)
    evidence = gather_evidence(Angiogram(noisy, variance, geometry, TIMES, 4.0, np.arange(VIEWS)))
    plan = RefinementPlan(evidence, basis, solution.support.spacing_mm, 200, 6, 0)
    state = initial_gaussians(invented)
    means = {tuple(point) for point in without_ghosts(state, plan).means_mm}
    kept = np.array([tuple(point) in means for point in state.means_mm])
    assert not kept[-1]
    assert kept[-1 - len(pieces) : -1].sum() >= 0.7 * len(pieces)
    assert kept[: -1 - len(pieces)].mean() > 0.99


def test_cells_hold_the_mass_of_their_gaussians(solution, evidence):
    basis = transit_basis(solution.inlet, solution.delays_s)
    plan = RefinementPlan(evidence, basis, 1.1, 200, 6, 0)
    state = initial_gaussians(solution)
    volume, cell = cell_volume(state, plan)
    mass = np.bincount(cell, state.volumes_mm3)
    np.testing.assert_allclose(volume.coefficients.sum(0) * 1.1**3, mass, rtol=1e-4)
    offset = np.abs(volume.grid.points_mm(volume.support)[cell] - state.means_mm)
    assert offset.max() <= 0.55 + 1e-4


def test_few_views_are_refined_in_more_steps_but_no_more_than_twice_as_many():
    assert [refinement_steps(200, views) for views in (5, 10, 16, 20, 30)] == [400, 400, 250, 200, 200]


@pytest.mark.parametrize(("steps", "looks"), [(24, [12]), (100, [50]), (200, [50, 100]), (260, [50, 100, 150])])
def test_what_a_second_look_adds_has_half_of_the_steps_or_a_hundred_to_settle(solution, evidence, steps, looks):
    plan = RefinementPlan(evidence, transit_basis(solution.inlet, solution.delays_s), 1.1, steps, 6, 0)
    assert [step for step in range(1, steps + 1) if plan.second_look(step)] == looks


def test_a_second_look_finds_the_part_of_a_vessel_that_is_missing_and_hardly_more(solution, evidence):
    basis = transit_basis(solution.inlet, solution.delays_s)
    spacing = solution.support.spacing_mm
    plan = RefinementPlan(evidence, basis, spacing, 200, 6, 0)
    whole = initial_gaussians(solution)
    missing = whole.means_mm[:, 2] > np.median(whole.means_mm[:, 2])
    found = with_missed_vessels(whole.subset(~missing), plan, solution, Config(), SilentProgress())
    new = found.subset(np.arange(len(found.shapes)) >= (~missing).sum())
    lost = whole.subset(missing)
    distance = np.linalg.norm(lost.means_mm[:, None] - new.means_mm, axis=2)
    assert (distance.min(1) < 1.5 * spacing).mean() > 0.95
    assert new.volumes_mm3[distance.min(0) < 1.5 * spacing].sum() > 0.9 * new.volumes_mm3.sum()
    nothing = with_missed_vessels(whole, plan, solution, Config(), SilentProgress())
    assert nothing.volumes_mm3.sum() < 1.02 * whole.volumes_mm3.sum()
