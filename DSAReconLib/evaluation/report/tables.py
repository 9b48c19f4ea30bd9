"""The table of metrics: labels, units, which way is better, and the best value of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class MetricLabel:
    """How a metric is shown; ``better`` is +1 (higher), -1 (lower) or 0 (neither)."""

    name: str
    label: str
    unit: str = ""
    digits: int = 2
    better: int = 1


@dataclass(frozen=True)
class MetricGroup:
    """Rows of the table that belong together."""

    title: str
    rows: tuple[MetricLabel, ...]


GROUPS = (
    MetricGroup(
        "Held-out views, noise-free reference",
        (
            MetricLabel("psnr_clean_db", "PSNR, fixed range", "dB", 1),
            MetricLabel("ssim_clean", "SSIM, fixed range", "", 3),
            MetricLabel("relative_l1_clean", "relative L1 error", "", 2, -1),
        ),
    ),
    MetricGroup(
        "Held-out views, measured frames",
        (
            MetricLabel("psnr_db", "PSNR, fixed range", "dB", 1),
            MetricLabel("ssim", "SSIM, fixed range", "", 3),
            MetricLabel("psnr_normalized_db", "PSNR, papers' normalization", "dB", 1),
            MetricLabel("ssim_normalized", "SSIM, papers' normalization", "", 3),
            MetricLabel("relative_l1", "relative L1 error", "", 2, -1),
        ),
    ),
    MetricGroup(
        "Vessel volume",
        (
            MetricLabel("dice_best", "Dice, best threshold", "", 3),
            MetricLabel("dice_auto", "Dice, automatic threshold", "", 3),
            MetricLabel("psnr_3d_db", "PSNR of the time-averaged volume", "dB", 1),
            MetricLabel("psnr_4d_db", "PSNR over space and time", "dB", 1),
            MetricLabel("false_positive_far_ml", "invented volume far from vessels", "ml", 2, -1),
        ),
    ),
    MetricGroup(
        "Vessel tree",
        (
            MetricLabel("cldice_best", "clDice, best threshold", "", 3),
            MetricLabel("cldice_auto", "clDice, automatic threshold", "", 3),
            MetricLabel("centerline_recall_best", "centerline recall", "", 3),
            MetricLabel("centerline_precision_best", "centerline precision", "", 3),
            MetricLabel("cldice_voxel_best", "voxel clDice", "", 3),
            MetricLabel("recall_radius_0_0.5mm", "recall, radius below 0.5 mm", "", 3),
            MetricLabel("recall_radius_0.5_1mm", "recall, radius 0.5 to 1 mm", "", 3),
            MetricLabel("recall_radius_1_2mm", "recall, radius 1 to 2 mm", "", 3),
            MetricLabel("recall_radius_over_2mm", "recall, radius above 2 mm", "", 3),
        ),
    ),
    MetricGroup(
        "Vessel surface",
        (
            MetricLabel("chamfer_mm", "Chamfer distance (sum), best threshold", "mm", 2, -1),
            MetricLabel("chamfer_auto_mm", "Chamfer distance (sum), automatic", "mm", 2, -1),
            MetricLabel("hd95_mm", "Hausdorff 95 %, best threshold", "mm", 2, -1),
            MetricLabel("hd95_auto_mm", "Hausdorff 95 %, automatic", "mm", 2, -1),
            MetricLabel("hd100_mm", "Hausdorff, best threshold", "mm", 1, -1),
            MetricLabel("chamfer_reference_mm", "Chamfer (sum) to the case's surface, automatic", "mm", 2, -1),
            MetricLabel("hd95_reference_mm", "Hausdorff 95 % to the case's surface, automatic", "mm", 2, -1),
            MetricLabel("chamfer_papers_mm", "Chamfer (sum) to the case's surface, papers' level", "mm", 2, -1),
            MetricLabel("hd95_papers_mm", "Hausdorff 95 % to the case's surface, papers' level", "mm", 2, -1),
        ),
    ),
    MetricGroup(
        "Contrast over time",
        (
            MetricLabel("tac_nrmse", "curve error, absolute (nRMSE)", "", 2, -1),
            MetricLabel("tac_shape_nrmse", "curve error, shape (nRMSE)", "", 2, -1),
            MetricLabel("arrival_mae_s", "bolus arrival error", "s", 3, -1),
            MetricLabel("centroid_mae_s", "curve centroid error", "s", 3, -1),
            MetricLabel("tac_coverage", "vessel points with a curve", "", 3),
        ),
    ),
    MetricGroup(
        "Cost",
        (
            MetricLabel("reconstruction_s", "reconstruction time", "s", 1, -1),
            MetricLabel("processor_s", "processor time of the reconstruction", "s", 1, -1),
            MetricLabel("total_s", "time of the whole job", "s", 1, -1),
            MetricLabel("peak_memory_mb", "peak memory", "MB", 0, -1),
            MetricLabel("voxel_mm", "voxel size", "mm", 2, 0),
        ),
    ),
)

LABELS = {label.name: label for group in GROUPS for label in group.rows}


def formatted(value: float | None, digits: int) -> str:
    """Text of a value; a dash where there is none."""
    if value is None or np.isnan(value):
        return "\N{EN DASH}"
    return "∞" if np.isinf(value) else f"{value:.{digits}f}"


def best_columns(values: Sequence[float | None], label: MetricLabel) -> set[int]:
    """Columns that share the best shown value of a row; empty when there is nothing to compare."""
    shown = [float("nan") if value is None else round(value, label.digits) for value in values]
    known = [value for value in shown if not np.isnan(value)]
    if label.better == 0 or len(known) < 2 or min(known) == max(known):
        return set()
    best = max(known) if label.better > 0 else min(known)
    return {column for column, value in enumerate(shown) if value == best}


def metric_table(names: Sequence[str], values: Sequence[Values]) -> str:
    """HTML table with one column per result; rows and groups without any value are left out."""
    head = "".join(f'<th scope="col"><i class="dot m{i}"></i>{escape(name)}</th>' for i, name in enumerate(names))
    body = [_group_rows(group, values) for group in GROUPS]
    return (
        f'<div class="scroll"><table class="metrics"><thead><tr><th scope="col">metric</th><th></th>{head}</tr></thead>'
        f"{''.join(body)}</table></div>"
    )


def text_table(names: Sequence[str], values: Sequence[Values]) -> str:
    """The same table as plain text for a terminal."""
    width = max(12, *(len(name) + 2 for name in names))
    lines = [" " * 46 + "".join(f"{name:>{width}}" for name in names)]
    for group in GROUPS:
        rows = [label for label in group.rows if any(v.get(label.name) is not None for v in values)]
        if rows:
            lines += ["", group.title]
        for label in rows:
            title = f"  {label.label}" + (f" ({label.unit})" if label.unit else "")
            cells = (formatted(v.get(label.name), label.digits) for v in values)
            lines.append(f"{title:<46}" + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(lines)


def _group_rows(group: MetricGroup, values: Sequence[Values]) -> str:
    rows = []
    for label in group.rows:
        row = [value.get(label.name) for value in values]
        if all(value is None or np.isnan(value) for value in row):
            continue
        best = best_columns(row, label)
        cells = "".join(
            f'<td class="best">{formatted(value, label.digits)}</td>'
            if column in best
            else f"<td>{formatted(value, label.digits)}</td>"
            for column, value in enumerate(row)
        )
        arrow = {1: "↑", -1: "↓", 0: ""}[label.better]
        unit = f' <span class="unit">{escape(label.unit)}</span>' if label.unit else ""
        rows.append(f'<tr><th scope="row">{escape(label.label)}{unit}</th><td class="way">{arrow}</td>{cells}</tr>')
    if not rows:
        return ""
    span = 2 + len(values)
    title = f'<tr class="group"><th colspan="{span}" scope="rowgroup">{escape(group.title)}</th></tr>'
    return f"<tbody>{title}{''.join(rows)}</tbody>"
