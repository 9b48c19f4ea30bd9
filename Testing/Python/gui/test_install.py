"""What is missing is found and installed in child processes, and nothing of Slicer's is touched."""

# ruff: noqa: E402 - qt and slicer.app exist once the stand-in for the desktop was made

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.slicer_desktop import desktop

DESKTOP = desktop()

from DSAReconWidgets.folders import resource
from DSAReconWidgets.install import Installer, InstallResult, Missing, installTorchByExtension
from DSAReconWidgets.package_child import package_name
from DSAReconWidgets.requirements import (
    BUNDLED,
    Needs,
    basicNeeds,
    constraintsText,
    needsOf,
    notInstalled,
    readRequirements,
)

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.registry import METHODS

pytestmark = pytest.mark.gui
ROOT = Path(__file__).resolve().parents[3]


class Waiting:
    """Gets one answer."""

    def __init__(self):
        self.answers = []

    def __call__(self, answer):
        self.answers.append(answer)

    def get(self, timeout_s=60):
        """The one answer."""
        DESKTOP.wait_for(lambda: self.answers, timeout_s)
        DESKTOP.spin(0.05)
        assert len(self.answers) == 1
        return self.answers[0]


@pytest.fixture
def private_python(tmp_path, monkeypatch):
    """pip of the child installs into a folder of the test, from a folder of the test."""
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return tmp_path


def _wheel(folder, name):
    """A tiny wheel."""
    stem = f"{name.replace('-', '_')}-1.0"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return str(path)


def _endless_package(folder):
    """A package whose build never ends."""
    folder.mkdir()
    build = '[build-system]\nrequires = []\nbuild-backend = "endless"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(build)
    (folder / "endless.py").write_text("import time\ntime.sleep(60)\n")
    return str(folder)


def test_requirements_name_nothing_that_slicer_brings_and_all_else_that_the_library_needs():
    import tomllib

    own = {package_name(line).lower() for line in readRequirements(resource("requirements.txt"))}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bundled = {name.lower() for name in BUNDLED}
    assert not own & bundled
    assert "torch" not in own
    assert own == {package_name(line).lower() for line in project} - bundled
    assert all(">=" in line and "==" not in line for line in readRequirements(resource("requirements.txt")))


def test_constraints_pin_the_packages_of_slicer_to_what_is_there():
    import numpy

    assert f"numpy=={numpy.__version__}\n" in constraintsText()
    assert "numba" not in constraintsText()


