"""TOGS on two tubes: novel views, resuming, seeds, missing pixels, and what the volume is."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")
from helpers.contrast_runs import tubes

from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import DependencyError, JobCancelled
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.togs.config import PRESETS, Config
from DSAReconLib.methods.togs.reconstruct import reconstruct
from DSAReconLib.progress import SilentProgress
from DSAReconLib.rendering.views import render_line_integrals

QUICK = Config(
    iterations=60, points=300, start="contrast", degree_step=20, feature_rate=0.03, density_interval=10,
    density_from=20,
    density_until=50, opacity_reset=45, random_prune=0.02, seed=3,
)  # fmt: skip


class Watch(SilentProgress):
    """Remembers the reports of the fit; cancels when asked too often."""

    def __init__(self, cancel_after=None):
        super().__init__()
        self.fractions, self._asked, self._limit = [], 0, cancel_after

    def report(self, stage, fraction, message="", metrics=None):
        if stage == "fit":
            self.fractions.append(fraction)

    def check_cancelled(self):
        self._asked += 1
        if self._limit is not None and self._asked > self._limit:
            raise JobCancelled


def fitted(angiogram, config=QUICK, *, progress=None, checkpoint=None):
    grid = angiogram.geometry.field_of_view_grid(shape=40)
    return reconstruct(
        angiogram, grid, config, device="cpu", progress=progress or SilentProgress(), checkpoint=checkpoint
    )


@pytest.fixture(scope="module")
def run():
    return tubes(views=40)


@pytest.fixture(scope="module")
def quick(run):
    return fitted(run[0].select(np.arange(0, 40, 2)))


def test_frames_that_were_kept_back_are_predicted(run):
    angiogram, clean = run
    kept = np.arange(1, 40, 4)
    config = replace(QUICK, iterations=300, density_interval=50, density_until=200, opacity_reset=10_000)
    reconstruction = fitted(angiogram.select(np.arange(0, 40, 2)), config)
    images = render_line_integrals(reconstruction.model, angiogram.geometry[kept], angiogram.times_s[kept])
    error = np.sqrt(np.mean((images - clean[kept]) ** 2))
    assert error < 0.4 * np.sqrt(np.mean(clean[kept] ** 2))
    assert images.sum() == pytest.approx(clean[kept].sum(), rel=0.15)


def test_the_result_says_that_it_is_a_model_of_pictures(quick, run):
    assert quick.native == "pictures"
    assert quick.model is quick.pictures
    assert [code for code, _ in quick.warnings] == ["togs.no_attenuation"]
    assert quick.facts["gaussians"] == len(quick.pictures)
    assert quick.pictures.picture.largest == pytest.approx(run[0].select(np.arange(0, 40, 2)).line_integrals.max())


def test_the_attenuation_has_the_measured_mean_line_integral(quick, run):
    angiogram = run[0].select(np.arange(0, 40, 2))
    images = render_line_integrals(quick.gaussians, angiogram.geometry, angiogram.times_s)
    assert images.mean() == pytest.approx(angiogram.line_integrals.mean(), rel=0.02)
    coarse = render_line_integrals(quick.volume, angiogram.geometry, angiogram.times_s)
    assert coarse.mean() == pytest.approx(images.mean(), rel=0.1)
    peak = quick.volume.top_mean(angiogram.times_s).max()
    assert 0.02 * peak < quick.surface_threshold < peak


def test_a_cancelled_fit_goes_on_to_the_same_result(run, quick, tmp_path):
    angiogram = run[0].select(np.arange(0, 40, 2))
    store = CheckpointStore(tmp_path / "state")
    for limit in (15, 35):
        with pytest.raises(JobCancelled):
            fitted(angiogram, progress=Watch(cancel_after=limit), checkpoint=store)
    assert int(store.load()["iteration"]) > 20
    resumed = fitted(angiogram, checkpoint=store)
    np.testing.assert_array_equal(resumed.pictures.means_mm, quick.pictures.means_mm)
    np.testing.assert_array_equal(resumed.pictures.opacities, quick.pictures.opacities)
    np.testing.assert_array_equal(resumed.pictures.color_harmonics, quick.pictures.color_harmonics)


def test_the_seed_decides(run, quick):
    angiogram = run[0].select(np.arange(0, 40, 2))
    again = fitted(angiogram)
    other = fitted(angiogram, replace(QUICK, seed=4))
    np.testing.assert_array_equal(again.pictures.means_mm, quick.pictures.means_mm)
    assert other.pictures.means_mm.shape != quick.pictures.means_mm.shape or not np.array_equal(
        other.pictures.means_mm, quick.pictures.means_mm
    )


def test_progress_rises_to_one(run):
    watch = Watch()
    fitted(run[0].select(np.arange(0, 40, 4)), replace(QUICK, iterations=12), progress=watch)
    assert watch.fractions == sorted(watch.fractions)
    assert watch.fractions[-1] == pytest.approx(1.0)


def test_pixels_without_a_measurement_do_not_matter(run):
    angiogram = run[0].select(np.arange(0, 40, 4))
    variance = np.broadcast_to(angiogram.variance, angiogram.line_integrals.shape).copy()
    variance[:, :6] = np.inf
    damaged = angiogram.line_integrals.copy()
    damaged[:, :6] = np.nan
    config = replace(QUICK, iterations=15)
    first = fitted(replace(angiogram, variance=variance), config)
    second = fitted(replace(angiogram, variance=variance, line_integrals=damaged), config)
    np.testing.assert_array_equal(first.volume.coefficients, second.volume.coefficients)
    assert np.isfinite(second.volume.coefficients).all()


def test_the_cube_start_and_the_exponential_grey_scale_run(run):
    config = replace(
        QUICK, start="cube", cube_half_width=0.03, picture="exponential", iterations=10, detector_pixels=24
    )
    reconstruction = fitted(run[0].select(np.arange(0, 40, 4)), config)
    assert reconstruction.pictures.picture.kind == "exponential"
    images = render_line_integrals(reconstruction.model, run[0].geometry[:2], run[0].times_s[:2])
    assert images.shape == (2, 48, 48)
    assert np.isfinite(images).all()


def test_without_contrast_the_gaussians_start_in_the_cube_and_say_so(run):
    angiogram = run[0].select(np.arange(0, 40, 4))
    dark = np.minimum(np.random.default_rng(1).normal(0, 0.004, angiogram.line_integrals.shape), 0)
    progress = SilentProgress()
    fitted(replace(angiogram, line_integrals=dark.astype(np.float32)), replace(QUICK, iterations=2), progress=progress)
    assert "togs.start" in [code for code, _ in progress.warnings]


def test_gsplat_on_the_cpu_is_refused(run):
    with pytest.raises(DependencyError, match="no CPU kernels"):
        fitted(run[0].select(np.arange(0, 40, 4)), replace(QUICK, rasterizer="gsplat"))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_valid(preset):
    assert isinstance(build_config("togs", preset), Config)
