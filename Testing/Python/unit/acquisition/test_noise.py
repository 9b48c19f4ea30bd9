import numpy as np
import pytest
from helpers.spins import anatomy, vessels

from DSAReconLib.acquisition.noise import NoiseModel, estimate_noise


def _pairs(counts_per_unit, electronic=0.0, frames=6, seed=0, contrast=True, shift=0):
    rng = np.random.default_rng(seed)
    expected = 4000 * np.exp(1.5 * anatomy((96, 96)))
    blood = vessels(2 * frames, (96, 96))[frames:] if contrast else np.zeros((frames, 96, 96))
    for k in range(frames):
        fill = np.roll(expected, shift, axis=1) * np.exp(-blood[k])
        noisy = [
            (rng.poisson(image * counts_per_unit) / counts_per_unit + rng.normal(0, electronic, image.shape)).astype(
                np.float32
            )
            for image in (expected, fill)
        ]
        yield *noisy, 1.0


@pytest.mark.parametrize("counts_per_unit", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_counts_per_unit_are_found_within_20_percent_beside_vessels(counts_per_unit, seed):
    model = estimate_noise(_pairs(counts_per_unit, seed=seed))
    assert model.counts_per_unit == pytest.approx(counts_per_unit, rel=0.2)


def test_slightly_moved_bone_does_not_pass_for_noise():
    model = estimate_noise(_pairs(0.5, shift=1))
    assert model.counts_per_unit == pytest.approx(0.5, rel=0.3)


def test_electronic_noise_is_told_apart_where_the_intensity_varies():
    model = estimate_noise(_pairs(1.0, electronic=60.0, contrast=False))
    assert model.counts_per_unit == pytest.approx(1.0, rel=0.3)
    assert model.electronic_variance == pytest.approx(60.0**2, rel=0.3)


def test_the_predicted_variance_of_the_logarithm_is_that_of_the_data():
    rng = np.random.default_rng(3)
    model = NoiseModel(2.0, 25.0)
    intensity = 2000.0
    samples = rng.poisson(intensity * 2.0, 200_000) / 2.0 + rng.normal(0, 5.0, 200_000)
    predicted = model.log_variance(np.full((1,), intensity, np.float32))[0]
    assert np.log(samples).var() == pytest.approx(predicted, rel=0.03)


@pytest.mark.parametrize("counts", [8, 20, 100])
def test_the_logarithm_of_few_counts_is_unbiased(counts):
    rng = np.random.default_rng(4)
    samples = rng.poisson(counts, 400_000).astype(np.float32)
    plain = np.log(samples[samples > 0]).mean() - np.log(counts)
    corrected = NoiseModel(1.0).log(samples).mean() - np.log(counts)
    assert plain < -0.4 / counts
    assert abs(corrected) < 0.2 * abs(plain)


def test_values_that_are_not_positive_have_no_weight():
    model = NoiseModel(1.0)
    values = np.array([[0.0, -3.0, 100.0]], np.float32)
    assert np.isinf(model.log_variance(values)[0, :2]).all()
    assert np.isfinite(model.log(values)).all()


def test_frames_without_noise_give_no_noise():
    clean = np.full((64, 64), 1000, np.float32)
    model = estimate_noise([(clean, clean * np.float32(0.5), 1.0)])
    assert model.log_variance(clean).max() < 1e-6
