"""``dsarecon compare`` on the tiny case with methods that only tests know, in real child processes."""

import csv
import json
import shutil

import pytest
from helpers import method_doubles

from DSAReconLib.cli.main import main
from DSAReconLib.errors import ConfigError, DependencyError, DSAReconError, JobCancelled
from DSAReconLib.io.result_folder import open_result
from DSAReconLib.jobs.comparison import Comparison, compare, find_studies
from DSAReconLib.progress import SilentProgress


@pytest.fixture(scope="module", autouse=True)
def _doubles():
    with method_doubles.in_workers():
        yield


def _compare(out, *paths, methods="double,fdk", views="6", extra=()):
    options = ["--methods", methods, "--views", views, "--preset", "fast", "--quiet", *extra]
    return main(["compare", *map(str, paths), "--out", str(out), *options])


def _options(root):
    return ["--preset", "balanced,fdk=fast", "--correct-geometry", str(root / "sag.csv")]


def _rows(out):
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def compared(tiny_case, tmp_path_factory):
    """The tiny case, and a folder that is no case."""
    root = tmp_path_factory.mktemp("compared")
    shutil.copytree(tiny_case, root / "study")
    (root / "empty").mkdir()
    (root / "sag.csv").write_text("primary_deg,row_px,column_px,roll_deg\n-180,1,0,0\n180,1,0,0\n")
    assert _compare(root / "out", root / "study", root / "empty", extra=_options(root)) == 0
    return root


def test_every_method_and_number_of_views_has_a_result_folder_and_a_row(compared):
    rows = [row for row in _rows(compared / "out") if row["case"] == "study"]
    assert [(row["method"], row["views"]) for row in rows] == [("double", "6"), ("fdk", "6")]
    for row in rows:
        record = open_result(compared / "out" / "study" / f"{row['method']}-{row['views']}").record
        assert len(record["selected_views"]) == int(row["views"])
        assert float(row["peak_memory_mb"]) == pytest.approx(record["peak_memory_mb"], rel=1e-6)
        assert row["device"] == "cpu"
        assert float(row["dice_best"]) >= 0


def test_all_results_of_a_case_are_judged_on_the_same_frames(compared):
    frames = {row["heldout_frames"] for row in _rows(compared / "out") if row["case"] == "study"}
    assert len(frames) == 1


def test_a_case_that_cannot_be_read_does_not_stop_the_others(compared):
    failed = [row for row in _rows(compared / "out") if row["case"] == "empty"]
    assert {row["status"] for row in failed} == {"failed"}
    assert len(failed) == 2
    assert all(row["reason"] for row in failed)
    assert (compared / "out" / "statistics.csv").read_text(encoding="utf-8").startswith("views,metric,first")


def test_report_shows_methods_side_by_side(compared):
    text = (compared / "out" / "report.html").read_text(encoding="utf-8")
    for heading in ("In short", "Time and memory", "Held-out views", "Contrast over time"):
        assert f"<h2>{heading}</h2>" in text
    assert "Same input for all" in text
    assert "$" not in text[text.index("Same input for all") : text.index("<footer>")]


def test_finished_results_are_kept_on_resume_and_others_made_anew(compared):
    out = compared / "out"
    kept, lost = out / "study" / "double-6", out / "study" / "fdk-6"
    metrics = json.loads((kept / "metrics.json").read_text())
    metrics["metrics"]["dice_best"] = 0.125
    (kept / "metrics.json").write_text(json.dumps(metrics))
    record = (kept / "run.json").read_bytes()
    other = json.loads((lost / "run.json").read_text())
    (lost / "run.json").write_text(json.dumps({**other, "fingerprint": "of another job"}))
    assert _compare(out, compared / "study", extra=[*_options(compared), "--resume"]) == 0
    assert (kept / "run.json").read_bytes() == record
    assert json.loads((lost / "run.json").read_text())["fingerprint"] == other["fingerprint"]
    assert _rows(out)[0]["dice_best"] == "0.125"


def test_an_older_comparison_is_not_replaced_without_being_told(compared, capsys):
    assert _compare(compared / "out", compared / "study") == 1
    assert "--resume" in capsys.readouterr().err


