"""Slicer's build puts everything where Slicer looks for it: configured with a stand-in for Slicer's CMake macros."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.requires import requires_package

ROOT = Path(__file__).resolve().parents[3]
STUB = ROOT / "Testing" / "cmake"
MODULES = Path("lib", "Slicer-5.12", "qt-scripted-modules")
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "DSARecon", "DSAReconLib")

WANTED = (
    "DSARecon.py",
    "DICOMRotationalXAPlugin.py",
    "DSAReconWidgets/__init__.py",
    "DSAReconLib/__init__.py",
    "DSAReconLib/kernels/cuda/raycast.cu",
    "Resources/UI/DSARecon.ui",
    "Resources/requirements.txt",
)

requires_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")


def _configure(source, build):
    command = ["cmake", "-S", source, "-B", build, f"-DSlicer_DIR={STUB}", "-DCMAKE_BUILD_TYPE=Release"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of scripted modules in the installed package."""
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("package")
    done = _configure(ROOT, build)
    assert done.returncode == 0, done.stderr
    subprocess.run(["cmake", "--install", build, "--prefix", prefix], capture_output=True, check=True)
    return prefix / MODULES


@pytest.fixture
def source_copy(tmp_path):
    """A copy of the extension that a test may damage."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _list_tool():
    spec = importlib.util.spec_from_file_location("list_package_files", ROOT / "tools" / "list_package_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", ["DSARecon", "DSAReconLib"])
def test_cmake_lists_every_file_on_disk_and_nothing_else(folder):
    tool = _list_tool()
    text = (ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8")
    for kind, on_disk in zip(("SCRIPTS", "RESOURCES"), tool.package_files(ROOT / folder), strict=True):
        listed = tool.listed(text, f"{folder.upper()}_{kind}")
        assert listed == on_disk, "run: python tools/list_package_files.py"
        assert all(" " not in name and ";" not in name for name in on_disk)


def test_list_tool_adds_and_removes_files(tmp_path):
    tool = _list_tool()
    folder = tmp_path / "Thing"
    for name in ("b.py", "a/__init__.py", "a/picture.png", "__pycache__/b.pyc", ".hidden.py", "Testing/test.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    scripts, resources = tool.package_files(folder)
    assert (scripts, resources) == (["a/__init__.py", "b.py"], ["a/picture.png"])
    text = tool.rewritten("x\nset(THING_SCRIPTS\n  old.py\n  )\ny\n", "THING_SCRIPTS", scripts)
    assert text == "x\nset(THING_SCRIPTS\n  a/__init__.py\n  b.py\n  )\ny\n"
    assert tool.listed(text, "THING_SCRIPTS") == scripts


@requires_cmake
def test_package_holds_module_plugin_panel_and_library_side_by_side(installed):
    for name in WANTED:
        assert (installed / name).is_file(), name
    modules = {path.name for path in installed.glob("*.py")}
    assert modules == {"DSARecon.py", "DICOMRotationalXAPlugin.py"}  # Slicer takes every script here for a module


@requires_cmake
def test_package_holds_every_file_of_the_library(installed):
    ignored = {"CMakeLists.txt"}
    wanted = {
        path.relative_to(ROOT / "DSAReconLib")
        for path in (ROOT / "DSAReconLib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in ignored
    }
    packed = {path.relative_to(installed / "DSAReconLib") for path in (installed / "DSAReconLib").rglob("*.*")}
    assert not wanted - packed


@requires_cmake
def test_packaged_library_works_on_its_own(installed, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import DSAReconWidgets, DSAReconLib\n"
        "from DSAReconLib.cli.main import main\n"
        "print(DSAReconLib.__file__)\n"
        "sys.exit(main(['reconstruct', '--help']))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).parent == installed / "DSAReconLib"


_OPEN_PACKAGED_MODULE = """
import sys
package, tests, checkout = sys.argv[1:]
sys.path.insert(0, tests)
from helpers.slicer_desktop import desktop
desktop()
sys.path[:] = [package, *(entry for entry in sys.path if not entry.startswith(checkout) or "site-packages" in entry)]
for name in [name for name in sys.modules if name.startswith("DSARecon")]:
    del sys.modules[name]
import DSARecon, DSAReconLib, DSAReconWidgets.sample_data
print(DSARecon.__file__, DSAReconLib.__file__, DSAReconWidgets.sample_data.__file__, sep="\\n")
print(*sorted({"torch", "numba", "skimage", "trimesh", "matplotlib"} & set(sys.modules)))
"""


@requires_cmake
@pytest.mark.gui
@requires_package("PySide6")
@requires_package("slicer")
def test_packaged_module_is_imported_without_the_checkout_and_without_heavy_packages(installed, tmp_path):
    command = [sys.executable, "-c", _OPEN_PACKAGED_MODULE, installed, ROOT / "Testing" / "Python", ROOT]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *files, heavy = done.stdout.splitlines()[-4:]
    assert [Path(name).is_relative_to(installed) for name in files] == [True] * 3
    assert heavy == ""


@requires_cmake
@pytest.mark.parametrize("name", ["DSAReconLib/geometry/grid.py", "DSARecon/Resources/UI/DSARecon.ui"])
def test_build_fails_if_a_listed_file_is_missing(source_copy, tmp_path_factory, name):
    (source_copy / name).unlink()
    done = _configure(source_copy, tmp_path_factory.mktemp("build"))
    assert done.returncode != 0
    assert name.split("/", 1)[1] in done.stderr


@requires_cmake
@pytest.mark.parametrize("variable", ["HOMEPAGE", "DEPENDS"])
def test_build_fails_without_the_description_of_the_extension(source_copy, tmp_path_factory, variable):
    path = source_copy / "CMakeLists.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if f"EXTENSION_{variable} " not in line), encoding="utf-8")
    done = _configure(source_copy, tmp_path_factory.mktemp("build"))
    assert done.returncode != 0
    assert f"EXTENSION_{variable}" in done.stderr
