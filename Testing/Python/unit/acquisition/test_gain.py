import numpy as np
import pytest
from helpers.spins import vessels

from DSAReconLib.acquisition.gain import correction, frame_gain

SIGMA = 0.02


def _difference(seed, offset=0.0, contrast=0.0, shape=(128, 160)):
    rng = np.random.default_rng(seed)
    blood = np.kron(vessels(2, (64, 80))[1], np.ones((2, 2))) * contrast
    return (offset + blood + rng.normal(0, SIGMA, shape)).astype(np.float32)


def _gain(difference):
    return frame_gain(difference, np.full(difference.shape, SIGMA**2, np.float32))


@pytest.mark.parametrize("offset", [-0.1, 0.01, 0.3])
@pytest.mark.parametrize("contrast", [0.0, 0.1, 1.0])
def test_the_exposure_difference_is_found_beside_vessels(offset, contrast):
    gains = [_gain(_difference(seed, offset, contrast))[0] for seed in range(6)]
    np.testing.assert_allclose(gains, offset, atol=1e-3)


def test_frames_without_difference_stay_exactly_as_they_are():
    gains = [correction(*_gain(_difference(seed, 0.0, 0.5))) for seed in range(40)]
    assert np.count_nonzero(gains) == 0


def test_the_error_is_honest():
    results = np.array([_gain(_difference(seed)) for seed in range(40)])
    assert results[:, 0].std() < results[:, 1].mean() < 5 * results[:, 0].std()


def test_vessels_on_a_third_of_the_image_hardly_bias_the_gain():
    difference = _difference(0)
    difference[:, ::12] += 0.6
    difference[:, 1::12] += 0.6
    difference[::6] += 0.3
    assert abs(_gain(difference)[0]) < 5e-3


def test_pixels_without_measurement_do_not_count():
    difference = _difference(1, 0.05)
    variance = np.full(difference.shape, SIGMA**2, np.float32)
    difference[:60], variance[:60] = 5.0, np.inf
    assert frame_gain(difference, variance)[0] == pytest.approx(0.05, abs=2e-3)
    variance[:] = np.inf
    assert correction(*frame_gain(difference, variance)) == 0
