"""Radiative Gaussians as PLY: readable by 3D Gaussian splatting viewers, exact for ourselves.

Viewers find the attributes of the 3DGS reference format (Kerbl et al. 2023): position,
``f_dc_*`` (color), ``opacity`` (logit), ``scale_*`` (logarithm), ``rot_*`` (wxyz). Those
formats know no attenuation and no time, so the same vertices carry ``sigma_mm_*`` and
``coefficient_*`` as well, and header comments hold the temporal basis. Reading uses only
position, rotation and these: the round trip is exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ResultError
from DSAReconLib.reconstruction import RadiativeGaussians, TemporalBasis, arrival_times

_SH_C0 = 0.28209479177387814  # zeroth real spherical harmonic, 1 / (2 sqrt(pi))
_VIEWER_OPACITY = 0.9  # opacity that the 95th percentile of the kernels gets in viewers
_EARLY, _LATE = np.array([0.90, 0.10, 0.10]), np.array([0.15, 0.35, 0.95])


def write_gaussians(path: Path, gaussians: RadiativeGaussians) -> None:
    """Write Gaussians as binary PLY (little endian), positions in LPS mm."""
    columns = _columns(gaussians)
    vertices = np.empty(len(gaussians), [(name, "<f4") for name in columns])
    for name, values in columns.items():
        vertices[name] = values
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        "comment DSARecon radiative Gaussians, LPS mm, attenuation 1/mm",
        f"comment basis_times_s {_numbers(gaussians.basis.times_s, '%.17g')}",
        *(f"comment basis_{k} {_numbers(row, '%.9g')}" for k, row in enumerate(gaussians.basis.values)),
        f"element vertex {len(gaussians)}",
        *(f"property float {name}" for name in columns),
        "end_header\n",
    ]
    with open(path, "wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        file.write(vertices.tobytes())


def read_gaussians(path: Path) -> RadiativeGaussians:
    """Inverse of :func:`write_gaussians`.

    Raises
    ------
    ResultError
        Missing, damaged, or a PLY file without attenuation coefficients.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    head, separator, body = raw.partition(b"end_header\n")
    try:
        if not raw.startswith(b"ply") or not separator:
            raise ValueError("no PLY header")
        return _parse(head.decode("ascii").splitlines(), body)
    except (ValueError, KeyError) as error:
        raise ResultError(f"{path.name} does not hold radiative Gaussians of DSARecon ({error}).") from error


def _columns(gaussians: RadiativeGaussians) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = dict(zip("xyz", gaussians.means_mm.T))
    colors = (_arrival_colors(gaussians) - 0.5) / _SH_C0
    columns |= {f"f_dc_{i}": colors[:, i] for i in range(3)}
    columns["opacity"] = _opacity_logit(gaussians)
    columns |= {f"scale_{i}": np.log(np.maximum(gaussians.scales_mm[:, i], 1e-6)) for i in range(3)}
    columns |= {f"rot_{i}": gaussians.quats_wxyz[:, i] for i in range(4)}
    columns |= {f"sigma_mm_{i}": gaussians.scales_mm[:, i] for i in range(3)}
    return columns | {f"coefficient_{k}": row for k, row in enumerate(gaussians.coefficients)}


def _arrival_colors(gaussians: RadiativeGaussians) -> NDArray[np.float64]:
    """Colors (N, 3) in [0, 1]: red where the bolus comes first, blue where it comes last."""
    times = gaussians.basis.times_s
    arrival = arrival_times(gaussians.amplitudes(times).T, times) if len(gaussians) else np.zeros(0)
    span = max(float(times[-1] - times[0]), 1e-9)
    late = np.nan_to_num((arrival - times[0]) / span)[:, None]
    return (1 - late) * _EARLY + late * _LATE


def _opacity_logit(gaussians: RadiativeGaussians) -> NDArray[np.float64]:
    """Logit opacity (N,) for viewers: absorption along the middle of the kernel, scaled to be visible."""
    if not len(gaussians):
        return np.zeros(0)
    peak = np.maximum(gaussians.amplitudes(gaussians.basis.times_s).max(0), 0)
    depth = peak * gaussians.scales_mm.mean(1) * np.sqrt(2 * np.pi)
    gain = -np.log(1 - _VIEWER_OPACITY) / max(float(np.percentile(depth, 95)), 1e-12)
    opacity = np.clip(1 - np.exp(-gain * depth), 1e-4, 1 - 1e-4)
    return np.log(opacity / (1 - opacity))


def _numbers(values: NDArray[Any], spec: str) -> str:
    return " ".join(spec % value for value in values)


def _parse(header: list[str], body: bytes) -> RadiativeGaussians:
    if "format binary_little_endian 1.0" not in header:
        raise ValueError("not binary little endian")
    comments = dict(line.split(" ", 2)[1:] for line in header if line.startswith("comment basis_"))
    names = [line.split()[2] for line in header if line.startswith("property float ")]
    count = next(int(line.split()[2]) for line in header if line.startswith("element vertex "))
    if len(body) != 4 * len(names) * count:
        raise ValueError(f"{len(body)} bytes of vertices, expected {4 * len(names) * count}")
    vertices = np.frombuffer(body, [(name, "<f4") for name in names])

    def stacked(prefix: str, number: int) -> NDArray[np.float32]:
        return np.stack([vertices[f"{prefix}{i}"] for i in range(number)], -1)

    times = np.array(comments["basis_times_s"].split(), float)
    functions = len(comments) - 1
    basis = TemporalBasis(times, np.array([comments[f"basis_{k}"].split() for k in range(functions)], np.float32))
    return RadiativeGaussians(
        means_mm=np.stack([vertices[axis] for axis in "xyz"], -1),
        scales_mm=stacked("sigma_mm_", 3),
        quats_wxyz=stacked("rot_", 4),
        coefficients=np.ascontiguousarray(stacked("coefficient_", functions).T),
        basis=basis,
    )
