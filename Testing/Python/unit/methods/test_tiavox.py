"""TiAVox on two tubes: quality, resuming, cancelling, missing pixels."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
from helpers.contrast_runs import tubes

from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import DSAReconError, JobCancelled
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.tiavox.config import PRESETS, Config
from DSAReconLib.methods.tiavox.reconstruct import reconstruct
from DSAReconLib.progress import SilentProgress
from DSAReconLib.rendering.views import render_line_integrals

QUICK = Config(knots=7, levels=2, repeats=1, iterations=6)


class Watch(SilentProgress):
    """Remembers the reports; cancels after a number of fitting steps."""

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


def fitted(angiogram, config=QUICK, *, progress=None, checkpoint=None, device="cpu"):
    grid = angiogram.geometry.field_of_view_grid()
    return reconstruct(
        angiogram, grid, config, device=device, progress=progress or SilentProgress(), checkpoint=checkpoint
    )


@pytest.fixture(scope="module")
def run():
    return tubes(views=40)


def test_frames_that_were_kept_back_are_predicted(run):
    angiogram, clean = run
    kept = np.arange(1, 40, 4)
    reconstruction = fitted(angiogram.select(np.arange(0, 40, 2)), replace(QUICK, iterations=15))
    images = render_line_integrals(reconstruction.volume, angiogram.geometry[kept], angiogram.times_s[kept])
    error = np.sqrt(np.mean((images - clean[kept]) ** 2))
    assert error < 0.12 * clean[kept].max() / 3
    assert error < 0.3 * np.sqrt(np.mean(clean[kept] ** 2))
    assert images.sum() == pytest.approx(clean[kept].sum(), rel=0.1)


def test_the_result_lies_on_part_of_the_grid_and_has_a_usable_threshold(run):
    angiogram = run[0].select(np.arange(0, 40, 2))
    reconstruction = fitted(angiogram)
    volume = reconstruction.volume
    grid = angiogram.geometry.field_of_view_grid()
    assert volume.grid.spacing_mm == grid.spacing_mm
    offset = grid.index_of([volume.grid.origin_mm])
    np.testing.assert_allclose(offset, np.rint(offset), atol=1e-6)
    assert volume.coefficients.min() >= 0
    peak = volume.top_mean(angiogram.times_s)
    assert 0.1 * peak.max() < reconstruction.surface_threshold < 0.9 * peak.max()
    assert len(volume.support) < 0.2 * grid.num_voxels


@pytest.mark.parametrize("optimizer", ["accelerated", "adam"])
def test_a_cancelled_fit_goes_on_to_the_same_result(run, tmp_path, optimizer):
    angiogram = run[0].select(np.arange(0, 40, 3))
    config = replace(QUICK, optimizer=optimizer, learning_rate=5e-3)
    whole = fitted(angiogram, config)
    for limit in (8, 40):
        store = CheckpointStore(tmp_path / f"{optimizer}{limit}")
        with pytest.raises(JobCancelled):
            fitted(angiogram, config, progress=Watch(cancel_after=limit), checkpoint=store)
        assert store.load() is not None
        resumed = fitted(angiogram, config, checkpoint=store)
        np.testing.assert_array_equal(resumed.volume.support, whole.volume.support)
        np.testing.assert_array_equal(resumed.volume.coefficients, whole.volume.coefficients)


def test_progress_rises_to_one(run):
    watch = Watch()
    fitted(run[0].select(np.arange(0, 40, 3)), progress=watch)
    assert watch.fractions == sorted(watch.fractions)
    assert watch.fractions[-1] == pytest.approx(1.0)


def test_pixels_without_a_measurement_do_not_matter(run):
    angiogram = run[0].select(np.arange(0, 40, 3))
    variance = np.broadcast_to(angiogram.variance, angiogram.line_integrals.shape).copy()
    variance[:, :10] = np.inf
    damaged = angiogram.line_integrals.copy()
    damaged[:, :10] = np.nan
    first = fitted(replace(angiogram, variance=variance))
    second = fitted(replace(angiogram, variance=variance, line_integrals=damaged))
    np.testing.assert_array_equal(first.volume.coefficients, second.volume.coefficients)
    assert np.isfinite(second.volume.coefficients).all()


def test_joseph_and_footprints_agree_on_the_tubes(run):
    angiogram = run[0].select(np.arange(0, 40, 5))
    rendered = []
    for projector in ("joseph", "footprint"):
        volume = fitted(angiogram, replace(QUICK, projector=projector, repeats=0)).volume
        rendered.append(render_line_integrals(volume, angiogram.geometry, angiogram.times_s))
    assert np.linalg.norm(rendered[0] - rendered[1]) < 0.1 * np.linalg.norm(rendered[0])


def test_views_without_contrast_are_refused(run):
    angiogram = run[0]
    noise = np.random.default_rng(1).normal(0, 0.004, angiogram.line_integrals.shape).astype(np.float32)
    with pytest.raises(DSAReconError, match="agree on contrast nowhere") as caught:
        fitted(replace(angiogram, line_integrals=np.minimum(noise, 0)))
    assert caught.value.code == "tiavox.no_contrast"


def test_the_whole_grid_can_be_fitted(run):
    angiogram = run[0].select(np.arange(0, 40, 4)).binned(2)
    reconstruction = fitted(angiogram, Config(knots=4, levels=1, repeats=0, iterations=3, crop=False))
    assert reconstruction.volume.coefficients.shape[1] == reconstruction.volume.grid.num_voxels


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_valid(preset):
    assert isinstance(build_config("tiavox", preset), Config)


@pytest.mark.parametrize("preset", set(PRESETS) - {"sparse"})
def test_only_the_preset_sparse_leaves_the_published_objective(preset):
    assert build_config("tiavox", preset).sparsity == 0
    assert build_config("tiavox", "sparse").sparsity > 0


def test_sparsity_empties_voxels(run):
    angiogram = run[0].select(np.arange(0, 40, 3))
    totals = [fitted(angiogram, replace(QUICK, sparsity=weight)).volume.coefficients.sum() for weight in (0.0, 0.05)]
    assert totals[1] < 0.98 * totals[0]
