"""Report sections with numbers and words: summary, table, protocol, provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from string import Template

from DSAReconLib.evaluation.image import MINIMUM_CONTRAST, NOISE_LIMIT
from DSAReconLib.evaluation.protocol import TruthProtocol
from DSAReconLib.evaluation.reference import PAPERS_LEVEL_PER_MM
from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.resources import resource
from DSAReconLib.evaluation.report.tables import LABELS, best_columns, formatted, metric_table
from DSAReconLib.evaluation.surface import MAX_VERTICES
from DSAReconLib.evaluation.temporal import BOX_MM
from DSAReconLib.evaluation.topology import PRECISION_MARGIN_MM, RECALL_DISTANCE_MM
from DSAReconLib.io.json_text import plain
from DSAReconLib.reconstruction import ARRIVAL_FRACTION

_HEADLINES = {
    "psnr_clean_db": "held-out PSNR",
    "psnr_db": "held-out PSNR",
    "dice_auto": "Dice",
    "cldice_auto": "clDice",
    "hd95_auto_mm": "Hausdorff 95 %",
    "arrival_mae_s": "arrival error",
    "reconstruction_s": "computing time",
}
_REPORTED = ("metrics", "timings_s", "peak_memory_mb", "warnings")


def summary_section(case: ReportCase, entries: Sequence[ReportEntry]) -> str:
    """The key numbers of every result, and what the user should know."""
    values = [entry.values for entry in entries]
    known = [name for name in _HEADLINES if any(value.get(name) is not None for value in values)]
    if "psnr_clean_db" in known and "psnr_db" in known:
        known.remove("psnr_db")
    best = {name: best_columns([value.get(name) for value in values], LABELS[name]) for name in known}
    cards = ""
    for column, (entry, value) in enumerate(zip(entries, values, strict=True)):
        rows = "".join(
            f"<dt>{escape(_HEADLINES[name])}</dt><dd{' class=best' if column in best[name] else ''}>"
            f"{formatted(value.get(name), LABELS[name].digits)} {escape(LABELS[name].unit)}</dd>"
            for name in known
        )
        cards += f'<div class="card m{column}"><h3>{escape(entry.name)}</h3><dl>{rows}</dl></div>'
    judged = any(value.get("dice_auto") is not None for value in values)
    lead = "Vessels at the automatic threshold of each result. " if judged else ""
    lead += "Green: best of the row." if len(entries) > 1 else "The complete table is further down."
    return (
        f'<section><h2>In short</h2><p>{lead}</p><div class="cards" style="--n:{len(entries)}">{cards}</div>'
        f"{_notes(case, entries)}</section>"
    )


def _notes(case: ReportCase, entries: Sequence[ReportEntry]) -> str:
    notes: dict[str, None] = dict.fromkeys(message for _, message in case.angiogram.warnings)
    for entry in entries:
        own = [*entry.reconstruction.warnings, *(entry.record.get("warnings") or ())]
        prefix = f"{entry.name}: " if len(entries) > 1 else ""
        new = (str(warning[1]) for warning in own)
        notes |= dict.fromkeys(f"{prefix}{message}" for message in new if message not in notes)
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div class="notes"><b>Please note</b><ul>{items}</ul></div>'


def numbers_section(entries: Sequence[ReportEntry]) -> str:
    """The table of all metrics, times and memory."""
    lead = "↑ higher is better, ↓ lower is better." + (" Green: best of the row." if len(entries) > 1 else "")
    table = metric_table([entry.name for entry in entries], [entry.values for entry in entries])
    return f"<section><h2>Numbers</h2><p>{lead}</p>{table}</section>"


def protocol_section(*, truth: bool, words: str = "") -> str:
    """How every number is computed, after further ``words``."""
    words += resource("protocol_views.html") + (resource("protocol_truth.html") if truth else "")
    protocol = TruthProtocol()
    low, high, count = protocol.thresholds
    text = Template(words).substitute(
        noise_limit=f"{NOISE_LIMIT:g}",
        minimum_contrast=f"{100 * MINIMUM_CONTRAST:.0f} %",
        spacing=f"{protocol.spacing_mm:g} mm",
        margin=f"{protocol.margin_mm:g} mm",
        mask_occupancy=f"{protocol.mask_occupancy:g}",
        thresholds=f"{count} between {100 * low:.1f} % and {100 * high:.0f} %",
        papers_level=f"{PAPERS_LEVEL_PER_MM:g}",
        instants=protocol.instants,
        recall_distance=f"{RECALL_DISTANCE_MM:g} mm",
        precision_margin=f"{PRECISION_MARGIN_MM:g} mm",
        max_vertices=f"{MAX_VERTICES:,}",
        box=f"{BOX_MM:g} mm",
        max_points=protocol.max_points,
        point_occupancy=f"{protocol.point_occupancy:g}",
        arrival_fraction=f"{100 * ARRIVAL_FRACTION:.0f} %",
    )
    return (
        "<section><h2>How the numbers are computed</h2><p>Definitions of everything in the table above.</p>"
        f'<div class="protocol">{text}</div></section>'
    )


def provenance_section(entries: Sequence[ReportEntry]) -> str:
    """Method, configuration, versions and device of every result, to reproduce it."""
    blocks = ""
    for entry in entries:
        content = {name: value for name, value in entry.record.items() if name not in _REPORTED}
        text = json.dumps(plain(content), indent=2, ensure_ascii=False)
        timings = entry.record.get("timings_s") or {}
        stages = ", ".join(f"{escape(str(name))} {seconds:.1f} s" for name, seconds in timings.items())
        blocks += (
            f"<details><summary>{escape(entry.name)}</summary>{f'<p>Stages: {stages}.</p>' if stages else ''}"
            f"<pre>{escape(text)}</pre></details>"
        )
    versions = dict(next((entry.record["versions"] for entry in entries if entry.record.get("versions")), {}))
    devices = {str(entry.record["device"]) for entry in entries if entry.record.get("device")}
    used = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    line = ". ".join(part for part in (used, f"Device: {', '.join(sorted(devices))}" if devices else "") if part)
    lead = f"<p>{escape(line)}.</p>" if line else "<p>Settings of every run.</p>"
    return f"<section><h2>Versions and settings</h2>{lead}{blocks}</section>"
