"""Memory and devices of this machine, and the errors to raise when they do not suffice."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from DSAReconLib.errors import ConfigError, ResourceError

_HINT = "Choose a smaller --size (or a larger --spacing), fewer views, or the preset 'fast'."


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, MB (10^6 bytes); ``None`` if unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return _windows_peak_mb()
    own = _linux_peak_mb()
    if own is not None:
        return own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _linux_peak_mb() -> float | None:
    """High water mark of this program; what getrusage tells of a child starts at its parent's size on Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(marks[0]) * 1024 / 1e6 if marks else None


def available_memory_bytes() -> int | None:
    """Memory that this process can still get without swapping; ``None`` if unknown."""
    limits = [value for value in (_system_available(), _cgroup_available(), _address_space_left()) if value is not None]
    return min(limits, default=None)


def require_memory(needed_bytes: float, what: str) -> None:
    """ResourceError if ``needed_bytes`` for ``what`` are certainly not there."""
    available = available_memory_bytes()
    if available is not None and needed_bytes > available:
        raise ResourceError(
            f"{what} needs at least {needed_bytes / 1e9:.1f} GB of memory; {available / 1e9:.1f} GB are available.",
            hint=_HINT,
            code="resource.memory",
        )


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn running out of main or GPU memory into a ResourceError."""
    try:
        yield
    except MemoryError as error:
        raise ResourceError(
            "The memory of this machine does not suffice.", hint=_HINT, code="resource.memory"
        ) from error
    except RuntimeError as error:
        text = str(error).lower()
        if "out of memory" not in text and "can't allocate memory" not in text and "not enough memory" not in text:
            raise
        where = "GPU" if "cuda" in text else "machine"
        raise ResourceError(
            f"The memory of this {where} does not suffice.", hint=_HINT, code="resource.memory"
        ) from error


def resolve_device(device: str) -> str:
    """``"cpu"`` or ``"cuda:i"`` for what a user asked for (``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:i"``).

    Raises
    ------
    ConfigError
        No such name.
    DependencyError
        A CUDA device was asked for that cannot be used; the message says why.
    """
    if device == "cpu" or (device == "auto" and not _has_cuda_driver()):
        return "cpu"  # without the seconds that importing PyTorch takes
    from DSAReconLib.kernels import backend

    try:
        return backend.resolve_device(device)
    except ValueError as error:
        raise ConfigError(f"{error}.") from error


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _windows_peak_mb() -> float | None:
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().peak_wset) / 1e6


def _system_available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def _cgroup_available() -> int | None:
    """What the container's limit leaves (cgroup version 2)."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        statistics = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    cached = sum(int(line.split()[1]) for line in statistics if line.startswith("inactive_file "))
    return None if limit == "max" else max(0, int(limit) - used + cached)


def _address_space_left() -> int | None:
    """What ``ulimit -v`` leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)
