"""Rows, table and page of a comparison, made from numbers alone."""

import csv
import re

import pytest

from DSAReconLib.evaluation.report import ComparedCase, ResultRow, build_comparison, write_csv, write_statistics
from DSAReconLib.evaluation.report.comparison_sections import curves_section, headlines, statistics_section
from DSAReconLib.evaluation.report.rows import RowTable, aligned, text_rows


def rows(cases=("one", "two"), views=(10, 30)):
    made = []
    for case_number, case in enumerate(cases):
        for count in views:
            for name, gain in (("good", 2.0), ("poor", 0.0)):
                values = {
                    "psnr_db": 20.0,
                    "psnr_clean_db": 25 + gain + case_number + count / 10,
                    "arrival_mae_s": 0.5 - gain / 10,
                    "reconstruction_s": 3.0 + gain,
                    "peak_memory_mb": 400.0,
                    "stage_read_s": 0.25,
                }
                made.append(ResultRow(case, name, name.capitalize(), count, values, {"device": "cpu"}))
    return made


FAILED = ResultRow("one", "sad", "Sad <3", 10, failure="No luck & no memory.")


def page(tmp_path, content, cases=()):
    return build_comparison(tmp_path / "r.html", content, cases, {"device": "cpu"}).read_text(encoding="utf-8")


def test_table_on_disk_has_a_row_per_result_and_says_why_one_is_missing(tmp_path):
    write_csv(tmp_path / "results.csv", [*rows(), FAILED])
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 9
    assert found[0]["psnr_clean_db"] == "28"
    assert found[0]["stage_read_s"] == "0.25"
    assert (found[0]["status"], found[-1]["status"]) == ("done", "failed")
    assert found[-1]["reason"] == "No luck & no memory."
    assert found[-1]["psnr_clean_db"] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_statistics_on_disk_compare_every_two_methods_over_the_cases(tmp_path):
    write_statistics(tmp_path / "statistics.csv", rows(cases=[str(number) for number in range(6)]))
    with (tmp_path / "statistics.csv").open(newline="", encoding="utf-8") as file:
        found = {(row["views"], row["metric"]): row for row in csv.DictReader(file)}
    row = found["10", "psnr_clean_db"]
    assert (row["first"], row["second"], row["cases"]) == ("Good", "Poor", "6")
    assert float(row["mean_difference"]) == pytest.approx(2)
    assert float(row["std_difference"]) == pytest.approx(0, abs=1e-9)
    assert float(row["p_value"]) < 0.05
    assert float(found["30", "psnr_db"]["p_value"]) == 1
    assert {views for views, _ in found} == {"10", "30"}


def test_statistics_need_two_cases(tmp_path):
    write_statistics(tmp_path / "statistics.csv", rows(cases=("one",)))
    assert len((tmp_path / "statistics.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_ranking_marks_the_best_of_each_number_of_views(tmp_path):
    text = page(tmp_path, rows(cases=("one",)))
    ranking = text[text.index("<h2>In short") : text.index("<h2>Over the number")]
    good, poor = re.findall(r"<tr><th scope=\"row\">.*?</tr>", ranking)[:2]
    assert "<td class=best>28.0</td>" in good
    assert "<td>26.0</td>" in poor
    assert "<td class=best>3.0</td>" in poor  # quicker
    assert ">400<" in good
    assert "class=best>400" not in good


def test_several_cases_are_averaged_with_their_spread(tmp_path):
    text = page(tmp_path, rows())
    assert '28.5 <span class="unit">± 0.7</span>' in text
    assert "Good minus the method of the row" in text
    assert "it needs at least 6 cases" in text


def test_six_cases_are_tested():
    text = statistics_section(RowTable(rows(cases=tuple("abcdef"))))
    assert "+2.0" in text
    assert "p = 0.031" in text


def test_one_case_has_no_paired_differences_and_one_number_of_views_no_curves(tmp_path):
    text = page(tmp_path, rows(cases=("one",), views=(10,)))
    assert "Paired differences" not in text
    assert "Over the number of views" not in text
    assert "Time and memory" in text
    assert curves_section(RowTable(rows(cases=("one",)))) != ""


def test_failures_are_told_and_leave_dashes(tmp_path):
    text = page(tmp_path, [*rows(), FAILED])
    assert "one, Sad &lt;3 from 10 views: No luck &amp; no memory." in text
    assert "<3" not in text
    ranking = text[text.index("<h2>In short") : text.index("<h2>Over the number")]
    assert "<td>\N{EN DASH}</td>" in re.search(r"Sad &lt;3</th>.*?</tr>", ranking).group()


def test_pictures_of_a_case_follow_its_numbers(tmp_path):
    pictures = ComparedCase("two", 30, "<section>pictures of two</section>", True)
    text = page(tmp_path, rows(), [pictures])
    second = text[text.index('<h2 class="part">two') :]
    assert "pictures of two" in second
    assert "results from 30 views" in second
    assert "no result to show as a picture" in text[: text.index('<h2 class="part">two')]
    assert "Vessel tree</h3>" in text  # the protocol with truth


def test_page_loads_nothing_from_elsewhere(tmp_path):
    assert not re.search(r"(?:src|href)=\"https?:|<link|@import|url\(http", page(tmp_path, rows()))


def test_noise_free_reference_replaces_the_measured_one_in_the_headlines():
    assert headlines(RowTable(rows()))[:2] == ["psnr_clean_db", "arrival_mae_s"]
    bare = [ResultRow("a", "m", "M", 10, {"psnr_db": 30.0})]
    assert headlines(RowTable(bare)) == ["psnr_db"]


def test_text_table_is_aligned():
    lines = aligned(text_rows([*rows(), FAILED], ["psnr_clean_db"])).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].endswith("failed")


def test_a_comparison_needs_an_outcome(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        build_comparison(tmp_path / "r.html", [], [], {})
