"""What the child processes need beyond the packages that Slicer brings."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.registry import method_entry
from DSAReconWidgets.folders import resource
from DSAReconWidgets.package_child import package_name

BUNDLED = (
    "numpy",
    "scipy",
    "SimpleITK",
    "pydicom",
    "vtk",
    "requests",
    "highdicom",
    "pillow",
    "pyjpegls",
    "packaging",
    "setuptools",
    "typing_extensions",
)
"""Packages of Slicer that an installation must leave as they are."""

TORCH = ">=2.6,<2.11"
"""Versions that leave Slicer's setuptools alone; 2.13 cannot be installed on Windows."""


@dataclass(frozen=True)
class Needs:
    """What something needs.

    Parameters
    ----------
    packages
        Requirements as pip writes them.
    torch
        Whether PyTorch is needed.
    """

    packages: tuple[str, ...]
    torch: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Requirements with PyTorch's."""
        return (*self.packages, f"torch{TORCH}") if self.torch else self.packages


def basicNeeds(*, torch: bool = False) -> Needs:
    """What every reconstruction needs."""
    return Needs(tuple(readRequirements(resource("requirements.txt"))), torch)


def needsOf(job: ReconstructionJob) -> Needs:
    """What a job needs: PyTorch for methods that are made of it, and for a GPU that is asked for by name."""
    return basicNeeds(torch=method_entry(job.method).needs_torch or job.device.startswith("cuda"))


def hasNvidiaGpu() -> bool:
    """Whether there is a driver of an NVIDIA GPU, which PyTorch makes usable; loads nothing."""
    windows = Path(os.environ.get("SYSTEMROOT", "")) / "System32" / "nvcuda.dll"
    return Path("/proc/driver/nvidia/version").exists() or (sys.platform == "win32" and windows.exists())


def readRequirements(path: Path) -> list[str]:
    """Requirements in a file, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def constraintsText() -> str:
    """Constraints that keep the packages of Slicer at the version that they have."""
    lines = []
    for name in BUNDLED:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join([*lines, ""])


def notInstalled(needs: Needs) -> list[str]:
    """Names of packages that are not there at all; reads metadata, imports nothing."""
    importlib.invalidate_caches()
    missing = []
    for requirement in needs.all:
        name = package_name(requirement)
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing
