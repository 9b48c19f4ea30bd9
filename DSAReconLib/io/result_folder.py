"""The result folder: what a reconstruction leaves on disk, written atomically."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import ResultError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.atomic import replace_folder
from DSAReconLib.io.derived import gaussians_from_volume, is_static, soft_threshold, vessel_arrival_time
from DSAReconLib.io.json_text import read_json, write_json
from DSAReconLib.io.mesh import extract_surface, vtp_available, write_stl, write_vtp
from DSAReconLib.io.nrrd import read_volume, round_mantissa, write_sequence, write_volume
from DSAReconLib.io.ply import read_gaussians, write_gaussians
from DSAReconLib.progress import Progress, SilentProgress
from DSAReconLib.reconstruction import (
    DetectorMotion,
    DynamicVolume,
    OpacityGaussians,
    PictureScale,
    RadiativeGaussians,
    Reconstruction,
    TemporalBasis,
)

SCHEMA_VERSION = 1
RECORD = "run.json"
FILES = (
    RECORD,
    "attenuation.seq.nrrd",
    "attenuation_peak.nrrd",
    "vessel_probability.nrrd",
    "arrival_time.nrrd",
    "vessels.stl",
    "vessels.vtp",
    "gaussians.ply",
    "geometry.json",
    "model.npz",
    "log.txt",
    "report.html",
)
ADDED_LATER = ("metrics.json",)
"""Files that an evaluation adds; they go when the result is replaced."""

_ATTENUATION_KEYS = {"attenuation unit": "1/mm"}
_MAX_SEQUENCE_FRAMES = 30
_DENSE_SAMPLES = 120  # times at which peak and arrival are looked for: finer than the frames of any run


@dataclass(frozen=True)
class ResultFolder:
    """A result folder that was opened; large files are read when asked for.

    Parameters
    ----------
    folder
        Where it lies.
    record
        Content of ``run.json``.
    geometry
        Poses of all frames of the fill run.
    times_s
        Times of all frames (F,), s.
    """

    folder: Path
    record: dict[str, Any]
    geometry: ConeBeamGeometry
    times_s: NDArray[np.float64]

    @property
    def selected_views(self) -> NDArray[np.int64]:
        """Frames that the reconstruction used."""
        return np.array(self.record["selected_views"], np.int64)

    @property
    def heldout_views(self) -> NDArray[np.int64]:
        """Frames that it did not see."""
        return np.array(self.record["heldout_views"], np.int64)

    def load_reconstruction(self) -> Reconstruction:
        """The reconstruction with its exact coefficients; ResultError if a file is damaged."""
        own_gaussians = self.record.get("gaussians") == "method"
        return Reconstruction(
            volume=self.load_volume(),
            surface_threshold=float(self.record["surface_threshold"]),
            gaussians=self.load_gaussians() if own_gaussians else None,
            native=self.record["native"],
            vessel_probability=self.load_map("vessel_probability"),
            maps={name: self.load_map(name) for name in self.record.get("maps", ())},
            warnings=tuple((code, message) for code, message in self.record.get("warnings", ())),
            facts=dict(self.record.get("facts", {})),
            pictures=_read_pictures(self.folder / "model.npz") if self.record["native"] == "pictures" else None,
            detector_motion=_read_motion(self.record.get("detector_motion")),
        )

    def load_volume(self) -> DynamicVolume:
        """The attenuation over time with its exact coefficients, and nothing else."""
        return _read_model(self.folder / "model.npz")

    def load_gaussians(self) -> RadiativeGaussians:
        """The Gaussians: the method's own, or converted from its volume."""
        return read_gaussians(self.folder / "gaussians.ply")

    def load_map(self, name: str) -> NDArray[np.float32]:
        """A volume (z, y, x) by its file name stem, e.g. ``"arrival_time"``."""
        volume: NDArray[np.float32] = read_volume(self.folder / f"{name}.nrrd")[0]
        return volume


