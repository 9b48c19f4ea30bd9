"""``dsarecon simulate``: a virtual rotational DSA as XA runs, with ground truth."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.xa_writer import ANGLE_FORMS, PIXEL_RELATIONSHIPS, TIME_FORMS, TRANSFER_SYNTAXES, XaEncoding

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console
    from DSAReconLib.simulation import SimulationConfig

HELP = "simulate a rotational DSA: writes mask.dcm, fill.dcm and the truth behind them"

_FLOWS = ("transit", "pulsatile", "two-phase", "recirculation", "advection-diffusion", "trapping", "blush", "layering")
_PRESETS = ("carotid", "aneurysm", "avm", "tiny")

# Options that are fields of SimulationConfig under another name: option -> field.
_FIELDS = {
    "seed": "seed",
    "views": "views",
    "mask_views": "mask_views",
    "arc": "arc_deg",
    "start_angle": "start_angle_deg",
    "mask_angle_offset": "mask_angle_offset_deg",
    "secondary": "secondary_angle_deg",
    "secondary_swing": "secondary_swing_deg",
    "duration": "duration_s",
    "sod": "sod_mm",
    "sdd": "sdd_mm",
    "voxel": "voxel_mm",
    "scale": "tree_scale",
    "branches": "branch_density",
    "head_ct": "background",
    "noise": "photons",
    "scatter": "scatter_fraction",
    "wobble": "wobble_mm",
    "roll": "roll_deg",
    "misregistration": "misregistration_mm",
    "principal_point_offset": "principal_point_offset_px",
    "isocenter_offset": "isocenter_offset_mm",
    "tree": "tree",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon simulate``."""
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    add("--preset", choices=_PRESETS, default="carotid", help="case to start from (carotid)")
    add("--tree", metavar="FILE", help="vessel tree: SWC or VTP center lines in LPS mm, or the name of a preset's tree")
    add("--scale", type=float, metavar="FACTOR", help="size of the tree")
    add("--branches", type=float, metavar="FACTOR", help="number of small branches of built-in trees")
    add("--head-ct", metavar="FILE", help="head CT in HU (NIfTI, NRRD), 'skull' (built in, default) or 'none'")
    add("--seed", type=int, help="fixes anatomy, motion and noise (0)")
    add("--voxel", type=float, metavar="MM", help="voxels of the truth (0.4)")
    _add_scan(parser.add_argument_group("scan"))
    _add_imperfections(parser.add_argument_group("blood flow and imperfections"))
    group = parser.add_argument_group("DICOM")
    group.add_argument("--pixels", choices=[p.lower() for p in PIXEL_RELATIONSHIPS], default="lin")
    group.add_argument("--angles", choices=ANGLE_FORMS, default="offsets", help="form of the angle increments")
    group.add_argument("--times", choices=TIME_FORMS, default="frame_time")
    group.add_argument("--transfer-syntax", choices=tuple(TRANSFER_SYNTAXES), default="explicit")
    group.add_argument("--one-object", action="store_true", help="both runs in run.dcm, linked as mask subtraction")


def _add_scan(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--views", type=int, metavar="N", help="frames per run (133)")
    add("--mask-views", type=int, metavar="N", help="frames of the mask run (as many)")
    add("--arc", type=float, metavar="DEG", help="swept primary angle (200)")
    add("--start-angle", type=float, metavar="DEG", help="primary angle of the first frame (-arc / 2)")
    add("--mask-angle-offset", type=float, metavar="DEG", help="primary angle of the mask minus that of the fill (0)")
    add("--secondary", type=float, metavar="DEG", help="secondary angle (0)")
    add("--secondary-swing", type=float, metavar="DEG", help="slow swing of the secondary angle (0)")
    add("--duration", type=float, metavar="S", help="time of one run (5)")
    add("--sod", type=float, metavar="MM", help="source to isocenter (750)")
    add("--sdd", type=float, metavar="MM", help="source to detector (1200)")
    add(
        "--detector",
        type=_shape,
        metavar="N",
        help="pixels per side of the 282 mm wide detector, or ROWSxCOLUMNS (256)",
    )
    add("--pixel", type=float, metavar="MM", help="pixel size at the detector (width / columns)")
    add("--principal-point-offset", type=float, nargs=2, metavar=("ROW", "COLUMN"), help="isocenter off the middle, px")
    add("--isocenter-offset", type=float, nargs=3, metavar=("X", "Y", "Z"), help="patient off the isocenter, mm")


def _add_imperfections(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--flow", choices=_FLOWS, help="flow model (transit)")
    add("--noise", type=float, metavar="PHOTONS", help="median photons per pixel behind the head, 0 = none (20000)")
    add("--scatter", type=float, metavar="FRACTION", help="scatter relative to the primary intensity (0.05)")
    add("--wobble", type=float, metavar="MM", help="gantry wobble that the header does not tell (0)")
    add("--roll", type=float, metavar="DEG", help="slow roll of the detector that the header does not tell (0)")
    add("--misregistration", type=float, metavar="MM", help="patient motion between mask and fill (0)")
    add("--beam-hardening", action="store_true", help="use a spectrum instead of one energy")


def run(args: argparse.Namespace, console: Console) -> int:
    """Simulate and write."""
    from DSAReconLib.simulation import check_case_folder, simulate_case, write_case

    config = config_of(args)
    encoding = XaEncoding(
        pixels=args.pixels.upper(), angles=args.angles, times=args.times, transfer_syntax=args.transfer_syntax
    )
    out = args.out.expanduser()
    check_case_folder(out)
    case = simulate_case(config, console.progress)
    folder = write_case(out, case, encoding, one_object=args.one_object)
    facts = case.truth.facts
    rows, columns = config.detector_shape
    console.note(
        f"{config.tree}: {facts['branches']} branches, {facts['vessel_volume_ml']:.1f} ml; "
        f"{config.views} frames of {rows} x {columns} over {config.arc_deg:g} degrees."
    )
    console.out(str(folder))
    console.result = str(folder)
    return 0


def config_of(args: argparse.Namespace) -> SimulationConfig:
    """The preset with what the command line changes."""
    from DSAReconLib.simulation import preset

    config = preset(args.preset)
    changes: dict[str, Any] = {}
    for option, name in _FIELDS.items():
        value = getattr(args, option)
        if value is not None:
            changes[name] = tuple(value) if isinstance(value, list) else value
    if args.flow is not None:
        changes["flow"] = dataclasses.replace(config.flow, model=args.flow)
    if args.beam_hardening:
        changes["beam_hardening"] = True
    shape = args.detector or config.detector_shape
    if args.pixel is not None:
        changes["detector_spacing_mm"] = args.pixel
    elif args.detector is not None:
        width = config.detector_spacing_mm * config.detector_shape[1]
        changes["detector_spacing_mm"] = width / shape[1]
    return dataclasses.replace(config, detector_shape=shape, **changes)


def _shape(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    try:
        shape = int(rows), int(columns or rows)
    except ValueError:
        shape = 0, 0
    if min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not N or ROWSxCOLUMNS, e.g. 256 or 192x256")
    return shape
