"""Radiative Gaussians on two tubes: quality, variants, resuming, cancelling, missing pixels."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.contrast_runs import tubes

from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.radiative.config import PRESETS, Config
from DSAReconLib.methods.radiative.reconstruct import reconstruct
from DSAReconLib.progress import SilentProgress
from DSAReconLib.rendering.views import render_line_integrals

QUICK = Config(steps=30, points=4000, reseeds=1, control_every=10, batch=5)


class Watch(SilentProgress):
    """Remembers the reports; cancels after so many questions once the fit has begun."""

    def __init__(self, cancel_after=None):
        super().__init__()
        self.fractions, self.metrics, self._fitting, self._asked, self._limit = [], {}, False, 0, cancel_after

    def report(self, stage, fraction, message="", metrics=None):
        self._fitting = self._fitting or (stage == "seed" and fraction == 1)
        if stage == "fit":
            self.fractions.append(fraction)
            self.metrics = dict(metrics)

    def check_cancelled(self):
        self._asked += self._fitting
        if self._limit is not None and self._asked > self._limit:
            raise JobCancelled


def fitted(angiogram, config=QUICK, *, progress=None, checkpoint=None, device="cpu"):
    grid = angiogram.geometry.field_of_view_grid()
    return reconstruct(
        angiogram, grid, config, device=device, progress=progress or SilentProgress(), checkpoint=checkpoint
    )


def arrays(reconstruction):
    model = reconstruction.gaussians
    return model.means_mm, model.scales_mm, model.quats_wxyz, model.coefficients


def assert_identical(first, second):
    for one, other in zip(arrays(first), arrays(second), strict=True):
        np.testing.assert_array_equal(one, other)


def relative_error(reconstruction, angiogram, clean, views):
    times = angiogram.times_s[views]
    images = render_line_integrals(reconstruction.gaussians, angiogram.geometry[views], times)
    return float(np.linalg.norm(images - clean[views]) / np.linalg.norm(clean[views]))


@pytest.fixture(scope="module")
def run():
    return tubes(views=40)


@pytest.fixture(scope="module")
def selected(run):
    return run[0].select(np.arange(0, 40, 2))


@pytest.fixture(scope="module")
def plain(selected):
    watch = Watch()
    return fitted(selected, progress=watch), watch


def test_frames_that_were_kept_back_are_predicted(run, selected):
    angiogram, clean = run
    reconstruction = fitted(selected, replace(QUICK, steps=80))
    assert relative_error(reconstruction, angiogram, clean, np.arange(1, 40, 4)) < 0.3
    assert reconstruction.native == "gaussians"


def test_gaussians_and_voxels_hold_the_same_attenuation(plain):
    reconstruction, _ = plain
    model, volume = reconstruction.gaussians, reconstruction.volume
    mass = (2 * np.pi) ** 1.5 * (model.scales_mm.prod(1) * model.coefficients).sum(1)
    voxels = volume.coefficients.sum(1) * np.prod(volume.grid.spacing_mm)
    np.testing.assert_allclose(voxels, mass, rtol=0.06)
    assert 0 < reconstruction.surface_threshold < volume.coefficients.max()
    assert reconstruction.vessel_probability.shape == volume.grid.shape_zyx


def test_moving_contrast_needs_time_courses(run, selected):
    angiogram, clean = run
    kept = np.arange(1, 40, 4)
    changing = relative_error(fitted(selected), angiogram, clean, kept)
    static = fitted(selected, replace(QUICK, time_basis="constant"))
    assert len(static.gaussians.basis) == 1
    assert changing < 0.8 * relative_error(static, angiogram, clean, kept)


@pytest.mark.parametrize(
    "change", [{"time_basis": "bspline"}, {"integral": "affine", "pixel_average": False}, {"ssim_weight": 0.2}]
)
def test_options_of_the_paper_work_on_the_same_data(run, selected, change):
    angiogram, clean = run
    error = relative_error(fitted(selected, replace(QUICK, **change)), angiogram, clean, np.arange(1, 40, 4))
    assert error < 0.55


def test_the_same_job_gives_the_same_bits(selected, plain):
    assert_identical(fitted(selected), plain[0])


def test_a_cancelled_fit_goes_on_where_it_stopped(selected, plain, tmp_path):
    store = CheckpointStore(tmp_path / "state")
    watch = Watch(cancel_after=41)
    with pytest.raises(JobCancelled):
        fitted(selected, progress=watch, checkpoint=store)
    assert 0 < int(store.load()["step"]) < QUICK.steps
    resumed = Watch()
    assert_identical(fitted(selected, progress=resumed, checkpoint=store), plain[0])


def test_a_state_of_other_parameters_is_not_continued(selected, tmp_path):
    store = CheckpointStore(tmp_path / "state")
    with pytest.raises(JobCancelled):
        fitted(selected, progress=Watch(cancel_after=41), checkpoint=store)
    short = replace(QUICK, steps=10, seed=1)
    assert_identical(fitted(selected, short, checkpoint=store), fitted(selected, short))


def test_progress_rises_to_one_and_tells_the_number_of_gaussians(plain):
    _, watch = plain
    assert watch.fractions[-1] == 1
    assert watch.fractions == sorted(watch.fractions)
    assert watch.metrics["gaussians"] == len(plain[0].gaussians)


def test_growing_adds_gaussians_where_the_data_pull(selected):
    few = replace(QUICK, points=150, reseeds=0, prune_specks=0.0, prune_volume=0.0, sparsity=0.0)
    grown = fitted(selected, replace(few, grow=True, grow_from=0.1, grow_until=0.9, gradient_threshold=1e-6))
    assert len(grown.gaussians) > 1.2 * len(fitted(selected, few).gaussians)


def test_scales_stay_within_their_bounds(plain):
    reconstruction, _ = plain
    voxel = reconstruction.facts["seed_voxel_mm"]
    scales = reconstruction.gaussians.scales_mm
    assert scales.min() >= 0.999 * QUICK.scale_min * voxel
    assert scales.max() <= 1.001 * QUICK.scale_max * voxel


def test_pixels_without_measurement_do_not_matter(selected):
    variance = np.array(np.broadcast_to(selected.variance, selected.line_integrals.shape))
    variance[:, :, :4] = np.inf
    empty, filled = selected.line_integrals.copy(), selected.line_integrals.copy()
    empty[:, :, :4], filled[:, :, :4] = np.nan, 0
    quick = replace(QUICK, steps=5)
    results = [fitted(replace(selected, line_integrals=images, variance=variance), quick) for images in (empty, filled)]
    assert np.isfinite(results[0].gaussians.coefficients).all()
    assert len(results[0].gaussians) == len(results[1].gaussians)


def test_a_run_without_contrast_says_so(selected):
    with pytest.raises(DSAReconError) as caught:
        fitted(replace(selected, line_integrals=np.zeros_like(selected.line_integrals)))
    assert caught.value.code == "radiative.no_contrast"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_valid_configuration(preset):
    assert isinstance(build_config("radiative", preset), Config)


def test_the_paper_preset_keeps_the_published_values():
    config = build_config("radiative", "paper")
    assert (config.steps, config.batch, config.points, config.seed_threshold) == (30_000, 1, 30_000, 0.016)
    assert (config.scale_min, config.scale_max, config.ssim_weight, config.time_jitter) == (0.1, 10.0, 0.2, 1.0)
    assert (config.gradient_threshold, config.prune_attenuation, config.control_every) == (1e-4, 1e-6, 200)
    assert (config.time_basis, config.integral) == ("neural", "affine")


def test_the_default_path_runs_without_torch():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from dataclasses import replace\n"
        "from helpers.contrast_runs import tubes\n"
        "from DSAReconLib.methods.radiative.config import Config\n"
        "from DSAReconLib.methods.radiative.reconstruct import reconstruct\n"
        "from DSAReconLib.progress import SilentProgress\n"
        "run = tubes(views=8)[0]\n"
        "config = Config(steps=3, points=500)\n"
        "grid = run.geometry.field_of_view_grid()\n"
        "result = reconstruct(run, grid, config, device='cpu', progress=SilentProgress())\n"
        "assert len(result.gaussians)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