def write_result(
    folder: Path,
    reconstruction: Reconstruction,
    *,
    record: Mapping[str, Any],
    geometry: ConeBeamGeometry,
    times_s: ArrayLike,
    sequence_times_s: ArrayLike | None = None,
    log_text: str = "",
    overwrite: bool = False,
    finish: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write everything that a result folder holds; the folder appears complete or not at all.

    Parameters
    ----------
    folder
        New, empty, or (with ``overwrite``) an older result.
    record
        Content of ``run.json``; must hold ``selected_views`` and ``heldout_views`` (lists
        of frame numbers). Facts of the reconstruction and file names are added.
    geometry, times_s
        Poses and times (F,), s, of all frames of the fill run.
    sequence_times_s
        Times of ``attenuation.seq.nrrd``, s; default at most 30, evenly over the run
        (one for a static volume).
    log_text
        Content of ``log.txt``; no patient data.
    finish
        Called with the folder before it becomes visible, e.g. to add ``report.html``.

    Raises
    ------
    ResultError
        The folder has other content.
    ResourceError
        It cannot be written; nothing is left behind.
    """
    times = np.atleast_1d(np.asarray(times_s, float))
    progress = progress or SilentProgress()
    with replace_folder(folder, overwrite=overwrite, marker=RECORD, own=_own_files(folder)) as partial:
        sequence_times = _sequence_times(reconstruction, times, sequence_times_s)
        added = _write_volumes(partial, reconstruction, times, sequence_times, progress)
        added |= _write_models(partial, reconstruction, times)
        write_json(partial / "geometry.json", geometry.to_dict() | {"times_s": times.tolist()})
        (partial / "log.txt").write_text(log_text, encoding="utf-8")
        write_json(partial / RECORD, {"schema_version": SCHEMA_VERSION, **record, **added})
        if finish is not None:
            finish(partial)
        progress.check_cancelled()
    return folder


def open_result(folder: Path) -> ResultFolder:
    """Open a result folder.

    Raises
    ------
    ResultError
        Not a result folder, of a newer schema, or a file is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise ResultError(
            f"{folder} is not a result folder: it has no {RECORD}.",
            hint="Give the folder that 'dsarecon reconstruct --out' wrote.",
        )
    record, geometry = read_json(folder / RECORD), read_json(folder / "geometry.json")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ResultError(
            f"{folder / RECORD} has schema version {record.get('schema_version')}; expected {SCHEMA_VERSION}.",
            hint="Use the version of DSARecon that wrote it (see its 'versions' entry).",
        )
    missing = [
        name for name in ("selected_views", "heldout_views", "surface_threshold", "native") if name not in record
    ]
    if missing:
        raise ResultError(f"{folder / RECORD} is damaged: {', '.join(missing)} is missing.")
    try:
        poses, times = ConeBeamGeometry.from_dict(geometry), np.array(geometry["times_s"], float)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultError(f"{folder / 'geometry.json'} is damaged ({error}).") from error
    return ResultFolder(folder, record, poses, times)


def _own_files(folder: Path) -> set[str]:
    """File names of an older result that a new one replaces."""
    maps = read_json(folder / RECORD).get("maps", ()) if (folder / RECORD).is_file() else ()
    return {*FILES, *ADDED_LATER, *(f"{name}.nrrd" for name in maps)}


def _sequence_times(
    reconstruction: Reconstruction, times: NDArray[np.float64], wanted: ArrayLike | None
) -> NDArray[np.float64]:
    if wanted is not None:
        return np.atleast_1d(np.asarray(wanted, float))
    count = 1 if is_static(reconstruction.volume) else min(len(times), _MAX_SEQUENCE_FRAMES)
    return np.linspace(times[0], times[-1], count)


def _write_volumes(
    folder: Path,
    reconstruction: Reconstruction,
    times: NDArray[np.float64],
    sequence_times: NDArray[np.float64],
    progress: Progress,
) -> dict[str, Any]:
    """Write the NRRD files and the surface; entries for the record."""
    volume, grid = reconstruction.volume, reconstruction.volume.grid

    def frames() -> Iterator[NDArray[np.float32]]:
        for number, time in enumerate(sequence_times):
            progress.check_cancelled()
            progress.report("write", 0.8 * number / len(sequence_times), "4D volume")
            yield round_mantissa(volume.at(time))

    write_sequence(folder / "attenuation.seq.nrrd", frames(), grid, sequence_times, keys=_ATTENUATION_KEYS)
    dense = np.linspace(times[0], times[-1], 1 if is_static(volume) else _DENSE_SAMPLES)
    top_mean = volume.top_mean(dense)
    probability = reconstruction.vessel_probability
    if probability is None:
        probability = soft_threshold(top_mean, reconstruction.surface_threshold)
    progress.check_cancelled()
    arrival = vessel_arrival_time(volume, top_mean >= reconstruction.surface_threshold, dense)
    write_volume(folder / "attenuation_peak.nrrd", volume.peak(dense), grid, keys=_ATTENUATION_KEYS)
    write_volume(folder / "vessel_probability.nrrd", probability.astype(np.float32), grid)
    write_volume(folder / "arrival_time.nrrd", arrival, grid, keys={"time unit": "s"})
    for name, values in reconstruction.maps.items():
        write_volume(folder / f"{name}.nrrd", values, grid)
    progress.check_cancelled()
    progress.report("write", 0.9, "surface")
    surface = extract_surface(top_mean, grid, reconstruction.surface_threshold, maps={"arrival_time_s": arrival})
    write_stl(folder / "vessels.stl", surface)
    if vtp_available():
        write_vtp(folder / "vessels.vtp", surface)
    return {
        "surface_threshold": float(reconstruction.surface_threshold),
        "surface_triangles": len(surface.triangles),
        "sequence_times_s": sequence_times.tolist(),
        "grid": {
            "shape_zyx": list(grid.shape_zyx),
            "spacing_mm": list(grid.spacing_mm),
            "origin_mm": list(grid.origin_mm),
        },
        "maps": sorted(reconstruction.maps),
    }


def _write_models(folder: Path, reconstruction: Reconstruction, times: NDArray[np.float64]) -> dict[str, Any]:
    """Write the exact coefficients and the Gaussians; entries for the record."""
    volume = reconstruction.volume
    arrays: dict[str, NDArray[Any]] = {
        "shape_zyx": np.array(volume.grid.shape_zyx),
        "spacing_mm": np.array(volume.grid.spacing_mm),
        "origin_mm": np.array(volume.grid.origin_mm),
        "basis_times_s": volume.basis.times_s,
        "basis_values": volume.basis.values,
        "coefficients": volume.coefficients,
    }
    if volume.support is not None:
        arrays["support"] = volume.support
    if reconstruction.pictures is not None:
        arrays |= _picture_arrays(reconstruction.pictures)
    with zipfile.ZipFile(folder / "model.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    gaussians, origin = reconstruction.gaussians, "method"
    if gaussians is None:
        coarse_times = np.linspace(times[0], times[-1], min(len(times), 13))
        gaussians = gaussians_from_volume(volume, 0.5 * reconstruction.surface_threshold, coarse_times)
        origin = "converted"
    write_gaussians(folder / "gaussians.ply", gaussians)
    return {
        "native": reconstruction.native,
        "gaussians": origin,
        "num_gaussians": len(gaussians),
        "facts": reconstruction.facts,
        "detector_motion": _motion_entry(reconstruction.detector_motion),
    }


def _motion_entry(motion: DetectorMotion | None) -> dict[str, Any] | None:
    """Detector motion as an entry of the record."""
    if motion is None:
        return None
    return {name: getattr(motion, name).tolist() for name in ("times_s", "shifts_mm", "turns_deg")}


def _read_motion(entry: dict[str, Any] | None) -> DetectorMotion | None:
    return (
        None if entry is None else DetectorMotion(**{name: np.array(values, float) for name, values in entry.items()})
    )


def _read_model(path: Path) -> DynamicVolume:
    try:
        with np.load(path, allow_pickle=False) as data:
            grid = VolumeGrid(tuple(data["shape_zyx"]), tuple(data["spacing_mm"]), tuple(data["origin_mm"]))
            basis = TemporalBasis(data["basis_times_s"], data["basis_values"])
            support = data["support"] if "support" in data.files else None
            return DynamicVolume(grid, data["coefficients"], basis, support)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ResultError(f"{path} is missing or damaged ({error}).", hint="Reconstruct again.") from error


def _picture_arrays(model: OpacityGaussians) -> dict[str, NDArray[Any]]:
    """A model of pictures as the arrays of ``model.npz`` whose names begin with ``pictures_``."""
    arrays: dict[str, NDArray[Any]] = {
        "means_mm": model.means_mm,
        "scales_mm": model.scales_mm,
        "quats_wxyz": model.quats_wxyz,
        "opacities": model.opacities,
        "color_harmonics": model.color_harmonics,
        "basis_times_s": model.basis.times_s,
        "basis_values": model.basis.values,
        "scale_kind": np.array(model.picture.kind),
        "scale_largest": np.array(model.picture.largest),
        "pixel_mm": np.array(model.pixel_mm),
    }
    return {f"pictures_{name}": values for name, values in arrays.items()}


def _read_pictures(path: Path) -> OpacityGaussians:
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {name.removeprefix("pictures_"): data[name] for name in data.files if name.startswith("pictures_")}
            return OpacityGaussians(
                means_mm=found["means_mm"],
                scales_mm=found["scales_mm"],
                quats_wxyz=found["quats_wxyz"],
                opacities=found["opacities"],
                color_harmonics=found["color_harmonics"],
                basis=TemporalBasis(found["basis_times_s"], found["basis_values"]),
                picture=PictureScale(found["scale_kind"].item(), found["scale_largest"].item()),
                pixel_mm=found["pixel_mm"].item(),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ResultError(f"{path} is missing or damaged ({error}).", hint="Reconstruct again.") from error
