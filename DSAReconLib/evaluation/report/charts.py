"""Charts as inline SVG that takes its colors and fonts from the page, in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.projections.polar import PolarAxes

PALETTE = ("#3b82f6", "#f59e0b", "#10b981", "#ec4899", "#8b5cf6", "#ef4444", "#14b8a6", "#94a3b8")
"""Colors of the methods in order, legible on white and on near-black."""

TIME_COLORMAP = "viridis"

_INK, _LINE = "#010203", "#040506"  # stand-ins that become CSS colors of the page
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dsarecon",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


def view_charts(
    angles_deg: NDArray[np.float64],
    times_s: NDArray[np.float64],
    contrast: NDArray[np.float64],
    selected: NDArray[np.int64],
) -> str:
    """Where and when the frames were taken: angles on an arc, and the mean contrast over time.

    Parameters
    ----------
    angles_deg, times_s, contrast
        Primary angle, time and mean line integral of all frames (F,).
    selected
        Frames that were used.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure((11.2, 3.9), layout="constrained")
        halves = figure.add_gridspec(1, 2, width_ratios=(1, 1.75))
        _draw_arc(cast("PolarAxes", figure.add_subplot(halves[0], projection="polar")), angles_deg, times_s, selected)
        axes = figure.add_subplot(halves[1])
        axes.plot(times_s, contrast, color=_INK, lw=1.4, alpha=0.55)
        points = axes.scatter(
            times_s[selected], contrast[selected], c=times_s[selected], cmap=TIME_COLORMAP, s=34, zorder=3
        )
        points.set_clim(times_s[0], times_s[-1])
        axes.set(xlabel="time after the first fill frame (s)", ylabel="mean line integral", title="Bolus in the frames")
        return _svg(figure)


def _draw_arc(
    axes: PolarAxes, angles_deg: NDArray[np.float64], times_s: NDArray[np.float64], selected: NDArray[np.int64]
) -> None:
    axes.set_theta_zero_location("N")  # 0 degrees: detector in front of the patient
    axes.set_theta_direction(-1)  # the viewer faces the patient, whose left is on the right
    axes.scatter(np.deg2rad(angles_deg), np.full(len(angles_deg), 1.0), s=5, color=_INK, alpha=0.35)
    points = axes.scatter(
        np.deg2rad(angles_deg[selected]), np.full(len(selected), 1.0), c=times_s[selected], cmap=TIME_COLORMAP, s=46
    )
    points.set_clim(times_s[0], times_s[-1])
    for angle in angles_deg[selected]:
        axes.plot([np.deg2rad(angle)] * 2, [0, 1], color=_INK, lw=0.5, alpha=0.25)
    axes.set(ylim=(0, 1.12), yticks=[])
    axes.set_xticks(np.deg2rad(np.arange(0, 360, 45)))
    labels = ("AP 0°", "LAO 45°", "LAO 90°", "LAO 135°", "PA 180°", "RAO 135°", "RAO 90°", "RAO 45°")
    axes.set_xticklabels(labels)
    axes.spines["polar"].set_visible(False)
    axes.tick_params(pad=2)


def curve_charts(
    times_s: NDArray[np.float64],
    truth: NDArray[np.float64] | None,
    results: Sequence[tuple[str, NDArray[np.float64]]],
    slots: Sequence[int],
    selected_times_s: NDArray[np.float64],
) -> str:
    """Time-attenuation curves at numbered points.

    Parameters
    ----------
    times_s
        (T,), s.
    truth
        True curves (P, T), 1/mm, if known.
    results
        Name and curves (P, T) of every result.
    slots
        Place of every result's color in :data:`PALETTE`.
    selected_times_s
        Times of the views used, drawn as ticks.
    """
    import matplotlib
    from matplotlib.figure import Figure

    count = len(results[0][1])
    columns = min(2, count)
    rows = -(-count // columns)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure((7.6, 2.3 * rows + 0.4), layout="constrained")
        for point, axes in enumerate(np.ravel(figure.subplots(rows, columns, sharex=True, squeeze=False))[:count]):
            if truth is not None:
                axes.plot(times_s, truth[point], color=_INK, lw=3.4, alpha=0.35, label="truth")
            for (name, curves), slot in zip(results, slots, strict=True):
                axes.plot(times_s, curves[point], color=_color(slot), lw=1.6, label=name)
            axes.plot(selected_times_s, np.zeros(len(selected_times_s)), "|", color=_INK, ms=5, alpha=0.6)
            axes.set_title(f"point {point + 1}", loc="left")
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
            if point >= count - columns:
                axes.set_xlabel("time (s)")
            if point % columns == 0:
                axes.set_ylabel("attenuation (1/mm)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)
        return _svg(figure)


@dataclass(frozen=True)
class Panel:
    """One chart of a metric: mean and standard deviation over the cases (methods, numbers of views), NaN = none."""

    title: str
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    logarithmic: bool = False


def view_count_charts(view_counts: Sequence[int], names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Metrics over the number of views: a line per method, a band of one standard deviation."""

    def draw(axes: Axes, panel: Panel) -> None:
        for slot, (name, mean, std) in enumerate(zip(names, panel.mean, panel.std, strict=True)):
            axes.plot(view_counts, mean, "o-", color=_color(slot), lw=1.7, ms=4.5, label=name)
            axes.fill_between(view_counts, mean - std, mean + std, color=_color(slot), alpha=0.13, lw=0)
        axes.set_xticks(view_counts, labels=[str(count) for count in view_counts])
        axes.set_xlabel("views")

    return _panel_grid(panels, draw, columns=3 if len(panels) <= 6 else 4, height=2.6)


def cost_charts(view_counts: Sequence[int], names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Time and memory as bars, grouped by number of views."""

    def draw(axes: Axes, panel: Panel) -> None:
        width = 0.8 / len(names)
        for slot, (name, mean) in enumerate(zip(names, panel.mean, strict=True)):
            places = np.arange(len(view_counts)) + (slot - (len(names) - 1) / 2) * width
            axes.bar(places, np.nan_to_num(mean), 0.88 * width, color=_color(slot), label=name)
        axes.set_xticks(range(len(view_counts)), labels=[f"{count} views" for count in view_counts])
        axes.grid(visible=False, axis="x")
        axes.set_axisbelow(True)

    return _panel_grid(panels, draw, columns=2, height=3.0)


def _panel_grid(panels: Sequence[Panel], draw: Callable[[Axes, Panel], None], columns: int, height: float) -> str:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure((11.2, height * rows + 0.4), layout="constrained")
        places = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axes, panel in zip(places, panels, strict=False):
            if panel.logarithmic:
                axes.set_yscale("log", subs=[])
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
            draw(axes, panel)
            axes.set_title(panel.title, loc="left")
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        figure.legend(*places[0].get_legend_handles_labels(), loc="outside upper center", ncols=8)
        return _svg(figure)


def _color(slot: int) -> str:
    return PALETTE[slot % len(PALETTE)]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor").replace(_LINE, "var(--line)")
    # fixed sizes in points would not shrink with the page
    return re.sub(
        r'<svg([^>]*?) width="[^"]*"([^>]*?) height="[^"]*"|<svg([^>]*?) height="[^"]*"([^>]*?) width="[^"]*"',
        lambda found: "<svg" + "".join(part or "" for part in found.groups()),
        text,
        count=1,
    )
