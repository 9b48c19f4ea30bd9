"""The image loss of the Gaussian fits against torch."""

import numpy as np
import pytest

from DSAReconLib.fitting.image_loss import ImageLoss, gaussian_taps
from DSAReconLib.kernels.blur import blurred

torch = pytest.importorskip("torch")


def torch_ssim(x, y, taps):
    """Structural similarity map with zero padding, by autograd-able convolutions."""
    window = torch.outer(taps, taps)[None, None]

    def smooth(image):
        return torch.nn.functional.conv2d(image[:, None], window, padding=len(taps) // 2)[:, 0]

    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    common = smooth(x * y) - mean_x * mean_y
    return ((2 * mean_x * mean_y + 1e-4) * (2 * common + 9e-4)) / (
        (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    )


def case(seed=0):
    rng = np.random.default_rng(seed)
    smooth = blurred(rng.uniform(0, 2, (3, 24, 30)).astype(np.float32), gaussian_taps())
    rendered = (smooth[:2] + rng.normal(0, 0.05, (2, 24, 30))).astype(np.float32)
    weights = np.where(rng.random((3, 24, 30)) < 0.1, 0, rng.uniform(0.5, 2, (3, 24, 30))).astype(np.float32)
    return smooth, rendered, weights, np.array([2, 0])


@pytest.mark.parametrize(("share", "bend"), [(0.0, 0.02), (0.2, 0.02), (1.0, 0.0), (0.2, 0.0)])
def test_value_and_gradient_equal_autograd(share, bend):
    measured, rendered, weights, views = case()
    value, gradient = ImageLoss(measured, weights, ssim_weight=share, bend=bend)(rendered, views)
    x = torch.tensor(rendered, dtype=torch.float64, requires_grad=True)
    y, w = (torch.tensor(array[views], dtype=torch.float64) for array in (measured, weights))
    size = (x - y).abs()
    robust = torch.where(size < bend, 0.5 * size**2 / max(bend, 1e-9), size - 0.5 * bend)
    similarity = torch_ssim(x, y, torch.tensor(gaussian_taps(), dtype=torch.float64))
    total = (w * ((1 - share) * robust + share * (1 - similarity))).sum()
    total.backward()
    expected = x.grad.numpy()
    assert value == pytest.approx(float(total.detach()) / x.numel(), rel=1e-4)
    difference = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    cosine = (gradient * expected).sum() / np.linalg.norm(gradient) / np.linalg.norm(expected)
    assert difference < 1e-3
    assert cosine > 1 - 1e-6


def test_blurring_is_its_own_adjoint():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 2, 17, 9)).astype(np.float32)
    taps = gaussian_taps()
    assert np.vdot(blurred(a, taps), b) == pytest.approx(np.vdot(a, blurred(b, taps)), rel=1e-4)


def test_pixels_without_measurement_have_no_gradient():
    measured, rendered, weights, views = case()
    loss = ImageLoss(measured, weights, ssim_weight=0.0, bend=0.0)
    _, gradient = loss(rendered, views)
    missing = weights[views] == 0
    assert missing.any()
    assert not gradient[missing].any()
    assert not loss.residual(rendered, views)[missing].any()
    assert np.abs(gradient[~missing]).min() > 0
