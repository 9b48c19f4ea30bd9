from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import simulated, small_case, small_config

from DSAReconLib.errors import ConfigError, JobCancelled
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation import PRESETS, SimulationConfig, preset, simulate_case
from DSAReconLib.simulation.carm import poses_of_runs


def contrast(case):
    return np.log(case.mask_run.intensity) - np.log(case.fill_run.intensity)


def test_the_noise_free_subtraction_is_the_clean_line_integrals():
    case = simulated(views=12, photons=0.0, scatter_fraction=0.0, background="none")
    np.testing.assert_allclose(contrast(case), case.truth.clean_line_integrals, atol=2e-3)


def test_noise_has_the_strength_of_the_photons():
    mask, fill, truth = small_case(views=20)
    quiet = truth.clean_line_integrals < 1e-6
    photons = mask.intensity * mask.counts_per_unit
    assert np.median(photons[photons < 30 * 2e4]) == pytest.approx(2e4, rel=0.25)
    deviation = (np.log(mask.intensity) - np.log(fill.intensity)) * np.sqrt(photons / 2)
    assert deviation[quiet & (photons > 2000)].std() == pytest.approx(1.0, abs=0.05)


def test_the_same_config_gives_the_same_case_and_another_seed_other_noise():
    config = small_config(seed=2, views=8)
    first, again = (simulate_case(config, SilentProgress()) for _ in range(2))
    np.testing.assert_array_equal(first.fill_run.intensity, again.fill_run.intensity)
    np.testing.assert_array_equal(first.truth.volume.coefficients, again.truth.volume.coefficients)
    other = simulate_case(replace(config, seed=3), SilentProgress())
    assert not np.array_equal(first.fill_run.intensity, other.fill_run.intensity)


def test_the_truth_projects_to_the_clean_line_integrals():
    from DSAReconLib.kernels.raycast import project

    case = simulated()
    truth, frame = case.truth, 13
    joseph = project(truth.volume.at(truth.frame_times_s[frame]), truth.volume.grid, truth.geometry[frame])[0]
    clean = truth.clean_line_integrals[frame]
    assert np.corrcoef(joseph.ravel(), clean.ravel())[0, 1] > 0.99
    assert joseph.sum() == pytest.approx(clean.sum(), rel=0.02)


def test_truth_arrival_is_the_half_rise_of_the_voxel_curves():
    truth = simulated().truth
    core = truth.occupancy.ravel()[truth.volume.support] > 0.9
    stated = truth.arrival_s.ravel()[truth.volume.support][core]
    measured = truth.volume.arrival_time(np.arange(0, 5, 0.01), 1e-3).ravel()[truth.volume.support][core]
    assert np.nanmedian(np.abs(stated - measured)) < 0.03
    assert np.isnan(truth.arrival_s[truth.occupancy == 0]).all()


def test_vessels_lie_where_the_offset_puts_them():
    truth = small_case(views=6)[2]
    moved = small_case(views=6, isocenter_offset_mm=(3.0, -2.0, 5.0))[2]
    shift = moved.centerline_mm.mean(0) - truth.centerline_mm.mean(0)
    np.testing.assert_allclose(shift, (3, -2, 5), atol=1e-9)


def test_wobble_moves_the_true_poses_by_its_size_and_leaves_the_header_alone():
    config = small_config(views=60, wobble_mm=1.0)
    mask, fill = poses_of_runs(config)
    still = poses_of_runs(replace(config, wobble_mm=0.0))[1]
    assert fill.nominal == still.nominal
    shift, _ = fill.true.project_points([(0, 0, 0)])
    reference, _ = still.true.project_points([(0, 0, 0)])
    rms_mm = np.sqrt((((shift - reference)[:, 0] * 1.0) ** 2).mean(0))
    assert np.all(rms_mm > 0.3)
    assert np.all(rms_mm < 2.0)
    repeat, _ = mask.true.project_points([(0, 0, 0)])
    assert 0 < np.abs(repeat - shift).max() < 0.2


