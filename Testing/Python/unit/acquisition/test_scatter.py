"""Tests of scatter that is taken off and put back."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.scattered_frames import scattered

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.acquisition.scatter import scatter_images, with_scatter, without_scatter
from DSAReconLib.evaluation.protocol import evaluate_images
from DSAReconLib.geometry import ConeBeamGeometry

VIEWS, SIDE = 3, 64
RELATIVE = 0.08
SHARE = RELATIVE / (1 + RELATIVE)


@pytest.fixture(scope="module")
def clean():
    """Line integrals of vessels that cross the frames, one of them across another."""
    row, column = np.mgrid[:SIDE, :SIDE]
    frames = [
        np.exp(-(((row - 20 - 8 * v) / 4) ** 2)) + 0.8 * np.exp(-(((column - 30) / 3) ** 2)) for v in range(VIEWS)
    ]
    return np.array(frames, np.float32)


def angiogram(line_integrals, variance):
    geometry = ConeBeamGeometry.from_angles(
        np.arange(VIEWS) * 10.0,
        np.zeros(VIEWS),
        sod_mm=750,
        sdd_mm=1200,
        detector_shape=(SIDE, SIDE),
        detector_spacing_mm=(1.7, 1.7),
    )
    return Angiogram(line_integrals, variance, geometry, np.arange(float(VIEWS)), 3.0, np.arange(VIEWS))


@pytest.fixture(scope="module")
def frames(clean):
    values, variance = scattered(clean, RELATIVE)
    noise = np.random.default_rng(0).normal(0, 1, values.shape).astype(np.float32)
    return angiogram(values + 0.3 * noise * np.sqrt(variance), variance)


def test_what_was_taken_off_is_put_back(frames):
    images = scatter_images(frames.line_integrals, 1 / frames.variance, None, 1.7)
    primary, _ = without_scatter(frames.line_integrals, images, SHARE)
    assert np.abs(primary - frames.line_integrals).max() > 0.1
    np.testing.assert_allclose(with_scatter(primary, frames, SHARE), frames.line_integrals, atol=5e-6)


def test_the_true_line_integrals_become_those_that_the_detector_measures(clean, frames):
    left = np.abs(with_scatter(clean, frames, SHARE) - scattered(clean, RELATIVE)[0])
    assert left.max() < 0.12 * np.abs(clean - scattered(clean, RELATIVE)[0]).max()


def test_measured_line_integrals_are_not_looked_at(clean, frames):
    unknown = replace(frames, line_integrals=np.full_like(clean, np.nan))
    np.testing.assert_array_equal(with_scatter(clean, unknown, SHARE), with_scatter(clean, frames, SHARE))


def test_edges_that_registration_left_are_not_taken_for_dense_bone(clean, frames):
    share = np.ones(clean.shape, np.float16)
    share[:, :, ::9] = 1 / 16
    edged = replace(frames, variance=frames.variance / share.astype(np.float32), counting_share=share)
    np.testing.assert_allclose(with_scatter(clean, edged, SHARE), with_scatter(clean, frames, SHARE), atol=1e-4)


def test_pixels_without_measurement_do_not_spoil_the_others(clean, frames):
    variance = frames.variance.copy()
    variance[:, :2] = np.inf
    result = with_scatter(clean, replace(frames, variance=variance), SHARE)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[:, 8:], with_scatter(clean, frames, SHARE)[:, 8:], atol=0.02)


def test_without_scatter_nothing_changes(clean, frames):
    assert with_scatter(clean, frames, 0.0) is clean


def test_the_truth_agrees_better_with_measured_frames_once_its_scatter_is_put_back(clean, frames):
    bare = evaluate_images(clean, frames, clean=clean)
    detected = evaluate_images(clean, frames, clean=clean, scatter_share=SHARE)
    for name in ("psnr_db", "psnr_normalized_db"):
        assert detected[name] > bare[name] + 3
    assert detected["ssim_normalized"] > bare["ssim_normalized"]
    assert detected["psnr_clean_db"] == bare["psnr_clean_db"] == np.inf
