"""Report sections with pictures of the results: film, arrival, held-out views, curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.scatter import with_scatter
from DSAReconLib.evaluation import image
from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.charts import curve_charts
from DSAReconLib.evaluation.report.input_sections import angle_text
from DSAReconLib.evaluation.report.pictures import (
    DIFFERENCE_STOPS,
    GAMMA,
    arrival,
    arrival_gradient,
    difference,
    gray,
    png_uri,
    reduced,
)
from DSAReconLib.evaluation.report.projections import FrontalView
from DSAReconLib.evaluation.report.scene import WINDOW_SHARE, Scene
from DSAReconLib.evaluation.temporal import BOX_MM, box_curves

Views = Sequence[tuple[str, FrontalView]]
_SIDE_PX = 256
_STRIP_SIDE_PX = 176
_WIDEST_PX = 330


def contrast_section(case: ReportCase, scene: Scene, views: Views) -> str:
    """Film of all results and a grid of stills: frontal maximum-intensity projections."""
    heads = "".join(f'<div class="head">{time:.2f} s</div>' for time in scene.still_times_s)
    rows = ""
    for name, view in views:
        stills = [png_uri(_drawn(view.at(time), scene)) for time in scene.still_times_s]
        pictures = "".join(f'<figure><img alt="{escape(name)}" src="{uri}"></figure>' for uri in stills)
        rows += f'<div class="side">{escape(name)}</div>{pictures}'
    return (
        "<section><h2>Contrast over time</h2><p>Maximum-intensity projections of the 4D volume from the front, "
        f"patient's left on the right, all in one window from 0 to {scene.window:.3f} 1/mm. The measured frames turn "
        "with the C-arm; the reconstruction can be watched from one direction.</p>"
        f"{_film(case, scene, views)}"
        '<h3>Stills</h3><div class="film">'
        f'<div class="grid" style="--columns:96px {_columns(len(scene.still_times_s))}">'
        f"<div></div>{heads}{rows}</div></div></section>"
    )


def _film(case: ReportCase, scene: Scene, views: Views) -> str:
    nearest = np.abs(case.times_s[:, None] - scene.cine_times_s).argmin(0)
    high = float(np.percentile(case.angiogram.line_integrals.max((1, 2)), 80)) * 0.7
    frames = [reduced(case.angiogram.line_integrals[i], _STRIP_SIDE_PX) for i in nearest]
    # 32 gray levels: noise compresses badly, and these frames are small
    measured = [gray(frame, 0, high, GAMMA) // 8 * 8 for frame in frames]
    strips = [_strip("Measured frames", measured)]
    strips += [_strip(name, [_drawn(view.at(time), scene) for time in scene.cine_times_s]) for name, view in views]
    times = ",".join(f"{time:.2f}" for time in scene.cine_times_s)
    count = len(scene.cine_times_s)
    start = int(0.6 * count)
    columns = _columns(min(len(strips), 6))
    return (
        f'<div class="film" data-cine data-times="{times}" style="--frames:{count};--frame:{start}">'
        f'<div class="grid" style="--columns:{columns}">{"".join(strips)}</div><div class="player">'
        f'<button type="button">▶ Play</button><input type="range" min="0" max="{count - 1}" value="{start}" '
        f'aria-label="time"><output>{scene.cine_times_s[start]:.2f} s</output></div></div>'
    )


def _columns(count: int) -> str:
    """CSS columns that share the width, but do not blow small pictures up."""
    return f"repeat({count},minmax(0,{_WIDEST_PX}px))"


def _strip(name: str, frames: Sequence[NDArray[np.uint8]]) -> str:
    rows, columns = frames[0].shape
    uri = png_uri(np.concatenate(frames, axis=1))
    return (
        f'<figure><div class="strip" role="img" aria-label="{escape(name)} over time" '
        f'style="--ratio:{columns}/{rows};--strip:url({uri})"></div>'
        f"<figcaption><b>{escape(name)}</b></figcaption></figure>"
    )


def _drawn(picture: NDArray[np.float32], scene: Scene) -> NDArray[np.uint8]:
    return gray(picture, 0, scene.window, GAMMA)


def arrival_section(case: ReportCase, entries: Sequence[ReportEntry], scene: Scene, views: Views) -> str:
    """Frontal projections colored by bolus arrival."""
    low, high = scene.arrival_range_s
    limits = [] if case.truth is None else [0.15 * scene.window]
    limits += [0.5 * entry.reconstruction.surface_threshold for entry in entries]
    figures = ""
    for (name, view), minimum in zip(views, limits, strict=True):
        peak = view.peak(case.times_s)
        brightness = np.clip(peak / max(float(np.percentile(peak, 99)), 1e-9), 0, 1) ** 0.5
        picture = png_uri(arrival(view.arrival(case.times_s, minimum), brightness, low, high))
        figures += (
            f'<figure><img alt="arrival times, {escape(name)}" src="{picture}">'
            f"<figcaption><b>{escape(name)}</b></figcaption></figure>"
        )
    return (
        "<section><h2>Arrival of the bolus</h2><p>Color: time at which the brightest voxel along each line of sight "
        "reaches half of its maximum. Brightness: maximum over time, per picture. A static volume has one hue.</p>"
        f'<div class="film"><div class="grid" style="--columns:{_columns(min(len(views), 6))}">{figures}</div>'
        f'<div class="bar">{low:.1f} s<i style="--stops:{arrival_gradient()}"></i>{high:.1f} s</div></div></section>'
    )


def surface_section(case: ReportCase, entries: Sequence[ReportEntry], scene: Scene, views: Views) -> str:
    """Surfaces at the automatic threshold of each result, from the pose of the projections."""
    limits = [] if case.truth is None else [0.5 * scene.window / WINDOW_SHARE]
    limits += [entry.reconstruction.surface_threshold for entry in entries]
    figures = "".join(
        f'<figure><img alt="surface, {escape(name)}" src="{png_uri(gray(view.surface(case.times_s, limit), 0, 1))}">'
        f"<figcaption><b>{escape(name)}</b> above {limit:.3f} 1/mm</figcaption></figure>"
        for (name, view), limit in zip(views, limits, strict=True)
    )
    return (
        "<section><h2>Vessel surface</h2><p>Where the mean over the brightest 20 % of the frame times passes the "
        "automatic threshold of each result (as in vessels.stl, but not smoothed), seen and lit from the front.</p>"
        f'<div class="film"><div class="grid" style="--columns:{_columns(min(len(views), 6))}">{figures}</div></div>'
        "</section>"
    )


# ------------------------------------------------------------------ held-out views
def heldout_section(case: ReportCase, entries: Sequence[ReportEntry], scene: Scene, device: str) -> str:
    """Views that no result has seen beside the reference, and the differences."""
    if not len(scene.heldout):
        return (
            "<section><h2>Held-out views</h2><p>No frame with contrast was held out, so that the result "
            "cannot be checked against unseen views.</p></section>"
        )
    rendered = [_rendered(case, entry, scene, device) for entry in entries]
    if case.clean is None:
        frames = case.angiogram.select(case.heldout[scene.heldout])
        shares = [entry.reconstruction.scatter_share for entry in entries]
        rendered = [with_scatter(images, frames, share) for images, share in zip(rendered, shares, strict=True)]
    reference = "noise-free truth" if case.clean is not None else "measured frame"
    blocks = "".join(
        _heldout_block(case, entries, number, [images[row] for images in rendered])
        for row, number in enumerate(scene.heldout)
    )
    return (
        "<section><h2>Held-out views</h2><p>Frames that were kept back, beside the same views of each result, "
        f"below them the difference to the {reference}: blue = too little contrast, orange = too much.</p>"
        f'<div class="film">{blocks}{_difference_bar()}</div></section>'
    )


def _rendered(case: ReportCase, entry: ReportEntry, scene: Scene, device: str) -> NDArray[np.float32]:
    if entry.rendered is not None:
        return entry.rendered[scene.heldout]
    from DSAReconLib.rendering.views import render_line_integrals

    shown = case.heldout[scene.heldout]
    poses = entry.reconstruction.poses(case.angiogram.geometry[shown], case.times_s[shown])
    return np.asarray(render_line_integrals(entry.model, poses, case.times_s[shown], device=device))


def _heldout_block(
    case: ReportCase, entries: Sequence[ReportEntry], number: int, rendered: Sequence[NDArray[np.float32]]
) -> str:
    frame = case.heldout[number]
    measured, clean = case.angiogram.line_integrals[frame], case.clean
    reference = measured if clean is None else clean[frame]
    variance = np.broadcast_to(case.angiogram.variance, case.angiogram.line_integrals.shape)[frame]
    high = float(image.frame_peaks(reference[None], variance if clean is None else 0.0)[0])
    angle = angle_text(case.angiogram.geometry, frame)
    side = f'<div class="side">{angle}<small>{case.times_s[frame]:.2f} s<br>frame {frame}</small></div>'
    top, bottom = [_view("Measured", "noisy", measured, high)], ["<div></div>"]
    if clean is not None:
        top.append(_view("Truth", "noise-free", reference, high))
        bottom.append(_signed("measured \N{MINUS SIGN} truth", measured - reference, high))
    for entry, picture in zip(entries, rendered, strict=True):
        psnr = image.psnr_db(picture, reference, high, np.isfinite(variance))
        top.append(_view(entry.name, f"{psnr:.1f} dB", picture, high))
        bottom.append(
            _signed(
                f"{entry.name} \N{MINUS SIGN} {'measured' if clean is None else 'truth'}", picture - reference, high
            )
        )
    columns = f"84px {_columns(len(top))}"
    cells = f"{side}{''.join(top)}<div></div>{''.join(bottom)}"
    return f'<div class="grid" style="--columns:{columns};margin-bottom:18px">{cells}</div>'


def _view(name: str, hint: str, picture: NDArray[np.float32], high: float) -> str:
    pixels = 255 - gray(reduced(picture, _SIDE_PX), -0.05 * high, high)
    return (
        f'<figure><img alt="{escape(name)}" src="{png_uri(pixels)}">'
        f"<figcaption><b>{escape(name)}</b> {escape(hint)}</figcaption></figure>"
    )


def _signed(name: str, picture: NDArray[np.float32], high: float) -> str:
    pixels = difference(reduced(picture, _SIDE_PX), 0.3 * high)
    return f'<figure><img alt="{escape(name)}" src="{png_uri(pixels)}"><figcaption>{escape(name)}</figcaption></figure>'


def _difference_bar() -> str:
    return (
        f'<div class="bar">\N{MINUS SIGN}30 % of the largest value<i style="--stops:{", ".join(DIFFERENCE_STOPS)}"></i>'
        "+30 %. PSNR of the single view, range = its largest reference value.</div>"
    )


# ------------------------------------------------------------------ curves
def curves_section(case: ReportCase, entries: Sequence[ReportEntry], scene: Scene, views: Views) -> str:
    """Time-attenuation curves at a few vessel points, with a map of the points."""
    times = case.times_s
    truth = None if case.truth is None else box_curves(case.truth.volume, scene.points_mm, times)
    results = [(entry.name, box_curves(entry.reconstruction.volume, scene.points_mm, times)) for entry in entries]
    slots = [place if entry.slot is None else entry.slot for place, entry in enumerate(entries)]
    chart = curve_charts(times, truth, results, slots, times[case.selected])
    name, view = views[0]
    picture = png_uri(_drawn(view.peak(times), scene))
    pins = "".join(
        f'<span style="top:{100 * row:.1f}%;left:{100 * column:.1f}%">{number + 1}</span>'
        for number, (row, column) in enumerate(scene.frame.row_column(scene.points_mm))
    )
    return (
        "<section><h2>Time-attenuation curves</h2><p>Mean contrast attenuation over time in cubes of "
        f"{BOX_MM:g} mm at four vessel points, in order of arrival. Ticks on the time axis: views used.</p>"
        '<div class="beside"><div class="film"><figure>'
        f'<div class="pins"><img alt="{escape(name)}" src="{picture}">{pins}</div>'
        f"<figcaption><b>{escape(name)}</b>, maximum over time</figcaption></figure></div>"
        f'<div class="chart">{chart}</div></div></section>'
    )
