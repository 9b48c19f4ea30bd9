"""Frames whose measured part lies off the middle of the image: pasted into larger ones, or collimated."""

from dataclasses import dataclass

import numpy as np
import pytest
from helpers.cases import small_case
from helpers.xa_objects import stored_frames, write_xa

from DSAReconLib.dicom import find_runs, read_run


@dataclass(frozen=True)
class Border:
    """Rows and columns (before, behind) that are added, and those that are blackened."""

    added: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    hidden: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    def apply(self, frames, value=0):
        pixels = np.pad(frames, ((0, 0), *self.added), constant_values=value)
        (top, bottom), (left, right) = self.hidden
        pixels[:, :top], pixels[:, pixels.shape[1] - bottom :] = value, value
        pixels[:, :, :left], pixels[:, :, pixels.shape[2] - right :] = value, value
        return pixels

    def isocenter(self, run):
        inside = run.geometry.project_points(np.zeros((1, 3)))[0][:, 0]
        return inside + np.array([before for before, _ in self.added])


PASTED = {
    "right and bottom": Border(added=((0, 10), (0, 16))),
    "left and top": Border(added=((6, 0), (9, 0))),
    "unequal on both sides": Border(added=((0, 0), (3, 12))),
    "a little": Border(added=((0, 2), (0, 2))),
}
COLLIMATED = {
    "unequal on both sides": Border(hidden=((2, 7), (3, 12))),
    "on one side": Border(hidden=((0, 9), (11, 0))),
}


def _read(tmp_path, run, border, **attributes):
    return read_run(_write(tmp_path, run, border.apply(run.intensity.astype(np.uint16)), **attributes))


def _write(tmp_path, run, pixels, **attributes):
    primary, secondary = run.geometry.primary_angle_deg, run.geometry.secondary_angle_deg
    values = {
        "PositionerPrimaryAngle": round(float(primary[0]), 6),
        "PositionerSecondaryAngle": round(float(secondary[0]), 6),
        "PositionerPrimaryAngleIncrement": [round(float(angle - primary[0]), 6) for angle in primary],
        "PositionerSecondaryAngleIncrement": [round(float(angle - secondary[0]), 6) for angle in secondary],
        "ImagerPixelSpacing": list(run.geometry.detector_spacing_mm),
        "DistanceSourceToPatient": float(run.geometry.sod_mm[0]),
        "DistanceSourceToDetector": float(run.geometry.sdd_mm[0]),
    }
    return write_xa(tmp_path / "run.dcm", pixels, **{**values, **attributes})


def _error(result, run, border):
    """(row, column) from the true isocenter."""
    found = result.geometry.project_points(np.zeros((1, 3)))[0][:, 0]
    return np.abs(found - border.isocenter(run)).max(axis=0)


def _codes(run):
    return {code for code, _ in run.warnings}


@pytest.mark.parametrize("changes", [{}, {"arc_deg": 190.0, "views": 40}, {"secondary_angle_deg": 4.0}], ids=str)
@pytest.mark.parametrize("name", PASTED)
def test_frames_pasted_into_larger_ones_carry_the_isocenter(tmp_path, name, changes):
    for run in small_case(**changes)[:2]:
        result = _read(tmp_path, run, PASTED[name])
        assert _error(result, run, PASTED[name]).max() < 0.1
        assert "geometry.isocenter_offset" in _codes(result)
        assert "geometry.isocenter_uncertain" not in _codes(result)


@pytest.mark.parametrize("name", COLLIMATED)
def test_collimated_frames_keep_the_isocenter_on_the_middle(tmp_path, name):
    for run in small_case()[:2]:
        result = _read(tmp_path, run, COLLIMATED[name])
        assert _error(result, run, COLLIMATED[name]).max() < 0.1
        assert not {"geometry.isocenter_offset", "geometry.isocenter_uncertain"} & _codes(result)


@pytest.mark.parametrize("changes", [{"arc_deg": 120.0}, {"secondary_angle_deg": 25.0}, {"views": 12}], ids=str)
def test_runs_without_opposed_views_follow_the_rule_and_say_so(tmp_path, changes):
    run = small_case(**changes)[0]
    one_sided, two_sided = PASTED["right and bottom"], COLLIMATED["unequal on both sides"]
    for border in (one_sided, two_sided):
        result = _read(tmp_path, run, border)
        assert _error(result, run, border).max() < 0.1
        assert "geometry.isocenter_uncertain" in _codes(result)


def test_an_isocenter_that_the_frames_do_not_confirm_is_left_to_the_rule(tmp_path):
    pixels = Border(added=((0, 0), (0, 8))).apply(stored_frames())
    result = read_run(write_xa(tmp_path / "run.dcm", pixels))
    assert "geometry.isocenter_uncertain" in _codes(result)


def test_a_run_turned_by_a_quarter_is_decided_along_its_rows(tmp_path):
    run, border = small_case()[0], Border(added=((0, 15), (0, 0)))
    turned = np.rot90(run.intensity.astype(np.uint16), -1, axes=(1, 2))
    attributes = {"PatientOrientation": ["H", "R"]}
    result = read_run(_write(tmp_path, run, border.apply(turned), **attributes))
    middle = (run.intensity.shape[1] - 1) / 2
    found = result.geometry.project_points(np.zeros((1, 3)))[0][:, 0]
    np.testing.assert_allclose(found, [[middle, middle]] * len(run), atol=0.1)
    assert "geometry.isocenter_offset" in _codes(result)


@pytest.mark.parametrize("gray", [0, 900])
def test_an_opening_of_shutters_off_the_middle_is_decided_from_the_pixels(tmp_path, gray):
    run, border = small_case()[0], PASTED["right and bottom"]
    rows, columns = run.geometry.detector_shape
    pixels = border.apply(run.intensity.astype(np.uint16), gray)
    shutter = {
        "ShutterShape": "RECTANGULAR",
        "ShutterUpperHorizontalEdge": 1,
        "ShutterLowerHorizontalEdge": rows,
        "ShutterLeftVerticalEdge": 1,
        "ShutterRightVerticalEdge": columns,
    }
    path = _write(tmp_path, run, pixels, **shutter)
    assert "geometry.isocenter_uncertain" in {code for code, _ in find_runs([path])[0].warnings}
    result = read_run(path)
    assert _error(result, run, border).max() < 0.1
    assert "geometry.isocenter_uncertain" not in _codes(result)
