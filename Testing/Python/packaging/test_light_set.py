"""What desktop Slicer imports before anything was installed needs numpy only."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = ROOT / "DSAReconLib"
BLOCKED = ("torch", "numba", "llvmlite", "skimage", "trimesh", "matplotlib", "tqdm", "slicer", "gdcm", "jpeg_ls")
LIGHT_FOLDERS = ("geometry", "acquisition", "dicom", "io")
LIGHT_FILES = (
    *("errors.py", "progress.py", "reconstruction.py", "checkpoint.py", "methods/registry.py", "methods/parameters.py"),
    *("jobs/protocol.py", "jobs/job.py", "jobs/client.py", "cli/main.py"),
    *("jobs/render_client.py", "jobs/frame_comparison.py", "rendering/images.py", "rendering/pose.py"),
    *("rendering/pacing.py", "rendering/frame_memory.py", "rendering/server_protocol.py"),
)


def _light_modules():
    paths = [LIBRARY / name for name in LIGHT_FILES]
    paths += [path for folder in LIGHT_FOLDERS for path in sorted((LIBRARY / folder).rglob("*.py"))]
    paths += sorted((LIBRARY / "methods").glob("*/config.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def _python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_light_set_imports_without_the_heavy_packages():
    code = "import sys, importlib\n"
    code += f"for name in {BLOCKED!r}: sys.modules[name] = None\n"
    code += f"for name in {_light_modules()!r}: importlib.import_module(name)\n"
    done = _python(code)
    assert done.returncode == 0, done.stderr


def test_light_set_defers_what_takes_long_to_import():
    deferred = ("scipy", "SimpleITK", "pydicom", "vtk", "vtkmodules", "psutil")
    code = "import sys, importlib\n"
    code += f"for name in {_light_modules()!r}: importlib.import_module(name)\n"
    code += f"print(*sorted(set({deferred!r}) & set(sys.modules)))\n"
    done = _python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["DSAReconLib.jobs.protocol", "DSAReconLib.io.json_text", "DSAReconLib.errors"])
def test_protocol_needs_the_standard_library_only(name):
    done = _python(f"import sys; sys.modules['numpy'] = None; import {name}")
    assert done.returncode == 0, done.stderr


def test_method_configs_need_the_standard_library_only():
    names = [name for name in _light_modules() if name.endswith(".config") and "methods" in name]
    assert names
    code = "import sys, importlib\nfor name in ('numpy', 'scipy'): sys.modules[name] = None\n"
    code += f"for name in {names!r}: importlib.import_module(name)\n"
    done = _python(code)
    assert done.returncode == 0, done.stderr
