"""PyTorch is installed as a CPU build or not at all on machines without an NVIDIA GPU."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CPU = ["torch", "sympy", "filelock"]
CUDA = ["torch", "nvidia-cublas", "triton", "cuda-toolkit"]


@pytest.fixture
def install():
    """tools/install.py as a module."""
    specification = importlib.util.spec_from_file_location("install_tool", ROOT / "tools" / "install.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _fake_pip(install, monkeypatch, default, cpu_index):
    """Let pip resolve torch to these packages (``None`` = not found); returns the real installs."""
    installed = []

    def pip(*arguments, check=True):
        if "--dry-run" not in arguments:
            installed.append(arguments)
            return 0
        packages = cpu_index if install.CPU_WHEELS in arguments else default
        if packages is None:
            return 1
        report = {"install": [{"metadata": {"name": name}} for name in packages]}
        Path(arguments[arguments.index("--report") + 1]).write_text(json.dumps(report))
        return 0

    monkeypatch.setattr(install, "_pip", pip)
    return installed


def test_cpu_build_of_the_default_index_is_taken(install, monkeypatch):
    installed = _fake_pip(install, monkeypatch, CPU, None)
    install._install_torch(gpu=False)
    assert len(installed) == 1
    assert install.CPU_WHEELS not in installed[0]


def test_cuda_build_is_left_for_the_index_of_cpu_wheels(install, monkeypatch):
    installed = _fake_pip(install, monkeypatch, CUDA, CPU)
    install._install_torch(gpu=False)
    assert len(installed) == 1
    assert install.CPU_WHEELS in installed[0]


@pytest.mark.parametrize("cpu_index", [CUDA, None])
def test_nothing_is_installed_where_only_cuda_builds_are_found(install, monkeypatch, capsys, cpu_index):
    installed = _fake_pip(install, monkeypatch, CUDA, cpu_index)
    install._install_torch(gpu=False)
    assert installed == []
    assert "PyTorch was left out" in capsys.readouterr().err


def test_machine_with_a_gpu_gets_the_default_build(install, monkeypatch):
    installed = _fake_pip(install, monkeypatch, CUDA, CPU)
    install._install_torch(gpu=True)
    assert len(installed) == 1


def test_constraints_pin_what_the_project_asks_for():
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)>=[0-9.]+"', text)}
    assert "numpy" in asked
    free = {"nvidia-cuda-nvrtc"}  # comes in the version that the installed PyTorch was built with
    assert asked - free <= {pin.name.lower() for pin in pins}
    for version in ("3.10", "3.11", "3.12", "3.13"):
        chosen = [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": version})]
        assert len(chosen) == len(set(chosen)) == len({pin.name for pin in pins}), version
