from pathlib import Path

import numpy as np
import pytest
from helpers.spins import anatomy, spin, vessels

from DSAReconLib.acquisition import RunSummary, check_pair, choose_pair, order_by_contrast, pair_runs
from DSAReconLib.errors import PairingError


def _run(name, role="unknown", minute=0, **fields):
    values = {
        "role": role,
        "frames": 100,
        "rows": 256,
        "columns": 256,
        "primary_deg": (-100.0, 100.0),
        "arc_deg": 200.0,
        "sod_mm": 750.0,
        "sdd_mm": 1200.0,
        "detector_spacing_mm": (1.1, 1.1),
        "study_key": "study",
        "patient_key": "patient",
        "order": (60.0 * minute, -1.0, -1.0),
        **fields,
    }
    return RunSummary(path=Path(f"{name}.dcm"), **values)


def _names(pairs):
    return [(pair.mask.path.stem, pair.fill.path.stem, pair.certain) for pair in pairs]


def test_header_roles_decide_whatever_the_order():
    runs = [_run("f", "fill", minute=1), _run("m", "mask", minute=2)]
    assert _names(pair_runs(runs)) == [("m", "f", True)]


@pytest.mark.parametrize("roles", [("mask", "unknown"), ("unknown", "fill")])
def test_one_known_role_tells_the_other(roles):
    assert _names(pair_runs([_run("a", roles[0]), _run("b", roles[1], minute=1)])) == [("a", "b", True)]
    assert _names(pair_runs([_run("b", roles[1]), _run("a", roles[0], minute=1)])) == [("a", "b", True)]


def test_two_unknown_runs_pair_by_time_without_certainty():
    assert _names(pair_runs([_run("late", minute=5), _run("early", minute=1)])) == [("early", "late", False)]


def test_two_runs_of_the_same_role_pair_without_certainty():
    runs = [_run("a", "fill", minute=1), _run("b", "fill", minute=2)]
    assert _names(pair_runs(runs)) == [("a", "b", False)]


def test_each_fill_run_takes_the_mask_before_it():
    runs = [_run(f"{role}{k}", role, minute=2 * k + (role == "fill")) for k in range(2) for role in ("mask", "fill")]
    pairs = pair_runs(runs)
    assert _names(pairs) == [("mask0", "fill0", True), ("mask1", "fill1", True)]
    with pytest.raises(PairingError) as caught:
        choose_pair(pairs)
    assert caught.value.code == "acquisition.ambiguous"
    assert "mask1.dcm + fill1.dcm" in caught.value.message
    assert "--fill" in caught.value.hint


def test_pairs_of_different_studies_are_kept_apart():
    runs = [_run(f"{study}{k}", minute=k, study_key=study) for study in ("x", "y") for k in range(2)]
    assert sorted(_names(pair_runs(runs))) == [("x0", "x1", False), ("y0", "y1", False)]


def test_planes_of_a_biplane_system_are_kept_apart():
    runs = [
        _run(f"{plane}{role}", role, minute=role == "fill", plane=f"BIPLANE {plane}")
        for plane in "AB"
        for role in ("mask", "fill")
    ]
    assert [(p.mask.plane, p.fill.plane) for p in pair_runs(runs)] == [("BIPLANE A",) * 2, ("BIPLANE B",) * 2]


def test_three_unknown_runs_are_ambiguous():
    with pytest.raises(PairingError) as caught:
        pair_runs([_run(name, minute=k) for k, name in enumerate("abc")])
    assert caught.value.code == "acquisition.ambiguous"
    assert "b.dcm" in caught.value.message


@pytest.mark.parametrize(
    "runs", [[], [_run("a", "mask")], [RunSummary(path=Path("x"), refusal_code="dicom.empty")] * 2]
)
def test_a_missing_run_is_named(runs):
    with pytest.raises(PairingError) as caught:
        pair_runs(runs)
    assert caught.value.code == "acquisition.missing_run"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"patient_key": "other"}, "acquisition.patients"),
        ({"study_key": "other"}, "acquisition.studies"),
        ({"rows": 512}, "acquisition.detector"),
        ({"sdd_mm": 1150.0}, "acquisition.detector"),
        ({"detector_spacing_mm": (0.6, 0.6)}, "acquisition.detector"),
        ({"primary_deg": (60.0, 260.0)}, "acquisition.arc"),
        ({"secondary_deg": (30.0, 30.0)}, "acquisition.arc"),
    ],
)
@pytest.mark.parametrize("roles", [("mask", "fill"), ("unknown", "unknown")])
def test_runs_that_do_not_belong_together_are_refused_with_the_reason(change, code, roles):
    with pytest.raises(PairingError) as caught:
        pair_runs([_run("a", roles[0]), _run("b", roles[1], minute=1, **change)])
    assert caught.value.code == code
    assert "a.dcm" in caught.value.message
    assert "b.dcm" in caught.value.message


def test_a_missing_patient_does_not_prevent_pairing():
    assert check_pair(_run("a", patient_key="", study_key=""), _run("b")) == ()


def test_a_slightly_different_distance_is_a_warning():
    assert check_pair(_run("a"), _run("b", sdd_mm=1203.0))[0][0] == "acquisition.distance"


def test_opposite_directions_pair():
    assert len(pair_runs([_run("a"), _run("b", minute=1, primary_deg=(100.0, -100.0))])) == 1


@pytest.mark.parametrize("gain", [0.7, 1.0, 1.4])
def test_the_run_with_contrast_is_the_fill_run_whatever_its_exposure(gain):
    rng = np.random.default_rng(0)
    still = 5000 * np.exp(anatomy()) * np.ones((12, 1, 1))
    angles = 15.0 * np.arange(12)
    mask, fill = spin(rng.poisson(still), angles), spin(rng.poisson(gain * still * np.exp(-vessels(12))), angles)
    assert order_by_contrast(mask, fill) == (mask, fill)
    assert order_by_contrast(fill, mask) == (mask, fill)


def test_runs_without_any_difference_cannot_be_ordered():
    still = 5000 * np.exp(anatomy()) * np.ones((12, 1, 1))
    run = spin(still, 15.0 * np.arange(12))
    with pytest.raises(PairingError) as caught:
        order_by_contrast(run, run)
    assert caught.value.code == "acquisition.no_contrast"
