"""CUDA source to machine code by NVRTC, which torch's CUDA wheels bring along: no toolkit, no compiler.

Compiling needs no GPU. NVRTC loads its builtins by name, so both must come from the same
folder (a mix of CUDA versions fails with "libnvrtc-builtins.so not found").
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import sys
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from DSAReconLib.errors import DependencyError

_OPTIONS = ("--std=c++17", "--ftz=true")
_HINT = "Install the CUDA build of torch (its wheels bring NVRTC), or choose device 'cpu'."
_PACKAGE_FOLDERS = (
    "nvidia/cuda_nvrtc/lib",
    "nvidia/cuda_nvrtc/bin",
    "nvidia/cu13/lib",
    "nvidia/cu13/bin/x86_64",
    "nvidia/cu13/bin",
    "nvidia/cu12/lib",
)


def find_libraries() -> list[Path]:
    """NVRTC libraries on this machine: beside torch first, then nvidia's pip packages."""
    torch = find_spec("torch")
    folders = [Path(torch.origin).parent / "lib"] if torch is not None and torch.origin else []
    folders += [Path(entry) / folder for entry in sys.path if entry for folder in _PACKAGE_FOLDERS]
    found = [path for folder in folders for pattern in _patterns() for path in sorted(folder.glob(pattern))]
    return [path for path in dict.fromkeys(found) if not {"alt", "builtins"} & set(re.split(r"[.-]", path.name))]


def _patterns() -> tuple[str, ...]:
    return ("nvrtc64_*_0.dll",) if os.name == "nt" else ("libnvrtc.so*", "libnvrtc-*.so*")


class Nvrtc:
    """A loaded NVRTC library.

    Parameters
    ----------
    path
        The library file, see :func:`find_libraries`.
    """

    def __init__(self, path: Path) -> None:
        if hasattr(os, "add_dll_directory"):
            os.add_dll_directory(str(path.parent))
        for builtins in sorted(path.parent.glob("*nvrtc-builtins*")):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(path))
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version: tuple[int, int] = (major.value, minor.value)

    def supported(self) -> list[int]:
        """Compute capabilities that this version compiles for, e.g. 75 for sm_75."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        values = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(values))
        return list(values)

    def compile(self, source: str, capability: int) -> bytes:
        """Machine code for ``capability`` (e.g. 86), or PTX if this NVRTC is older than the device.

        Raises
        ------
        DependencyError
            The source does not compile (the message holds the log), or the device is too old.
        """
        known = [each for each in self.supported() if each <= capability]
        if not known:
            raise DependencyError(
                f"NVRTC {self.version} cannot compile for compute capability {capability}", hint=_HINT
            )
        newest = max(known)
        exact = newest == capability
        program = ctypes.c_void_p()
        self._check(
            self._library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"dsarecon.cu", 0, None, None)
        )
        try:
            architecture = f"--gpu-architecture={'sm' if exact else 'compute'}_{newest}"
            options = [option.encode() for option in (architecture, *_OPTIONS)]
            code = self._library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            if code:
                log = self._fetch(program, "nvrtcGetProgramLog").rstrip(b"\0").decode(errors="replace")
                raise DependencyError(f"A CUDA kernel does not compile for {architecture}: {log}", hint=_HINT)
            return self._fetch(program, "nvrtcGetCUBIN" if exact else "nvrtcGetPTX")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _fetch(self, program: ctypes.c_void_p, name: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, name + "Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, name)(program, buffer))
        return buffer.raw

    def _check(self, code: int) -> None:
        if code:
            raise DependencyError(f"NVRTC: {self._library.nvrtcGetErrorString(code).decode()}", hint=_HINT)


@lru_cache(maxsize=1)
def load_nvrtc() -> Nvrtc:
    """The NVRTC that fits torch's CUDA version, otherwise the first that loads.

    Raises
    ------
    DependencyError
        None is found, or none loads.
    """
    loaded, failures = [], []
    for path in find_libraries():
        try:
            loaded.append(Nvrtc(path))
        except (OSError, DependencyError) as error:
            failures.append(f"{path}: {error}")
    if not loaded:
        raise DependencyError("NVRTC is not usable: " + ("; ".join(failures) or "not found"), hint=_HINT)
    wanted = _torch_cuda_major()
    return next((nvrtc for nvrtc in loaded if nvrtc.version[0] == wanted), loaded[0])


def compile_cached(source: str, capability: int) -> bytes:
    """As :meth:`Nvrtc.compile`, kept in the user's cache folder by source, device and NVRTC version."""
    nvrtc = load_nvrtc()
    key = hashlib.sha256(repr((source, capability, nvrtc.version, _OPTIONS)).encode()).hexdigest()[:32]
    path = cache_folder() / f"{key}.cubin"
    with contextlib.suppress(OSError):
        return path.read_bytes()
    code = nvrtc.compile(source, capability)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        os.replace(file.name, path)
    return code


def cache_folder() -> Path:
    """Where compiled kernels are kept; ``DSARECON_CACHE_DIR`` moves it."""
    if os.environ.get("DSARECON_CACHE_DIR"):
        return Path(os.environ["DSARECON_CACHE_DIR"]) / "cuda"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "dsarecon" / "cache" / "cuda"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dsarecon" / "cuda"


def _torch_cuda_major() -> int | None:
    torch = sys.modules.get("torch")
    version = torch.version.cuda if torch is not None else None
    return int(version.split(".")[0]) if version else None
