"""A result folder and its source runs as DICOM objects in a folder that appears complete or not at all."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib import __version__
from DSAReconLib.dicom.results.files import COMPRESSIONS, optional_highdicom, save
from DSAReconLib.dicom.results.identity import DISCLAIMER, ResultIdentity
from DSAReconLib.dicom.results.parametric_map import arrival_time_object
from DSAReconLib.dicom.results.scale import StoredScale
from DSAReconLib.dicom.results.secondary_capture import key_views_object, movie_object
from DSAReconLib.dicom.results.segmentation import segmentation_object
from DSAReconLib.dicom.results.sources import read_sources
from DSAReconLib.dicom.results.surface import surface_object
from DSAReconLib.dicom.results.xray3d import TimePoint, xray3d_object
from DSAReconLib.errors import ResultError
from DSAReconLib.io.atomic import replace_folder
from DSAReconLib.io.json_text import plain
from DSAReconLib.io.result_folder import RECORD, ResultFolder, open_result
from DSAReconLib.progress import Progress
from DSAReconLib.reconstruction import DynamicVolume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

VOLUMES = "attenuation"
FIRST_VOLUME = f"{VOLUMES}/time_000.dcm"
"""The object that every export has."""

_FILES = ("vessel_mask.dcm", "arrival_time.dcm", "vessel_surface.dcm", "key_views.dcm", "movie.dcm")
_BACKPROJECTION = ("fdk", "dsa4d")
_LARGEST_MOVIE_SIDE = 512
_NO_TRIANGLES = 84  # bytes of a binary STL file without triangles


@dataclass(frozen=True, kw_only=True)
class DicomExport:
    """What is written where.

    Parameters
    ----------
    result
        Result folder.
    sources
        Files and folders with the runs that it was made from: patient and study come from there.
    out
        New or empty folder, or an earlier export with ``overwrite``.
    times
        Number of time points, evenly of those of ``attenuation.seq.nrrd``; all by default.
    compression
        Lossless compression of the volumes: ``none``, ``jpeg-ls`` or ``rle``.
    overwrite
        Replace an earlier export.
    device
        That views are rendered on.
    """

    result: Path
    sources: tuple[Path, ...]
    out: Path
    times: int | None = None
    compression: str = "none"
    overwrite: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ValueError(f"compression must be one of {tuple(COMPRESSIONS)}; got {self.compression!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1; got {self.times}")


def export_dicom(job: DicomExport, progress: Progress) -> list[Path]:
    """Write all objects; the files, volumes first.

    Raises
    ------
    ResultError
        ``result.source``: the sources are not those of the result; ``result.exists``: the
        folder has content; or the result is damaged.
    DependencyError
        highdicom, or an encoder, is not installed.
    ResourceError
        The folder cannot be written.
    JobCancelled
        Nothing is left behind.
    """
    result = open_result(job.result)
    optional_highdicom("A segmentation")
    _check_folder(job.out, job.overwrite)
    progress.report("export", 0.0, "source")
    identity = result_identity(result, job, progress)
    with replace_folder(job.out, overwrite=job.overwrite, marker=FIRST_VOLUME, own={VOLUMES, *_FILES}) as partial:
        written = _Writer(result, job, identity, progress).write(partial)
        progress.check_cancelled()
    progress.report("export", 1.0)
    return [job.out / name for name in written]


def result_identity(result: ResultFolder, job: DicomExport, progress: Progress) -> ResultIdentity:
    """What all objects of an export share; the same result, sources and times give the same UIDs."""
    record = result.record
    sources = read_sources(
        job.sources,
        record.get("input_sop_instance_uids") or (),
        overrides=record.get("header") or None,
        progress=progress,
    )
    digest = hashlib.sha256((result.folder / RECORD).read_bytes()).hexdigest()
    method = str(record.get("title") or record.get("method") or "Unknown method")
    views, frames = len(result.selected_views), len(result.times_s)
    return ResultIdentity(
        sources=sources,
        key=f"{digest} {__version__} {len(_times(result, job.times))}",
        frame_key=json.dumps(plain([record.get("header") or {}, record.get("corrections")]), sort_keys=True),
        method=method,
        views=views,
        frames=frames,
        version=__version__,
        finished=_finished(result),
        derivation=(
            f"Logarithmic subtraction of a rotational mask run from the fill run "
            f"(frames aligned: {record.get('registration', 'unknown')}), then {method} reconstruction of the contrast "
            f"attenuation over time from {views} of {frames} frames by DSARecon {__version__}; {DISCLAIMER}"
        ),
        algorithm="FILTER_BACK_PROJ" if record.get("method") in _BACKPROJECTION else "ITERATIVE",
    )


class _Writer:
    """Writes the objects of one export one after the other, so that one is in memory at a time."""

    def __init__(self, result: ResultFolder, job: DicomExport, identity: ResultIdentity, progress: Progress) -> None:
        self._result, self._job, self._identity, self._progress = result, job, identity, progress
        self._volume = result.load_volume()
        self._arrival_s = result.load_map("arrival_time")
        self._times_s = _times(result, job.times)
        self._inside = self._vessels()

    def write(self, folder: Path) -> list[str]:
        """Write all objects; their names."""
        (folder / VOLUMES).mkdir()
        names = [f"{VOLUMES}/time_{index:03d}.dcm" for index in range(len(self._times_s))]
        reference = self._write_volumes(folder, names)
        objects: dict[str, Callable[[], Dataset | str]] = {
            "vessel_mask.dcm": lambda: self._vessel_mask(reference),
            "arrival_time.dcm": lambda: self._arrival_time(reference),
            "vessel_surface.dcm": self._surface,
            "key_views.dcm": self._key_views,
            "movie.dcm": self._movie,
        }
        for number, (name, make) in enumerate(objects.items()):
            self._progress.check_cancelled()
            self._progress.report("export", 0.6 + 0.4 * number / len(objects), name)
            dataset = make()
            if isinstance(dataset, str):
                self._progress.warn("export.left_out", f"{name} is left out: {dataset}")
            else:
                save(dataset, folder / name)
                names.append(name)
        return names

    def _vessels(self) -> NDArray[np.bool_]:
        """Voxels (z, y, x) inside the vessel surface: those with an arrival time, if there is any."""
        inside = np.isfinite(self._arrival_s)
        if inside.any():
            return inside
        return self._volume.at(self._times_s[0]) >= float(self._result.record["surface_threshold"])

    def _vessel_mask(self, reference: Dataset) -> Dataset | str:
        """The object, here and below, or why there is none."""
        if not self._inside.any():
            return "the result has no vessel voxel."
        return segmentation_object(self._inside, self._volume.grid, reference, self._identity)

    def _arrival_time(self, reference: Dataset) -> Dataset | str:
        if not np.isfinite(self._arrival_s).any():
            return "the result does not change over time."
        return arrival_time_object(self._arrival_s, self._volume.grid, reference, self._identity)

    def _surface(self) -> Dataset | str:
        stl = (self._result.folder / "vessels.stl").read_bytes()
        return surface_object(stl, self._identity) if len(stl) > _NO_TRIANGLES else "the result has no surface."

    def _write_volumes(self, folder: Path, names: list[str]) -> Dataset:
        """Write all time points; the object with most contrast."""
        scale, brightest = _scale_and_brightest(self._volume, self._times_s)
        window = self._window()
        reference: Dataset | None = None
        for index, (name, time_s) in enumerate(zip(names, self._times_s)):
            self._progress.check_cancelled()
            self._progress.report("export", 0.6 * index / len(names), name)
            point = TimePoint(index=index, count=len(names), time_s=float(time_s))
            attenuation = self._volume.at(time_s)
            dataset = xray3d_object(attenuation, self._volume.grid, point, self._identity, scale=scale, window=window)
            save(dataset, folder / name, compression=self._job.compression)
            if index == brightest:
                reference = dataset
        assert reference is not None
        return reference

    def _window(self) -> tuple[float, float]:
        """Attenuation of the display: 0 and what nearly all vessel voxels stay below at their peak."""
        peak = self._result.load_map("attenuation_peak")
        high = float(np.percentile(peak[self._inside], 99)) if self._inside.any() else float(peak.max())
        return 0.0, max(high, 1e-6)

    def _key_views(self) -> Dataset:
        from DSAReconLib.rendering.key_views import key_views

        pictures, captions = key_views(
            self._result.load_map("attenuation_peak"),
            self._arrival_s,
            self._volume.grid,
            self._result.geometry,
            note=f"{self._identity.method}, {self._identity.views} views: {DISCLAIMER}",
            device=self._job.device,
            progress=self._progress,
        )
        return key_views_object(pictures, captions, self._identity)

    def _movie(self) -> Dataset | str:
        from DSAReconLib.rendering.images import grey_levels
        from DSAReconLib.rendering.views import render_line_integrals

        geometry, times = self._result.geometry, self._result.times_s
        if len(times) < 2:
            return "the run has one frame."
        factor = -(-max(geometry.detector_shape) // _LARGEST_MOVIE_SIDE)
        images = render_line_integrals(
            self._result.load_reconstruction().model,
            geometry.binned(factor) if factor > 1 else geometry,
            times,
            device=self._job.device,
            progress=self._progress,
        )
        return movie_object(grey_levels(images), times, self._identity)


def _times(result: ResultFolder, count: int | None) -> NDArray[np.float64]:
    """Time points (T,), s, evenly of those that the result folder has."""
    times = np.asarray(result.record["sequence_times_s"], float)
    if count is None or count >= len(times):
        return times
    return times[np.unique(np.linspace(0, len(times) - 1, count).round().astype(int))]


def _scale_and_brightest(volume: DynamicVolume, times_s: NDArray[np.float64]) -> tuple[StoredScale, int]:
    """One scale for all times, and the time (index) with most contrast."""
    low = high = 0.0
    totals = []
    for weights in volume.basis.at(times_s):
        values = weights @ volume.coefficients
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        totals.append(float(values.sum(dtype=float)))
    return StoredScale.covering(low, high), int(np.argmax(totals))


def _finished(result: ResultFolder) -> dt.datetime:
    """When the reconstruction ended, local time."""
    text: Any = result.record.get("finished_at")
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = dt.datetime.fromtimestamp((result.folder / RECORD).stat().st_mtime, dt.timezone.utc)
    return moment.astimezone().replace(tzinfo=None)


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuse before any work what would be refused at the end."""
    if out.exists() and not out.is_dir():
        raise ResultError(f"{out} is a file; a folder is expected.", hint="Choose a new folder.", code="result.exists")
    if not out.is_dir() or not any(out.iterdir()):
        return
    ours = (out / FIRST_VOLUME).is_file()
    if ours and overwrite:
        return
    hint = "Choose a new or empty folder" + (", or replace the earlier export with --overwrite." if ours else ".")
    raise ResultError(f"{out} is not empty; nothing was written.", hint=hint, code="result.exists")
