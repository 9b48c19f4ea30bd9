"""VPAL on two tubes: quality, the split into static and moving parts, resuming, dead heads."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from helpers.contrast_runs import tubes  # noqa: E402

from DSAReconLib.checkpoint import CheckpointStore  # noqa: E402
from DSAReconLib.errors import DependencyError, DSAReconError, JobCancelled  # noqa: E402
from DSAReconLib.kernels.splat import splat_xray  # noqa: E402
from DSAReconLib.methods.vpal.config import Config  # noqa: E402
from DSAReconLib.methods.vpal.reconstruct import reconstruct  # noqa: E402
from DSAReconLib.methods.vpal.trainer import Trainer  # noqa: E402
from DSAReconLib.progress import SilentProgress  # noqa: E402
from DSAReconLib.rendering.views import render_line_integrals  # noqa: E402

SMALL = Config(
    iterations=160, points=12000, levels=6, log2_entries=13, growth=1.45, growth_time=1.6, hidden=16, layers=1,
    knots=15, occupancy_interval=40,
)  # fmt: skip
TINY = replace(SMALL, iterations=6, points=1500, occupancy_interval=2, occupancy_start=0.3)


class Watch(SilentProgress):
    """Remembers the reports; cancels after a number of questions."""

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


def fitted(angiogram, config=TINY, *, progress=None, checkpoint=None):
    grid = angiogram.geometry.field_of_view_grid()
    return reconstruct(
        angiogram, grid, config, device="cpu", progress=progress or SilentProgress(), checkpoint=checkpoint
    )


@pytest.fixture(scope="module")
def run():
    return tubes(views=40)


@pytest.fixture(scope="module")
def few(run):
    return run[0].select(np.arange(0, 40, 4)).binned(2)


def test_frames_that_were_kept_back_are_predicted(run):
    angiogram, clean = run
    kept = np.arange(1, 40, 4)
    reconstruction = fitted(angiogram.select(np.arange(0, 40, 2)), SMALL)
    images = render_line_integrals(reconstruction.volume, angiogram.geometry[kept], angiogram.times_s[kept])
    assert np.sqrt(np.mean((images - clean[kept]) ** 2)) < 0.35 * np.sqrt(np.mean(clean[kept] ** 2))
    assert images.sum() == pytest.approx(clean[kept].sum(), rel=0.2)
    peak = reconstruction.volume.top_mean(angiogram.times_s)
    assert 0.1 * peak.max() < reconstruction.surface_threshold < 0.9 * peak.max()
    assert reconstruction.facts["occupied_share"] < 0.3


def test_static_residue_goes_to_the_static_part_and_vessels_are_probable(run):
    """Misregistration leaves structures that every view shows; no label says which pixels they are."""
    angiogram, _ = run
    residue_mm = np.array([[-13.0, -12, -9], [-13, -12, -6], [-13, -12, -3], [-13, -12, 0]])
    fixed = splat_xray(
        residue_mm, np.full((4, 3), 1.6), np.tile([1.0, 0, 0, 0], (4, 1)), np.full(4, 0.02), angiogram.geometry,
        pixel_box=True,
    )  # fmt: skip
    mixed = replace(angiogram, line_integrals=angiogram.line_integrals + fixed)
    reconstruction = fitted(mixed.select(np.arange(0, 40, 2)), replace(SMALL, iterations=300))
    grid = reconstruction.volume.grid
    points = grid.points_mm()
    beside = np.linalg.norm(points[:, None] - residue_mm, axis=2).min(1)
    residue = beside < 1.7
    along = np.linspace(-10, 10, 41)
    tube = np.stack([6 * np.sin(along / 7), 4 * np.cos(along / 6), along], -1)
    vessel = np.linalg.norm(points[:, None] - tube, axis=2).min(1) < 0.9
    static = reconstruction.maps["static_attenuation"].reshape(-1)
    contrast = reconstruction.volume.mean(angiogram.times_s).reshape(-1)
    probability = reconstruction.vessel_probability.reshape(-1)
    assert static[residue].mean() > 2 * contrast[residue].mean()
    assert contrast[vessel].mean() > 2 * static[vessel].mean()
    assert probability[vessel].mean() > 2 * probability[residue].mean()
    assert 0 <= probability.min() <= probability.max() <= 1


def test_a_cancelled_fit_goes_on_to_the_same_result(few, tmp_path):
    whole = fitted(few)
    for limit in (8, 16):
        store = CheckpointStore(tmp_path / str(limit))
        with pytest.raises(JobCancelled):
            fitted(few, progress=Watch(cancel_after=limit), checkpoint=store)
        assert 0 < int(store.load()["iteration"]) < TINY.iterations
        resumed = fitted(few, checkpoint=store)
        np.testing.assert_array_equal(resumed.volume.support, whole.volume.support)
        np.testing.assert_array_equal(resumed.volume.coefficients, whole.volume.coefficients)
        np.testing.assert_array_equal(resumed.vessel_probability, whole.vessel_probability)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(few):
    first, again, other = (fitted(few, replace(TINY, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.vessel_probability, again.vessel_probability)
    assert not np.array_equal(first.vessel_probability, other.vessel_probability)


def test_progress_rises_to_one(few):
    watch = Watch()
    fitted(few, progress=watch)
    assert watch.fractions == sorted(watch.fractions)
    assert watch.fractions[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("variant", ["sd", "pd", "dynamic", "static"])
def test_ablation_variants_run(few, variant):
    reconstruction = fitted(few, replace(TINY, variant=variant, progressive=False, perturbation=False, loss="l2"))
    assert (reconstruction.vessel_probability is None) == (variant != "pd")
    assert ("static_attenuation" in reconstruction.maps) == (variant in ("sd", "static"))
    assert len(reconstruction.volume.basis) == (1 if variant == "static" else TINY.knots)
    assert reconstruction.volume.coefficients.min() >= 0


@pytest.mark.parametrize("occupancy", ["none", "probability"])
def test_other_ways_to_skip_empty_space_run(few, occupancy):
    reconstruction = fitted(few, replace(TINY, occupancy=occupancy, volume="total"))
    assert reconstruction.facts["occupied_share"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("seed", [1, 3])
def test_vessels_are_not_closed_before_they_are_found(run, seed):
    """Most rays are dark, and pull the attenuation down everywhere: past zero it has no gradient.

    The static part then takes the vessels, their probability falls, and with it the gradient of the dynamic part.
    """
    angiogram = run[0].select(np.arange(0, 40, 2))
    config = Config(iterations=1000, rate_warmup=0.1, points=12000, log2_entries=14, occupancy="none", seed=seed)
    progress = SilentProgress()
    trainer = Trainer(angiogram, angiogram.geometry.field_of_view_grid(), config, "cpu", progress=progress)
    along = np.linspace(-10, 10, 81)
    tube_mm = np.stack([6 * np.sin(along / 7), 4 * np.cos(along / 6), along], -1)
    points = torch.from_numpy(np.column_stack([trainer.box.unit(tube_mm), np.full(81, 0.5, np.float32)]))
    for iteration in range(41):
        trainer.step(iteration)
        if iteration in (20, 30, 40):
            values = trainer.fields(points, config.first_levels)
            assert (values.dynamic > 0).float().mean() > 0.9
            assert values.probability.mean() > 0.49
    assert values.probability.mean() > 0.55
    assert not progress.warnings


def test_a_head_that_died_is_started_anew(few):
    progress = SilentProgress()
    trainer = Trainer(few, few.geometry.field_of_view_grid(), TINY, "cpu", progress=progress)
    trainer.step(0)
    assert not progress.warnings
    with torch.no_grad():
        trainer.fields.fields["dynamic"].perceptron.weights[-1].zero_()
    trainer.step(1)
    assert [code for code, _ in progress.warnings] == ["vpal.dead_head"]
    assert trainer.reseeded == 1
    trainer.step(2)
    assert len(progress.warnings) == 1


def test_a_field_that_cannot_live_is_reported(few):
    config = replace(TINY, iterations=20)
    trainer = Trainer(few, few.geometry.field_of_view_grid(), config, "cpu", progress=SilentProgress())

    def fit_a_head_that_dies_again_and_again():
        for iteration in range(20):
            with torch.no_grad():
                trainer.fields.fields["dynamic"].perceptron.weights[-1].zero_()
            trainer.step(iteration)

    with pytest.raises(DSAReconError, match="zero everywhere") as caught:
        fit_a_head_that_dies_again_and_again()
    assert caught.value.code == "vpal.dead_field"


def test_pixels_without_a_measurement_do_not_matter(few):
    variance = np.broadcast_to(few.variance, few.line_integrals.shape).copy()
    variance[:, :5] = np.inf
    damaged = few.line_integrals.copy()
    damaged[:, :5] = np.nan
    first = fitted(replace(few, variance=variance))
    second = fitted(replace(few, variance=variance, line_integrals=damaged))
    np.testing.assert_array_equal(first.volume.coefficients, second.volume.coefficients)
    assert np.isfinite(second.volume.coefficients).all()


def test_views_without_contrast_are_refused(few):
    noise = np.random.default_rng(1).normal(0, 0.004, few.line_integrals.shape).astype(np.float32)
    with pytest.raises(DSAReconError, match="agree on contrast nowhere") as caught:
        fitted(replace(few, line_integrals=np.minimum(noise, 0)))
    assert caught.value.code == "vpal.no_contrast"


def test_without_torch_the_error_says_how_to_install_it(few, monkeypatch):
    original = importlib.util.find_spec
    module = importlib.import_module("DSAReconLib.methods.vpal.reconstruct")
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "torch" else original(name))
    with pytest.raises(DependencyError, match="torch") as caught:
        fitted(few)
    assert "pip install torch" in caught.value.hint
