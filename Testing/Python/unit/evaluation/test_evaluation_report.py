import dataclasses
import re

import numpy as np
import pytest
from helpers.evaluation_cases import TIMES_S, tube_reconstruction, tube_truth

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.errors import JobCancelled
from DSAReconLib.evaluation.report import ReportCase, ReportEntry, build_report
from DSAReconLib.evaluation.report.input_sections import angle_text
from DSAReconLib.evaluation.report.projections import Frontal, FrontalView
from DSAReconLib.evaluation.report.tables import LABELS, best_columns, metric_table, text_table
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.progress import SilentProgress
from DSAReconLib.reconstruction import DynamicVolume, TemporalBasis

FRAMES = len(TIMES_S)


@pytest.fixture(scope="module")
def case() -> ReportCase:
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-100, 100, FRAMES), sod_mm=750, sdd_mm=1200, detector_shape=(32, 40), detector_spacing_mm=(1, 1)
    )
    clean = np.zeros((FRAMES, 32, 40), np.float32)
    clean[:, 14:18] = np.clip(TIMES_S - 1, 0, 1)[:, None, None]
    noisy = clean + 0.01 * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    selected = np.arange(0, FRAMES, 4)
    run = RotationalRun(np.exp(8 - noisy), geometry, TIMES_S)
    return ReportCase(
        title="Tube <test>",
        angiogram=Angiogram(
            noisy,
            np.full((1, 1, 1), 1e-4, np.float32),
            geometry,
            TIMES_S,
            4.0,
            np.arange(FRAMES),
            warnings=(("distance.assumed", "A distance is assumed."),),
        ),
        selected=selected,
        heldout=np.setdiff1d(np.arange(FRAMES), selected),
        mask_run=run,
        fill_run=run,
        truth=dataclasses.replace(tube_truth(), clean_line_integrals=clean),
        facts={"origin": "a & b"},
    )


def entry(case: ReportCase, name: str, dice: float, **changes) -> ReportEntry:
    rendered = case.angiogram.line_integrals[case.heldout]
    record = {"timings_s": {"load": 1.0, "reconstruct": 2.5}, "versions": {"numpy": "2.0"}, "device": "cpu"}
    return ReportEntry(name, tube_reconstruction(**changes), {"dice_auto": dice, "chamfer_mm": None}, record, rendered)