def test_roll_turns_the_detector_about_its_middle_and_leaves_the_header_alone():
    config = small_config(views=200, arc_deg=360.0, roll_deg=0.5)
    mask, fill = poses_of_runs(config)
    assert fill.nominal == poses_of_runs(replace(config, roll_deg=0.0))[1].nominal
    np.testing.assert_array_equal(fill.true.detector_center_mm, fill.nominal.detector_center_mm)
    axes = fill.true.detector_u_mm, fill.nominal.detector_u_mm, fill.nominal.detector_v_mm
    u, plain_u, plain_v = (axis / np.linalg.norm(axis, axis=1, keepdims=True) for axis in axes)
    roll = np.rad2deg(np.arctan2((u * plain_v).sum(1), (u * plain_u).sum(1)))
    assert np.sqrt((roll**2).mean()) == pytest.approx(0.5, rel=0.02)
    assert np.abs(np.diff(roll)).max() < 0.05
    assert 0 < np.abs(mask.true.detector_u_mm - fill.true.detector_u_mm).max() < 1e-3


def test_misregistration_moves_the_mask_only_and_by_its_size():
    config = small_config(views=60, misregistration_mm=0.8)
    mask, fill = poses_of_runs(config)
    assert fill.true == fill.nominal
    assert mask.nominal == fill.nominal
    points = np.random.default_rng(0).normal(size=(50, 3)) * 35
    moved = np.linalg.norm(mask.true.project_points(points)[0] - fill.true.project_points(points)[0], axis=-1)
    assert 0.3 < np.sqrt((moved**2).mean()) < 1.6


def test_misregistration_leaves_edges_of_bone_in_the_subtraction():
    still = contrast(simulated(views=8, photons=0.0))
    moved = contrast(simulated(views=8, photons=0.0, misregistration_mm=1.0))
    outside = simulated(views=8, photons=0.0).truth.clean_line_integrals < 1e-6
    assert moved[outside].std() > 5 * still[outside].std()


def test_beam_hardening_makes_contrast_fainter_behind_bone():
    hard = contrast(simulated(views=8, photons=0.0, beam_hardening=True))
    soft = contrast(simulated(views=8, photons=0.0))
    vessel = simulated(views=8, photons=0.0).truth.clean_line_integrals > 0.1
    assert 0.6 < np.median(hard[vessel] / soft[vessel]) < 0.97


def test_mask_run_may_have_other_frames_and_another_start():
    case = simulated(views=12, mask_views=9, mask_angle_offset_deg=-3.0)
    assert len(case.mask_run) == 9
    assert len(case.fill_run) == 12
    start = case.mask_run.geometry.primary_angle_deg[0] - case.fill_run.geometry.primary_angle_deg[0]
    assert start == pytest.approx(-3.0)


def test_the_header_knows_secondary_angles_and_the_principal_point():
    case = simulated(views=12, secondary_angle_deg=12.0, principal_point_offset_px=(3.0, -5.0))
    geometry = case.fill_run.geometry
    np.testing.assert_allclose(geometry.secondary_angle_deg, 12.0, atol=1e-9)
    pixel, _ = geometry.project_points([(0, 0, 0)])
    np.testing.assert_allclose(pixel[:, 0], [[31.5 + 3, 31.5 - 5]] * 12, atol=1e-9)
    assert case.truth.geometry == geometry


def test_blush_adds_tissue_that_is_not_vessel():
    config = small_config(views=10)
    case = simulate_case(replace(config, flow=replace(config.flow, model="blush")), SilentProgress())
    plain = simulate_case(config, SilentProgress())
    outside = case.truth.occupancy.ravel()[case.truth.volume.support] == 0
    assert outside.sum() > 1000
    assert case.truth.volume.coefficients[:, outside].max() > 0
    np.testing.assert_array_equal(case.truth.occupancy, plain.truth.occupancy)
    assert case.truth.clean_line_integrals.sum() > 1.02 * plain.truth.clean_line_integrals.sum()


@pytest.mark.parametrize(
    ("name", "value"),
    [("views", 1), ("sdd_mm", 700.0), ("photons", -1.0), ("arc_deg", 500.0), ("tree", "no-such-tree"), ("voxel_mm", 0)],
)
def test_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name.removesuffix("_mm")):
        SimulationConfig(**{name: value})


def test_a_tree_that_reaches_the_source_is_refused():
    with pytest.raises(ConfigError, match="does not fit"):
        simulate_case(small_config(tree_scale=20.0), SilentProgress())


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as refused:
        preset("heart")
    assert all(name in refused.value.hint for name in PRESETS)


def test_simulating_stops_when_cancelled():
    class Cancelled(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        simulate_case(small_config(), Cancelled())
