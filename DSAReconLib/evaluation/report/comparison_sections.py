"""Report sections about all rows of a comparison: ranking, curves over the number of views, cost, statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from DSAReconLib.evaluation.report.charts import Panel, cost_charts, view_count_charts
from DSAReconLib.evaluation.report.rows import RowTable
from DSAReconLib.evaluation.report.tables import LABELS, best_columns, formatted, metric_table
from DSAReconLib.evaluation.statistics import MINIMUM_CASES, paired_difference, summarize

if TYPE_CHECKING:
    from DSAReconLib.evaluation.report.comparison import ComparedCase

HEADLINES = (
    *("psnr_clean_db", "psnr_db", "psnr_normalized_db", "dice_auto", "cldice_auto", "cldice_best", "hd95_auto_mm"),
    *("arrival_mae_s", "reconstruction_s", "peak_memory_mb"),
)
"""Metrics of the ranking; the table of every case has all of them."""

COSTS = ("reconstruction_s", "peak_memory_mb")
_SHORT = {
    "psnr_clean_db": "PSNR, noise-free",
    "psnr_db": "PSNR, measured",
    "psnr_normalized_db": "PSNR, normalized",
    "dice_auto": "Dice, automatic",
    "cldice_auto": "clDice, automatic",
    "cldice_best": "clDice, best",
    "hd95_auto_mm": "Hausdorff 95 %",
    "arrival_mae_s": "arrival error",
    "reconstruction_s": "time",
    "peak_memory_mb": "memory",
}


def header(table: RowTable, facts: Mapping[str, str]) -> str:
    """Title, one sentence, the list of facts, and what failed."""
    counts = _enumerated([str(count) for count in table.view_counts])
    lead = (
        f"{len(table.titles)} methods reconstruct {_counted(len(table.cases), 'case')} from {counts} views each: "
        "the same runs, the same views, the same metrics."
    )
    entries = {"methods": ", ".join(table.titles), "cases": ", ".join(table.cases), "views": counts, **facts}
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in entries.items())
    return (
        '<header><div class="over">DSARecon comparison</div><h1>Comparison of reconstruction methods</h1>'
        f'<p class="lead">{escape(lead)}</p><dl class="facts">{items}</dl>{_failures(table)}</header>'
    )


def ranking_section(table: RowTable) -> str:
    """Headline metrics of all methods, a block per number of views, best of each block marked."""
    names = headlines(table)
    head = "".join(f'<th scope="col">{_title(name)}</th>' for name in names)
    blocks = "".join(_ranking_block(table, views, names) for views in table.view_counts)
    over = "Mean ± standard deviation over the cases. " if len(table.cases) > 1 else ""
    return (
        f"<section><h2>In short</h2><p>{over}↑ higher is better, ↓ lower is better. Green: best for this number of "
        'views. All numbers of every case are further down.</p><div class="scroll"><table class="metrics ranking">'
        f'<thead><tr><th scope="col">method</th>{head}</tr></thead>{blocks}</table></div></section>'
    )


def _ranking_block(table: RowTable, views: int, names: Sequence[str]) -> str:
    summaries = {
        name: [summarize(list(table.by_case(title, views, name).values())) for title in table.titles] for name in names
    }
    best = {name: best_columns([entry.mean for entry in summaries[name]], LABELS[name]) for name in names}
    most = {name: max(entry.count for entry in summaries[name]) for name in names}
    rows = ""
    for slot, title in enumerate(table.titles):
        cells = ""
        for name in names:
            entry, digits = summaries[name][slot], LABELS[name].digits
            text = formatted(entry.mean, digits)
            if entry.count > 1:
                text += f' <span class="unit">± {formatted(entry.std, digits)}</span>'
            if 0 < entry.count < most[name]:
                text += f' <span class="unit">({entry.count} of {len(table.cases)})</span>'
            cells += f"<td{' class=best' if slot in best[name] else ''}>{text}</td>"
        rows += f'<tr><th scope="row"><i class="dot m{slot % 8}"></i>{escape(title)}</th>{cells}</tr>'
    span = 1 + len(names)
    return f'<tbody><tr class="group"><th colspan="{span}" scope="rowgroup">{views} views</th></tr>{rows}</tbody>'


def curves_section(table: RowTable) -> str:
    """Headline metrics over the number of views; nothing if there is one number only."""
    names = [name for name in headlines(table) if name not in COSTS]
    if len(table.view_counts) < 2 or not names:
        return ""
    band = " Bands: one standard deviation over the cases." if len(table.cases) > 1 else ""
    chart = view_count_charts(table.view_counts, table.titles, [_panel(table, name) for name in names])
    return (
        "<section><h2>Over the number of views</h2><p>The fewer views suffice, the less X-ray dose the patient gets."
        f'{band}</p><div class="chart">{chart}</div></section>'
    )


def cost_section(table: RowTable) -> str:
    """Time and memory of every method."""
    names = table.known(COSTS)
    if not names:
        return ""
    panels = [_panel(table, name, logarithmic=name == "reconstruction_s") for name in names]
    chart = cost_charts(table.view_counts, table.titles, panels)
    return (
        "<section><h2>Time and memory</h2><p>Reconstruction time, on a logarithmic scale; peak memory of the whole "
        f'process, in which nothing else ran.</p><div class="chart">{chart}</div></section>'
    )


def statistics_section(table: RowTable) -> str:
    """Paired differences between the first method and every other; nothing for a single case."""
    names = headlines(table)
    if len(table.cases) < 2 or len(table.titles) < 2:
        return ""
    reference = table.titles[0]
    head = "".join(f'<th scope="col">{_title(name)}</th>' for name in names)
    blocks = ""
    for views in table.view_counts:
        rows = ""
        for slot, title in enumerate(table.titles[1:], 1):
            cells = "".join(f"<td>{_paired_cell(table, views, name, reference, title)}</td>" for name in names)
            rows += f'<tr><th scope="row"><i class="dot m{slot % 8}"></i>{escape(title)}</th>{cells}</tr>'
        span = 1 + len(names)
        blocks += (
            f'<tbody><tr class="group"><th colspan="{span}" scope="rowgroup">{views} views</th></tr>{rows}</tbody>'
        )
    test = (
        "p: two-sided Wilcoxon signed-rank test."
        if len(table.cases) >= MINIMUM_CASES
        else f"No test: it needs at least {MINIMUM_CASES} cases."
    )
    return (
        f"<section><h2>Paired differences</h2><p>{escape(reference)} minus the method of the row, case by case: mean ± "
        f'standard deviation. {test}</p><div class="scroll"><table class="metrics ranking"><thead><tr><th scope="col">'
        f"{escape(reference)} against</th>{head}</tr></thead>{blocks}</table></div></section>"
    )


def _paired_cell(table: RowTable, views: int, name: str, reference: str, title: str) -> str:
    found = paired_difference(table.by_case(reference, views, name), table.by_case(title, views, name))
    if not found.count:
        return formatted(None, 0)
    digits = LABELS[name].digits
    text = f"{found.mean:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    if found.count > 1:
        text += f' <span class="unit">± {formatted(found.std, digits)}</span>'
    return text if found.p_value is None else f'{text}<br><span class="unit">p = {found.p_value:.3f}</span>'


def case_section(table: RowTable, name: str, pictures: ComparedCase | None) -> str:
    """Heading, tables and pictures of one case."""
    blocks = ""
    for views in table.view_counts:
        rows = table.of_case(name, views)
        if not rows:
            continue
        values = {row.title: row.values for row in rows}
        numbers = metric_table(table.titles, [values.get(title, {}) for title in table.titles])
        shown = " open" if views == max(table.view_counts) else ""
        blocks += f"<details{shown}><summary>{views} views</summary>{numbers}</details>"
    lead = (
        f"The pictures below show the results from {pictures.views} views."
        if pictures is not None
        else "There is no result to show as a picture."
    )
    return (
        f'<h2 class="part">{escape(name)}</h2><section><h2>Numbers</h2><p>↑ higher is better, ↓ lower is better. '
        f"Green: best of the row. {lead}</p>{blocks}</section>{'' if pictures is None else pictures.sections}"
    )


# ------------------------------------------------------------------ helpers
def headlines(table: RowTable) -> list[str]:
    """Metrics of the ranking that the rows have."""
    names = table.known(HEADLINES)
    return [name for name in names if name != "psnr_db" or "psnr_clean_db" not in names]


def _title(name: str) -> str:
    label = LABELS[name]
    unit = f' <span class="unit">{escape(label.unit)}</span>' if label.unit else ""
    return f"{escape(_SHORT[name])}{unit} {'↑' if label.better > 0 else '↓'}"


def _panel(table: RowTable, name: str, *, logarithmic: bool = False) -> Panel:
    summaries = [
        [summarize(list(table.by_case(title, views, name).values())) for views in table.view_counts]
        for title in table.titles
    ]
    unit = f" ({LABELS[name].unit})" if LABELS[name].unit else ""
    return Panel(
        title=_SHORT[name] + unit,
        mean=np.array([[entry.mean for entry in row] for row in summaries]),
        std=np.array([[entry.std for entry in row] for row in summaries]),
        logarithmic=logarithmic,
    )


def _failures(table: RowTable) -> str:
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in table.failures:
        reasons.setdefault((row.case, row.failure), []).append(f"{row.title} from {row.views}")
    if not reasons:
        return ""
    items = "".join(
        f"<li>{escape(case)}, {escape(', '.join(which))} views: {escape(failure)}</li>"
        for (case, failure), which in reasons.items()
    )
    return f'<div class="notes"><b>No result</b><ul>{items}</ul></div>'


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _enumerated(texts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part)
