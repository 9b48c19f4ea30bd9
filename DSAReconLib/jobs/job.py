"""What a reconstruction job is, as a value that survives JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DSAReconLib.acquisition.subtraction import DEFAULT_REGISTRATION, REGISTRATIONS
from DSAReconLib.errors import ConfigError
from DSAReconLib.methods.registry import DEFAULT_METHOD, method_entry

SELECTIONS = ("uniform", "bolus")


@dataclass(frozen=True, kw_only=True)
class ReconstructionJob:
    """Everything that decides what a reconstruction computes and where it goes.

    Parameters
    ----------
    out
        Result folder.
    paths
        Files or folders that hold the mask and the fill run (paired automatically).
    fill, mask
        The two runs by name, instead of ``paths``.
    method, preset, overrides
        Method, one of its presets, and parameters that differ from it.
    views
        Number of frames to use, ``None`` = all.
    view_indices
        The frames to use, instead of ``views``: numbers and start:stop:step ranges,
        e.g. ``"0,4,8"`` or ``"0:133:4"``.
    selection
        How ``views`` are chosen: ``"uniform"`` or ``"bolus"``.
    size, spacing_mm
        Voxels per side and voxel size; ``None`` = from the preset and the field of view.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.
    seed
        Of everything random; ``None`` = the method's default.
    output_times
        Number of volumes in ``attenuation.seq.nrrd``; ``None`` = at most 30.
    header
        DICOM attributes by keyword that replace missing or wrong ones in both runs.
    corrections
        Table (CSV or JSON) of measured deviations from the nominal poses of the C-arm.
    registration
        Registration of mask and fill frames: ``"rigid3d"`` (rigid motion of the head in space), ``"rigid"`` (shift
        and turn in the image), ``"translation"`` or ``"none"``.
    report
        Make ``report.html``.
    resume
        Go on from the checkpoint beside ``out`` if there is one.
    overwrite
        Replace an older result in ``out``.
    """

    out: str
    paths: tuple[str, ...] = ()
    fill: str | None = None
    mask: str | None = None
    method: str = DEFAULT_METHOD
    preset: str = "balanced"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    views: int | None = None
    view_indices: str | None = None
    selection: str = "uniform"
    size: int | None = None
    spacing_mm: float | None = None
    device: str = "auto"
    seed: int | None = None
    output_times: int | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    corrections: str | None = None
    registration: str = DEFAULT_REGISTRATION
    report: bool = True
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        method_entry(self.method)
        if not self.paths and not (self.fill and self.mask):
            raise ConfigError("No input is given.", hint="Name a file or folder, or both --fill and --mask.")
        if self.paths and (self.fill or self.mask):
            raise ConfigError("Input is given twice.", hint="Name either PATH or --fill and --mask.")
        if self.views is not None and self.view_indices is not None:
            raise ConfigError("Views are given twice.", hint="Use either --views or --view-indices.")
        _check_choice("selection", self.selection, SELECTIONS)
        _check_choice("registration", self.registration, REGISTRATIONS)
        for name in ("overrides", "header"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(f"{name} must hold names with values; got {getattr(self, name)!r}.")
        for name, minimum in (("views", 2), ("size", 8), ("output_times", 1), ("seed", 0)):
            _check_number(name, getattr(self, name), minimum, int)
        _check_number("spacing_mm", self.spacing_mm, 1e-3, float)

    @property
    def out_folder(self) -> Path:
        """Result folder as an absolute path."""
        return Path(self.out).expanduser().absolute()

    @property
    def checkpoint_folder(self) -> Path:
        """Folder beside the result folder that exists while the job runs or waits to be resumed."""
        return self.out_folder.with_name(self.out_folder.name + ".checkpoint")

    def to_json(self) -> str:
        """JSON text of the job (the worker's ``CONFIG.json``)."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> ReconstructionJob:
        """Inverse of :meth:`to_json`; ConfigError naming what is wrong."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"The job is not valid JSON ({error}).") from error
        if not isinstance(content, dict) or "out" not in content:
            raise ConfigError("A job is a JSON object with at least 'out' and its input.")
        known = {entry.name for entry in dataclasses.fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise ConfigError(
                f"The job has unknown entries: {', '.join(unknown)}.", hint=f"Known: {', '.join(sorted(known))}."
            )
        if isinstance(content.get("paths"), list):
            content["paths"] = tuple(content["paths"])
        try:
            return cls(**content)
        except TypeError as error:
            raise ConfigError(f"An entry of the job has the wrong type ({error}).") from error


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")


def _check_number(name: str, value: object, minimum: float, kind: type[int] | type[float]) -> None:
    """Refuse what is no number of this kind; NaN and infinity pass every comparison with a minimum or none."""
    if value is None:
        return
    expected = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int | kind) or not math.isfinite(value):
        raise ConfigError(f"{name} must be {expected} of at least {minimum:g}; got {value!r}.")
    if value < minimum:
        raise ConfigError(f"{name} must be at least {minimum:g}; got {value:g}.")
