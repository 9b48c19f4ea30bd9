"""The logic on slicer-core alone: no Qt, no application, as a script would use it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")

ROOT = Path(__file__).resolve().parents[3]
PATHS = [str(ROOT / "DSARecon"), str(ROOT)]
pytestmark = pytest.mark.mrml

ROUND = """
import sys
from pathlib import Path
from DSAReconLib.mrml.core_application import core_context
from DSAReconWidgets.logic import DSAReconLogic
from DSAReconWidgets.selftest import Round
context = core_context()
logic = DSAReconLogic(context=context)
test = Round(logic, Path(sys.argv[1]))
for step in Round.STEPS:
    step(test)
    print("done", step.__name__, flush=True)
logic.close()
bad = {"torch", "numba", "skimage", "trimesh", "matplotlib", "qt", "PySide6"} & set(sys.modules)
assert not bad, bad
"""


def _python(*arguments, timeout=240):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS), "PYTHONWARNINGS": "error::ResourceWarning"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=timeout
    )


def test_whole_round_of_the_self_test_runs_without_an_application(tmp_path):
    done = _python("-c", ROUND, str(tmp_path))
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert done.stdout.count("done") == 8


def test_batch_example_reconstructs_studies_and_goes_on_after_a_bad_one(tiny_case, tmp_path):
    studies = tmp_path / "studies"
    (studies / "b").mkdir(parents=True)
    (studies / "a").mkdir()
    for name in ("mask.dcm", "fill.dcm"):
        (studies / "b" / name).write_bytes((tiny_case / name).read_bytes())
    example = ROOT / "docs" / "examples" / "batch_in_slicer.py"
    options = ["--method", "fdk", "--preset", "fast", "--views", "10"]
    done = _python(str(example), str(studies), str(tmp_path / "results"), *options)
    assert done.returncode == 1, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == str(tmp_path / "results" / "b.mrb")
    assert (tmp_path / "results" / "b.mrb").stat().st_size > 1000
    assert (tmp_path / "results" / "b" / "run.json").is_file()
    assert "a: No DICOM file was found." in done.stderr
