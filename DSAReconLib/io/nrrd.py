"""NRRD files in patient LPS: volumes, and sequences that 3D Slicer opens with their times.

Format: teem "Definition of NRRD File Format" (version 4, attached header). A sequence is
what Slicer's vtkMRMLVolumeSequenceStorageNode writes and reads: the slowest axis is of
kind ``list``, its label and unit say what changes, ``axis 3 index values`` holds the values.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import ResultError
from DSAReconLib.geometry import VolumeGrid

_NRRD_TYPES = {"float32": "float", "float64": "double", "uint8": "uchar", "uint16": "ushort", "int16": "short"}
_NUMPY_TYPES = {name: np.dtype(dtype) for dtype, name in _NRRD_TYPES.items()} | {
    "unsigned char": np.dtype(np.uint8),
    "uint8": np.dtype(np.uint8),
    "unsigned short": np.dtype(np.uint16),
    "uint16": np.dtype(np.uint16),
    "int16": np.dtype(np.int16),
    "int": np.dtype(np.int32),
}
_SUPPORTED = "scalar, axis-aligned, LPS, raw or gzip, data in the same file"
_COMPRESSION_LEVEL = 1  # zlib 6 makes files of the same background 10 % smaller and takes 4 times as long
_BLOCK_BYTES = 1 << 24


def write_volume(path: Path, volume: NDArray[Any], grid: VolumeGrid, *, keys: Mapping[str, str] | None = None) -> None:
    """Write a volume (z, y, x) of float32, float64, uint8, uint16 or int16 as gzip NRRD.

    ``keys`` are further key/value pairs of the header, e.g. ``{"unit": "1/mm"}``.
    """
    _check_shape(volume, grid)
    with open(path, "wb") as file:
        file.write(_header(grid, volume.dtype, None, keys or {}))
        _write_gzip(file, [volume])


def write_sequence(
    path: Path,
    frames: Iterable[NDArray[Any]],
    grid: VolumeGrid,
    times_s: ArrayLike,
    *,
    keys: Mapping[str, str] | None = None,
) -> None:
    """Write volumes (z, y, x), one per time in s, as a ``.seq.nrrd`` of 3D Slicer.

    ``frames`` may be a generator: one frame is in memory at a time. All frames have
    the type of the first.
    """
    times = np.atleast_1d(np.asarray(times_s, float))
    iterator = iter(frames)
    first = next(iterator)

    def checked() -> Iterator[NDArray[Any]]:
        for _, frame in zip(times, chain([first], iterator), strict=True):
            _check_shape(frame, grid)
            yield frame.astype(first.dtype, copy=False)

    with open(path, "wb") as file:
        file.write(_header(grid, first.dtype, times, keys or {}))
        _write_gzip(file, checked())


def read_volume(path: Path) -> tuple[NDArray[Any], VolumeGrid]:
    """Volume (z, y, x) and its grid.

    Raises
    ------
    ResultError
        Missing, damaged or of a kind that this reader does not know.
    """
    content = _read(path)
    if content.data.ndim != 3:
        raise ResultError(f"{path.name} has {content.data.ndim} dimensions; a volume has 3.")
    return content.data, content.grid


def read_sequence(path: Path) -> tuple[NDArray[Any], VolumeGrid, NDArray[np.float64]]:
    """Sequence (t, z, y, x), its grid and its times (t,) in s. Raises as :func:`read_volume`."""
    content = _read(path)
    values = content.fields.get("axis 3 index values")
    if content.data.ndim != 4 or values is None:
        raise ResultError(f"{path.name} is not a sequence of volumes with index values along the last axis.")
    return content.data, content.grid, np.array(values.split(), float)


def round_mantissa(values: NDArray[np.float32], bits: int = 12) -> NDArray[np.float32]:
    """float32 values rounded to ``bits`` bits after the leading one (relative error <= 2**-(bits+1)).

    The zero bits that this leaves make gzip files two to three times smaller; noise and
    model error are orders of magnitude larger than the rounding.
    """
    drop = 23 - bits
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1)
    odd = (raw >> np.uint32(drop)) & np.uint32(1)
    rounded = (raw + half + odd) & np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)
    return np.where(np.isfinite(values), rounded.view(np.float32), values)


@dataclass(frozen=True)
class _Content:
    data: NDArray[Any]
    grid: VolumeGrid
    fields: dict[str, str]


def _check_shape(volume: NDArray[Any], grid: VolumeGrid) -> None:
    if volume.shape != grid.shape_zyx:
        raise ValueError(f"volume must have the grid's shape {grid.shape_zyx}; got {volume.shape}")


def _header(
    grid: VolumeGrid, dtype: np.dtype[Any], times_s: NDArray[np.float64] | None, keys: Mapping[str, str]
) -> bytes:
    if dtype.name not in _NRRD_TYPES:
        raise ValueError(f"NRRD files here hold {', '.join(_NRRD_TYPES)}; got {dtype.name}")
    sequence = times_s is not None
    sizes = [*grid.shape_zyx[::-1], *([len(times_s)] if times_s is not None else [])]
    sx, sy, sz = (repr(s) for s in grid.spacing_mm)
    directions = f"({sx},0,0) (0,{sy},0) (0,0,{sz})" + (" none" if sequence else "")
    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES[dtype.name]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {directions}",
        f"kinds: domain domain domain{' list' if sequence else ''}",
    ]
    if sequence:
        lines += ['labels: "" "" "" "time"', 'units: "" "" "" "s"']
    lines += [
        "endian: little",
        "encoding: gzip",
        f"space origin: ({','.join(repr(o) for o in grid.origin_mm)})",
    ]
    if times_s is not None:
        lines += ["DataNodeClassName:=vtkMRMLScalarVolumeNode", "axis 3 index type:=numeric"]
        lines += [f"axis 3 index values:={' '.join(repr(float(t)) for t in times_s)}"]
    lines += [f"{name}:={value}" for name, value in keys.items()]
    return ("\n".join(lines) + "\n\n").encode("ascii")


def _write_gzip(file: BinaryIO, arrays: Iterable[NDArray[Any]]) -> None:
    """One gzip stream (no time stamp, so that equal data gives equal files)."""
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        data = little.reshape(-1).view(np.uint8).data
        for start in range(0, len(data), _BLOCK_BYTES):
            file.write(compressor.compress(data[start : start + _BLOCK_BYTES]))
    file.write(compressor.flush())


def _read(path: Path) -> _Content:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    head, separator, body = raw.partition(b"\n\n")
    if not head.startswith(b"NRRD000") or not separator:
        raise ResultError(f"{path.name} is not an NRRD file with its data attached.")
    try:
        fields = _parse_header(head.decode("ascii", "replace").replace("\r", ""))
        return _Content(_parse_data(fields, body), _parse_grid(fields), fields)
    except (KeyError, ValueError, TypeError, zlib.error) as error:
        raise ResultError(
            f"{path.name} is damaged or of an unknown kind ({error}).", hint=f"Expected: {_SUPPORTED}."
        ) from error


def _parse_header(text: str) -> dict[str, str]:
    fields = {}
    for line in text.splitlines()[1:]:
        if line.startswith("#"):
            continue
        name, separator, value = line.partition(":=") if ":=" in line else line.partition(":")
        if separator:
            fields[name.strip()] = value.strip()
    return fields


def _parse_data(fields: dict[str, str], body: bytes) -> NDArray[Any]:
    encoding = fields["encoding"]
    if encoding in ("gzip", "gz"):
        body = zlib.decompress(body, zlib.MAX_WBITS | 32)
    elif encoding != "raw":
        raise ValueError(f"encoding {encoding}")
    dtype = _NUMPY_TYPES[fields["type"]].newbyteorder(">" if fields.get("endian") == "big" else "<")
    shape = tuple(int(n) for n in fields["sizes"].split())[::-1]
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(body) != expected:
        raise ValueError(f"{len(body)} bytes of voxels, expected {expected}")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _parse_grid(fields: dict[str, str]) -> VolumeGrid:
    if fields["space"] not in ("left-posterior-superior", "LPS"):
        raise ValueError(f"space {fields['space']}")
    directions = [_parse_vector(text) for text in fields["space directions"].split() if text != "none"]
    matrix = np.array(directions)
    if matrix.shape != (3, 3) or np.any(matrix - np.diag(np.diag(matrix))) or np.any(np.diag(matrix) <= 0):
        raise ValueError(f"space directions {fields['space directions']}")
    nx, ny, nz = [int(n) for n in fields["sizes"].split()][:3]
    x, y, z = _parse_vector(fields["space origin"])
    return VolumeGrid((nz, ny, nx), (matrix[0, 0], matrix[1, 1], matrix[2, 2]), (x, y, z))


def _parse_vector(text: str) -> list[float]:
    return [float(value) for value in text.strip("()").split(",")]
