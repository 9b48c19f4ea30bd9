import json

import numpy as np
import pytest
from helpers.spins import spin

from DSAReconLib.acquisition.corrections import corrected_run
from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry import ConeBeamGeometry

ANGLES = -60 + 20.0 * np.arange(7)
RUN = spin(np.ones((7, 64, 80)), ANGLES)
POINTS = np.random.default_rng(0).uniform(-30, 30, (5, 3))


def _seen(run):
    return run.geometry.project_points(POINTS)[0]


def test_a_shift_by_angle_moves_what_is_seen(tmp_path):
    table = tmp_path / "sag.csv"
    table.write_text("primary_deg,row_px,column_px,roll_deg\n-60,0,0,0\n60,12,-6,0\n")
    run = corrected_run(RUN, table)
    share = (ANGLES + 60)[:, None, None] / 120
    np.testing.assert_allclose(_seen(run) - _seen(RUN), share * np.array([12.0, -6.0]) * np.ones((7, 5, 1)), atol=1e-9)
    assert run.warnings[-1][0] == "geometry.corrected"


def test_a_roll_is_the_roll_of_the_positioner(tmp_path):
    table = tmp_path / "roll.json"
    rolls = np.linspace(-3, 3, 7)
    table.write_text(json.dumps([{"frame": k, "roll_deg": rolls[k]} for k in range(7)]))
    expected = ConeBeamGeometry.from_angles(
        ANGLES, 0.0, sod_mm=750, sdd_mm=1200, detector_shape=(64, 80), detector_spacing_mm=(1.2, 1.2), roll_deg=rolls
    )
    assert corrected_run(RUN, table).geometry.isclose(expected, 1e-9)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", ""),
        ("a.csv", "frame,row_px\n0,1\n"),
        ("a.csv", "angle,row_px\n0,1\n"),
        ("a.csv", "primary_deg,row_px\n0,1\n10,x\n"),
        ("a.csv", "primary_deg,row_px,roll\n-60,1,2\n60,1,2\n"),
        ("a.csv", "primary_deg,row_px\n0,1\n10,1\n"),
        ("a.json", "[1, 2]"),
        ("a.json", "{"),
        ("missing.csv", None),
    ],
)
def test_unusable_tables_are_refused_with_the_expected_columns(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(GeometryError) as caught:
        corrected_run(RUN, tmp_path / name)
    assert caught.value.code == "geometry.corrections"
    assert "row_px" in caught.value.hint
