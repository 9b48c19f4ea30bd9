"""Report sections about the acquisition: heading, facts, raw frames, chosen views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import RotationalRun
from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.charts import view_charts
from DSAReconLib.evaluation.report.pictures import gray, png_uri, reduced
from DSAReconLib.evaluation.report.scene import peak_curve
from DSAReconLib.geometry import ConeBeamGeometry

_FRAMES_SHOWN = 5
_SIDE_PX = 256


def header(case: ReportCase, entries: Sequence[ReportEntry]) -> str:
    """Title, one sentence and the list of facts."""
    angiogram = case.angiogram
    what = entries[0].name if len(entries) == 1 else f"{len(entries)} methods side by side"
    lead = (
        f"{what}: 4D contrast attenuation from {len(case.selected)} of {len(angiogram)} frames of one rotational run"
        f"{', compared with the simulated truth' if case.truth is not None else ''}."
    )
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in _facts(case, entries)
    )
    return (
        f'<header><div class="over">DSARecon report</div><h1>{escape(case.title)}</h1>'
        f'<p class="lead">{escape(lead)}</p><dl class="facts">{facts}</dl></header>'
    )


def _facts(case: ReportCase, entries: Sequence[ReportEntry]) -> list[tuple[str, str]]:
    geometry, times = case.angiogram.geometry, case.times_s
    rows, columns = geometry.detector_shape
    grid = entries[0].reconstruction.volume.grid
    spacing = _product(f"{s:.2f}" for s in sorted(set(np.round(grid.spacing_mm, 4))))
    shared = all(entry.reconstruction.volume.grid.isclose(grid) for entry in entries)
    facts = [
        (
            "views used",
            f"{len(case.selected)} of {len(times)} ({100 * len(case.selected) / len(times):.0f} % of the dose)",
        ),
        ("arc", f"{geometry.scan_arc_deg:.0f}°"),
        ("duration", f"{case.angiogram.duration_s:.1f} s"),
        ("detector", f"{_product((str(columns), str(rows)))} px"),
        ("pixel at the isocenter", f"{geometry.isocenter_pixel_mm[0]:.2f} mm"),
        ("source to isocenter / detector", f"{geometry.sod_mm.mean():.0f} / {geometry.sdd_mm.mean():.0f} mm"),
    ]
    if shared:
        facts.append(("volume", f"{_product(map(str, grid.shape_zyx[::-1]))}, {spacing} mm"))
    return facts + [(name, str(text)) for name, text in case.facts.items()]


def _product(numbers: Iterable[str]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(numbers)


def input_section(case: ReportCase) -> str:
    """Mask, fill and subtracted frames at several angles."""
    frames = np.linspace(0, len(case.angiogram) - 1, _FRAMES_SHOWN + 2).round().astype(int)[1:-1]
    angles = case.angiogram.geometry.primary_angle_deg[frames]
    heads = "".join(
        f'<div class="head">{angle_text(case.angiogram.geometry, frame)}, {case.times_s[frame]:.2f} s</div>'
        for frame in frames
    )
    rows = ""
    for name, hint, run in (
        ("Mask run", "before contrast", case.mask_run),
        ("Fill run", "with contrast", case.fill_run),
    ):
        if run is not None:
            rows += _picture_row(name, hint, _raw_pictures(run, angles))
    images = case.angiogram.line_integrals[frames]
    high = float(np.percentile(case.angiogram.line_integrals.max((1, 2)), 80)) * 0.7
    subtracted = [255 - gray(reduced(frame, _SIDE_PX), -0.05 * high, high) for frame in images]
    rows += _picture_row("Subtracted", "contrast only", subtracted)
    return (
        "<section><h2>Input frames</h2><p>The C-arm turns around the patient twice: first without, then with contrast. "
        "The logarithm of the ratio of both leaves the contrast alone: the line integrals that are reconstructed.</p>"
        f'<div class="film"><div class="grid" style="--columns:96px repeat({len(frames)},1fr)"><div></div>{heads}{rows}'
        "</div></div></section>"
    )


def angle_text(geometry: ConeBeamGeometry, view: int) -> str:
    """Positioner angles of a view the way clinicians write them, e.g. ``LAO 30° CRA 12°``."""
    primary, secondary = geometry.primary_angle_deg[view], geometry.secondary_angle_deg[view]
    text = f"{'LAO' if primary >= 0 else 'RAO'} {abs(primary):.0f}°"
    return text if abs(secondary) < 0.5 else f"{text} {'CRA' if secondary > 0 else 'CAU'} {abs(secondary):.0f}°"


def _raw_pictures(run: RotationalRun, angles_deg: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """Log intensity of the frames nearest to the angles, in one window."""
    nearest = np.abs(run.geometry.primary_angle_deg[:, None] - angles_deg).argmin(0)
    images = [np.log(np.maximum(reduced(run.intensity[i], _SIDE_PX), 1e-6)) for i in nearest]
    low, high = np.percentile(np.stack(images), (1, 99.7))
    return [gray(picture, float(low), float(high)) for picture in images]


def _picture_row(name: str, hint: str, pictures: Sequence[NDArray[np.uint8]]) -> str:
    images = "".join(f'<figure><img alt="{escape(name)}" src="{png_uri(picture)}"></figure>' for picture in pictures)
    return f'<div class="side">{escape(name)}<small>{escape(hint)}</small></div>{images}'


def views_section(case: ReportCase) -> str:
    """Angles and times of the views that were used."""
    used, total = len(case.selected), len(case.angiogram)
    angles = case.angiogram.geometry.primary_angle_deg
    chart = view_charts(angles, case.times_s, peak_curve(case), case.selected)
    step = np.diff(np.sort(angles[case.selected])).mean() if used > 1 else 0.0
    return (
        f"<section><h2>Views used</h2><p>{used} of {total} frames were used, "
        f"{100 * used / total:.0f} % of the dose of the fill run, {step:.1f}° apart on average. "
        f"{len(case.heldout)} of the {total - used} others serve as held-out views. Colored: used, "
        "from early (dark) to late (bright). "
        f'Left: detector positions, seen facing the patient from above.</p><div class="chart">{chart}</div></section>'
    )
