"""The transit method end to end on a small simulated case."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import small_case

from DSAReconLib.acquisition.subtraction import subtract
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import DependencyError, JobCancelled
from DSAReconLib.kernels import backend
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.registry import DEFAULT_METHOD, METHODS
from DSAReconLib.methods.transit.reconstruct import reconstruct
from DSAReconLib.progress import SilentProgress

QUICK = {"epochs": 8, "full_steps": 3, "refine_steps": 24}


@pytest.fixture(name="case", scope="module")
def simulated_case():
    mask, fill, truth = small_case(seed=1)
    return subtract(mask, fill), truth


def run(angiogram, overrides=None, *, device="cpu", progress=None, checkpoint=None):
    config = build_config("transit", "balanced", QUICK | (overrides or {}))
    grid = angiogram.geometry.field_of_view_grid(spacing_mm=1.0)
    progress = progress or SilentProgress()
    return reconstruct(angiogram, grid, config, device=device, progress=progress, checkpoint=checkpoint)


@pytest.fixture(name="result", scope="module")
def reconstructed(case):
    return run(case[0])


class CancelAfter(SilentProgress):
    """Cancels once a stage has made some progress."""

    def __init__(self, stage, fraction):
        super().__init__()
        self.stage, self.fraction, self.reached = stage, fraction, False

    def report(self, stage, fraction, message="", metrics=None):
        self.reached |= stage == self.stage and fraction >= self.fraction

    def check_cancelled(self):
        if self.reached:
            raise JobCancelled


def test_transit_is_the_default_and_the_first_method():
    assert DEFAULT_METHOD == "transit"
    assert next(iter(METHODS)) == "transit"


def test_vessels_lie_where_the_truth_has_them(case, result):
    truth = case[1]
    bright = result.volume.top_mean(np.linspace(0, 5, 41))
    index = result.volume.grid.index_of(truth.centerline_mm[truth.centerline_radius_mm > 0.8])
    inside = np.all((index > 0) & (index < np.array(bright.shape[::-1]) - 1), 1)
    x, y, z = np.rint(index[inside]).astype(int).T
    assert inside.mean() > 0.97
    assert (bright[z, y, x] > result.surface_threshold).mean() > 0.95
    volume_ml = (bright > result.surface_threshold).sum() * np.prod(result.volume.grid.spacing_mm) / 1000
    true_ml = truth.occupancy.sum() * np.prod(truth.volume.grid.spacing_mm) / 1000
    assert 0.5 * true_ml < volume_ml < 2.5 * true_ml


def test_arrival_times_agree_with_the_truth(case, result):
    truth = case[1]
    times = np.linspace(0, truth.frame_times_s[-1], 201)
    arrival = result.volume.arrival_time(times, result.surface_threshold)
    thick = truth.centerline_radius_mm > 0.8
    x, y, z = np.rint(result.volume.grid.index_of(truth.centerline_mm[thick])).astype(int).T
    found = arrival[z, y, x]
    error = np.abs(found - truth.centerline_arrival_s[thick])
    assert np.isfinite(found).mean() > 0.9
    assert np.nanmean(error) < 0.12


def test_result_has_all_forms_and_maps(result):
    assert result.native == "gaussians"
    assert len(result.gaussians) > 100
    np.testing.assert_allclose(result.gaussians.scales_mm[:, 0], result.gaussians.scales_mm[:, 2])
    shape = result.volume.grid.shape_zyx
    expected = {"time_to_peak", "mean_transit_time", "blood_volume", "blood_flow", "confidence", "branch_confidence"}
    assert expected <= set(result.maps)
    assert all(values.shape == shape for values in result.maps.values())
    assert result.vessel_probability.shape == shape
    assert 0 <= result.vessel_probability.min() <= result.vessel_probability.max() <= 1


def test_the_same_seed_gives_the_same_result(case, result):
    again = run(case[0])
    np.testing.assert_array_equal(again.gaussians.means_mm, result.gaussians.means_mm)
    np.testing.assert_array_equal(again.volume.coefficients, result.volume.coefficients)


@pytest.mark.parametrize(("stage", "fraction"), [("solve", 0.8), ("refine", 0.5)])
def test_a_cancelled_job_resumes_to_the_same_result(tmp_path, case, result, stage, fraction):
    store = CheckpointStore(tmp_path / "checkpoint", interval_s=0.0)
    with pytest.raises(JobCancelled):
        run(case[0], progress=CancelAfter(stage, fraction), checkpoint=store)
    resumed = run(case[0], checkpoint=store)
    np.testing.assert_array_equal(resumed.gaussians.coefficients, result.gaussians.coefficients)


def test_contrast_three_times_weaker_gives_the_same_vessels_three_times_weaker(case, result):
    weak = replace(case[0], line_integrals=case[0].line_integrals / 3, variance=case[0].variance / 9)
    scaled = run(weak)
    assert scaled.surface_threshold == pytest.approx(result.surface_threshold / 3, rel=0.05)
    assert len(scaled.gaussians) == pytest.approx(len(result.gaussians), rel=0.05)


def test_voxel_result_without_refinement(case):
    result = run(case[0], {"refine_steps": 0})
    assert result.native == "volume"
    assert result.gaussians is not None
    assert result.volume.support is not None


def test_noise_alone_gives_an_almost_empty_result_and_says_so(case):
    values = np.random.default_rng(0).normal(0, 0.01, case[0].line_integrals.shape).astype(np.float32)
    result = run(replace(case[0], line_integrals=values, variance=np.full((1, 1, 1), 1e-4, np.float32)))
    assert "transit.no_vessels" in {code for code, _ in result.warnings}


def test_six_unevenly_timed_views_do(case):
    result = run(case[0].select(np.array([3, 4, 9, 13, 18, 26])))
    assert "transit.few_views" in {code for code, _ in result.warnings}
    assert len(result.gaussians) > 20


def test_a_gpu_that_cannot_be_used_is_an_error_before_the_work_begins(case, monkeypatch):
    monkeypatch.setattr(backend, "cuda_problem", lambda: "there is none")
    with pytest.raises(DependencyError, match="there is none"):
        run(case[0], device="cuda")