def test_a_folder_with_other_content_is_refused(tmp_path, tiny_case, capsys):
    (tmp_path / "holiday.txt").write_text("keep")
    assert _compare(tmp_path, tiny_case, extra=["--resume"]) == 1
    assert "not a comparison" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_when_nothing_works_the_reason_is_the_error(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert _compare(tmp_path / "out", tmp_path / "empty") == 1
    assert "No method gave a result" in capsys.readouterr().err
    assert len(_rows(tmp_path / "out")) == 2


def test_methods_may_have_presets_of_their_own(compared):
    found = [row["preset"] for row in _rows(compared / "out") if row["case"] == "study"]
    assert found == ["balanced", "fast"]
    text = (compared / "out" / "report.html").read_text(encoding="utf-8")
    assert "the presets of the methods (balanced (fdk: fast))" in text


def test_a_preset_that_a_method_does_not_have_is_said_before_anything_runs(tiny_case, tmp_path, capsys):
    assert _compare(tmp_path / "out", tiny_case, extra=["--preset", "quality"]) == 2
    assert "Double has no preset 'quality'; it has fast, balanced." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_geometry_corrections_reach_every_method(compared):
    for method in ("double", "fdk"):
        record = open_result(compared / "out" / "study" / f"{method}-6").record
        assert record["corrections"]
        assert any(code == "geometry.corrected" for code, _ in record["warnings"])
    assert "corrected by a table" in (compared / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [["--views", "one"], ["--views", "1"], ["--methods", "magic"], ["--preset", "magic=fast"], ["--preset", "fdk="]],
)
def test_wrong_options_are_wrong_usage(tmp_path, arguments):
    assert main(["compare", str(tmp_path), "--out", str(tmp_path / "out"), *arguments]) == 2


def test_a_cancelled_comparison_stops_its_child(tiny_case, tmp_path):
    class CancelledWhileReading(SilentProgress):
        """Cancels once the child reports."""

        seen = False

        def report(self, stage, fraction, message="", metrics=None):
            self.seen |= "Double" in message

        def check_cancelled(self):
            if self.seen:
                raise JobCancelled

    studies = find_studies([tiny_case])
    comparison = Comparison(studies=studies, methods=("double",), view_counts=(4,), out=tmp_path / "out")
    with pytest.raises(JobCancelled):
        compare(comparison, CancelledWhileReading())
    assert not list((tmp_path / "out").glob("*/*/run.json"))


@pytest.mark.parametrize("optional", [True, False])
def test_failing_methods_give_rows_and_methods_without_their_packages_may_be_left_out(
    tiny_case, tmp_path, monkeypatch, optional
):
    errors = {
        "double": DSAReconError("It died.", code="worker.died"),
        "fdk": DSAReconError("FDK needs the package x.", code=DependencyError.default_code),
    }

    def failing(job, progress, label=""):
        raise errors[job.method]

    monkeypatch.setattr("DSAReconLib.jobs.comparison.run_in_child", failing)
    (tmp_path / "out").mkdir()
    studies = find_studies([tiny_case])
    comparison = Comparison(
        studies=studies, methods=("double", "fdk"), view_counts=(4, 6), out=tmp_path / "out", optional=optional
    )
    progress = SilentProgress()
    rows, cases = compare(comparison, progress)
    assert not cases
    assert [row.failure for row in rows if row.method == "double"] == ["It died."] * 2
    assert len([row for row in rows if row.method == "fdk"]) == (0 if optional else 2)
    assert any("left out" in message for _, message in progress.warnings) == optional


def test_folders_are_cases_and_files_are_one_case(tiny_case, tmp_path):
    (tmp_path / tiny_case.name).mkdir()
    files = [tiny_case / "mask.dcm", tiny_case / "fill.dcm"]
    studies = find_studies([tiny_case, tmp_path / tiny_case.name, *files])
    name = tiny_case.name
    assert [study.name for study in studies] == [name, f"{name}-2", f"{name}-3"]
    assert [study.truth for study in studies] == [tiny_case / "truth", None, tiny_case / "truth"]
    assert len(studies[2].paths) == 2


def test_one_truth_cannot_belong_to_several_cases(tiny_case, tmp_path):
    with pytest.raises(ConfigError, match="2 cases"):
        find_studies([tiny_case, tmp_path], tiny_case / "truth")
