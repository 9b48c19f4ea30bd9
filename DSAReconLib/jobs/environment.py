"""What this program runs on, for run records and bug reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from DSAReconLib import __version__
from DSAReconLib.jobs.resources import available_memory_bytes

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "torch",
    "pydicom",
    "SimpleITK",
    "scikit-image",
    "trimesh",
    "matplotlib",
    "vtk",
    "python-gdcm",
    "pyjpegls",
    "nvidia-cuda-nvrtc",
    "itk-rtk",
    "slicer-core",
)


def versions() -> dict[str, str | None]:
    """Version of this library, of Python and of every package that it can use (``None`` = not installed)."""
    return {"dsarecon": __version__, "python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """Operating system, processor cores and memory."""
    available = available_memory_bytes()
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": usable_cores(),
        "available_memory_gb": None if available is None else round(available / 1e9, 1),
    }


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
