"""Rules that hold for the whole repository."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
BANNED_NAME = re.compile(r"\bsid\b|\bsid_|_sid\b")


def _tracked(pattern):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = subprocess.run(["git", "ls-files", "-z", pattern], capture_output=True, text=True, cwd=ROOT, check=True)
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def _library_files():
    return sorted((ROOT / "DSAReconLib").rglob("*.py"))


def test_imports_go_down_only():
    pytest.importorskip("importlinter")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_files_and_functions_stay_readable():
    too_long = [complaint for path in _library_files() for complaint in _complaints(path)]
    assert not too_long, "\n".join(too_long)


def _complaints(path):
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    if text.count("\n") > LONGEST_FILE:
        yield f"{name}: {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _body_lines(node) > LONGEST_FUNCTION:
            yield f"{name}: {node.name} has {_body_lines(node)} lines"


def _body_lines(function):
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_ambiguous_distance_name_is_not_used():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _library_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BANNED_NAME.search(re.sub(r"[\"'`].*?[\"'`]", "", line.split("#")[0]))
    ]
    assert not found, "sid means two things: write sod_mm or sdd_mm"


def test_no_path_of_a_machine_is_in_the_repository():
    here = str(ROOT.parent) + "/"
    found = [
        str(path.relative_to(ROOT))
        for path in _tracked("*")
        if path != Path(__file__) and here in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert not found


def test_small_files_only():
    large = [
        f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} kB"
        for path in _tracked("*")
        if path.stat().st_size > 400 * 1024
    ]
    assert not large


def test_version_and_licence_are_stated_once():
    import DSAReconLib

    assert DSAReconLib.__version__ in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(
        rf"## \[?{re.escape(DSAReconLib.__version__)}", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    )


def test_wheel_holds_the_package_with_its_data_files(tmp_path):
    pytest.importorskip("hatchling")
    source = tmp_path / "source"
    names = ("pyproject.toml", "README.md", "LICENSE")
    shutil.copytree(ROOT / "DSAReconLib", source / "DSAReconLib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in names:
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    import zipfile

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(source)).replace("\\", "/")
        for path in (source / "DSAReconLib").rglob("*")
        if path.is_file()
    }
    assert wanted <= packed
