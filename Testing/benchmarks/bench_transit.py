"""Quality and time of the transit method on simulated cases, with ablations.

Each CASE is a folder that ``dsarecon simulate`` wrote (``mask.dcm``, ``fill.dcm``, ``truth/``).
One line per case, number of views and variant; ``--out`` appends the full metrics as JSON lines.
``GB`` is what the reconstruction itself adds to the memory of the process at its peak.

    python Testing/benchmarks/bench_transit.py CASE... --views 30,10 --variants full,voxel
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from DSAReconLib.acquisition import Angiogram
from DSAReconLib.acquisition.subtraction import subtract
from DSAReconLib.dicom.reader import read_run
from DSAReconLib.evaluation.protocol import evaluate_images, evaluate_truth, prepare_truth
from DSAReconLib.io.truth import read_truth
from DSAReconLib.kernels.splat import splat_xray
from DSAReconLib.methods.transit.config import PRESETS, Config
from DSAReconLib.methods.transit.reconstruct import reconstruct
from DSAReconLib.progress import SilentProgress
from DSAReconLib.reconstruction import Reconstruction

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "voxel": {"refine_steps": 0},
    "fast": PRESETS["fast"],
    "quality": PRESETS["quality"],
    "no reweighting": {"reweightings": 0},
    "one reweighting": {"reweightings": 1},
    "sparsity/10": {"sparsity_mm": 0.0107},
    "sparsity x3": {"sparsity_mm": 0.32},
    "no scatter": {"scatter_correction": False},
    "no shifts": {"shift_calibration": False},
    "no calibration": {"shift_calibration": False, "smooth_background": False, "scatter_correction": False},
    "no background": {"smooth_background": False},
}
COLUMNS = {
    "psnr_clean_db": "PSNR",
    "psnr_normalized_db": "PSNRmm",
    "dice_best": "Dice*",
    "dice_auto": "Dice",
    "cldice_auto": "clDice",
    "centerline_recall_auto": "rec",
    "centerline_precision_auto": "prec",
    "hd95_mm_auto": "HD95",
    "hd95_auto_mm": "HD95",
    "tac_nrmse": "TAC",
    "arrival_mae_s": "arr",
    "threshold_best_per_mm": "thr*",
    "threshold_auto_per_mm": "thr",
    "seconds": "s",
    "cpu_seconds": "cpu",
    "peak_gb": "GB",
}


def main() -> None:
    """Run the cases and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", type=Path)
    parser.add_argument("--views", default="30")
    parser.add_argument("--variants", default="full")
    parser.add_argument("--register", default="none", choices=("none", "translation", "rigid"))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number>")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--png", type=Path, help="folder for maximum intensity projections beside the truth")
    options = parser.parse_args()
    for case in options.cases:
        angiogram = subtract(read_run(case / "mask.dcm"), read_run(case / "fill.dcm"), register=options.register)
        truth = read_truth(case / "truth")
        reference = prepare_truth(truth)
        for views in map(int, options.views.split(",")):
            for variant in options.variants.split(","):
                overrides = VARIANTS[variant] | {n: json.loads(v) for n, v in (s.split("=", 1) for s in options.set)}
                config = Config(**overrides)
                result, metrics = measure(angiogram, truth, reference, views, config, options.device)
                report(case.name, views, variant, metrics, result, options.out)
                if options.png:
                    draw(result, reference, options.png / f"{case.name}_{views}_{variant.replace(' ', '_')}.png")


def measure(
    angiogram: Angiogram, truth: Any, reference: Any, views: int, config: Config, device: str
) -> tuple[Reconstruction, dict[str, float]]:
    """Reconstruct from evenly spaced views and compare with truth and held-out frames."""
    count = len(angiogram)
    chosen = np.floor(np.arange(views) * count / views).astype(int)
    heldout = np.setdiff1d(np.arange(count), chosen)[::4]
    grid = angiogram.geometry.field_of_view_grid(spacing_mm=0.8)
    selected = angiogram.select(chosen)
    before = forget_peak_gb()
    start, cpu = time.perf_counter(), time.process_time()
    result = reconstruct(selected, grid, config, device=device, progress=SilentProgress())
    metrics = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    metrics["peak_gb"] = memory_gb("VmHWM") - before
    kernels, frames = result.gaussians, angiogram.select(heldout)
    if kernels is not None and truth.clean_line_integrals is not None:
        rendered = splat_xray(
            kernels.means_mm,
            kernels.scales_mm,
            kernels.quats_wxyz,
            kernels.amplitudes(frames.times_s),
            result.poses(frames.geometry, frames.times_s),
            pixel_box=True,
        )
        clean = np.asarray(truth.clean_line_integrals, np.float32)[frames.frame_index]
        metrics |= evaluate_images(rendered, frames, clean=clean, scatter_share=result.scatter_share)
    return result, metrics | evaluate_truth(result, reference)


def forget_peak_gb() -> float:
    """Start measuring the peak of this process anew; returns the memory it holds now, GB (nan where Linux is not)."""
    peak = Path("/proc/self/clear_refs")
    if not peak.exists():
        return math.nan
    peak.write_text("5")  # resets VmHWM, see proc(5)
    return memory_gb("VmRSS")


def memory_gb(entry: str) -> float:
    """An entry of this process's memory table, GB."""
    table = Path("/proc/self/status")
    if not table.exists():
        return math.nan
    return next(int(line.split()[1]) for line in table.read_text().splitlines() if line.startswith(entry)) * 1024 / 1e9


def report(
    case: str, views: int, variant: str, metrics: dict[str, float], result: Reconstruction, out: Path | None
) -> None:
    """Print the columns, append everything to ``out``."""
    shown = [f"{title} {metrics[name]:.3f}" for name, title in COLUMNS.items() if name in metrics]
    facts = " ".join(f"{name}={value:.4g}" for name, value in result.facts.items())
    print(
        f"{case} {views} {variant} | {' | '.join(shown)} | {facts} | {[code for code, _ in result.warnings]}",
        flush=True,
    )
    if out is not None:
        record = {"case": case, "views": views, "variant": variant, **metrics, "facts": result.facts}
        with open(out, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def draw(result: Reconstruction, reference: Any, path: Path) -> None:
    """Maximum intensity projections of truth (top) and result (bottom) along the three axes."""
    from PIL import Image

    from DSAReconLib.evaluation import volume

    times = reference.times_s
    truth = reference.attenuation.top_mean(times)
    bright = result.volume.top_mean(times)
    estimate = volume.resampled(bright, result.volume.grid, reference.grid)
    rows = []
    for image in (truth, estimate):
        views = [np.flipud(image.max(axis)) for axis in (1, 2, 0)]
        height = max(view.shape[0] for view in views)
        rows.append(np.concatenate([np.pad(v, ((0, height - v.shape[0]), (0, 4))) for v in views], 1))
    picture = np.clip(np.concatenate(rows) / np.percentile(truth[truth > 0], 99), 0, 1) ** 0.6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * picture).astype(np.uint8)).resize((2 * picture.shape[1], 2 * picture.shape[0])).save(path)


if __name__ == "__main__":
    main()
