from dataclasses import replace

import numpy as np
import pytest
from helpers.evaluation_cases import tube_reconstruction, tube_truth

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.errors import ResultError
from DSAReconLib.evaluation import protocol
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.reconstruction import DetectorMotion, Reconstruction
from DSAReconLib.rendering.views import render_line_integrals


@pytest.fixture(scope="module")
def reference() -> protocol.TruthReference:
    return protocol.prepare_truth(tube_truth())


@pytest.fixture(scope="module")
def good(reference) -> dict[str, float]:
    return protocol.evaluate_truth(tube_reconstruction(), reference)


def test_a_good_result_scores_well_everywhere(good):
    assert good["dice_best"] > 0.93
    assert good["dice_auto"] > 0.88
    assert good["cldice_best"] > 0.98
    assert good["chamfer_mm"] < 0.5  # vertex to vertex, 0.6 mm apart
    assert good["hd95_mm"] < 0.5
    assert good["arrival_mae_s"] < 0.02
    assert good["tac_nrmse"] < 0.1
    assert good["psnr_3d_db"] > 25
    assert good["false_positive_far_ml"] == 0
    assert good["recall_radius_1_2mm"] == 1


def test_dense_and_sparse_results_score_alike(good, reference):
    dense = protocol.evaluate_truth(tube_reconstruction(dense=True), reference)
    assert dense == pytest.approx(good, rel=1e-3, abs=1e-4)


def test_a_shifted_result_loses_overlap_and_its_shift_is_the_distance(reference):
    shifted = protocol.evaluate_truth(tube_reconstruction(shift_mm=(0, 2.5, 0)), reference)
    assert shifted["dice_best"] < 0.35
    assert 2.3 < shifted["hd95_mm"] < 3.1  # the best threshold fattens the tube
    assert shifted["hd95_auto_mm"] == pytest.approx(2.5, abs=0.4)


def test_a_delayed_result_has_the_delay_as_arrival_error(reference):
    late = protocol.evaluate_truth(tube_reconstruction(delay_s=0.3), reference)
    assert late["arrival_mae_s"] == pytest.approx(0.3, abs=0.03)


def test_a_result_of_half_the_contrast_keeps_its_dice_but_not_its_curves(reference, good):
    weak = protocol.evaluate_truth(tube_reconstruction(scale=0.5), reference)
    assert weak["dice_best"] == pytest.approx(good["dice_best"], abs=0.03)
    assert weak["tac_nrmse"] == pytest.approx(0.5, abs=0.06)
    assert weak["tac_shape_nrmse"] == pytest.approx(good["tac_shape_nrmse"], abs=0.01)


def test_inventions_far_from_the_truth_are_reported(reference):
    result = tube_reconstruction(dense=True, spacing_mm=0.9)
    coefficients = result.volume.coefficients.reshape(-1, *result.volume.grid.shape_zyx)
    coefficients[:, -3:, -3:, -3:] = 0.14
    metrics = protocol.evaluate_truth(result, reference)
    assert metrics["false_positive_far_ml"] == pytest.approx(27 * 0.9**3 / 1000, rel=1e-5)


def test_an_empty_result_scores_zero_without_failing(reference):
    full = tube_reconstruction()
    empty = Reconstruction(
        type(full.volume)(full.volume.grid, full.volume.coefficients * 0, full.volume.basis, full.volume.support),
        surface_threshold=0.05,
    )
    metrics = protocol.evaluate_truth(empty, reference)
    assert metrics["dice_best"] == metrics["cldice_auto"] == 0
    assert np.isnan(metrics["chamfer_mm"])


def test_an_empty_truth_is_refused_with_a_clear_message():
    truth = tube_truth()
    truth.occupancy[:] = 0
    with pytest.raises(ResultError, match="no vessels"):
        protocol.prepare_truth(truth)


@pytest.fixture
def heldout() -> Angiogram:
    geometry = ConeBeamGeometry.from_angles(
        [0, 10, 20], sod_mm=750, sdd_mm=1200, detector_shape=(24, 24), detector_spacing_mm=(1, 1)
    )
    rng = np.random.default_rng(0)
    clean = np.zeros((3, 24, 24), np.float32)
    clean[1:, 8:12] = np.array([0.8, 1.0])[:, None, None]
    noisy = clean + 0.01 * rng.standard_normal(clean.shape).astype(np.float32)
    variance = np.full(clean.shape, 1e-4, np.float32)
    variance[:, :2] = np.inf
    return Angiogram(noisy, variance, geometry, np.arange(3.0), 3.0, np.arange(3))


def test_frames_before_the_bolus_are_skipped_and_counted(heldout):
    metrics = protocol.evaluate_images(heldout.line_integrals, heldout)
    assert metrics["heldout_frames"] == 2
    assert metrics["heldout_frames_skipped"] == 1


def test_clean_references_give_names_with_clean_before_the_unit(heldout):
    clean = np.zeros_like(heldout.line_integrals)
    clean[1:, 8:12] = np.array([0.8, 1.0])[:, None, None]
    metrics = protocol.evaluate_images(clean, heldout, clean=clean)
    assert metrics["psnr_clean_db"] == np.inf
    assert metrics["psnr_db"] == pytest.approx(20 * np.log10(0.8 / 0.01), abs=0.5)
    assert metrics["relative_l1_clean"] == 0
    assert metrics["heldout_data_range_clean"] == pytest.approx(0.8)
    assert metrics["heldout_data_range"] == pytest.approx(0.8, abs=0.04)


def test_frames_are_rendered_where_the_method_found_the_detector(heldout):
    still = tube_reconstruction()
    motion = DetectorMotion(heldout.times_s, np.full((3, 2), 1.5), np.zeros(3))
    moved = motion.corrected(heldout.geometry, heldout.times_s)
    seen = replace(heldout, line_integrals=render_line_integrals(still.model, moved, heldout.times_s))
    assert protocol.evaluate_heldout(replace(still, detector_motion=motion), seen)["psnr_db"] == np.inf
    assert protocol.evaluate_heldout(still, seen)["psnr_db"] < 40


def test_pixels_with_infinite_variance_are_ignored(heldout):
    rendered = heldout.line_integrals.copy()
    rendered[:, :2] = 99
    assert protocol.evaluate_images(rendered, heldout)["psnr_db"] == np.inf
