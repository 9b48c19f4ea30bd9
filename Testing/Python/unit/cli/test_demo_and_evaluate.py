"""``dsarecon demo`` and ``dsarecon evaluate`` on the tiny case with a method that only tests know."""

import json

import pytest
from helpers import method_doubles

from DSAReconLib.cli.main import main


@pytest.fixture(scope="module", autouse=True)
def _doubles():
    with method_doubles.in_workers():
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo"
    assert _demo(out) == 0
    return out


def _demo(out):
    return main(["demo", "--out", str(out), "--tree", "tiny", "--views", "10", "--methods", "double", "--quiet"])


def test_demo_leaves_the_case_the_results_and_a_report(demo):
    assert {path.name for path in demo.iterdir()} == {"case", "demo.json", "double", "report.html"}
    assert (demo / "case" / "truth" / "truth.json").is_file()
    assert "Tiny, simulated (seed 0)" in (demo / "report.html").read_text(encoding="utf-8")
    assert json.loads((demo / "double" / "metrics.json").read_text())["metrics"]["dice_best"] >= 0


def test_demo_can_be_repeated_and_replaces_its_own_results(demo, capsys):
    (demo / "double" / "metrics.json").write_text("{}")
    assert _demo(demo) == 0
    assert "metrics" in json.loads((demo / "double" / "metrics.json").read_text())
    assert "report.html" in capsys.readouterr().out


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path, capsys):
    (tmp_path / "holiday.txt").write_text("keep")
    assert _demo(tmp_path) == 1
    assert "not a demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_demo_names_the_methods_that_exist_when_one_is_unknown(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "x"), "--methods", "magic"]) == 2
    assert "fdk" in capsys.readouterr().err


def test_evaluate_prints_a_table(demo, capsys):
    assert main(["evaluate", str(demo / "double"), str(demo / "case"), "--truth", str(demo / "case"), "--quiet"]) == 0
    table = capsys.readouterr().out
    assert "Dice, best threshold" in table
    assert "papers' normalization" in table


def test_evaluate_prints_json_that_a_strict_reader_takes(demo, capsys):
    assert main(["evaluate", str(demo / "double"), str(demo / "case"), "--json", "--quiet"]) == 0
    content = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert "psnr_db" in content["metrics"]
    assert "dice_best" not in content["metrics"]


def test_evaluate_writes_its_report_into_the_result(demo):
    (demo / "double" / "report.html").unlink(missing_ok=True)
    record = (demo / "double" / "run.json").read_bytes()
    command = ["evaluate", str(demo / "double"), str(demo / "case"), "--truth", str(demo / "case" / "truth")]
    assert main([*command, "--report", "--quiet"]) == 0
    assert (demo / "double" / "report.html").is_file()
    assert (demo / "double" / "run.json").read_bytes() == record


def test_evaluate_refuses_a_folder_without_a_result(demo, capsys):
    assert main(["evaluate", str(demo / "case"), str(demo / "case")]) == 1
    assert "not a result folder" in capsys.readouterr().err