@pytest.mark.parametrize("method", METHODS)
def test_torch_is_asked_for_exactly_by_methods_with_a_part_that_imports_it(method):
    code = (
        "import importlib, pkgutil, sys; sys.modules['torch'] = None\n"
        f"import DSAReconLib.methods.{method} as method\n"
        "for module in pkgutil.iter_modules(method.__path__, method.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert needsOf(ReconstructionJob(out="o", paths=("p",), method=method)).torch == (done.returncode != 0), done.stderr


def test_torch_is_asked_for_when_a_gpu_is_asked_for_by_name():
    assert needsOf(ReconstructionJob(out="o", paths=("p",), method="fdk", device="cuda:0")).torch
    assert not needsOf(ReconstructionJob(out="o", paths=("p",), method="fdk", device="auto")).torch


def test_missing_old_and_broken_packages_are_told_apart(tmp_path, monkeypatch):
    for name, version, content in (("halfbroken", "2.0", "raise OSError('no such library')"), ("tooold", "1.0", "")):
        (tmp_path / f"{name}.py").write_text(content)
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    needs = Needs(("numpy>=1.24", "nowhere-to-be-found>=1", "tooold>=2", "halfbroken>=1"))
    installer, answer = Installer(), Waiting()
    installer.check(needs, answer)
    found = answer.get()
    assert set(found.packages) == {"nowhere-to-be-found>=1", "tooold>=2", "halfbroken>=1"}
    assert found.broken == (("halfbroken>=1", "OSError: no such library"),)
    assert not installer.isKnownGood(needs)
    assert notInstalled(needs) == ["nowhere-to-be-found", "tooold", "halfbroken"]


def test_everything_there_is_remembered_until_it_is_forgotten():
    installer, answer = Installer(), Waiting()
    installer.check(basicNeeds(), answer)
    assert answer.get().isNothing
    assert installer.isKnownGood(basicNeeds())
    installer.forget()
    assert not installer.isKnownGood(basicNeeds())


def test_python_that_is_not_there_is_a_problem_and_not_a_missing_package():
    installer, answer = Installer(python="/nowhere/python"), Waiting()
    installer.check(Needs(("numpy",)), answer)
    found = answer.get()
    assert "/nowhere/python" in found.problem
    assert not found.isNothing


def test_package_is_installed_by_pip_with_its_log(private_python):
    installer, answer, lines = Installer(), Waiting(), []
    installer.line.connect(lines.append)
    installer.install(Missing(packages=(_wheel(private_python, "dsarecon-test-package"),)), answer)
    assert installer.isBusy
    assert answer.get().isGood, installer.log
    assert list((private_python / "site").glob("dsarecon_test_package-1.0*"))
    assert any("Successfully installed" in line for line in lines)


def test_failed_installation_says_why(private_python):
    installer, answer = Installer(), Waiting()
    installer.install(Missing(packages=("a-package-that-is-nowhere>=1",)), answer)
    result = answer.get()
    assert not result.isGood
    assert "a-package-that-is-nowhere" in result.message
    assert result.hint


def test_cancelled_installation_is_gone_in_time_and_leaves_no_process(private_python):
    slow = _endless_package(private_python / "p")
    installer, answer = Installer(), Waiting()
    installer.install(Missing(packages=(slow,)), answer)
    DESKTOP.wait_for(lambda: any("requirements to build" in line for line in installer.log), 60)
    start = time.monotonic()
    installer.cancel()
    installer.cancel()
    assert answer.get().cancelled
    assert time.monotonic() - start < 2.5
    DESKTOP.wait_for(lambda: not psutil.Process().children(recursive=True), 5)


def test_two_installations_at_once_are_a_mistake_of_the_caller():
    installer, answer = Installer(), Waiting()
    installer.check(Needs(("numpy",)), answer)
    with pytest.raises(RuntimeError):
        installer.check(Needs(("numpy",)), answer)
    answer.get()


def test_closing_ends_the_child_and_reports_nothing(private_python):
    installer, answer = Installer(), Waiting()
    installer.install(Missing(packages=(_endless_package(private_python / "p"),)), answer)
    DESKTOP.wait_for(lambda: any("requirements to build" in line for line in installer.log), 60)
    installer.close()
    DESKTOP.wait_for(lambda: not psutil.Process().children(recursive=True), 5)
    assert answer.answers == []


def test_torch_comes_last_and_through_its_extension(private_python):
    order = []
    installer = Installer(installTorch=lambda: order.append("torch") or InstallResult())
    installer.line.connect(lambda line: order.append("pip") if "Successfully" in line else None)
    answer = Waiting()
    installer.install(Missing(packages=(_wheel(private_python, "some-package"),), torch=True), answer)
    assert answer.get().isGood
    assert order == ["pip", "torch"]


def test_missing_torch_extension_says_where_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    result = installTorchByExtension()
    assert "PyTorch extension" in result.message
    assert "Extensions Manager" in result.hint


def test_torch_extension_is_asked_by_its_stable_name_only_and_its_failure_is_told(monkeypatch):
    asked = []

    class Logic:
        def installTorch(self, askConfirmation=False, torchVersionRequirement=""):
            asked.append((askConfirmation, torchVersionRequirement))
            if len(asked) > 1:
                raise RuntimeError("no network\nand more")

    module = type(sys)("PyTorchUtils")
    module.PyTorchUtilsLogic = Logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    assert installTorchByExtension().isGood
    assert asked == [(False, ">=2.6,<2.11")]
    assert "no network" in installTorchByExtension().message
