"""What a simulated case consists of: one frozen dataclass, and the presets."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

from DSAReconLib.errors import ConfigError
from DSAReconLib.simulation.transport import FLOW_MODELS, Flow

BUILT_IN_TREES = ("carotid", "aneurysm", "avm", "tiny")


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {expected}; got {value}.")


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """A virtual rotational DSA. Defaults: the usual 5 s protocol (part 3 of the DICOM notes).

    Parameters
    ----------
    tree
        Built-in tree (``carotid``, ``aneurysm``, ``avm``, ``tiny``) or path of an SWC or VTP file (LPS mm).
    tree_scale
        Factor for positions and radii of the tree.
    center_tree
        Put the middle of the tree's bounding box at the isocenter.
    branch_density
        Number of small cortical branches of built-in trees, relative to the default; ``None`` = the tree's own.
    flow
        Injection and blood flow.
    isocenter_offset_mm
        Where the patient (tree and head) is moved to, (x, y, z) LPS mm.
    seed
        Fixes anatomy, motion and noise.
    views
        Frames of the fill run.
    mask_views
        Frames of the mask run; ``None`` = as many as the fill run.
    arc_deg
        Primary angle from the first to the last frame.
    start_angle_deg
        Primary angle of the first frame; ``None`` = minus half the arc.
    mask_angle_offset_deg
        How far the mask run starts before (-) or behind (+) the fill run.
    secondary_angle_deg, secondary_swing_deg
        Secondary angle: constant part, and amplitude of one slow swing (known to the DICOM header).
    duration_s
        Time from the first to the last frame.
    sod_mm, sdd_mm
        Source to isocenter and to detector.
    detector_shape, detector_spacing_mm
        (rows, columns), and pixel size at the detector (rows and columns).
    principal_point_offset_px
        (row, column) by which the isocenter is projected away from the middle (known to the header).
    voxel_mm
        Edge of the voxels of the truth (larger for trees of 30 ml and more, to bound the memory).
    background
        ``skull`` (built in), ``none``, or path of a head CT (NIfTI, NRRD, MHA).
    photons
        Median photons per pixel behind the head; 0 = no noise.
    electronic_noise_photons
        Standard deviation of the electronic noise, in photons.
    scatter_fraction
        Smooth scatter relative to the primary intensity.
    beam_hardening
        Use a spectrum (50-80 keV) instead of the effective 55 keV.
    wobble_mm
        Gantry wobble: RMS shift of the image at the isocenter that the header does not know (with 0.2 deg roll per mm).
    roll_deg
        RMS roll of the detector about the beam that the header does not know, slowly varying (besides the wobble).
    misregistration_mm
        Patient motion between mask and fill: RMS shift at the isocenter, slowly varying.
    """

    tree: str = "carotid"
    tree_scale: float = 1.0
    center_tree: bool = True
    branch_density: float | None = None
    flow: Flow = field(default_factory=Flow)
    isocenter_offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seed: int = 0
    views: int = 133
    mask_views: int | None = None
    arc_deg: float = 200.0
    start_angle_deg: float | None = None
    mask_angle_offset_deg: float = 0.0
    secondary_angle_deg: float = 0.0
    secondary_swing_deg: float = 0.0
    duration_s: float = 5.0
    sod_mm: float = 750.0
    sdd_mm: float = 1200.0
    detector_shape: tuple[int, int] = (256, 256)
    detector_spacing_mm: float = 1.1
    principal_point_offset_px: tuple[float, float] = (0.0, 0.0)
    voxel_mm: float = 0.4
    background: str = "skull"
    photons: float = 2e4
    electronic_noise_photons: float = 10.0
    scatter_fraction: float = 0.05
    beam_hardening: bool = False
    wobble_mm: float = 0.0
    roll_deg: float = 0.0
    misregistration_mm: float = 0.0

    def __post_init__(self) -> None:
        positive = ("tree_scale", "duration_s", "sod_mm", "detector_spacing_mm", "voxel_mm", "arc_deg")
        for name in positive:
            _require(getattr(self, name) > 0, name, getattr(self, name), "greater than 0")
        imperfections = ("photons", "electronic_noise_photons", "scatter_fraction")
        for name in (*imperfections, "wobble_mm", "roll_deg", "misregistration_mm"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        self._require_finite()
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        _require(self.views >= 2, "views", self.views, "at least 2")
        _require(self.mask_views is None or self.mask_views >= 2, "mask_views", self.mask_views, "at least 2")
        _require(self.arc_deg <= 400, "arc_deg", self.arc_deg, "at most 400")
        _require(self.sdd_mm > self.sod_mm, "sdd_mm", self.sdd_mm, f"greater than sod_mm={self.sod_mm:g}")
        _require(min(self.detector_shape) >= 8, "detector_shape", self.detector_shape, "at least 8 x 8")
        _require(self.flow.model in FLOW_MODELS, "flow", self.flow.model, "one of " + ", ".join(FLOW_MODELS))
        if self.tree not in BUILT_IN_TREES and not Path(self.tree).exists():
            raise ConfigError(
                f"tree {self.tree!r} is neither a built-in tree nor a file.",
                hint=f"Built-in trees: {', '.join(BUILT_IN_TREES)}; files: SWC or VTP center lines in LPS mm.",
            )

    def _require_finite(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            numbers = value if isinstance(value, tuple) else (value,)
            finite = all(math.isfinite(number) for number in numbers if isinstance(number, float))
            _require(finite, entry.name, value, "finite")

    def to_dict(self) -> dict[str, object]:
        """Plain values for ``truth.json``."""
        return dataclasses.asdict(self)


PRESETS: dict[str, SimulationConfig] = {
    "carotid": SimulationConfig(),
    "aneurysm": SimulationConfig(tree="aneurysm"),
    "avm": SimulationConfig(tree="avm", flow=Flow(velocity_mm_s=520.0, injection_duration_s=3.0)),
    "tiny": SimulationConfig(
        tree="tiny",
        views=30,
        detector_shape=(64, 64),
        detector_spacing_mm=1.6,
        voxel_mm=0.6,
        flow=Flow(velocity_mm_s=90.0, velocity_limits_mm_s=(25.0, 600.0), injection_duration_s=2.4),
    ),
}
"""Ready cases by name."""


def preset(name: str) -> SimulationConfig:
    """The ready case ``name``.

    Raises
    ------
    ConfigError
        There is no such preset.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(f"There is no preset {name!r}.", hint=f"Choose one of: {', '.join(PRESETS)}.") from None
