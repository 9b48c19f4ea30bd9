"""Install this checkout into the running environment. Standard library only.

    .venv/bin/python tools/install.py --extras mesh,dicom,test

Versions come from constraints.txt. PyTorch is treated on its own: on a machine without
an NVIDIA GPU only a CPU build is installed, never gigabytes of CUDA libraries. Where no
CPU build can be found, PyTorch is left out; a method that needs it says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
GPU_PACKAGES = ("nvidia-", "cuda-", "triton")


def main() -> int:
    """Install what is missing; nothing to do when the stamp of an earlier run still fits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--extras", default="", help="comma-separated extras of pyproject.toml")
    parser.add_argument("--torch", choices=("auto", "cpu", "gpu", "no"), default="auto", help="which PyTorch build")
    options = parser.parse_args()
    extras = sorted(filter(None, options.extras.split(",")))
    stamp = Path(sys.prefix) / f".dsarecon-{_digest(extras, options.torch)}"
    if stamp.exists():
        return 0
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    _pip("install", "--constraint", str(CONSTRAINTS), "--editable", target)
    if options.torch != "no":
        _install_torch(_has_nvidia_gpu() if options.torch == "auto" else options.torch == "gpu")
    stamp.touch()
    return 0


def _digest(extras: list[str], torch: str) -> str:
    content = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(content + f"{extras} {torch}".encode()).hexdigest()[:16]


def _install_torch(gpu: bool) -> None:
    if gpu:
        _pip("install", *_torch_request())
        return
    for source in ([], ["--index-url", CPU_WHEELS]):
        if _is_cpu_only(source):
            _pip("install", *source, *_torch_request())
            return
    print(
        "PyTorch was left out: no CPU build was found for this Python, and this machine has no NVIDIA GPU.\n"
        "A method that needs it will say so; the others work without it.\n"
        "To have it: install a CPU build of PyTorch by hand, or run 'tools/install.py --torch gpu'.",
        file=sys.stderr,
    )


def _is_cpu_only(source: list[str]) -> bool:
    """Whether pip would install PyTorch from ``source`` without a single CUDA package."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
        if _pip(*command, *source, *_torch_request(), check=False) != 0 or not report.exists():
            return False
        packages = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = [package["metadata"]["name"].lower().replace("_", "-") for package in packages]
    return not any(name.startswith(GPU_PACKAGES) for name in names)


def _torch_request() -> list[str]:
    """``torch`` with the constraints; those of numerical packages keep what is installed."""
    return ["--constraint", str(CONSTRAINTS), "torch"]


def _has_nvidia_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU" in listing.stdout


def _pip(*arguments: str, check: bool = True) -> int:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    quiet = subprocess.DEVNULL if not check else None
    return subprocess.run(command, check=check, stderr=quiet, stdout=quiet).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        sys.exit(f"pip failed with exit code {failure.returncode}; its message stands above.")
