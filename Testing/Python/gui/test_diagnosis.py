"""The page to send when something fails; and what Slicer's own process never imports."""

# ruff: noqa: E402 - qt and slicer.app exist once the stand-in for the desktop was made

import getpass
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.slicer_desktop import desktop

DESKTOP = desktop()

from DSAReconWidgets.diagnosis import Diagnosis, diagnosisText, slicerFacts
from DSAReconWidgets.process import Ending

pytestmark = pytest.mark.gui
ROOT = Path(__file__).resolve().parents[3]


def test_page_tells_slicer_python_packages_devices_and_kernels():
    pages, again = [], []
    diagnosis = Diagnosis()
    diagnosis.run(pages.append)
    diagnosis.run(again.append)
    DESKTOP.wait_for(lambda: pages, 120)
    page = pages[0]
    for part in ("5.12", "Interpreter", "numba", "torch", "cores", "available_memory_gb", "Devices", "Kernel test"):
        assert part in page
    assert "Works                  yes" in page
    assert again == pages
    assert page.count("\n") < 80
    assert not psutil.Process().children(recursive=True)


def test_page_of_a_python_that_does_not_run_says_so():
    pages = []
    Diagnosis(python="/nowhere/python").run(pages.append)
    DESKTOP.wait_for(lambda: pages, 20)
    assert "/nowhere/python" in pages[0]
    assert "Works                  no" in pages[0]


def test_page_shows_what_a_broken_child_said_and_survives_noise_around_the_report():
    broken = diagnosisText({}, "python", "Traceback\nModuleNotFoundError: No module named 'numpy'", Ending(code=1))
    assert "No module named 'numpy'" in broken
    assert "exit code 1" in broken
    noisy = diagnosisText({}, "python", "warning\n" + json.dumps({"versions": {"numba": None}}), Ending())
    assert "numba                  not installed" in noisy


def test_page_about_the_application_names_no_user():
    text = json.dumps(slicerFacts())
    assert "5.12" in text
    user = getpass.getuser()
    assert user == "root" or user not in text


def test_closed_diagnosis_leaves_no_child():
    pages, diagnosis = [], Diagnosis()
    diagnosis.run(pages.append)
    diagnosis.close()
    DESKTOP.spin(0.2)
    assert not psutil.Process().children(recursive=True)
    assert pages == []


def test_module_and_panel_open_with_the_packages_of_slicer_alone():
    code = """
import sys
sys.path[:0] = ["Testing/Python", "."]
blocked = ("torch", "numba", "llvmlite", "skimage", "trimesh", "matplotlib", "tqdm")
for name in blocked:
    sys.modules[name] = None
from helpers.slicer_desktop import desktop
application = desktop()
import DSARecon
from helpers.slicer_desktop.scripted_module import module_parent
parent = module_parent()
DSARecon.DSARecon(parent)
assert parent.title and parent.categories and "not a medical device" in parent.helpText
widget = application.open_module("DSARecon")
application.spin(0.3)
application.close_module(widget)
assert application.take_errors() == []
assert not [name for name in blocked if sys.modules.get(name) is not None]
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_file_scope_imports_of_the_extension_are_those_that_the_extensions_index_allows():
    code = """
import ast, sys
from pathlib import Path
allowed = set(sys.stdlib_module_names) | {
    "slicer", "vtk", "numpy", "SimpleITK", "scipy", "qt", "ctk", "DSAReconLib", "DSAReconWidgets", "DICOMLib"
}
for path in sorted(Path("DSARecon").rglob("*.py")):
    for node in ast.parse(path.read_text()).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        bad = [name for name in names if name.partition(".")[0] not in allowed]
        assert not bad, (path, bad)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