@pytest.fixture(scope="module")
def page(case, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    entries = [entry(case, "First", 0.7), entry(case, "Second", 0.9, dense=True, delay_s=0.2)]
    return build_report(path, entries, case).read_text(encoding="utf-8")


def test_report_loads_nothing_from_elsewhere(page):
    sources = re.findall(r'(?:src|href)="([^"]{0,30})|url\((.{0,30})', page)
    local = [source or url for source, url in sources]
    assert len(local) > 30
    assert all(text.startswith(("data:image/png;base64,", "#")) for text in local)
    assert not re.search(r"<script[^>]+src|<link|@import", page)


def test_report_holds_every_section_and_result(page):
    for heading in (
        "In short",
        "Input frames",
        "Views used",
        "Contrast over time",
        "Arrival of the bolus",
        "Vessel surface",
        "Held-out views",
        "Time-attenuation curves",
        "Numbers",
        "How the numbers are computed",
        "Versions and settings",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "First" in page
    assert "Second" in page
    assert "A distance is assumed." in page


def test_text_from_outside_is_escaped(page):
    assert "Tube &lt;test&gt;" in page
    assert "Tube <test>" not in page
    assert "a &amp; b" in page


def test_best_value_of_a_row_is_marked(page):
    table = page[page.index("<table") :]
    row = re.search(r"Dice, automatic threshold</th>.*?</tr>", table, re.DOTALL).group()
    assert '<td class="best">0.900</td>' in row
    assert "<td>0.700</td>" in row


def test_one_result_without_truth_and_heldout_views_gives_a_report_too(case, tmp_path):
    bare = dataclasses.replace(
        case, truth=None, mask_run=None, fill_run=None, heldout=np.empty(0, int), selected=np.arange(FRAMES)
    )
    text = build_report(tmp_path / "r.html", [entry(case, "Only", 0.5)], bare).read_text(encoding="utf-8")
    assert "No frame with contrast was held out" in text
    assert "Vessel tree</h3>" not in text
    assert 'class="best"' not in text


def test_an_empty_result_gives_a_report_too(case, tmp_path):
    only = entry(case, "Empty", 0.0)
    volume = only.reconstruction.volume
    nothing = DynamicVolume(volume.grid, np.zeros((1, 0), np.float32), TemporalBasis.constant(), np.empty(0, np.int64))
    empty = dataclasses.replace(only, reconstruction=dataclasses.replace(only.reconstruction, volume=nothing))
    for truth in (case.truth, None):
        text = build_report(tmp_path / "r.html", [empty], dataclasses.replace(case, truth=truth)).read_text("utf-8")
        assert "Time-attenuation curves" in text


def test_secondary_angles_are_named():
    geometry = ConeBeamGeometry.from_angles(
        [-30, 10], [0, 12], sod_mm=750, sdd_mm=1200, detector_shape=(4, 4), detector_spacing_mm=(1, 1)
    )
    assert [angle_text(geometry, view) for view in (0, 1)] == ["RAO 30°", "LAO 10° CRA 12°"]


def test_a_report_can_be_cancelled(case, tmp_path):
    class Cancelled(SilentProgress):
        def check_cancelled(self) -> None:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        build_report(tmp_path / "r.html", [entry(case, "Only", 0.5)], case, progress=Cancelled())
    assert not (tmp_path / "r.html").exists()


def test_a_report_needs_a_result(case, tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        build_report(tmp_path / "r.html", [], case)


def test_frontal_view_shows_the_head_up_and_the_left_side_right():
    grid = VolumeGrid.centered((10, 10, 10), 1.0)
    values = np.zeros(grid.shape_zyx, np.float32)
    values[8, 3, 9] = 1.0  # near the head, on the patient's left
    view = FrontalView(
        DynamicVolume(grid, values.reshape(1, -1), TemporalBasis.constant()), Frontal.around([-5] * 3, [5] * 3, 10), 1.0
    )
    assert np.unravel_index(view.at(0.0).argmax(), (10, 10)) == (1, 9)


def test_frontal_arrival_is_that_of_the_brightest_voxel():
    grid = VolumeGrid.centered((4, 4, 4), 1.0)
    coefficients = np.zeros((5, *grid.shape_zyx), np.float32)
    coefficients[:, 1, 1, 2] = [0, 0, 0, 1, 1]
    coefficients[:, 1, 3, 2] = [0, 0.4, 0.4, 0.4, 0.4]
    volume = DynamicVolume(grid, coefficients.reshape(5, -1), TemporalBasis.hats(np.arange(5.0)))
    arrival = FrontalView(volume, Frontal.around([-2] * 3, [2] * 3, 4), 1.0).arrival(np.arange(5.0), 0.3)
    assert arrival[2, 2] == pytest.approx(2.5)
    assert np.isnan(arrival).sum() == 15


@pytest.mark.parametrize(("tilt", "light"), [(0.0, 1.0), (1.0, 0.15 + 0.85 / np.sqrt(2))])
def test_surface_is_lit_from_the_front(tilt, light):
    grid = VolumeGrid.centered((12, 40, 24), 1.0)
    x, y, z = grid.axes_mm()
    behind = np.clip(y[:, None] - tilt * x + 0.5, 0, 1)  # a slab whose front face is tilted against the line of sight
    values = np.where(np.abs(z)[:, None, None] < 4, behind, 0).astype(np.float32)
    volume = DynamicVolume(grid, values.reshape(1, -1), TemporalBasis.constant())
    picture = FrontalView(volume, Frontal.around([-12, -20, -6], [12, 20, 6], 12), 1.0).surface([0.0], 0.5)
    np.testing.assert_allclose(picture[2:4, 3:-3], light, atol=0.02)
    assert not picture[0].any()


def test_surface_is_where_the_brightest_fifth_of_the_time_passes_the_threshold():
    grid = VolumeGrid.centered((12, 40, 24), 1.0)
    times = np.arange(10.0)
    curves = np.zeros((10, 1), np.float32)
    curves[4:6] = [[1.0], [0.6]]  # two of ten instants: mean 0.8, maximum 1
    block = np.zeros(grid.shape_zyx, np.float32)
    block[3:9, 10:30, 6:18] = 1
    volume = DynamicVolume(grid, curves * block.reshape(1, -1), TemporalBasis.hats(times))
    view = FrontalView(volume, Frontal.around([-12, -20, -6], [12, 20, 6], 12), 1.0)
    assert view.surface(times, 0.75).max() > 0.9
    assert not view.surface(times, 0.85).any()


def test_points_are_placed_where_they_are_seen():
    frame = Frontal.around([-10, -10, -20], [10, 10, 20])
    np.testing.assert_allclose(frame.row_column(np.array([[10.0, 0, 20], [0, 5, -20]])), [[0, 1], [1, 0.5]])


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("dice_best", [0.5, 0.7, None], {1}),
        ("chamfer_mm", [2.0, 1.0, float("nan")], {1}),
        ("psnr_db", [30.01, 30.02], set()),  # equal as shown
        ("psnr_db", [30.0], set()),
        ("dice_best", [0.9, 0.9, 0.1], {0, 1}),
    ],
)
def test_best_column(name, values, best):
    assert best_columns(values, LABELS[name]) == best


def test_rows_without_any_value_are_left_out():
    html = metric_table(["A"], [{"dice_best": 0.5}])
    assert "Dice, best" in html
    assert "Chamfer" not in html
    assert "Vessel surface" not in html


def test_text_table_aligns_names_and_values():
    lines = text_table(["FDK", "TiAVox"], [{"dice_best": 0.5}, {"dice_best": None, "hd95_mm": 1.0}]).splitlines()
    row = next(line for line in lines if "Dice, best" in line)
    assert row.split()[-2] == "0.500"
    assert len({len(line) for line in lines if line.startswith("  ") and "(" not in line[:3]}) == 1
