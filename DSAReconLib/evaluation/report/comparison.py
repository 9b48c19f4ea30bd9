"""The report of a comparison: several methods, numbers of views and cases in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from DSAReconLib.evaluation.report import comparison_sections, number_sections, result_sections
from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.page import write_page
from DSAReconLib.evaluation.report.rows import ResultRow, RowTable
from DSAReconLib.evaluation.report.scene import compose
from DSAReconLib.progress import Progress, SilentProgress


@dataclass(frozen=True)
class ComparedCase:
    """The pictures of one case, composed while its volumes were in memory.

    Parameters
    ----------
    name
        The case, as in the rows.
    views
        Number of views of the pictured results.
    sections
        HTML.
    has_truth
        Whether it was judged against a truth.
    """

    name: str
    views: int
    sections: str
    has_truth: bool


def compose_case(
    case: ReportCase, entries: Sequence[ReportEntry], *, device: str = "cpu", progress: Progress | None = None
) -> ComparedCase:
    """Film, arrival, surfaces, held-out views, curves and settings of the results of one case side by side."""
    progress = progress or SilentProgress()
    scene = compose(case, entries)
    views = scene.seen(case, entries)
    parts = (
        lambda: result_sections.contrast_section(case, scene, views),
        lambda: result_sections.arrival_section(case, entries, scene, views),
        lambda: result_sections.surface_section(case, entries, scene, views),
        lambda: result_sections.heldout_section(case, entries, scene, device),
        lambda: result_sections.curves_section(case, entries, scene, views),
        lambda: number_sections.provenance_section(entries),
    )
    sections = []
    for part in parts:
        progress.check_cancelled()
        sections.append(part())
        progress.report("report", len(sections) / len(parts), case.title)
    return ComparedCase(case.title, len(case.selected), "\n".join(sections), case.truth is not None)


def build_comparison(
    path: Path, rows: Sequence[ResultRow], cases: Sequence[ComparedCase], facts: Mapping[str, str], words: str = ""
) -> Path:
    """Write ``report.html`` of a comparison.

    Parameters
    ----------
    path
        File to write.
    rows
        All outcomes, at least one.
    cases
        Pictures of the cases that have any.
    facts
        Name to text: device, version and the like.
    words
        HTML that says what the protocol of this comparison adds to that of the metrics.

    Returns
    -------
    ``path``.
    """
    if not rows:
        raise ValueError("rows must hold at least one outcome")
    table = RowTable(rows)
    sections = [
        comparison_sections.header(table, facts),
        comparison_sections.ranking_section(table),
        comparison_sections.curves_section(table),
        comparison_sections.cost_section(table),
        comparison_sections.statistics_section(table),
    ]
    pictures = {case.name: case for case in cases}
    sections += [comparison_sections.case_section(table, name, pictures.get(name)) for name in table.cases]
    truth = any(case.has_truth for case in cases)
    sections.append(number_sections.protocol_section(truth=truth, words=words))
    return write_page(path, "Comparison of reconstruction methods", [section for section in sections if section])
