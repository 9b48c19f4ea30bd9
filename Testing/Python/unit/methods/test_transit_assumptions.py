"""What breaks the assumptions of the transit method appears in the facts and in a warning."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import small_case

from DSAReconLib.acquisition.subtraction import subtract
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.transit.assumptions import (
    doubted_noise,
    failed_assumptions,
    residual_in_noise,
    structure_in_noise,
    truncated_share,
)
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.phases import injection_phases
from DSAReconLib.methods.transit.reconstruct import reconstruct
from DSAReconLib.methods.transit.transit_model import InletCurve, curve_times
from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation import preset

VIEWS, PIXELS, NOISE = 8, 64, 0.01
QUICK = {"epochs": 12, "full_steps": 2, "refine_steps": 0}


def vessel_at(column, views=slice(None)):
    """Line integrals (V, R, C) of a horizontal vessel that ends at a column, in some views."""
    images = np.zeros((VIEWS, PIXELS, PIXELS), np.float32)
    images[views, 30:34, 20:column] = 0.3
    return images


def measured(images, seed=0):
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-90, 90, VIEWS),
        sod_mm=750,
        sdd_mm=1200,
        detector_shape=(PIXELS,) * 2,
        detector_spacing_mm=(1.6,) * 2,
    )
    noisy = images + np.random.default_rng(seed).normal(0, NOISE, images.shape).astype(np.float32)
    return Evidence(noisy, np.ones_like(noisy), NOISE, geometry, np.linspace(0, 5, VIEWS), 5.0)


def run(angiogram):
    config = build_config("transit", "balanced", QUICK)
    grid = angiogram.geometry.field_of_view_grid(spacing_mm=1.0)
    return reconstruct(angiogram, grid, config, device="cpu", progress=SilentProgress())


def codes(result):
    return {code for code, _ in result.warnings}


def test_a_vessel_that_leaves_half_of_the_views_is_truncated_in_these():
    images = vessel_at(50)
    images[::2] = vessel_at(PIXELS)[::2]
    assert truncated_share(measured(images), images, 1.0) == pytest.approx(0.5)
    assert truncated_share(measured(vessel_at(50)), vessel_at(50), 1.0) == 0


def test_a_vessel_that_enters_from_below_is_not_truncated():
    images = np.swapaxes(vessel_at(PIXELS), 1, 2)
    assert truncated_share(measured(images), images, 1.0) == 0


def test_the_border_of_the_image_is_where_the_shutter_ends():
    images = vessel_at(PIXELS)
    evidence = measured(images)
    weights = evidence.weights.copy()
    weights[:, :, 56:] = 0
    assert truncated_share(replace(evidence, weights=weights), images, 1.0) == 1
    closed = replace(evidence, weights=np.zeros_like(weights))
    assert truncated_share(closed, images, 1.0) == 0


def test_edges_no_larger_than_what_else_is_left_are_no_vessels():
    images = vessel_at(PIXELS)
    assert truncated_share(measured(images), images, 20.0) == 0


def test_noise_alone_has_no_structure_and_the_rims_of_a_moved_skull_have():
    vessel = vessel_at(50)
    assert structure_in_noise(measured(vessel), vessel) == pytest.approx(1, abs=0.1)
    rims = vessel.copy()
    rims[:, :, 6:9] += 0.08
    assert structure_in_noise(measured(rims), vessel) > 2


def test_what_lies_within_vessels_is_no_structure():
    vessel = vessel_at(50)
    assert structure_in_noise(measured(1.3 * vessel), vessel) < 1.2


def test_what_a_model_misses_within_vessels_raises_the_noise_that_vessels_stand_out_from():
    model = vessel_at(40)
    fitted, missed = (residual_in_noise(measured(share * model), model) for share in (1, 0.85))
    assert doubted_noise(NOISE, 0.9, fitted) < 1.05 * NOISE
    assert 3 * NOISE < doubted_noise(NOISE, 0.9, missed) < missed * NOISE
    assert doubted_noise(NOISE, 20, missed) == pytest.approx(20 * NOISE)


@pytest.mark.parametrize(("pause", "phases"), [(0.0, 2), (0.1, 2), (0.5, 1), (1.0, 1)])
def test_phases_are_counted_where_the_inlet_curve_pauses(pause, phases):
    times = curve_times(5.0)
    curve = ((times > 0.5) & (times < 4)).astype(float)
    curve[(times > 1.5) & (times < 2.5)] = pause
    assert injection_phases(InletCurve(times, 0.1 * curve)) == phases


def test_a_short_blip_is_no_phase():
    times = curve_times(5.0)
    curve = ((times > 2) & (times < 4)).astype(float)
    curve[(times > 0.5) & (times < 0.6)] = 0.6
    assert injection_phases(InletCurve(times, 0.1 * curve)) == 1


def test_every_broken_assumption_is_named_with_its_figure():
    times = curve_times(5.0)
    facts = {"voxels": 1e4, "injection_phases": 2.0, "truncated_view_share": 0.4, "structure_in_noise": 5.5}
    found = dict(failed_assumptions(InletCurve(times, np.exp(-((times - 2) ** 2))), facts, 30))
    assert set(found) == {"transit.phases", "transit.truncated", "transit.structure"}
    assert "40 %" in found["transit.truncated"]
    assert "5.5 times" in found["transit.structure"]


def test_a_good_run_breaks_none():
    mask, fill, _ = small_case(seed=1)
    result = run(subtract(mask, fill))
    assert result.warnings == ()
    assert result.facts["structure_in_noise"] < 1.2
    assert result.facts["confident_branches"] >= 0.7 * result.facts["branches"] > 0
    certain = result.maps["branch_confidence"]
    assert certain.shape == result.volume.grid.shape_zyx
    np.testing.assert_array_equal(certain > 0, result.vessel_probability >= 0.5)


def test_a_patient_who_moved_leaves_structure_and_hardly_any_branch_is_sure():
    mask, fill, _ = small_case(seed=1, misregistration_mm=0.4)
    result = run(subtract(mask, fill))
    assert "transit.structure" in codes(result)
    assert "transit.truncated" not in codes(result)
    assert result.facts["confident_branches"] < 0.2 * result.facts["branches"]


def test_vessels_beside_the_field_of_view_are_said_to_be_incomplete():
    mask, fill, _ = small_case(seed=1, isocenter_offset_mm=(25.0, 0.0, 0.0))
    assert "transit.truncated" in codes(run(subtract(mask, fill)))


def test_an_injection_in_two_phases_is_noticed():
    mask, fill, _ = small_case(seed=1, flow=replace(preset("tiny").flow, model="two-phase"))
    result = run(subtract(mask, fill))
    assert result.facts["injection_phases"] == 2
    assert "transit.phases" in codes(result)


def test_frames_before_contrast_matter_for_arrival_times_only_if_they_are_missing():
    mask, fill, _ = small_case(seed=1)
    whole = subtract(mask, fill)
    late = whole.select(np.flatnonzero(whole.times_s > 1.4))
    start = float(late.times_s[0])
    late = replace(late, times_s=late.times_s - start, duration_s=late.duration_s - start)
    assert "transit.no_onset" in codes(run(late))
